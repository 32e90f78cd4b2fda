"""Which architectures `extract` cuts out: picks of a search, references, or any by name or code."""

from __future__ import annotations

from dataclasses import dataclass, replace

from posesearch.errors import NoFeasibleArchitecture, UsageError, did_you_mean
from posesearch.latency.types import Conditions, Measured
from posesearch.run import Run
from posesearch.search.candidate import FrontMember
from posesearch.search.feasible import no_feasible_text
from posesearch.search.outcome import RESULT, SearchOutcome, read_outcome
from posesearch.spaces import Architecture, SearchSpace, load_preset, preset_names

DEFAULT_PICKS = ("knee", "best")
# The two variants of StarNet-Pose: T is small, S is accurate.
NAMES = {"knee": "T", "best": "S"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One architecture to extract.

    Attributes:
        name: Name of the model.
        pick: Why it was chosen: "knee", "best", "fastest", "#3", a preset, or "by code".
        arch: The architecture.
        member: Its place on the front, if it has one.
        label: "predicted for DEVICE, unverified" where the search measured nothing; else empty.
    """

    name: str
    pick: str
    arch: Architecture
    member: FrontMember | None = None
    label: str = ""


def choices_of(
    opened: Run, space: SearchSpace, picks: tuple[str, ...], arch: str | None, name: str | None, device: str
) -> tuple[tuple[Choice, ...], Conditions]:
    """Returns what to extract, and under which conditions its latency is measured."""
    folder = opened.path("search")
    if arch is not None:
        if picks:
            raise UsageError("--pick and --arch exclude each other. Give one of them.")
        wanted = _by_name(space, arch)
        known = arch in preset_names()
        outcome = read_outcome(folder) if (folder / RESULT).exists() else None
        member = next((m for m in outcome.front if m.candidate.arch == wanted), None) if outcome else None
        choice = Choice(
            name=name or (arch if known else f"arch-{wanted.id}"),
            pick=arch if known else "by code",
            arch=wanted,
            member=member,
        )
        return (_labelled(choice, outcome),), _conditions(outcome, device)
    if not (folder / RESULT).exists():
        raise UsageError(
            f"run '{opened.name}' has not been searched yet. Search it first: posesearch search --run {opened.name} "
            "--latency-ms 3.5, or name an architecture with --arch."
        )
    outcome = read_outcome(folder)
    if outcome.status == "infeasible":
        raise NoFeasibleArchitecture(outcome.reason or _old_reason(outcome, space))
    chosen = tuple(_labelled(_by_pick(outcome, pick), outcome) for pick in picks or DEFAULT_PICKS)
    if name is not None:
        if len(chosen) != 1:
            raise UsageError(
                f"--name '{name}' names one model, {len(chosen)} were asked for. Give one --pick."
            )
        chosen = (replace(chosen[0], name=name),)
    return chosen, _conditions(outcome, device)


def _old_reason(outcome: SearchOutcome, space: SearchSpace) -> str:
    """Returns why nothing met the budget, for a result of an earlier version, which knew latency budgets alone."""
    assert outcome.fastest_latency is not None
    return no_feasible_text(
        outcome.question, outcome.fastest_arch, outcome.fastest_latency, space, outcome.predicted_for
    )


def _conditions(outcome: SearchOutcome | None, device: str) -> Conditions:
    """Returns the conditions of the search, or the published protocol (eager, fp32) where there was none."""
    if (
        outcome is None or outcome.predicted_for
    ):  # what was predicted for another device need not run on this one
        return Conditions(device=device)
    if outcome.conditions is not None:
        return replace(outcome.conditions, device=device)
    measured = outcome.fastest_latency
    assert isinstance(
        measured, Measured
    )  # results without conditions are of a version that measured everything
    return Conditions(
        device=device,
        runtime=measured.runtime,
        precision=measured.precision,
        threads=measured.threads,
        batch=measured.batch,
    )


def _labelled(choice: Choice, outcome: SearchOutcome | None) -> Choice:
    predicted = choice.member is not None and choice.member.confirmed is None
    return replace(choice, label=outcome.label) if outcome and predicted else choice


def _by_name(space: SearchSpace, arch: str) -> Architecture:
    if arch not in preset_names():
        return space.arch_from_code(arch)
    preset = load_preset(arch)
    try:
        return space.arch_from_code(preset.code)
    except UsageError as error:
        raise UsageError(
            f"preset '{arch}' cannot be extracted: {error} The nearest member is {space.nearest(preset)}: extract that "
            f"with --arch, or train the preset alone with `posesearch train {arch}`."
        ) from error


def _by_pick(outcome: SearchOutcome, pick: str) -> Choice:
    front = outcome.front
    if pick.startswith("#"):
        if not pick[1:].isdigit() or not 1 <= int(pick[1:]) <= len(front):
            raise UsageError(f"--pick '{pick}' is not on the front. Allowed: #1 (fastest) to #{len(front)}.")
        member = front[int(pick[1:]) - 1]
        return Choice(name=f"rank-{pick[1:]}", pick=pick, arch=member.candidate.arch, member=member)
    for reference in outcome.references:
        # "starnet-pose-t scaled to demo" answers to the preset's name.
        if pick in (reference.name, reference.name.partition(" ")[0]):
            return Choice(
                name=pick, pick=reference.name, arch=reference.member.candidate.arch, member=reference.member
            )
    picks = outcome.picks
    if pick not in picks:
        known = (*picks, *(reference.name.partition(" ")[0] for reference in outcome.references))
        raise UsageError(
            f"--pick '{pick}' is not known.{did_you_mean(pick, known)} Allowed: {', '.join(known)}, "
            f"#1 to #{len(front)}."
        )
    member = next(m for m in front if m.candidate.arch == picks[pick])
    return Choice(name=NAMES.get(pick, pick), pick=pick, arch=picks[pick], member=member)

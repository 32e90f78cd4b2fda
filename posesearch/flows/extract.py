"""`extract`: the picks of a search become networks of their own, each one file that needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from posesearch.checkpoint import weights_id, write_model_file
from posesearch.device import resolve_device
from posesearch.errors import NoFeasibleArchitecture, UsageError, did_you_mean
from posesearch.extract.parity import Parity, check_parity
from posesearch.files import write_json_atomic
from posesearch.flows.evaluate import evaluate_network
from posesearch.flows.header import model_header
from posesearch.flows.inputs import EvaluationSet, check_joints
from posesearch.flows.material import Material
from posesearch.flows.runs import open_run, read_summary, settings_of
from posesearch.flows.supernet import SUPERNET_FILE, load_supernet
from posesearch.keypoints.skeleton import Skeleton
from posesearch.latency.process import measure_fresh
from posesearch.latency.types import Conditions, Measured
from posesearch.models.cost import cost
from posesearch.progress import Progress
from posesearch.run import Run, check_model_name
from posesearch.search.candidate import FrontMember
from posesearch.search.feasible import no_feasible_text
from posesearch.search.outcome import RESULT, SearchOutcome, read_outcome
from posesearch.spaces import Architecture, SearchSpace, load_preset, preset_names
from posesearch.supernet import extract_subnet, recalibrate

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


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractResult:
    """What `extract` wrote.

    Attributes:
        run: Name of the run.
        models: The summary of each model, as in its JSON file.
        next_command: What to run next.
    """

    run: str
    models: tuple[dict[str, Any], ...]
    next_command: str

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as a JSON-ready dict."""
        return {"run": self.run, "models": list(self.models), "next_command": self.next_command}


def extract(
    *,
    run: str | None = None,
    picks: tuple[str, ...] = (),
    arch: str | None = None,
    name: str | None = None,
    device: str = "auto",
    progress: Progress,
) -> ExtractResult:
    """Cuts networks out of the supernet, gives them their BN statistics, checks, measures and writes them.

    Args:
        run: Name of the run; None uses the newest.
        picks: Any of "best", "knee", "fastest", "#N" (rank on the front, 1 is the fastest), or a reference network of
            the search ("starnet-pose-t"); empty takes the knee as T and the most accurate as S.
        arch: A preset's name or an architecture code instead of picks.
        name: Name of the model, where only one is extracted.
        device: Where to recalibrate and evaluate.
        progress: Where to report.

    Raises:
        UsageError: No such run, pick or architecture, or nothing has been searched yet.
        NoFeasibleArchitecture: The search ended without one.
        DataError: Supernet or data cannot be used, or extraction changed the network.
        EnvironmentFault: The run is in use, or the disk is full.
    """
    if name is not None:
        check_model_name(name)
    place = resolve_device(device)
    opened = open_run(run, kind="supernet")
    with opened.lock() as opened:
        settings = settings_of(opened)
        supernet, supernet_info = load_supernet(opened)
        choices, conditions = _choices(opened, supernet.space, picks, arch, name, str(place))
        train_set, val_set = settings.data.load("train"), settings.data.load("val")
        for dataset in (train_set, val_set):
            joints = Skeleton.from_plain(supernet_info.skeleton).names
            check_joints(joints, opened.path(SUPERNET_FILE), dataset)
        seed = settings.seed
        size = supernet.space.input_size
        calibration = Material.prepare(
            train_set,
            settings.recipe,
            input_size=size,
            seed=seed,
            device=place,
            progress=progress,
        ).calibration
        val = EvaluationSet.prepare(val_set, size, progress)
        supernet.to(place)
        missing = [choice.arch for choice in choices if choice.member is None]
        measured = measure_fresh(missing, conditions, seed=seed) if missing else {}
        models = []
        with progress.task("extracting", len(choices)) as bar:
            for choice in choices:
                buffers = recalibrate(supernet, choice.arch, calibration)
                network = extract_subnet(supernet, choice.arch, buffers)
                parity = check_parity(supernet, network, buffers, next(iter(calibration)))
                evaluation = evaluate_network(network, val, place).to_plain()
                known = choice.member.latency if choice.member else measured[choice.arch.id]
                latency = known.to_plain() | ({"label": choice.label} if choice.label else {})
                info = model_header(
                    choice.arch,
                    name=choice.name,
                    skeleton=train_set.skeleton,
                    space=supernet.space,
                    metrics=[evaluation],
                    latency=[latency],
                    provenance={
                        "run": opened.name,
                        "recipe": opened.manifest["recipe"],
                        "data": opened.manifest["data"],
                        "seed": seed,
                        "pick": choice.pick,
                    },
                )
                file = opened.path("models", f"{choice.name}.safetensors")
                write_model_file(file, network.state_dict(), info)
                summary = {
                    **_summary(choice, parity, evaluation, latency),
                    "weights_id": weights_id(network.state_dict()),
                    "file": str(file.relative_to(opened.folder)),
                }
                summary |= _retrained_before(opened, summary)
                write_json_atomic(opened.path("models", f"{choice.name}.json"), summary)
                models.append(summary)
                bar.advance(1, AP=evaluation["AP"])
    unverified = [choice for choice in choices if choice.label]
    if unverified:
        names = ", ".join(choice.name for choice in unverified)
        progress.message(
            f"extract: the latency of {names} is {unverified[0].label}: measure it on that device."
        )
    files = [opened.path(model["file"]) for model in models]
    return ExtractResult(run=opened.name, models=tuple(models), next_command=f"posesearch train {files[0]}")


def _summary(
    choice: Choice, parity: Parity, evaluation: dict[str, Any], latency: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": choice.name,
        "pick": choice.pick,
        "arch": choice.arch.to_plain(),
        "arch_id": choice.arch.id,
        "code": choice.arch.code,
        "cost": cost(choice.arch).to_plain(),
        "supernet": {"AP": choice.member.ap, "split": "search"} if choice.member else None,
        "extracted": evaluation,
        "latency": latency,
        "parity": parity.to_plain(),
    }


def _retrained_before(opened: Run, summary: dict[str, Any]) -> dict[str, Any]:
    """Returns what an earlier retraining of these very weights wrote, so that extracting again does not lose it."""
    earlier = read_summary(opened, summary["name"])
    if earlier.get("weights_id") != summary["weights_id"]:
        return {"retrained": None}
    return {key: earlier[key] for key in ("retrained", "retrained_file") if key in earlier}


def _choices(
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
        raise NoFeasibleArchitecture(
            no_feasible_text(
                outcome.budget, outcome.fastest_arch, outcome.fastest_latency, space, outcome.predicted_for
            )
        )
    chosen = tuple(_labelled(_by_pick(outcome, pick), outcome) for pick in picks or DEFAULT_PICKS)
    if name is not None:
        if len(chosen) != 1:
            raise UsageError(
                f"--name '{name}' names one model, {len(chosen)} were asked for. Give one --pick."
            )
        chosen = (replace(chosen[0], name=name),)
    return chosen, _conditions(outcome, device)


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

"""`extract`: the picks of a search become networks of their own, each one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from posesearch.checkpoint import weights_id, write_model_file
from posesearch.device import resolve_device
from posesearch.errors import DataError, EnvironmentFault, UsageError
from posesearch.extract.parity import Parity, check_parity
from posesearch.files import write_json_atomic
from posesearch.flows.evaluate import evaluate_network
from posesearch.flows.header import model_header
from posesearch.flows.inputs import EvaluationSet, check_joints
from posesearch.flows.material import Material
from posesearch.flows.picks import Choice, choices_of
from posesearch.flows.refine import load_searched
from posesearch.flows.runs import open_run, read_summary, settings_of
from posesearch.flows.shortlist import Bench, Shortlist, check_picks, decide
from posesearch.heap import memory_kept
from posesearch.interrupt import stop_on_interrupt
from posesearch.keypoints.skeleton import Skeleton
from posesearch.latency.process import measure_fresh
from posesearch.latency.runtimes import counterpart
from posesearch.latency.types import Conditions, Measured
from posesearch.models.cost import cost
from posesearch.progress import Progress
from posesearch.run import Run, check_model_name
from posesearch.search.outcome import read_outcome
from posesearch.spaces import Architecture
from posesearch.supernet import extract_subnet, recalibrate


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtractResult:
    """What `extract` wrote.

    Attributes:
        run: Name of the run.
        models: The summary of each model, as in its JSON file.
        next_command: What to run next.
        shortlist: How the short lists decided, as in `search/shortlist.json`; None where none was asked for.
    """

    run: str
    models: tuple[dict[str, Any], ...]
    next_command: str
    shortlist: dict[str, Any] | None = None

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as a JSON-ready dict."""
        plain = {"run": self.run, "models": list(self.models), "next_command": self.next_command}
        return plain if self.shortlist is None else {**plain, "shortlist": self.shortlist}


def extract(
    *,
    run: str | None = None,
    picks: tuple[str, ...] = (),
    arch: str | None = None,
    name: str | None = None,
    shortlist: Shortlist | None = None,
    device: str = "auto",
    progress: Progress,
) -> ExtractResult:
    """Cuts networks out of the weights the search used, gives them their BN statistics, checks, measures and writes them.

    Args:
        run: Name of the run; None uses the newest.
        picks: Any of "best", "knee", "fastest", "#N" (rank on the front, 1 is the fastest), or a reference network of
            the search ("starnet-pose-t"); empty takes the knee as T and the most accurate as S.
        arch: A preset's name or an architecture code instead of picks.
        name: Name of the model, where only one is extracted.
        shortlist: Train some members of the front alone for a few epochs first, and take the knee and the best by that.
        device: Where to train, recalibrate and evaluate.
        progress: Where to report.

    Raises:
        UsageError: No such run, pick or architecture, or nothing has been searched yet.
        NoFeasibleArchitecture: The search ended without one.
        DataError: Supernet or data cannot be used, or extraction changed the network.
        EnvironmentFault: The run is in use, or the disk is full.
        Interrupted: The user stopped the training of a short list; everything is saved.
    """
    if name is not None:
        check_model_name(name)
    place = resolve_device(device)
    opened = open_run(run, kind="supernet")
    with opened.lock() as opened:
        settings = settings_of(opened)
        supernet, supernet_info, weights = load_searched(opened)
        choices, conditions = choices_of(opened, supernet.space, picks, arch, name, str(place))
        if shortlist is not None:
            check_picks(choices)
        train_set, val_set = settings.data.load("train"), settings.data.load("val")
        for dataset in (train_set, val_set):
            joints = Skeleton.from_plain(supernet_info.skeleton).names
            check_joints(joints, weights, dataset)
        seed = settings.seed
        size = supernet.space.input_size
        material = Material.prepare(
            train_set,
            settings.recipe,
            input_size=size,
            seed=seed,
            device=place,
            progress=progress,
            train_on=place if shortlist is not None else None,
        )
        calibration = material.calibration
        decided = None
        if shortlist is not None:
            with stop_on_interrupt() as stop:
                bench = Bench(
                    opened=opened, settings=settings, space=supernet.space, weights=weights, material=material,
                    device=place, progress=progress, stop=stop,
                )  # fmt: skip
                choices, decided = decide(bench, read_outcome(opened.path("search")), choices, shortlist)
        val = EvaluationSet.prepare(val_set, size, progress)
        supernet.to(place)
        missing = [choice.arch for choice in choices if choice.member is None]
        measured = measure_fresh(missing, conditions, seed=seed) if missing else {}
        also = _measured_also(missing, conditions, seed, progress)
        models = []
        with progress.task("extracting", len(choices)) as bar, memory_kept(place.type):
            for choice in choices:
                buffers = recalibrate(supernet, choice.arch, calibration)
                network = extract_subnet(supernet, choice.arch, buffers)
                parity = check_parity(supernet, network, buffers, next(iter(calibration)))
                evaluation = evaluate_network(network, val, place).to_plain()
                known = choice.member.latency if choice.member else measured[choice.arch.id]
                others = choice.member.confirmed_also if choice.member else also.get(choice.arch.id, ())
                latency = known.to_plain() | ({"label": choice.label} if choice.label else {})
                info = model_header(
                    choice.arch,
                    name=choice.name,
                    skeleton=train_set.skeleton,
                    space=supernet.space,
                    metrics=[evaluation],
                    # Those measured, in every runtime: a prediction is none of them.
                    latency=[one.to_plain() for one in (known, *others) if isinstance(one, Measured)],
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
                    **_summary(choice, parity, evaluation, latency, others),
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
    return ExtractResult(
        run=opened.name,
        models=tuple(models),
        next_command=f"posesearch train {files[0]}",
        shortlist=decided,
    )


def _measured_also(
    archs: Sequence[Architecture], conditions: Conditions, seed: int, progress: Progress
) -> dict[str, tuple[Measured, ...]]:
    """Returns latencies in the other runtime by architecture id; no model is lost over one that does not work."""
    other = counterpart(conditions)
    if not archs or other is None:
        return {}
    try:
        return {key: (one,) for key, one in measure_fresh(archs, other, seed=seed).items()}
    except (EnvironmentFault, UsageError, DataError) as error:
        progress.message(f"extract: no latencies in the other runtime: {error}")
        return {}


def _summary(
    choice: Choice,
    parity: Parity,
    evaluation: dict[str, Any],
    latency: dict[str, Any],
    others: Sequence[Measured],
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
        "confirmed_also": {other.runtime: other.to_plain() for other in others},
        "parity": parity.to_plain(),
    }


def _retrained_before(opened: Run, summary: dict[str, Any]) -> dict[str, Any]:
    """Returns what an earlier retraining of these very weights wrote, so that extracting again does not lose it."""
    earlier = read_summary(opened, summary["name"])
    if earlier.get("weights_id") != summary["weights_id"]:
        return {"retrained": None}
    return {key: earlier[key] for key in ("retrained", "retrained_file") if key in earlier}

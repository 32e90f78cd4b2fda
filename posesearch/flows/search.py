"""`search`: the most accurate architectures of a trained supernet within a latency budget of this device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posesearch.checkpoint import weights_id
from posesearch.device import resolve_device
from posesearch.errors import UsageError
from posesearch.flows.inputs import check_joints
from posesearch.flows.material import Material
from posesearch.flows.runs import open_run, settings_of
from posesearch.flows.supernet import SUPERNET_FILE, evaluate_subnet, load_supernet
from posesearch.flows.tables import TableChoice, absent_table, choose_table, load_absent
from posesearch.interrupt import stop_on_interrupt
from posesearch.keypoints.skeleton import Skeleton
from posesearch.latency.meter import LatencyMeter
from posesearch.latency.process import EffortName, measure_fresh
from posesearch.latency.runtimes import check_conditions, counterpart
from posesearch.latency.types import Conditions, LatencyBudget, Measured, Percentile
from posesearch.models.cost import cost
from posesearch.progress import Progress
from posesearch.search.check import Check
from posesearch.search.judge import check_sources
from posesearch.search.outcome import SearchOutcome
from posesearch.search.samplers import resolve_sampler
from posesearch.search.search import run_search
from posesearch.spaces import Architecture, SearchSpace, load_preset

DEFAULT_EVALUATIONS = 100
REFERENCES = ("starnet-pose-t", "starnet-pose-s")


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """What `search` found, or with `dry_run` would do.

    Attributes:
        run: Name of the run.
        folder: Its search folder.
        plan: Budget, conditions, evaluations, resolved.
        outcome: Front, picks and references; None for a dry run.
        next_command: What to run next.
    """

    run: str
    folder: Path
    plan: dict[str, Any]
    outcome: SearchOutcome | None = None
    next_command: str = ""

    @property
    def front(self) -> tuple[dict[str, Any], ...]:
        """Rows of the Pareto front, fastest first."""
        return tuple(self._found().get("front", ()))

    @property
    def references(self) -> tuple[dict[str, Any], ...]:
        """Rows of the named networks evaluated under the same conditions."""
        return tuple(self._found().get("references", ()))

    @property
    def picks(self) -> dict[str, str]:
        """Architecture ids of "best", "knee" and "fastest"."""
        return dict(self._found().get("picks", {}))

    @property
    def evaluations(self) -> int:
        """Accuracy evaluations made."""
        return self.outcome.evaluations if self.outcome else 0

    def _found(self) -> dict[str, Any]:
        return self.outcome.to_plain() if self.outcome else {}

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as a JSON-ready dict."""
        return {
            "run": self.run,
            "folder": str(self.folder),
            "plan": self.plan,
            **self._found(),
            "next_command": self.next_command,
        }


def search(
    *,
    run: str | None = None,
    latency_ms: float | None,
    percentile: Percentile = "p50",
    runtime: str = "eager",
    precision: str = "fp32",
    trials: int | None = None,
    sampler: str = "auto",
    threads: int = 1,
    batch: int = 1,
    memory_format: str = "contiguous",
    table: str | None = None,
    unverified: bool = False,
    seed: int = 0,
    device: str = "auto",
    effort: EffortName = "full",
    dry_run: bool = False,
    progress: Progress,
) -> SearchResult:
    """Searches the space of a run; the same call again continues, or returns at once when all is done.

    Args:
        run: Name of the run; None uses the newest.
        latency_ms: The budget.
        percentile: Which latency must meet it, "p50" or "p90".
        runtime: How the network is run when its latency is measured.
        precision: In which number format.
        trials: Accuracy evaluations; None means 100.
        sampler: "auto", "gp", "nsga2", "tpe" or "random".
        threads: CPU threads while latency is measured.
        batch: Images in one timed call; the budget is for the whole call.
        memory_format: "contiguous" or "channels_last".
        table: The latency table to go by: a name in `latency/`, a file, "none" to measure every candidate, or None for
            the one of this space, runtime and precision where it is of this machine.
        unverified: Search on the table of a device that is not here; its front is predicted and nothing is measured.
        seed: Key of all proposals.
        device: "auto", "cpu", "cuda" or "cuda:N".
        effort: How long the front is measured for the claim: "full", or "brief" where minutes count.
        dry_run: Resolve everything, write nothing.
        progress: Where to report.

    Raises:
        UsageError: No such run or table, or a bad budget, sampler or number of trials.
        NoFeasibleArchitecture: No architecture meets the budget.
        DataError: Supernet, data or latency table cannot be used.
        EnvironmentFault: The run is in use, the runtime is not there, the table is of another device, or the disk is full.
        Interrupted: Stopped by the user; everything is saved.
    """
    if latency_ms is None:
        raise UsageError("no budget given. Allowed: milliseconds above 0. Try --latency-ms 3.5.")
    budget = LatencyBudget(latency_ms=latency_ms, percentile=percentile, runtime=runtime, precision=precision)
    place = resolve_device(device)
    conditions = Conditions(
        device=str(place), runtime=runtime, precision=precision, threads=threads, batch=batch,
        memory_format=memory_format,
    )  # fmt: skip
    absent = absent_table(table, conditions, unverified=unverified)
    if absent is None:
        check_conditions(conditions)
    evaluations = trials if trials is not None else DEFAULT_EVALUATIONS
    resolve_sampler(sampler, evaluations)
    opened = open_run(run, kind="supernet")
    plan = {
        "run": opened.name,
        "budget": budget.to_plain(),
        "conditions": conditions.to_plain(),
        "evaluations": evaluations,
        "sampler": sampler,
        "table": table,
        "unverified": unverified,
    }
    folder = opened.path("search")
    if dry_run:
        return SearchResult(run=opened.name, folder=folder, plan=plan)
    with opened.lock() as opened:
        settings = settings_of(opened)
        supernet, info = load_supernet(opened)
        supernet.to(place)
        space = supernet.space
        if absent is not None:
            chosen: TableChoice | None = load_absent(absent, space, progress)
        else:
            chosen = choose_table(table, space=space, conditions=conditions, budget=budget, progress=progress)
        if chosen is not None:
            check_sources(budget, None, chosen.predictor)
        train = settings.data.load("train")
        check_joints(Skeleton.from_plain(info.skeleton).names, opened.path(SUPERNET_FILE), train)
        material = Material.prepare(
            train,
            settings.recipe,
            input_size=space.input_size,
            seed=settings.seed,
            device=place,
            progress=progress,
        )

        def evaluate(arch: Architecture) -> Mapping[str, Any]:
            return evaluate_subnet(supernet, arch, material, place).to_plain()

        def confirm(archs: Sequence[Architecture]) -> Mapping[str, Measured]:
            return measure_fresh(archs, conditions, effort=effort, seed=seed)

        # The front is measured in another runtime as well: a budget in eager mode says little about a CUDA graph, which
        # is several times faster on a GPU, or about ONNX Runtime on a CPU.
        other = counterpart(conditions) if absent is None else None

        def confirm_other(archs: Sequence[Architecture]) -> Mapping[str, Measured]:
            return measure_fresh(archs, other, effort=effort, seed=seed) if other else {}

        def teach(checks: tuple[Check, ...]) -> None:
            if chosen is not None and absent is None:
                chosen.learn(checks, progress)

        with stop_on_interrupt() as stop:
            outcome = run_search(
                space,
                folder=folder,
                budget=budget,
                evaluations=evaluations,
                evaluate=evaluate,
                meter=LatencyMeter(conditions, space.smallest()) if absent is None else None,
                predictor=chosen.predictor if chosen else None,
                table=chosen.build_id if chosen else "",
                cost=cost,
                weights_id=weights_id(supernet.state_dict()),
                progress=progress,
                stop=stop,
                references=reference_architectures(space),
                sampler=sampler,
                seed=seed,
                confirm=confirm,
                confirm_effort=effort,
                confirm_also=confirm_other if other else None,
                teach=teach,
            )
    return SearchResult(
        run=opened.name,
        folder=folder,
        plan=plan,
        outcome=outcome,
        next_command=f"posesearch extract --run {opened.name}",
    )


def reference_architectures(space: SearchSpace) -> dict[str, Architecture]:
    """Returns the published networks as members of a space: themselves, or the nearest members, named so."""
    found = {}
    for name in REFERENCES:
        preset = load_preset(name)
        arch = space.nearest(preset)
        same = arch.stages == preset.stages and arch.input_size == preset.input_size
        found[name if same else f"{name} scaled to {space.name}"] = arch
    return found

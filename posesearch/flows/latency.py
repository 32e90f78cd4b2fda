"""`latency build`: measure blocks and networks of a space on this device, fit the predictor, and say how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posesearch.config import to_plain
from posesearch.device import resolve_device
from posesearch.errors import DataError, UsageError
from posesearch.flows.runs import open_run
from posesearch.flows.tablefiles import TABLES, find_table, held, table_name
from posesearch.interrupt import stop_on_interrupt
from posesearch.latency.blocks import blocks_in
from posesearch.latency.build import make_table
from posesearch.latency.choose import choose_nets
from posesearch.latency.effort import EffortName
from posesearch.latency.journal import Journal
from posesearch.latency.learn import with_selected
from posesearch.latency.noise import CLAIMS, finest_claim
from posesearch.latency.runtimes import check_conditions
from posesearch.latency.survey import RUNS as MEASURING_RUNS
from posesearch.latency.survey import Bench, DeviceBench, settings_id, survey
from posesearch.latency.table import LatencyTable, read_table, write_table
from posesearch.latency.types import Conditions
from posesearch.progress import Progress
from posesearch.run import MANIFEST, check_name
from posesearch.spaces import SearchSpace, load_space

DEFAULT_NETS, DEFAULT_HELD_OUT = 68, 40
DEFAULT_SPACE = "demo"


@dataclass(frozen=True, kw_only=True, slots=True)
class TableResult:
    """A latency table and what it says, or with `dry_run` what would be measured.

    Attributes:
        path: The file.
        plan: What is measured, resolved; empty when a file is only shown.
        table: The table; None for a dry run.
    """

    path: Path
    plan: dict[str, Any]
    table: LatencyTable | None = None

    @property
    def usual_ms(self) -> float:
        """Median latency of the fitted networks: a budget that half of the space meets, about."""
        nets = self.table.with_role("fit") if self.table else ()
        return float(np.median([net.runs_ms[0] for net in nets])) if nets else 0.0

    @property
    def verdict(self) -> str:
        """One sentence: what claims the table supports."""
        return verdict_text(self.table) if self.table else ""

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as a JSON-ready dict; shares and errors are fractions, 0.01 is one per cent."""
        if self.table is None:
            return {"table": str(self.path), "plan": self.plan}
        table, scores = self.table, self.table.scores
        headline = scores.other_run.to_plain()
        errors = {name: headline[name] for name in ("mape_after_scale", "mape", "bias", "p95", "max")}
        return {
            "table": str(self.path),
            "id": table.id,
            "space": {"name": table.space.name, "id": table.space.id},
            **errors,
            **{name: headline[name] for name in ("hits_5", "hits_10", "spearman", "kendall")},
            "noise": table.noise.mape,
            "mape_over_noise": over(scores.other_run.mape, table.noise.mape),
            "mape_after_scale_over_noise": over(scores.other_run.mape_after_scale, table.noise.mape),
            "baselines": to_plain(scores.baselines),
            "baselines_after_scale": to_plain(scores.baselines_after_scale),
            "scores": {
                name: getattr(scores, name).to_plain() if getattr(scores, name) else None
                for name in ("other_run", "as_measured", "same_run", "selected")
            },
            "runs": {
                "count": MEASURING_RUNS,
                "scale": table.noise.scale,
                "sentinel_factor": table.sentinel_factor,
                "kendall": table.noise.kendall,
            },
            "bound": {
                "low": table.bound.low,
                "high": table.bound.high,
                "coverage": table.bound.coverage,
                "nets": table.bound.nets,
            },
            "calibration": {
                "constant_ms": table.calibration.constant_ms,
                "slope": table.calibration.slope,
                "residual": table.calibration.residual is not None,
                "prices": bool(table.calibration.price_factors),
            },
            "nets": len(table.with_role("fit")),
            "held_out": len(table.with_role("held-out")),
            "selected": len(table.with_role("selected")),
            "blocks": len(table.entries),
            "effort": table.effort,
            "fingerprint": table.fingerprint.to_plain(),
            "verdict": table.verdict,
            "verdict_text": self.verdict,
            "plan": self.plan,
        }


def build(
    *,
    space: str | None = None,
    run: str | None = None,
    runtime: str = "eager",
    precision: str = "fp32",
    threads: int = 1,
    batch: int = 1,
    memory_format: str = "contiguous",
    nets: int = DEFAULT_NETS,
    held_out: int = DEFAULT_HELD_OUT,
    out: str | None = None,
    fresh: bool = False,
    seed: int = 0,
    device: str = "auto",
    effort: EffortName = "full",
    bench: Bench | None = None,
    dry_run: bool = False,
    progress: Progress,
) -> TableResult:
    """Builds the latency table of a space on this device; the same call again goes on, or returns at once.

    Args:
        space: Name or file of the space.
        run: A run whose space is meant; without space and run, the newest run's, or space `demo` where there is none.
        runtime: How networks are run.
        precision: In which number format.
        threads: CPU threads.
        batch: Images in one call.
        memory_format: Order of images and weights in memory, "contiguous" or "channels_last".
        nets: Networks to fit on, 10 or more.
        held_out: Networks to test on, 5 or more.
        out: Name of the table; None means that of `table_name`.
        fresh: Measure everything again, in a journal of its own that replaces the earlier one once the table is written:
            when stopped, the same call goes on with it.
        seed: Key of the choice of networks.
        device: "auto", "cpu", "cuda" or "cuda:N".
        effort: How long a network is measured.
        bench: Times blocks and networks; None means this device.
        dry_run: Resolve everything, write nothing.
        progress: Where to report.

    Raises:
        UsageError: No such space, run or runtime, or too few networks.
        EnvironmentFault: The runtime does not run here, the device fails, or the disk is full.
        Interrupted: Stopped by the user; everything measured is kept.
    """
    chosen = space_of(space, run)
    conditions = Conditions(
        device=str(resolve_device(device)),
        runtime=runtime,
        precision=precision,
        threads=threads,
        batch=batch,
        memory_format=memory_format,
    )
    check_conditions(conditions)
    name = out if out is not None else table_name(chosen, conditions)
    check_name(name, "--out")
    plan = choose_nets(chosen, nets=nets, held_out=held_out, seed=seed)
    path = TABLES / f"{name}.json"
    shown = {
        "space": chosen.name,
        "space_id": chosen.id,
        "conditions": conditions.to_plain(),
        "blocks": len(blocks_in(chosen)),
        "nets": len(plan.fit),
        "held_out": len(plan.held_out),
        "runs": MEASURING_RUNS,
        "effort": effort,
    }
    if dry_run:
        return TableResult(path=path, plan=shown)
    bench = bench or DeviceBench(chosen, conditions, effort)
    settings = settings_id(chosen, bench.fingerprint, effort)
    usual_path = path.with_suffix(".jsonl")
    # No table's name can have a "~".
    figures_path = path.with_name(f"{name}~fresh.jsonl") if fresh else usual_path
    with held(path):
        journal = open_fresh(figures_path, settings, progress) if fresh else Journal(figures_path, settings)
        if journal.foreign:
            progress.message(
                f"latency: {journal.foreign} figures in {figures_path} are of another device, space or setting; not "
                "used."
            )
        with stop_on_interrupt() as stop:
            figures = survey(chosen, plan, bench, journal, seed=seed, progress=progress, stop=stop)
        table = make_table(chosen, plan, figures, measured_on=bench.fingerprint, effort=effort, seed=seed)
        if not fresh:
            table = with_earlier_selected(table, path, settings)
        write_table(path, table)
        if fresh:
            figures_path.replace(usual_path)
    return TableResult(path=path, plan=shown, table=table)


def show(file: str | None = None) -> TableResult:
    """Reads a table.

    Args:
        file: A path, or the name of a table in `latency/`; None means the newest there.

    Raises:
        UsageError: There is no such table; the message lists those there are.
        DataError: It is damaged.
    """
    path = find_table(file)
    return TableResult(path=path, plan={}, table=read_table(path))


def open_fresh(path: Path, settings: str, progress: Progress) -> Journal:
    """Returns the journal of a build that measures everything again: that of a stopped one, or an empty one."""
    try:
        journal = Journal(path, settings)
    except DataError:  # of a stopped build, and nothing rests on it yet
        path.unlink()
        return Journal(path, settings)
    if journal.count:
        progress.message(
            f"latency: going on with a fresh build that was stopped after {journal.count} figures. To begin again, delete "
            f"{path}."
        )
    return journal


def space_of(space: str | None, run: str | None) -> SearchSpace:
    """Returns the space that is meant.

    Raises:
        UsageError: Both are given, or there is no such space or run.
        DataError: The run's manifest is damaged.
    """
    if space is not None and run is not None:
        raise UsageError(
            f"--space {space} and --run {run} both name a space. Give one of them: a space, or a run of that space."
        )
    if space is not None:
        return load_space(space)
    try:
        opened = open_run(run, kind="supernet")
    except UsageError:
        if run is not None:
            raise
        return load_space(DEFAULT_SPACE)
    return SearchSpace.from_plain(opened.manifest.get("space"), f"space in {opened.path(MANIFEST)}")


def with_earlier_selected(table: LatencyTable, path: Path, settings: str) -> LatencyTable:
    """Returns the table with the networks that searches have added to the one it replaces, of the same settings."""
    if not path.exists():
        return table
    try:
        before = read_table(path)
    except DataError:  # it is about to be replaced
        return table
    known = {net.code for net in table.nets}
    selected = tuple(net for net in before.with_role("selected") if net.code not in known)
    same = settings_id(before.space, before.fingerprint, before.effort) == settings
    return with_selected(table, selected) if selected and same else table


def verdict_text(table: LatencyTable) -> str:
    """Returns what claims a table supports, in one sentence."""
    noise = f"two runs differ by {table.noise.mape:.1%} on the same networks"
    if table.verdict == "quiet":
        return f"quiet: {noise}, so predictions can be trusted to about that, and the budget is checked by the bound."
    claim = finest_claim(table.noise.mape, (*CLAIMS, 0.2, 0.5))
    finest = f"do not claim differences finer than {claim:.0%}" if claim else "no claim is possible"
    return (
        f"noisy: {noise}; {finest}. Close other programs ('posesearch latency check' says when it is quiet) and run "
        "again with --fresh."
    )


def over(first: float, second: float) -> float | None:
    """Returns first / second, None where there is nothing to divide by."""
    return first / second if second > 0 else None

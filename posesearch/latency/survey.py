"""Measuring what a table rests on, in groups that each survive a kill: every block, then every network in two runs.

A group is timed side by side with the sentinel, networks in a fresh process, and its figures are appended to a journal
(`NAME.jsonl` beside the table) the moment they are there. The same command goes on after the last complete group. Groups
are related to one another by the sentinel: a figure is divided by how much slower the sentinel was in its group than in
the usual group of its run. No factor is taken out between the two runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from posesearch import rng
from posesearch.config import parse_stored, to_plain
from posesearch.errors import DataError, Interrupted
from posesearch.files import append_jsonl, read_jsonl
from posesearch.latency.blocks import Block, blocks_in, blocks_of
from posesearch.latency.chain import BlockTimes, marginal_costs
from posesearch.latency.choose import NetPlan, middle
from posesearch.latency.device import Fingerprint, fingerprint
from posesearch.latency.process import EffortName, measure_fresh
from posesearch.latency.types import Conditions, Measured
from posesearch.progress import Progress
from posesearch.spaces.arch import Architecture, canonical_id
from posesearch.spaces.space import SearchSpace

RUNS = 2
BLOCKS_A_GROUP = 8
NETS_A_GROUP = 12


class Bench(Protocol):
    """What times blocks and networks."""

    @property
    def fingerprint(self) -> Fingerprint:
        """The device and the conditions."""

    def time_blocks(self, blocks: Sequence[Block], seed: int) -> BlockTimes:
        """Times blocks side by side."""

    def time_nets(self, archs: Sequence[Architecture], seed: int) -> Mapping[str, Measured]:
        """Times networks side by side, by `Architecture.id`; the first of them is the sentinel."""


class DeviceBench:
    """Times on this device: blocks in this process, each group of networks in a fresh one.

    Args:
        space: The space whose blocks and members are timed.
        conditions: Device, runtime, precision, threads, batch, memory format.
        effort: How long a network is timed.
    """

    def __init__(self, space: SearchSpace, conditions: Conditions, effort: EffortName) -> None:
        self.fingerprint = fingerprint(conditions, space.input_size)
        self._space, self._conditions, self._effort = space, conditions, effort

    def time_blocks(self, blocks: Sequence[Block], seed: int) -> BlockTimes:
        """Times blocks side by side with the middle star block of the space."""
        stars = [block for block in blocks_of(middle(self._space)) if block.kind == "star"]
        return marginal_costs(
            blocks, self._space, self._conditions, sentinel=stars[len(stars) // 2], seed=seed
        )

    def time_nets(self, archs: Sequence[Architecture], seed: int) -> Mapping[str, Measured]:
        """Times networks side by side in one fresh process."""
        return measure_fresh(archs, self._conditions, processes=1, effort=self._effort, seed=seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the journal.

    Attributes:
        settings: Identity of what the figure holds for: space, fingerprint, effort.
        run: Number of the run, from 0; blocks are timed in one run.
        sentinel_ms: The sentinel in the same group, milliseconds.
        latency_ms: Of a block its marginal cost, of a network its median.
        block: What was timed, or
        code: the architecture code of what was timed.
    """

    settings: str
    run: int
    sentinel_ms: float
    latency_ms: float
    block: Block | None = None
    code: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What was measured.

    Attributes:
        costs_ms: Marginal cost of every block, milliseconds.
        runs_ms: For each run, latency by architecture code, milliseconds.
        sentinel_ms: The sentinel's usual latency in each run, milliseconds.
    """

    costs_ms: dict[Block, float]
    runs_ms: tuple[dict[str, float], ...]
    sentinel_ms: tuple[float, ...]


class Journal:
    """The figures of one set of settings in a file that may hold others as well.

    Args:
        path: The file.
        settings: Identity of the settings.

    Raises:
        DataError: A line of the file is damaged.
    """

    def __init__(self, path: Path, settings: str) -> None:
        self.path, self._settings = path, settings
        try:
            rows = [parse_stored(Row, plain, f"measured figures in {path}") for plain in read_jsonl(path)]
        except DataError as error:
            raise DataError(f"{error} Measure again with: posesearch latency build --fresh") from error
        self._rows = [row for row in rows if row.settings == settings]
        self.foreign = len(rows) - len(self._rows)

    @property
    def count(self) -> int:
        """Number of figures of these settings."""
        return len(self._rows)

    def add(self, **figures: Any) -> None:
        """Keeps one figure.

        Raises:
            EnvironmentFault: The file cannot be written.
        """
        row = Row(settings=self._settings, **figures)
        append_jsonl(self.path, to_plain(row))
        self._rows.append(row)

    def blocks(self) -> list[Row]:
        """Returns the figures of blocks."""
        return [row for row in self._rows if row.block is not None]

    def nets(self, run: int) -> list[Row]:
        """Returns the figures of networks in one run."""
        return [row for row in self._rows if row.block is None and row.run == run]


def survey(
    space: SearchSpace,
    plan: NetPlan,
    bench: Bench,
    journal: Journal,
    *,
    seed: int,
    progress: Progress,
    stop: Callable[[], bool] = lambda: False,
) -> Figures:
    """Measures what the journal does not hold yet, and returns everything.

    Args:
        space: The space.
        plan: The networks.
        bench: Times them.
        journal: Keeps every figure.
        seed: Key of the order.
        progress: Where to report.
        stop: Asked between two groups.

    Raises:
        Interrupted: The user asked to stop; the figures so far are in the journal.
        EnvironmentFault: The device fails, or the journal cannot be written.
    """
    _survey_blocks(blocks_in(space), bench, journal, seed, progress, stop)
    for run in range(RUNS):
        _survey_nets(plan, run, bench, journal, seed, progress, stop)
    wanted = {arch.code for arch in plan.measured}
    blocks, runs = journal.blocks(), [journal.nets(run) for run in range(RUNS)]
    related = [{code: ms for code, ms in _related(rows, "code").items() if code in wanted} for rows in runs]
    return Figures(
        costs_ms=_related(blocks, "block"),
        runs_ms=tuple(related),
        sentinel_ms=tuple(_usual_sentinel_ms(rows) for rows in runs),
    )


def _survey_blocks(
    blocks: Sequence[Block],
    bench: Bench,
    journal: Journal,
    seed: int,
    progress: Progress,
    stop: Callable[[], bool],
) -> None:
    known = {row.block for row in journal.blocks()}
    missing = [block for block in blocks if block not in known]
    with progress.task("latency: blocks", len(blocks), done=len(blocks) - len(missing)) as task:
        for group in _groups(missing, BLOCKS_A_GROUP, seed, 0):
            _stop_if_asked(stop, journal)
            times = bench.time_blocks(group, seed)
            for block, cost_ms in times.cost_ms.items():
                journal.add(run=0, sentinel_ms=times.sentinel_ms, latency_ms=cost_ms, block=block)
            task.advance(len(group))


def _survey_nets(
    plan: NetPlan,
    run: int,
    bench: Bench,
    journal: Journal,
    seed: int,
    progress: Progress,
    stop: Callable[[], bool],
) -> None:
    known = {row.code for row in journal.nets(run)}
    missing = [arch for arch in plan.measured if arch.code not in known]
    done = len(plan.measured) - len(missing)
    with progress.task(f"latency: networks, run {run + 1} of {RUNS}", len(plan.measured), done=done) as task:
        for number, group in enumerate(_groups(missing, NETS_A_GROUP, seed, run + 1)):
            _stop_if_asked(stop, journal)
            found = bench.time_nets([plan.sentinel, *group], seed + run * 1000 + number)
            for arch in group:
                sentinel_ms = found[plan.sentinel.id].p50_ms
                journal.add(
                    run=run,
                    sentinel_ms=sentinel_ms,
                    latency_ms=found[arch.id].beside(sentinel_ms),
                    code=arch.code,
                )
            task.advance(len(group), ms=found[group[-1].id].p50_ms)


def settings_id(space: SearchSpace, measured_on: Fingerprint, effort: str) -> str:
    """Returns the identity of what a figure holds for; figures of equal settings may stand in one table."""
    return canonical_id({"space": space.id, "fingerprint": measured_on.id, "effort": effort})


def _groups(items: Sequence[Any], size: int, seed: int, counter: int) -> list[list[Any]]:
    """Returns the items in groups, shuffled: neighbours in a list are alike, and a busy minute must not hit one kind."""
    order = rng.generator(seed, "latency groups", counter).permutation(len(items))
    return [[items[index] for index in order[start : start + size]] for start in range(0, len(items), size)]


def _stop_if_asked(stop: Callable[[], bool], journal: Journal) -> None:
    if stop():
        raise Interrupted(f"stopped. What was measured is kept in {journal.path}.")


def _usual_sentinel_ms(rows: Sequence[Row]) -> float:
    return float(np.median([row.sentinel_ms for row in rows]))


def _related(rows: Sequence[Row], key: str) -> dict[Any, float]:
    usual_ms = _usual_sentinel_ms(rows)
    return {getattr(row, key): row.latency_ms * usual_ms / row.sentinel_ms for row in rows}

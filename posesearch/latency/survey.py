"""Measuring what a table rests on, in groups that each survive a kill: every block, then every network in two runs.

A group is timed side by side with the sentinel, networks in a fresh process, and its figures are appended to a journal
(`NAME.jsonl` beside the table) the moment they are there. The same command goes on after the last complete group. Groups
are related to one another by the sentinel: a figure is divided by how much slower the sentinel was in its group than in
the usual group of its run. No factor is taken out between the two runs.

What met a bad minute is measured once more at the end of its run (see `journal`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from posesearch import rng
from posesearch.errors import Interrupted
from posesearch.latency.blocks import Block, blocks_in, blocks_of
from posesearch.latency.chain import BlockTimes, marginal_costs
from posesearch.latency.choose import NetPlan, middle
from posesearch.latency.device import Fingerprint, fingerprint
from posesearch.latency.effort import EffortName
from posesearch.latency.journal import Journal, Row, best
from posesearch.latency.process import measure_fresh
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
    blocks, runs = best(journal.blocks()), [best(journal.nets(run)) for run in range(RUNS)]
    related = [{code: ms for code, ms in _related(rows).items() if code in wanted} for rows in runs]
    return Figures(
        costs_ms=_related(blocks),
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
    def time_group(group: Sequence[Block], number: int) -> None:
        times = bench.time_blocks(group, seed + number)
        for block, cost_ms in times.cost_ms.items():
            journal.add(run=0, sentinel_ms=times.sentinel_ms, latency_ms=cost_ms, block=block)

    known = {row.block for row in journal.blocks()}
    missing = [block for block in blocks if block not in known]
    task = functools.partial(_in_groups, time=time_group, size=BLOCKS_A_GROUP, progress=progress, stop=stop)
    task("latency: blocks", missing, of=len(blocks), key=(seed, 0), journal=journal)
    again = {row.block for row in journal.disturbed(journal.blocks())}
    task(
        "latency: blocks of a bad minute again",
        [block for block in blocks if block in again],
        key=(seed, RUNS + 1),
        journal=journal,
    )


def _survey_nets(
    plan: NetPlan,
    run: int,
    bench: Bench,
    journal: Journal,
    seed: int,
    progress: Progress,
    stop: Callable[[], bool],
) -> None:
    def time_group(group: Sequence[Architecture], number: int) -> None:
        found = bench.time_nets([plan.sentinel, *group], seed + run * 1000 + number)
        sentinel_ms = found[plan.sentinel.id].p50_ms
        for arch in group:
            journal.add(
                run=run,
                sentinel_ms=sentinel_ms,
                latency_ms=found[arch.id].beside(sentinel_ms),
                code=arch.code,
            )

    name = f"latency: networks, run {run + 1} of {RUNS}"
    known = {row.code for row in journal.nets(run)}
    missing = [arch for arch in plan.measured if arch.code not in known]
    task = functools.partial(_in_groups, time=time_group, size=NETS_A_GROUP, progress=progress, stop=stop)
    task(name, missing, of=len(plan.measured), key=(seed, run + 1), journal=journal)
    again = {row.code for row in journal.disturbed(journal.nets(run))}
    disturbed = [arch for arch in plan.measured if arch.code in again]
    task(f"{name}, those of a bad minute again", disturbed, key=(seed, RUNS + 2 + run), journal=journal)


def _in_groups(
    name: str,
    items: Sequence[Any],
    *,
    time: Callable[[Sequence[Any], int], None],
    size: int,
    key: tuple[int, int],
    journal: Journal,
    progress: Progress,
    stop: Callable[[], bool],
    of: int | None = None,
) -> None:
    """Times items in groups of `size`, shuffled by `key`; `of` is how many there are with those known already."""
    if not items and of is None:
        return
    total = of if of is not None else len(items)
    with progress.task(name, total, done=total - len(items)) as task:
        for number, group in enumerate(_groups(items, size, *key)):
            if stop():
                raise Interrupted(f"stopped. What was measured is kept in {journal.path}.")
            time(group, number)
            task.advance(len(group))


def settings_id(space: SearchSpace, measured_on: Fingerprint, effort: str) -> str:
    """Returns the identity of what a figure holds for; figures of equal settings may stand in one table."""
    return canonical_id({"space": space.id, "fingerprint": measured_on.id, "effort": effort})


def _groups(items: Sequence[Any], size: int, seed: int, counter: int) -> list[list[Any]]:
    """Returns the items in groups, shuffled: neighbours in a list are alike, and a busy minute must not hit one kind."""
    order = rng.generator(seed, "latency groups", counter).permutation(len(items))
    return [[items[index] for index in order[start : start + size]] for start in range(0, len(items), size)]


def _usual_sentinel_ms(rows: Sequence[Row]) -> float:
    return float(np.median([row.sentinel_ms for row in rows]))


def _related(rows: Sequence[Row]) -> dict[Any, float]:
    usual_ms = _usual_sentinel_ms(rows)
    return {row.key: row.latency_ms * usual_ms / row.sentinel_ms for row in rows}

"""From measured figures to a table: fit on the first run, test on the second, bound, noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from posesearch.latency.blocks import blocks_in
from posesearch.latency.bound import Bound
from posesearch.latency.choose import NetPlan
from posesearch.latency.device import Fingerprint
from posesearch.latency.estimate import Estimator, fit_estimator
from posesearch.latency.learn import bound_of, table_scores
from posesearch.latency.noise import run_noise
from posesearch.latency.survey import Figures
from posesearch.latency.table import Entry, LatencyTable, StoredNet
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace


def make_table(
    space: SearchSpace,
    plan: NetPlan,
    figures: Figures,
    *,
    measured_on: Fingerprint,
    effort: str,
    seed: int,
) -> LatencyTable:
    """Fits, scores and bounds a predictor.

    What is stored is what was tested: the predictor fitted on the first run alone. The scores on the second run therefore
    hold the disagreement of the runs as well; the bound also how much faster or slower the whole machine was in it, which
    is what a later measurement will show.

    Args:
        space: The space.
        plan: Which networks to fit on and which to test on.
        figures: What was measured.
        measured_on: Device and conditions.
        effort: How long a network was measured.
        seed: Key of the choice of networks.
    """
    first_ms, second_ms = figures.runs_ms
    calibration = fit_estimator(
        {arch: first_ms[arch.code] for arch in plan.fit}, figures.costs_ms, space, seed
    )
    estimator = Estimator(figures.costs_ms, calibration, space)
    nets = _stored(plan, figures)
    sentinel_factor = figures.sentinel_ms[1] / figures.sentinel_ms[0]
    everything = plan.measured
    table = LatencyTable(
        space=space,
        fingerprint=measured_on,
        effort=effort,
        seed=seed,
        entries=tuple(Entry(block=block, cost_ms=figures.costs_ms[block]) for block in blocks_in(space)),
        calibration=calibration,
        bound=Bound(low=0.0, high=0.0, coverage=0.0, nets=0),
        sentinel=plan.sentinel.code,
        sentinel_ms=figures.sentinel_ms[0],
        sentinel_factor=sentinel_factor,
        nets=nets,
        noise=run_noise(_of(first_ms, everything), _of(second_ms, everything)),
        scores=table_scores(estimator, nets, space, sentinel_factor),
    )
    return dataclasses.replace(table, bound=bound_of(table))


def _stored(plan: NetPlan, figures: Figures) -> tuple[StoredNet, ...]:
    return tuple(
        StoredNet(
            code=arch.code,
            role="fit" if arch in plan.fit else "held-out",
            runs_ms=tuple(run_ms[arch.code] for run_ms in figures.runs_ms),
        )
        for arch in plan.measured
    )


def _of(latencies_ms: dict[str, float], archs: Sequence[Architecture]) -> np.ndarray:
    return np.array([latencies_ms[arch.code] for arch in archs])

"""What a table knows from its networks: the bound their errors support, and what selected networks add to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from posesearch.latency.bound import Bound, conformal_bound
from posesearch.latency.estimate import Estimator, fit_estimator
from posesearch.latency.features import total_depth
from posesearch.latency.scores import baseline_errors, score
from posesearch.latency.table import LatencyTable, StoredNet, TableScores
from posesearch.models.cost import macs_of
from posesearch.spaces.space import SearchSpace

RECENT_SELECTED = 40
"""Selected networks, the newest, whose errors the bound must cover; what older predictors did wrong is forgotten."""


def estimator_of(table: LatencyTable) -> Estimator:
    """Returns the estimator of a table."""
    return Estimator(table.costs_ms(), table.calibration, table.space)


def bound_of(table: LatencyTable) -> Bound:
    """Returns the bound that a table's evidence supports under its calibration.

    Held-out networks count with the run that was not fitted, the newest selected ones with the prediction made before
    they were known, and no bound is finer than the disagreement of the two runs.
    """
    estimator = estimator_of(table)
    held_out = [
        net.runs_ms[-1] / estimator.latency_ms(table.space.arch_from_code(net.code)) - 1.0
        for net in table.with_role("held-out")
    ]
    bound = conformal_bound(held_out).at_least(table.noise.mape)
    selected = table.with_role("selected")[-RECENT_SELECTED:]
    if selected:
        bound = bound.widened(conformal_bound([net.runs_ms[0] / net.predicted_ms - 1.0 for net in selected]))
    return bound


def table_scores(
    estimator: Estimator, nets: Sequence[StoredNet], space: SearchSpace, sentinel_factor: float
) -> TableScores:
    """Scores an estimator, and the trivial predictors fitted on the same networks.

    Args:
        estimator: Fitted on the networks of roles "fit" and "selected".
        nets: All networks; the selected ones are scored by what was predicted before they were known.
        space: Their space.
        sentinel_factor: How much slower the sentinel was in the second run.
    """
    fitted = [net for net in nets if net.role != "held-out"]
    held_out = [net for net in nets if net.role == "held-out"]
    selected = [net for net in nets if net.role == "selected"]
    predicted_ms_N = np.array([estimator.latency_ms(space.arch_from_code(net.code)) for net in held_out])
    other_ms_N = _run_ms(held_out, -1) / sentinel_factor
    baselines, after_scale = baseline_errors(
        (*_trivial(fitted, space), _run_ms(fitted, 0)), (*_trivial(held_out, space), other_ms_N)
    )
    return TableScores(
        other_run=score(predicted_ms_N, other_ms_N),
        as_measured=score(predicted_ms_N, _run_ms(held_out, -1)),
        same_run=score(predicted_ms_N, _run_ms(held_out, 0)),
        selected=score(np.array([net.predicted_ms for net in selected]), _run_ms(selected, 0))
        if selected
        else None,
        baselines=baselines,
        baselines_after_scale=after_scale,
    )


def with_selected(table: LatencyTable, new: tuple[StoredNet, ...]) -> LatencyTable:
    """Returns the table fitted on further networks as well, with the bound and the scores of the new fit."""
    nets = table.nets + new
    fitted_ms = {
        table.space.arch_from_code(net.code): net.runs_ms[0]
        for net in nets
        if net.role in ("fit", "selected")
    }
    calibration = fit_estimator(fitted_ms, table.costs_ms(), table.space, table.seed)
    learnt = dataclasses.replace(table, nets=nets, calibration=calibration)
    scores = table_scores(estimator_of(learnt), nets, table.space, table.sentinel_factor)
    return dataclasses.replace(learnt, scores=scores, bound=bound_of(learnt))


def _run_ms(nets: Sequence[StoredNet], run: int) -> np.ndarray:
    return np.array([net.runs_ms[run] for net in nets])


def _trivial(nets: Sequence[StoredNet], space: SearchSpace) -> tuple[np.ndarray, np.ndarray]:
    """Returns depths and MACs, what the trivial predictors see."""
    archs = [space.arch_from_code(net.code) for net in nets]
    return np.array([total_depth(arch) for arch in archs]), np.array([macs_of(arch) for arch in archs])

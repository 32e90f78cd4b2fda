"""What a table knows from its networks: the bound their errors support, and what selected networks add to it."""

from __future__ import annotations

import dataclasses

import numpy as np

from posesearch.latency.bound import Bound, conformal_bound
from posesearch.latency.estimate import Estimator, fit_estimator
from posesearch.latency.scores import score
from posesearch.latency.table import LatencyTable, StoredNet

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


def with_selected(table: LatencyTable, new: tuple[StoredNet, ...]) -> LatencyTable:
    """Returns the table fitted on further networks as well, scored on them as they were predicted before."""
    nets = table.nets + new
    fitted_ms = {
        table.space.arch_from_code(net.code): net.runs_ms[0]
        for net in nets
        if net.role in ("fit", "selected")
    }
    selected = [net for net in nets if net.role == "selected"]
    scored = score(
        np.array([net.predicted_ms for net in selected]), np.array([net.runs_ms[0] for net in selected])
    )
    learnt = dataclasses.replace(
        table,
        nets=nets,
        calibration=fit_estimator(fitted_ms, table.costs_ms(), table.space, table.seed),
        scores=dataclasses.replace(table.scores, selected=scored),
    )
    return dataclasses.replace(learnt, bound=bound_of(learnt))

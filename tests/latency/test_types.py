"""What may satisfy a budget, and what may not."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesearch.config import parse_stored
from posesearch.errors import DataError, UsageError
from posesearch.latency.types import (
    Conditions,
    LatencyBudget,
    Measured,
    Predicted,
    latency_from_plain,
    measured_from_plain,
)

MEASURED = Measured(
    p50_ms=3.0,
    p90_ms=3.4,
    ci_low_ms=2.9,
    ci_high_ms=3.1,
    runtime="eager",
    precision="fp32",
    device="a device",
    threads=1,
    batch=1,
    rounds=20,
    processes=2,
    noise="quiet",
)
PREDICTED = Predicted(latency_ms=3.0, low_ms=2.8, high_ms=3.2, source="table")


def test_a_prediction_never_satisfies_a_budget():
    budget = LatencyBudget(latency_ms=10.0)
    for question in (budget.allows, budget.verdict, budget.excess_ms):
        with pytest.raises(TypeError, match="only a Measured latency can satisfy a budget, got Predicted"):
            question(PREDICTED)


@pytest.mark.parametrize(("field", "value"), [("runtime", "cudagraph"), ("precision", "fp16")])
def test_a_budget_is_for_one_runtime_and_precision(field, value):
    with pytest.raises(
        UsageError, match=f"the budget is for {field} '{value}', the latency was measured with"
    ):
        LatencyBudget(latency_ms=10.0, **{field: value}).allows(MEASURED)


@pytest.mark.parametrize(
    ("limit_ms", "percentile", "verdict"),
    [
        (3.1, "p50", "within"),
        (3.05, "p50", "within noise"),
        (3.0, "p50", "within noise"),
        (2.99, "p50", "over"),
        (3.6, "p90", "within"),
        (3.45, "p90", "within noise"),
        (3.3, "p90", "over"),
    ],
)
def test_verdicts(limit_ms, percentile, verdict):
    budget = LatencyBudget(latency_ms=limit_ms, percentile=percentile)
    assert budget.verdict(MEASURED) == verdict
    assert budget.allows(MEASURED) == (verdict != "over")


@pytest.mark.parametrize(
    ("limit_ms", "spread", "verdict"),
    [
        (30.0, 0.0, "within"),
        (1.11 * MEASURED.ci_high_ms, 0.0, "within"),
        (1.09 * MEASURED.ci_high_ms, 0.0, "within noise"),
        (1.11 * MEASURED.ci_high_ms, 0.2, "within noise"),
        (3.0, 0.0, "within noise"),
        (2.99, 0.0, "over"),
    ],
)
def test_a_noisy_measurement_needs_room_to_be_within(limit_ms, spread, verdict):
    noisy = dataclasses.replace(MEASURED, noise="noisy", process_spread=spread)
    assert LatencyBudget(latency_ms=limit_ms).verdict(noisy) == verdict


@given(st.floats(min_value=0.01, max_value=1e4))
def test_excess_is_the_sign_of_the_constraint(limit_ms):
    budget = LatencyBudget(latency_ms=limit_ms)
    assert (budget.excess_ms(MEASURED) <= 0) == budget.allows(MEASURED)


@pytest.mark.parametrize("latency", [MEASURED, PREDICTED])
def test_plain_round_trip_keeps_the_kind(latency):
    plain = latency.to_plain()
    assert plain["kind"] == type(latency).__name__.lower()
    assert latency_from_plain(plain, "file") == latency


def test_measured_plain_has_the_throughput():
    plain = dataclasses.replace(MEASURED, p50_ms=4.0).to_plain()
    assert plain["fps"] == 250.0
    assert MEASURED.at("p90") == 3.4


def test_a_prediction_is_not_read_as_a_measurement():
    with pytest.raises(DataError, match=r"result.json: expected a measured latency, found a predicted one"):
        measured_from_plain(PREDICTED.to_plain(), "result.json")
    with pytest.raises(DataError, match=r"latency kind None is not known. Allowed: measured, predicted"):
        latency_from_plain({"p50_ms": 3.0}, "result.json")
    with pytest.raises(DataError, match="p90_ms: missing"):
        latency_from_plain({"kind": "measured", "p50_ms": 3.0}, "result.json")


def test_conditions_are_checked():
    with pytest.raises(UsageError, match=r"--precision 'fp61' is not known. Did you mean 'fp16'\?"):
        Conditions(precision="fp61")
    with pytest.raises(UsageError, match="--threads 0: expected at least 1"):
        Conditions(threads=0)


def test_conditions_know_their_layout():
    with pytest.raises(
        UsageError, match=r"--memory-format 'chanels_last' is not known. Did you mean 'channels_last'"
    ):
        Conditions(memory_format="chanels_last")


def test_what_older_versions_stored_still_loads():
    plain = MEASURED.to_plain()
    for name in ("memory_format", "device_ms", "first_call_ms", "notes"):
        del plain[name]
    assert latency_from_plain(plain, "result.json") == MEASURED
    conditions = Conditions().to_plain()
    del conditions["memory_format"]
    assert parse_stored(Conditions, conditions, "table") == Conditions()


def test_the_new_figures_survive_storing():
    rich = dataclasses.replace(MEASURED, device_ms=1.5, first_call_ms=80.0, notes=("busy: load 3",))
    assert latency_from_plain(json.loads(json.dumps(rich.to_plain())), "file") == rich

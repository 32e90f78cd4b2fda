"""What is said of a latency and the budget, with and without a stored verdict, and models in further runtimes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_run_folder import build_run
from hypothesis import given
from hypothesis import strategies as st

from posesearch.errors import DataError
from posesearch.latency.types import LatencyBudget, Measured, Predicted
from posesearch.report.read import budget_of, point_of, read_run
from posesearch.report.read_latency import latency_of
from posesearch.report.tables import model_columns, model_table
from posesearch.report.write import write_report

WORDS = {
    "within": ("",),
    "within noise": ("within noise of the budget",),
    "over": ("over budget", "over budget, within noise of it"),
}


def measured(p50_ms: float, p90: float, low: float, high: float, noise: str) -> Measured:
    return Measured(
        p50_ms=p50_ms, p90_ms=p50_ms * p90, ci_low_ms=p50_ms * low, ci_high_ms=p50_ms * high, runtime="eager",
        precision="fp32", device="d", threads=1, batch=1, rounds=20, processes=2, noise=noise,
    )  # fmt: skip


@given(
    latency=st.builds(
        measured,
        st.floats(2.0, 4.0),
        st.floats(1.0, 1.2),
        st.floats(0.9, 1.0),
        st.floats(1.0, 1.1),
        st.sampled_from(["quiet", "noisy"]),
    ),
    percentile=st.sampled_from(["p50", "p90"]),
)
def test_without_a_stored_verdict_the_rule_is_that_of_the_search(latency: Measured, percentile: str) -> None:
    searched = LatencyBudget(latency_ms=3.0, percentile=percentile)
    budget = budget_of(searched.to_plain(), "here")
    assert budget is not None
    verdict = searched.verdict(latency)
    known = latency_of(latency.to_plain(), "here")
    assert known is not None and budget.verdict(known) == verdict
    row = {"arch_id": "a", "code": "c", "confirmed": latency.to_plain()}
    assert budget.note(point_of(row, "here")) == budget.note(point_of(row | {"verdict": verdict}, "here"))
    assert budget.note(point_of(row, "here")) in WORDS[verdict]


def test_a_noisy_figure_needs_room() -> None:
    budget = budget_of(LatencyBudget(latency_ms=3.0).to_plain(), "here")
    row = {"arch_id": "a", "code": "c", "latency": measured(2.8, 1.1, 0.99, 1.01, "noisy").to_plain()}
    assert budget is not None and budget.note(point_of(row, "here")) == "within noise of the budget"
    row["latency"] = measured(2.6, 1.1, 0.99, 1.01, "noisy").to_plain()
    assert budget.note(point_of(row, "here")) == ""


@pytest.mark.parametrize(("high_ms", "note"), [(2.9, ""), (3.1, "predicted over budget")])
def test_a_prediction_is_held_to_the_budget_by_its_upper_end(high_ms: float, note: str) -> None:
    budget = budget_of(LatencyBudget(latency_ms=3.0).to_plain(), "here")
    predicted = Predicted(latency_ms=2.8, low_ms=2.7, high_ms=high_ms, source="t")
    row = {
        "arch_id": "a",
        "code": "c",
        "latency": predicted.to_plain(),
        "confirmed": None,
        "verdict": "unverified",
    }
    assert budget is not None and budget.note(point_of(row, "here")) == note


@pytest.fixture
def fake_run(tmp_path: Path) -> Path:
    """A small finished run."""
    return build_run(tmp_path / "run", asks=40)


def change(run: Path, name: str, value: object) -> None:
    file = run / "models" / f"{name}.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"confirmed_also": value}))


def test_models_are_shown_in_further_runtimes(fake_run: Path) -> None:
    change(fake_run, "S", {})
    rows = read_run(fake_run)
    (knee, best) = rows.models
    assert [runtime for runtime, _ in knee.also] == ["cudagraph"] and best.also == ()
    column = model_columns(rows).index("CUDA graph p50 (ms)")
    cells = [row.cells[column] for row in model_table(rows)]
    assert cells[0].startswith(f"{knee.also[0][1].p50_ms:.3g}"[:3]) and cells[1] == "—"
    assert "CUDA graph p50 (ms)" in write_report(fake_run).html.read_text()


def test_models_of_one_runtime_have_no_further_column(fake_run: Path) -> None:
    for name in ("T", "S"):
        file = fake_run / "models" / f"{name}.json"
        plain = json.loads(file.read_text())
        del plain["confirmed_also"]  # as earlier versions wrote it
        file.write_text(json.dumps(plain))
    rows = read_run(fake_run)
    assert len(model_columns(rows)) == 9 and {len(row.cells) for row in model_table(rows)} == {9}


def test_a_broken_figure_names_file_and_key(fake_run: Path) -> None:
    change(fake_run, "T", ["cudagraph"])
    with pytest.raises(
        DataError, match=r"T\.json: confirmed_also: got \['cudagraph'\], expected a JSON object"
    ):
        read_run(fake_run)

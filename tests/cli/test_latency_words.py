"""Latency as the tables write it: predictions never look like measurements, and a second runtime has its own column."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from test_tables import BUDGET, CANDIDATE, EVALUATION

from posesearch.cli.main_path import search as search_command
from posesearch.cli.results import candidate_grid, model_grid, search_grids
from posesearch.latency.runtimes import RUNTIMES

PREDICTED = {"kind": "predicted", "latency_ms": 3.2, "low_ms": 3.0, "high_ms": 3.4, "source": "t1"}
LABEL = "predicted for NVIDIA H200, unverified"
ROW = CANDIDATE | {"latency": PREDICTED, "confirmed": None, "verdict": "unverified"}


def test_a_prediction_is_marked_in_every_cell(tmp_path: Path) -> None:
    slow = PREDICTED | {"latency_ms": 3.4, "high_ms": 3.6}
    reference = ROW | {"reference": "starnet-pose-t", "latency": slow, "feasible": False}
    result = {"budget": BUDGET, "label": LABEL, "front": [ROW], "picks": {}, "references": [reference]}
    (tmp_path / "result.json").write_text(json.dumps(result))
    (tmp_path / "evaluations.jsonl").write_text(json.dumps({"evaluation": EVALUATION}) + "\n")
    front, references = search_grids(tmp_path)
    assert front.title == f"Pareto front within 3.5 ms, {LABEL}"
    assert front.rows[0][2:5] == ("~3.20", "3.00-3.40", "-")
    assert front.caption[1:] == ("~ms: predicted, not measured; interval: of the prediction",)
    assert references.rows[0][-1] == "starnet-pose-t, predicted over budget"


def test_an_unverified_model_says_so() -> None:
    model = {
        "name": "T", "pick": "knee", "code": "w8", "cost": CANDIDATE["cost"], "extracted": EVALUATION,
        "latency": PREDICTED | {"label": LABEL},
    }  # fmt: skip
    grid = model_grid([model])
    assert grid.rows[0][5:7] == ("~3.20", "3.00-3.40")
    assert grid.rows[0][-1] == LABEL


def test_the_other_runtime_has_a_column_of_its_own() -> None:
    beside = CANDIDATE | {"confirmed_also": {"onnxruntime": {"p50_ms": 1.234}}}
    grid = candidate_grid("front", [beside, CANDIDATE], budget=BUDGET)
    column = grid.columns.index("onnxruntime ms")
    assert [row[column] for row in grid.rows] == ["1.23", "-"]
    assert "onnxruntime ms" in grid.right
    assert grid.caption[-1].startswith("onnxruntime ms: the same networks in that runtime, for comparison")
    assert not any("onnxruntime" in name for name in candidate_grid("front", [CANDIDATE]).columns)


def test_a_model_shows_the_other_runtime_as_well() -> None:
    model = {"name": "T", "code": "w8", "cost": CANDIDATE["cost"], "latency": {"p50_ms": 1.5}}
    beside = model | {"name": "S", "confirmed_also": {"onnxruntime": {"kind": "measured", "p50_ms": 1.234}}}
    grid = model_grid([model | {"confirmed_also": {}}, beside])
    column = grid.columns.index("onnxruntime ms")
    assert [row[column] for row in grid.rows] == ["-", "1.23"]
    assert "onnxruntime ms" in grid.right
    assert "onnxruntime ms: the same networks in that runtime, for comparison" in grid.caption
    assert not any("onnxruntime" in name for name in model_grid([model]).columns)


def test_batch_and_memory_format_are_told() -> None:
    timed = {"p50_ms": 3.0, "runtime": "eager", "batch": 8, "threads": 2, "memory_format": "channels_last"}
    grid = candidate_grid("front", [CANDIDATE | {"confirmed": timed}])
    assert grid.caption[1] == "ms: 8 images, eager, 2 threads, channels_last"


def test_the_help_names_every_runtime() -> None:
    line = next(line for line in (search_command.__doc__ or "").splitlines() if "runtime:" in line)
    assert all(name in line for name in RUNTIMES)


def test_the_search_says_that_its_front_is_unverified(call, flow, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps({"budget": BUDGET, "label": LABEL, "front": [ROW]}))
    result = SimpleNamespace(
        to_plain=lambda: {"label": LABEL},
        folder=tmp_path,
        evaluations=3,
        plan={},
        outcome=object(),
        next_command="x",
    )
    spy = flow("search", "search", result=result)
    told = call("search", "--latency-ms", "3.5", "--table", "h200", "--unverified", "--batch", "2")
    assert told.code == 0
    assert f"The front is {LABEL}: run this search on that device to measure it." in told.out
    asked = spy.calls[0]
    assert (asked["table"], asked["unverified"], asked["batch"], asked["memory_format"]) == (
        "h200", True, 2, "contiguous",
    )  # fmt: skip

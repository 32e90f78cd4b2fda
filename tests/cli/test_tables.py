"""What people read: tables of candidates and models, evaluations that name their conditions, files and hints."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from posesearch.cli.options import DataOptions
from posesearch.cli.output import evaluation_line, millions, number
from posesearch.cli.progress import RichProgress
from posesearch.cli.results import candidate_grid, model_grid, plan_lines
from posesearch.errors import UsageError

EVALUATION = {
    "AP": 0.5123,
    "AP50": 0.81,
    "AP75": 0.55,
    "AR": 0.57,
    "PCK": 0.701,
    "boxes": "gt",
    "flip": False,
    "input_size": [128, 96],
    "persons": 296,
    "split": "val",
}
CANDIDATE = {
    "arch_id": "ab12",
    "code": "w8_d1_k3_r2_a0",
    "AP": 0.4567,
    "cost": {"params": 3_504_155, "macs": 434_939_520},
    "latency": {"p50_ms": 3.0, "fps": 333.3},
    "confirmed": {"p50_ms": 3.456, "fps": 289.4},
}


def test_an_evaluation_names_boxes_flip_size_split_and_persons() -> None:
    assert evaluation_line("T", EVALUATION) == (
        "T: AP 0.512  AP50 0.810  AP75 0.550  AR 0.570  PCK@0.2 0.701  "
        "(296 persons of val, boxes gt, no flip test, 128x96)"
    )


def test_the_confirmed_latency_is_the_one_shown_and_picks_are_noted() -> None:
    grid = candidate_grid("front", [CANDIDATE], picks={"best": "ab12", "knee": "cd34"})
    assert grid.rows == (("1", "0.457", "3.46", "289", "3.504 M", "0.435 G", "w8_d1_k3_r2_a0", "best"),)


def test_a_model_shows_its_accuracy_at_every_stage() -> None:
    model = {
        "name": "T",
        "pick": "knee",
        "code": "w8_d1_k3_r2_a0",
        "cost": CANDIDATE["cost"],
        "supernet": {"AP": 0.41},
        "extracted": {"AP": 0.412},
        "retrained": None,
        "latency": {"p50_ms": 1.5},
        "parity": {"max_abs_diff": 0.0},
    }
    assert model_grid([model]).rows[0] == (
        "T", "knee", "0.410", "0.412", "-", "1.50", "3.504 M", "0.0e+00", "w8_d1_k3_r2_a0",
    )  # fmt: skip


def test_figures() -> None:
    assert (number(None), number(0.12345), number(1234)) == ("-", "0.123", "1,234")
    assert (millions(3_504_155), millions(434_939_520)) == ("3.504 M", "0.435 G")


def test_a_plan_is_indented_by_depth() -> None:
    assert plan_lines({"steps": 3, "space": {"name": "demo"}, "init": None}) == (
        "dry run, nothing was written:",
        "  steps: 3",
        "  space:",
        "    name: demo",
    )


def test_long_lines_are_not_broken_in_a_pipe(call, flow) -> None:
    path = Path("runs") / ("x" * 300) / "report.html"
    flow("report", "report", result=SimpleNamespace(run="x", files=(path,), to_plain=dict))
    assert f"  {path}\n" in call("report").out


def test_brackets_in_a_message_are_printed_as_they_are(call, flow) -> None:
    result = SimpleNamespace(run="[red]x[/red]", files=(), to_plain=dict)
    flow("report", "report", result=result)
    assert "report of run [red]x[/red]" in call("report").out


def test_data_options_become_a_source_and_words() -> None:
    assert DataOptions().source() is None
    options = DataOptions(data="my data", annotations="lspet")
    assert options.as_words() == "--data 'my data' --annotations lspet"
    source = options.source()
    assert source is not None
    assert source.to_plain() == {"data": "my data", "annotations": "lspet"}
    with pytest.raises(UsageError, match=r"--images alone does not name a data set\. Give --data DIR too"):
        DataOptions(images="x").source()


def test_result_files_and_models_are_told_apart(call, flow) -> None:
    spy = flow("evaluate", "evaluate_results", result={"AP": 0.5})
    both = call("evaluate", "m.safetensors", "--results", "r.json", "--annotations", "gt.json")
    assert both.code == 2
    assert "both the model 'm.safetensors' and --results r.json are given." in both.err
    neither = call("evaluate")
    assert neither.code == 2
    assert neither.err.startswith("error: nothing to evaluate. Give a model file")
    missing = call("evaluate", "--results", "r.json")
    assert missing.code == 2
    assert "--results needs --annotations FILE" in missing.err
    assert spy.calls == []


def test_scores_of_a_result_file_are_unrounded_in_json(call, flow) -> None:
    names = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
    scores = {name: 1 / (3 + index) for index, name in enumerate(names)}
    spy = flow("evaluate", "evaluate_results", result=scores)
    outcome = call("evaluate", "--results", "r.json", "--annotations", "gt.json", "--json")
    assert '"AP": 0.3333333333333333' in outcome.out
    assert spy.calls == [{"results": Path("r.json"), "annotations": Path("gt.json")}]
    text = call("evaluate", "--results", "r.json", "--annotations", "gt.json").out
    assert "AP:   0.3333" in text


def test_a_bar_shows_figures_and_leaves_one_line() -> None:
    stream = io.StringIO()
    progress = RichProgress(Console(file=stream, force_terminal=True, width=120))
    with progress.task("supernet", 4, done=1) as task:
        task.advance(1, loss=2.5)
        with progress.task("evaluating", 2) as inner:
            inner.advance(2)
        progress.message("halfway")
        task.advance(2, loss=1.25)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).replace("\r", "\n").splitlines()
    assert "halfway" in lines
    assert any(line.startswith("evaluating: 2/2  (in 0 s)") for line in lines)
    assert any(line.startswith("supernet: 4/4  loss 1.25  (in 0 s)") for line in lines)


def test_a_bar_that_ends_in_an_error_leaves_no_closing_line() -> None:
    stream = io.StringIO()
    progress = RichProgress(Console(file=stream, force_terminal=True, width=120))
    with pytest.raises(KeyError), progress.task("supernet", 4):
        raise KeyError
    assert "(in " not in stream.getvalue()
    with progress.task("again", 1) as task:
        task.advance()
    assert "again: 1/1" in stream.getvalue()

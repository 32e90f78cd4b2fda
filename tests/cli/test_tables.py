"""What people read: tables of candidates and models, evaluations that name their conditions, files and hints."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from posesearch.cli.options import DataOptions
from posesearch.cli.output import Answer, Grid, Printer, evaluation_line, millions, number
from posesearch.cli.progress import RichProgress
from posesearch.cli.results import candidate_grid, model_grid, plan_lines, search_grids
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
    "latency": {"kind": "measured", "p50_ms": 3.0, "fps": 333.3},
    "confirmed": {"kind": "measured", "p50_ms": 3.456, "fps": 289.4},
}


def test_an_evaluation_names_boxes_flip_size_split_and_persons() -> None:
    assert evaluation_line("T", EVALUATION) == (
        "T: AP 0.512  AP50 0.810  AP75 0.550  AR 0.570  PCK@0.2 0.701  "
        "(296 persons of val, boxes gt, no flip test, 128x96)"
    )


def test_the_confirmed_latency_is_the_one_shown_and_picks_are_noted() -> None:
    grid = candidate_grid("front", [CANDIDATE], picks={"best": "ab12", "knee": "cd34"})
    assert grid.rows == (("1", "0.457", "3.46", "-", "289", "3.504 M", "0.435 G", "w8_d1_k3_r2_a0", "best"),)


BUDGET = {"latency_ms": 3.5, "percentile": "p50"}


def test_a_table_says_its_conditions_and_its_noise() -> None:
    noisy = {
        "kind": "measured", "p50_ms": 3.456, "p90_ms": 4.0, "ci_low_ms": 3.4, "ci_high_ms": 3.61, "fps": 289.4, "noise": "noisy",
        "runtime": "eager", "precision": "fp32", "device": "AMD EPYC", "threads": 1,
    }  # fmt: skip
    row = CANDIDATE | {"confirmed": noisy, "verdict": "within noise"}
    searched = EVALUATION | {"split": "train-held-out", "persons": 233}
    grid = candidate_grid("front", [row], picks={"best": "ab12"}, budget=BUDGET, conditions=searched)
    assert grid.columns[:4] == ("#", "AP (search)", "p50 ms", "interval")
    assert grid.rows[0][3] == "3.40-3.61"
    assert grid.rows[0][-1] == "best, within noise of the budget, noisy"
    assert grid.caption == (
        "AP: weights of the supernet, search split, 233 persons, ground-truth boxes, no flip test, 128x96",
        "ms: one image, eager, fp32, AMD EPYC, 1 thread; interval: of the median (p50)",
        "noisy: the machine was busy while this was measured; measure again when it is quiet",
    )
    asked = candidate_grid("front", [row], budget=BUDGET | {"percentile": "p90"})
    assert asked.columns[2:4] == ("p50 ms", "p90 ms")


@pytest.mark.parametrize(
    ("confirmed", "verdict", "note"),
    [
        ({"p50_ms": 3.0}, "within", ""),
        ({"p50_ms": 3.6}, "over", "over budget"),
        ({"p50_ms": 3.6, "ci_low_ms": 3.4, "ci_high_ms": 5.0}, "over", "over budget, within noise of it"),
        # What earlier versions wrote has no verdict; the rule is the same.
        ({"p50_ms": 3.0}, None, ""),
        ({"p50_ms": 3.6}, None, "over budget"),
        ({"p50_ms": 3.4, "ci_high_ms": 3.6}, None, "within noise of the budget"),
        ({"p50_ms": 3.0, "noise": "noisy"}, None, "noisy"),
        ({"p50_ms": 3.3, "noise": "noisy"}, None, "within noise of the budget, noisy"),
    ],
)
def test_over_budget_is_what_was_confirmed(confirmed: dict, verdict: str | None, note: str) -> None:
    row = CANDIDATE | {"confirmed": {"kind": "measured"} | confirmed, "feasible": False}
    row |= {"verdict": verdict} if verdict else {}
    assert candidate_grid("t", [row], budget=BUDGET).rows[0][-1] == note


def test_the_tables_of_a_search_name_budget_and_picks(tmp_path: Path) -> None:
    row = CANDIDATE | {"verdict": "within"}
    result = {
        "budget": BUDGET,
        "front": [row],
        "picks": {"best": "ab12", "knee": "ab12", "fastest": "ab12"},
        "references": [row | {"reference": "starnet-pose-t"}],
    }
    (tmp_path / "result.json").write_text(json.dumps(result))
    (tmp_path / "evaluations.jsonl").write_text(json.dumps({"evaluation": EVALUATION}) + "\n")
    front, references = search_grids(tmp_path)
    assert front.title == "Pareto front within 3.5 ms"
    assert front.rows[0][-1] == "fastest, knee, best"
    assert "val split, 296 persons, ground-truth boxes, no flip test, 128x96" in front.caption[0]
    assert (references.rows[0][-1], references.caption) == ("starnet-pose-t", ())
    result["budget"] = BUDGET | {"percentile": "p90"}
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert search_grids(tmp_path)[0].title == "Pareto front within 3.5 ms (p90)"


def test_a_caption_stands_under_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    grid = Grid(title="Front", columns=("a",), rows=(("1",),), caption=("a: conditions",))
    Printer().show(Answer(document=None, text=(grid, "end")))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[-3:] == ["a: conditions", "", "end"]


def test_a_model_shows_its_accuracy_at_every_stage() -> None:
    model = {
        "name": "T",
        "pick": "knee",
        "code": "w8_d1_k3_r2_a0",
        "cost": CANDIDATE["cost"],
        "supernet": {"AP": 0.41, "split": "search"},
        "extracted": EVALUATION | {"AP": 0.412},
        "retrained": None,
        "latency": {"p50_ms": 1.5},
        "parity": {"max_abs_diff": 0.0},
    }
    grid = model_grid([model])
    assert grid.rows[0] == (
        "T", "knee", "0.410", "0.412", "-", "1.50", "-", "3.504 M", "0.0e+00", "w8_d1_k3_r2_a0", "",
    )  # fmt: skip
    assert grid.columns[2:5] == ("AP in supernet (search)", "AP extracted (val)", "AP retrained (val)")
    assert grid.caption == (
        "AP in supernet: search split",
        "AP extracted: val split, 296 persons, ground-truth boxes, no flip test, 128x96",
        "ms: one image",
        "parity: largest difference to the subnet",
    )


def test_a_code_without_a_space_says_what_was_assumed(call) -> None:
    code = "w16-32-64-128_d1-1-4-1_k3-3-3-3_r2-2-2-2_a0000"
    told = call("space", "cost", code).out
    assert "no --space given: stem, head, input size and joints of space 'starnet' assumed" in told
    told = call("space", "cost", code, "--input-size", "128x96", "--joints", "13").out
    assert "no --space given: stem and head of space 'starnet' assumed" in told
    document = json.loads(call("space", "cost", code, "--json").out)
    assert (document["space"], document["space_assumed"]) == ("starnet", True)
    assert document["input_size"] == [256, 192]
    document = json.loads(call("space", "cost", code, "--space", "starnet", "--json").out)
    assert (document["space"], document["space_assumed"]) == ("starnet", False)
    assert "assumed" not in call("space", "cost", "starnet-pose-t").out


def test_spaces_are_counted_alike_everywhere(call) -> None:
    listed = call("space", "list").out
    assert "input (height x width)" in listed
    for name, count in (("demo", "1,679,616"), ("starnet", "3.40e9")):
        assert count in listed
        assert f"architectures: {count}\n" in call("space", "show", name).out


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

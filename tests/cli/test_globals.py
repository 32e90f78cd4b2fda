"""Global options: before and after the command, and what each of them changes."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from posesearch.cli.progress import RichProgress
from posesearch.progress import PlainProgress, SilentProgress

RESULT = SimpleNamespace(
    run="demo",
    models=(),
    shortlist=None,
    next_command="posesearch train runs/demo/models/T.safetensors",
    to_plain=lambda: {"run": "demo", "models": []},
)


@pytest.mark.parametrize(
    "words",
    [
        ["--seed", "7", "--device", "cpu", "train", "s050"],
        ["train", "--seed", "7", "s050", "--device", "cpu"],
        ["train", "s050", "--device=cpu", "--seed=7"],
    ],
)
def test_seed_and_device_reach_the_flow_from_any_place(words, call, flow) -> None:
    spy = flow("train", "train", error=KeyboardInterrupt())
    call(*words)
    assert {key: spy.calls[0][key] for key in ("model", "seed", "device", "dry_run")} == {
        "model": "s050",
        "seed": 7,
        "device": "cpu",
        "dry_run": False,
    }


def test_json_is_exactly_one_document_whatever_is_printed_on_the_way(call, flow) -> None:
    flow("extract", "extract", result=RESULT, noise="a library prints this")
    outcome = call("extract", "--json")
    assert outcome.code == 0
    assert json.loads(outcome.out) == {"run": "demo", "models": []}
    assert "a library prints this" in outcome.err


def test_text_ends_with_the_next_command_and_quiet_leaves_it_out(call, flow) -> None:
    flow("extract", "extract", result=RESULT)
    assert call("extract").out.rstrip().endswith("next: posesearch train runs/demo/models/T.safetensors")
    assert "next:" not in call("extract", "--quiet").out


def test_progress_is_heartbeats_in_a_pipe_and_silent_when_quiet(call, flow) -> None:
    spy = flow("extract", "extract", result=RESULT)
    call("extract")
    call("extract", "--quiet")
    assert isinstance(spy.calls[0]["progress"], PlainProgress)
    assert isinstance(spy.calls[1]["progress"], SilentProgress)


def test_progress_is_a_bar_on_a_terminal(call, flow, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = flow("extract", "extract", result=RESULT)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    call("extract")
    assert isinstance(spy.calls[0]["progress"], RichProgress)


def test_dry_run_is_passed_to_flows_that_plan(call, flow) -> None:
    planned = SimpleNamespace(plan={"steps": 120}, to_plain=lambda: {"plan": {"steps": 120}})
    spy = flow("supernet", "supernet_train", result=planned)
    outcome = call("supernet-train", "--dry-run")
    assert spy.calls[0]["dry_run"] is True
    assert outcome.out == "dry run, nothing was written:\n  steps: 120\n"


@pytest.mark.parametrize(
    "words", [["demo"], ["extract", "--pick", "best"], ["report"], ["data", "synth", "x"]]
)
def test_dry_run_of_the_others_names_the_options_and_calls_nothing(words, call, flow) -> None:
    module = {"data": "data"}.get(words[0], words[0])
    spy = flow(module, "synth" if module == "data" else module)
    outcome = call(*words, "--dry-run", "--json")
    document = json.loads(outcome.out)
    assert document["dry_run"] is True
    assert " ".join(words).startswith(document["command"])
    assert spy.calls == []


def test_version(call) -> None:
    import posesearch

    assert call("--version").out.strip() == posesearch.__version__
    assert json.loads(call("--json", "--version").out) == {"version": posesearch.__version__}
    assert call("search", "--version").out.strip() == posesearch.__version__


def test_a_rank_needs_no_hash_that_a_shell_would_eat(call, flow) -> None:
    spy = flow("extract", "extract", result=RESULT)
    call("extract", "--pick", "2", "--pick", "#3", "--pick", "best")
    assert spy.calls[0]["picks"] == ("#2", "#3", "best")

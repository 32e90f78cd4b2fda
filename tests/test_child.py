"""Questions to a fresh process: the answer is one JSON value, whatever the process prints, and its faults are told."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from posesearch import child
from posesearch.errors import DataError, EnvironmentFault, PosesearchError


def run(monkeypatch, *, code=0, out="", err="", seen=None):
    """Puts a finished process in the place of the real one."""

    def stand_in(command, **options):
        if seen is not None:
            seen.update(options, command=command)
        return subprocess.CompletedProcess(command, code, out, err)

    monkeypatch.setattr(child.subprocess, "run", stand_in)


def ask(question=None):
    return child.ask(
        "posesearch.latency.process", question, process="slow process", work="3 things", limit_s=7.0,
        when_late="Wait longer.", when_dead="Free memory.",
    )  # fmt: skip


def serve(monkeypatch, answer, question="{}"):
    monkeypatch.setattr(sys, "stdin", io.StringIO(question))
    return child.serve(answer)


def test_the_question_goes_in_and_the_answer_comes_out(monkeypatch):
    seen = {}
    run(monkeypatch, out='{"found": [1, 2]}', seen=seen)
    assert ask({"of": "everything"}) == {"found": [1, 2]}
    assert json.loads(seen["input"]) == {"of": "everything"}
    assert seen["command"] == [sys.executable, "-m", "posesearch.latency.process"]
    assert seen["timeout"] == 7.0
    # A Ctrl-C in the terminal must not end the child before the asker has decided.
    assert seen["start_new_session"] is True


def test_last_words_of_a_process_that_died(monkeypatch):
    run(monkeypatch, code=5, err="\n".join(f"line {number}" for number in range(9)))
    with pytest.raises(EnvironmentFault) as caught:
        ask()
    assert str(caught.value) == (
        "the slow process ended with status 5. Its last lines:\nline 4\nline 5\nline 6\nline 7\nline 8\nFree memory."
    )


def test_a_process_that_died_in_silence(monkeypatch):
    run(monkeypatch, code=-9)
    with pytest.raises(
        EnvironmentFault, match=r"status -9\. Its last lines:\n\(it wrote nothing\)\nFree memory"
    ):
        ask()


def test_a_process_that_takes_too_long(monkeypatch):
    def late(*_, timeout, **__):
        raise subprocess.TimeoutExpired("x", timeout)

    monkeypatch.setattr(child.subprocess, "run", late)
    with pytest.raises(
        EnvironmentFault, match=r"the slow process did not finish 3 things within 7 s\. Wait longer"
    ):
        ask()


def test_what_a_library_prints_does_not_reach_the_answer(monkeypatch, capsys):
    def noisy(question):
        print("a runtime says hello")
        return {"asked": question}

    assert serve(monkeypatch, noisy, '{"a": 1}') == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"asked": {"a": 1}}
    assert "a runtime says hello" in captured.err


@pytest.mark.parametrize("fault", [DataError("the file is cut off."), EnvironmentFault("the disk is full.")])
def test_a_fault_is_one_line_and_its_exit_code(monkeypatch, capsys, fault: PosesearchError):
    def broken(_question):
        raise fault

    assert serve(monkeypatch, broken) == fault.exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"{fault}\n"

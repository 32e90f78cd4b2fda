"""How a run of the command line ends: exit codes, messages, no traceback, one JSON document."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest

from posesearch.errors import (
    ConfigError,
    DataError,
    EnvironmentFault,
    Interrupted,
    NoFeasibleArchitecture,
    UsageError,
)


class OutOfMemoryError(RuntimeError):
    """Named as torch's own."""


ENDINGS = [
    (UsageError("--run 'x y' cannot name a folder."), 2, "error: --run 'x y' cannot name a folder."),
    (NoFeasibleArchitecture("fastest found: 4.10 ms."), 3, "error: fastest found: 4.10 ms."),
    (DataError("val.json is cut off."), 4, "error: val.json is cut off."),
    (EnvironmentFault("run 'demo' is in use."), 5, "error: run 'demo' is in use."),
    (Interrupted("stopped; all is saved."), 130, "stopped; all is saved. Go on with: posesearch report"),
    (KeyboardInterrupt(), 130, "interrupted. What was saved before is kept. Go on with: posesearch report"),
    (
        OSError(errno.ENOSPC, "No space left on device", "runs/x"),
        5,
        "error: the system refused: No space left",
    ),
    (MemoryError(), 5, "error: out of memory: the system refused more. Use a smaller batch"),
    (OutOfMemoryError("CUDA out of memory"), 5, "error: out of memory: CUDA out of memory. Use a smaller"),
    (
        ModuleNotFoundError("No module named 'scipy'", name="scipy"),
        5,
        "error: the Python module 'scipy' is not",
    ),
    (
        KeyError("width"),
        1,
        "error: bug in posesearch: KeyError: 'width'; run again with --debug for the traceback",
    ),
    (
        FileNotFoundError(errno.ENOENT, "No such file", "a"),
        1,
        "error: bug in posesearch: FileNotFoundError: [Errno 2]",
    ),
]
NAMES = [type(error).__name__ for error, _code, _text in ENDINGS]


@pytest.mark.parametrize(("error", "code", "text"), ENDINGS, ids=NAMES)
def test_exit_code_and_one_message_without_traceback(error, code, text, call, flow) -> None:
    flow("report", "report", error=error)
    outcome = call("report")
    assert outcome.code == code
    assert outcome.err.startswith(text)
    assert "Traceback" not in outcome.err
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""


@pytest.mark.parametrize(("error", "code", "text"), ENDINGS, ids=NAMES)
def test_with_json_the_error_is_the_one_document(error, code, text, call, flow) -> None:
    flow("report", "report", error=error)
    outcome = call("report", "--json")
    document = json.loads(outcome.out)
    assert (outcome.code, document["exit_code"]) == (code, code)
    assert f"error: {document['error']}".startswith(text) or document["error"].startswith(text)
    assert outcome.err.startswith(text)


def test_the_line_that_resumes_quotes_and_leaves_fresh_out(call, flow) -> None:
    flow("supernet", "supernet_train", error=Interrupted("stopped."))
    outcome = call("supernet-train", "--data", "my people", "--fresh", "--quiet")
    assert outcome.err == "stopped. Go on with: posesearch supernet-train --data 'my people' --quiet\n"


def test_debug_shows_the_traceback(call, flow) -> None:
    flow("report", "report", error=KeyError("width"))
    outcome = call("report", "--debug")
    assert outcome.code == 1
    assert "Traceback (most recent call last)" in outcome.err
    assert "KeyError: 'width'" in outcome.err


def test_every_fault_of_a_configuration_is_printed_and_in_the_document(call, flow) -> None:
    faults = ("stages[0].wdith: unknown key. Did you mean 'width'?", "name: missing; it has no default.")
    flow("report", "report", error=ConfigError("my.yaml", faults))
    outcome = call("report", "--json")
    assert outcome.code == 2
    assert json.loads(outcome.out)["problems"] == list(faults)
    assert outcome.err == (
        "error: my.yaml: 2 problems found:\n"
        "  - stages[0].wdith: unknown key. Did you mean 'width'?\n"
        "  - name: missing; it has no default.\n"
    )


PARSE_ERRORS = [
    (["serch"], 'error: Unknown command "serch". Did you mean "search"?'),
    (["space", "sho"], 'error: Unknown command "sho". Did you mean "show"?'),
    (["search", "--latency-mss", "3"], "error: Unknown option: --latency-mss. Did you mean --latency-ms?"),
    (
        ["search", "--latency-ms", "fast"],
        'error: Invalid value for --latency-ms: unable to convert "fast" into float.',
    ),
    (
        ["search", "--percentile", "p95"],
        'error: Invalid value "p95" for --percentile. Choose from: "p50", "p90".',
    ),
    (["train"], 'error: Command "train" parameter MODEL requires an argument.'),
    (["report", "--seed", "x"], 'error: Invalid value for --seed: unable to convert "x" into int.'),
    (["space", "list", "extra"], "error: Unused Tokens: ['extra']."),
]


@pytest.mark.parametrize(("words", "text"), PARSE_ERRORS, ids=[" ".join(words) for words, _ in PARSE_ERRORS])
def test_a_line_that_cannot_be_parsed_ends_with_2_and_a_hint(words, text, call) -> None:
    outcome = call(*words)
    assert outcome.code == 2
    assert outcome.err.startswith(text)
    assert "--help' for what is allowed." in outcome.err
    assert outcome.err.count("\n") == 1
    as_json = call(*words, "--json")
    assert json.loads(as_json.out)["exit_code"] == 2


def test_the_hint_names_the_command(call) -> None:
    assert "Run 'posesearch space cost --help'" in call("space", "cost").err


def test_json_without_a_command_is_an_error_and_bare_shows_help(call) -> None:
    outcome = call("--json")
    assert outcome.code == 2
    assert json.loads(outcome.out)["error"].startswith("no command given.")
    bare = call()
    assert bare.code == 0
    assert "supernet-train" in bare.out


@pytest.mark.parametrize("words", [["space", "list"], ["space", "list", "--json"]])
def test_a_reader_that_leaves_is_no_error(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "posesearch", *words],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")

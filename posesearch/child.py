"""A question to a fresh process: one JSON value on its standard input, one on its standard output, faults in words.

Some answers need a process of their own: a latency that must not rest on this process's memory layout, the peak memory of
a training. `ask` starts `python -m MODULE`; that module's `main` is `return serve(answer)`.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import posesearch
from posesearch.errors import EnvironmentFault, PosesearchError

LAST_LINES = 5
"""Of what a process wrote before it died: enough for the end of a traceback."""


def ask(
    module: str, question: Any, *, process: str, work: str, limit_s: float, when_late: str, when_dead: str
) -> Any:
    """Asks a fresh process and returns its answer.

    Args:
        module: Dotted name of the module that answers.
        question: A JSON-ready value.
        process: What the process is, for messages: "latency process".
        work: What is asked of it, for the message when it takes too long: "12 networks".
        limit_s: Seconds it may take, starting Python included.
        when_late: What to do when it took longer.
        when_dead: What to do when it died.

    Raises:
        EnvironmentFault: It died, and the message ends with the last lines it wrote, or it took too long.
    """
    try:
        ended = subprocess.run(
            [sys.executable, "-m", module],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            # The package must be found from any working folder, also in a checkout that is not installed.
            cwd=Path(posesearch.__file__).resolve().parents[1],
            # Its own session: a Ctrl-C belongs to the asker, who may let the answer come and then save.
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentFault(
            f"the {process} did not finish {work} within {limit_s:.0f} s. {when_late}"
        ) from None
    if ended.returncode != 0:
        tail = "\n".join(ended.stderr.strip().splitlines()[-LAST_LINES:]) or "(it wrote nothing)"
        raise EnvironmentFault(
            f"the {process} ended with status {ended.returncode}. Its last lines:\n{tail}\n{when_dead}"
        )
    return json.loads(ended.stdout)


def serve(answer: Callable[[Any], Any]) -> int:
    """Answers one question from standard input; faults go to standard error in one line.

    Args:
        answer: From the question to a JSON-ready answer.

    Returns:
        The exit status of the process.
    """
    try:
        # Standard output belongs to the answer; whatever a library prints goes to the log.
        with contextlib.redirect_stdout(sys.stderr):
            found = answer(json.load(sys.stdin))
    except PosesearchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    json.dump(found, sys.stdout)
    return 0

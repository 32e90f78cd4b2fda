"""Every error a user can meet, and the exit code it ends the command line with.

A message says three things: what is wrong (with the value, file and key), what is allowed, and what to do.
`assert` is for our own bugs only; anything a user can cause is one of the classes below.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

COMPILER_ERROR = re.compile(r"\b(error|fatal)\s*:", re.IGNORECASE)
"""In the lines of gcc, clang, nvcc and ptxas that say what is wrong."""


class PosesearchError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class UsageError(PosesearchError):
    """A command, option or argument that cannot be carried out as given."""

    exit_code = 2


class ConfigError(UsageError):
    """One or more faults in a space, recipe or override; all of them are listed at once.

    Args:
        source: The file or option the faults are in.
        problems: One sentence per fault, each naming its key.
    """

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{source}: {count} problem{'s' if count != 1 else ''} found:\n{lines}")


class NoFeasibleArchitecture(PosesearchError):
    """No architecture meets the budget; the message names the fastest one found."""

    exit_code = 3


class DataError(PosesearchError):
    """A data set, image, annotation, checkpoint or model file that cannot be used."""

    exit_code = 4


class EnvironmentFault(PosesearchError):
    """The machine, not the input, is at fault: run folder in use, disk full, missing device or provider."""

    exit_code = 5


class Interrupted(PosesearchError):
    """Stopped by the user; everything is saved and the message says how to go on."""

    exit_code = 130


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Returns " Did you mean 'x'?" for the closest choice, or an empty string when nothing is close."""
    close = difflib.get_close_matches(str(word), [str(choice) for choice in choices], n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def compile_reason(error: BaseException) -> str:
    """Returns in one line why `torch.compile` failed.

    Its first paragraph names the fault, but of a C++ or CUDA compiler it says only that it failed: the compiler's own first
    error is added. What else torch writes (commands, traces, switches) is for its developers.
    """
    first, _, rest = str(error).strip().partition("\n\n")
    reason = " ".join(first.split()) or type(error).__name__
    told = next((line.strip() for line in rest.splitlines() if COMPILER_ERROR.search(line)), "")
    return f"{reason}: {told[:300]}" if told else reason


def listed(problems: Sequence[str], *, limit: int = 5) -> str:
    """Returns the first `limit` problems as an indented list, followed by how many more there are."""
    lines = [f"  - {problem}" for problem in problems[:limit]]
    if len(problems) > limit:
        lines.append(f"  ... and {len(problems) - limit} more")
    return "\n".join(lines)

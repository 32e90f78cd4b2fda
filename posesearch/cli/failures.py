"""From an exception to an exit code and one message without a traceback."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from posesearch.errors import ConfigError, PosesearchError

# What the operating system refuses for reasons outside our code.
_MACHINE_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """How a run ends that did not succeed.

    Attributes:
        exit_code: 1 bug, 2 usage or configuration, 3 no architecture meets the budget, 4 data or model file,
            5 environment or device, 130 interrupted.
        message: What is wrong, what is allowed, what to do.
        problems: The single faults of a configuration file, for `--json`.
    """

    exit_code: int
    message: str
    problems: tuple[str, ...] = ()

    def to_plain(self) -> dict[str, object]:
        """Returns the JSON document of a failed run."""
        document: dict[str, object] = {"error": self.message, "exit_code": self.exit_code}
        if self.problems:
            document["problems"] = list(self.problems)
        return document


def failure_of(error: BaseException) -> Failure:
    """Returns how the command line ends on `error`."""
    if isinstance(error, ConfigError):
        return Failure(exit_code=error.exit_code, message=str(error).rstrip(), problems=error.problems)
    if isinstance(error, PosesearchError) and type(error) is not PosesearchError:
        return Failure(exit_code=error.exit_code, message=str(error))
    if isinstance(error, KeyboardInterrupt):
        return Failure(exit_code=130, message="interrupted. What was saved before is kept.")
    if isinstance(error, ModuleNotFoundError) and not (error.name or "posesearch").startswith("posesearch"):
        return Failure(
            exit_code=5,
            message=f"the Python module '{error.name}' is not installed. Run 'pip install posesearch' again in this environment, or 'posesearch doctor' to see what is missing.",
        )
    # Named, not imported: torch may not be loaded, and need not be.
    refused = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch on a CPU
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or refused:
        return Failure(
            exit_code=5,
            message=f"out of memory: {_one_line(error) or 'the system refused more'}. Use a smaller batch (--set batch_size=N), a smaller space, or --device cpu.",
        )
    if isinstance(error, OSError) and error.errno in _MACHINE_ERRORS:
        where = f" ({error.filename})" if error.filename else ""
        return Failure(
            exit_code=5,
            message=f"the system refused: {error.strerror}{where}. Free some space or choose a folder you can use; 'posesearch doctor' checks both.",
        )
    return Failure(
        exit_code=1,
        message=f"bug in posesearch: {type(error).__name__}: {_one_line(error)}; run again with --debug for the traceback",
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:400]

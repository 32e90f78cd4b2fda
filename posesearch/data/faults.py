"""What can be wrong with an annotation file: every fault has a place, a severity and a sentence.

Faults are collected, never raised one by one, so that a user repairs a file once and not once per mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from posesearch.errors import DataError, listed


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        severity: An "error" makes the data unusable, a "warning" is worth a look.
        where: The item with its id, e.g. "annotation 17", "image 3" or "file".
        text: What is wrong (key and value) and what is allowed.
    """

    severity: Literal["error", "warning"]
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


def error(where: str, text: str) -> Fault:
    """Returns a fault that makes the data unusable."""
    return Fault(severity="error", where=where, text=text)


def warning(where: str, text: str) -> Fault:
    """Returns a fault that is worth a look."""
    return Fault(severity="warning", where=where, text=text)


def errors_of(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Returns the faults of severity "error"."""
    return tuple(fault for fault in faults if fault.severity == "error")


def raise_errors(faults: Sequence[Fault], subject: str, remedy: str) -> None:
    """Raises one error that lists the first five faults and says how many there are.

    Args:
        faults: Faults of any severity; warnings are passed over.
        subject: What they were found in, e.g. "annotation file a.json".
        remedy: What to do, as a sentence.

    Raises:
        DataError: At least one fault is an error.
    """
    errors = errors_of(faults)
    if errors:
        count = f"{len(errors)} fault{'s' if len(errors) != 1 else ''}"
        raise DataError(f"{count} in {subject}:\n{listed([str(fault) for fault in errors])}\n{remedy}")


def short(value: object, limit: int = 60) -> str:
    """Returns `repr(value)` cut to `limit` characters, for use in a message."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."

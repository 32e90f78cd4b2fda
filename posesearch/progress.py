"""How long work reports itself: one small interface, with plain heartbeat lines as the default.

The library never draws bars; the command line passes an object of its own with the same two methods.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO


class Task(Protocol):
    """One piece of work with a known number of units."""

    def advance(self, count: int = 1, **numbers: float | str) -> None:
        """Marks `count` more units as done; `numbers` are the figures to show beside the bar."""


class Progress(Protocol):
    """Where tasks and messages go."""

    def task(self, name: str, total: int, *, done: int = 0) -> AbstractContextManager[Task]:
        """Opens a task of `total` units, `done` of which were finished by an earlier run."""

    def message(self, text: str) -> None:
        """Shows one line that is not tied to a task."""


def format_duration(seconds: float) -> str:
    """Returns "42 s", "3 min 05 s" or "2 h 07 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_numbers(numbers: dict[str, float | str]) -> str:
    """Returns "loss 1.234  AP 0.412" for the figures shown beside a task."""
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in numbers.items()
    )


class PlainTask:
    """A task that prints one line every `every_s` seconds and one at its end."""

    def __init__(self, name: str, total: int, done: int, stream: TextIO, every_s: float) -> None:
        self.name, self.total, self.done = name, total, done
        self._first = done
        self._stream, self._every_s = stream, every_s
        self._started_s = self._printed_s = time.monotonic()
        self._numbers: dict[str, float | str] = {}

    def advance(self, count: int = 1, **numbers: float | str) -> None:
        """Marks `count` more units as done and prints a heartbeat when one is due."""
        self.done += count
        self._numbers.update(numbers)
        now_s = time.monotonic()
        if now_s - self._printed_s >= self._every_s and self.done < self.total:
            self._printed_s = now_s
            self._print(self._time_left(now_s - self._started_s))

    def finish(self) -> None:
        """Prints the closing line."""
        self._print(f"in {format_duration(time.monotonic() - self._started_s)}")

    def _time_left(self, spent_s: float) -> str:
        # Without a finished unit nothing is known of the others: what an earlier run did took another time.
        finished = self.done - self._first
        if finished <= 0:
            return f"{format_duration(spent_s)} so far"
        return f"about {format_duration(spent_s * (self.total - self.done) / finished)} left"

    def _print(self, tail: str) -> None:
        numbers = f"  {format_numbers(self._numbers)}" if self._numbers else ""
        print(f"{self.name}: {self.done}/{self.total}{numbers}  ({tail})", file=self._stream, flush=True)


class PlainProgress:
    """Heartbeat lines on a stream (standard error by default), for pipes, logs and notebooks."""

    def __init__(self, stream: TextIO | None = None, every_s: float = 10.0) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._every_s = every_s

    @contextmanager
    def task(self, name: str, total: int, *, done: int = 0) -> Iterator[Task]:
        """Opens a task; prints its closing line when the block ends without an error."""
        task = PlainTask(name, total, done, self._stream, self._every_s)
        yield task
        task.finish()

    def message(self, text: str) -> None:
        """Prints one line."""
        print(text, file=self._stream, flush=True)


class SilentTask:
    """A task that shows nothing."""

    def advance(self, count: int = 1, **numbers: float | str) -> None:
        """Does nothing."""


class SilentProgress:
    """Shows nothing; for tests and for `--quiet`."""

    @contextmanager
    def task(self, name: str, total: int, *, done: int = 0) -> Iterator[Task]:
        """Opens a silent task."""
        yield SilentTask()

    def message(self, text: str) -> None:
        """Does nothing."""

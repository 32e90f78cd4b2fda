"""Progress on standard error: a bar with the time left on a terminal, heartbeat lines in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichBars
from rich.text import Text

from posesearch.progress import PlainProgress, Progress, SilentProgress, Task, format_duration, format_numbers


def choose_progress(*, quiet: bool) -> Progress:
    """Returns silence for `--quiet`, bars on a terminal, heartbeat lines elsewhere."""
    if quiet:
        return SilentProgress()
    if sys.stderr.isatty():
        return RichProgress(Console(stderr=True, highlight=False, markup=False, emoji=False))
    return PlainProgress()


class RichTask:
    """A bar."""

    def __init__(self, bars: RichBars, bar: TaskID) -> None:
        self.numbers: dict[str, float | str] = {}
        self._bars, self._bar = bars, bar

    def advance(self, count: int = 1, **numbers: float | str) -> None:
        """Marks `count` more units as done and shows the figures beside the bar."""
        self.numbers.update(numbers)
        self._bars.update(self._bar, advance=count, numbers=format_numbers(self.numbers))


class RichProgress:
    """Bars on a terminal; a finished task leaves one line, messages appear above the bars."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: RichBars | None = None

    @contextmanager
    def task(self, name: str, total: int, *, done: int = 0) -> Iterator[Task]:
        """Opens a bar of `total` units; bars of nested tasks stand under one another."""
        outermost = self._bars is None
        bars = self._bars or RichBars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[numbers]}"),
            console=self._console,
            transient=True,
        )
        started_s = time.monotonic()
        if outermost:
            self._bars = bars
            bars.start()
        bar = bars.add_task(name, total=total, completed=done, numbers="")
        task = RichTask(bars, bar)
        try:
            yield task
            figures = f"  {format_numbers(task.numbers)}" if task.numbers else ""
            self.message(
                f"{name}: {total}/{total}{figures}  (in {format_duration(time.monotonic() - started_s)})"
            )
        finally:
            bars.remove_task(bar)
            if outermost:
                bars.stop()
                self._bars = None

    def message(self, text: str) -> None:
        """Prints one line above the bars."""
        self._console.print(Text(text), soft_wrap=True)

"""What a command prints: tables and sentences for people, or one JSON document for programs.

Results go to standard output, errors to standard error. With `--json` standard output holds exactly one document,
also for an error.
"""

from __future__ import annotations

import contextlib
import json as json_module
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from posesearch.cli.failures import Failure
from posesearch.files import to_json

# Wide enough for every table: a pipe has no edge to wrap at.
PIPE_WIDTH = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """A table; numbers are given as text, columns of numbers are named in `right`.

    Attributes:
        caption: Sentences below the table: the conditions its figures hold under.
    """

    title: str = ""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[str, ...] = ()
    caption: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The answer of a command.

    Attributes:
        document: What `--json` prints.
        text: Sentences and tables for people, in order.
        files: Files written, named at the end.
        next_command: What to run next, named last.
        exit_code: 0, or what a check that found faults ends with.
        fault: What such a check found, in one sentence that stands by itself: the `error` of `--json`.
    """

    document: Any
    text: tuple[str | Grid, ...] = ()
    files: tuple[str, ...] = ()
    next_command: str | None = None
    exit_code: int = 0
    fault: str = ""


class PipeConsole(Console):
    """A console that reports a reader who left; rich would exit the process with code 1."""

    def on_broken_pipe(self) -> None:
        """Leaves the decision to the caller."""
        raise BrokenPipeError


@dataclass(kw_only=True, slots=True)
class Printer:
    """Prints answers and failures in the form asked for.

    Attributes:
        json: One JSON document instead of text.
        quiet: Leave out the files written and the next command.
        debug: Show tracebacks.
    """

    json: bool = False
    quiet: bool = False
    debug: bool = False
    out: Console = field(init=False)

    def __post_init__(self) -> None:
        width = None if sys.stdout.isatty() else PIPE_WIDTH
        self.out = PipeConsole(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)

    def show(self, answer: Answer) -> int:
        """Prints the answer and returns its exit code."""
        if self.json:
            self._document(_with_fault(answer))
            if answer.exit_code:
                print(f"error: {answer.fault}", file=sys.stderr, flush=True)
        else:
            for part in answer.text:
                if isinstance(part, Grid) and not part.rows:
                    continue
                self.out.print(_table(part) if isinstance(part, Grid) else Text(part), soft_wrap=True)
                if isinstance(part, Grid) and part.caption:
                    # An empty line, so that the caption is not read as belonging to the next table.
                    for line in (*part.caption, ""):
                        self.out.print(Text(line, style="dim"), soft_wrap=True)
            if answer.files and not self.quiet:
                self.out.print("files written:")
                for name in answer.files:
                    self.out.print(Text(f"  {name}"), soft_wrap=True)
            if answer.next_command and not self.quiet:
                self.out.print(Text(f"next: {answer.next_command}", style="bold"), soft_wrap=True)
        sys.stdout.flush()
        return answer.exit_code

    def fail(self, failure: Failure) -> int:
        """Prints the failure and returns its exit code."""
        with contextlib.suppress(BrokenPipeError):
            if self.json:
                self._document(failure.to_plain())
                sys.stdout.flush()
            prefix = "" if failure.exit_code == 130 else "error: "
            print(f"{prefix}{failure.message}", file=sys.stderr, flush=True)
        return failure.exit_code

    def reader_left(self) -> int:
        """Ends quietly when the reader of a pipe has gone (`posesearch space list | head -1`)."""
        # The interpreter flushes standard output at exit; without this it would complain there.
        descriptor = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(OSError, ValueError):
            os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
        return 0

    def _document(self, document: Any) -> None:
        print(
            json_module.dumps(to_json(document), indent=2, ensure_ascii=False, default=str), file=sys.stdout
        )


def _with_fault(answer: Answer) -> Any:
    """Returns the document; a check that found faults has the two keys of every failure as well."""
    if not answer.exit_code:
        return answer.document
    return {**answer.document, "error": answer.fault, "exit_code": answer.exit_code}


def _table(grid: Grid) -> Table:
    table = Table(
        title=grid.title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for name in grid.columns:
        table.add_column(name, justify="right" if name in grid.right else "left", overflow="fold")
    for row in grid.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def number(value: Any, digits: int = 3) -> str:
    """Returns a figure for a table: fixed digits, "-" where there is none."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else f"{value:,}"


def millions(value: int) -> str:
    """Returns a count of parameters or MACs as "3.504 M" or "0.435 G"."""
    return f"{value / 1e9:.3f} G" if value >= 1e8 else f"{value / 1e6:.3f} M"


def counted(count: int, noun: str) -> str:
    """Returns a count with its noun: "1 step", "1,200 steps"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def interval(latency: Mapping[str, Any]) -> str:
    """Returns the ends of the interval around a measured median, "1.38-1.53" in milliseconds; "-" without one."""
    ends = (latency.get("ci_low_ms"), latency.get("ci_high_ms"))
    return "-" if None in ends else "-".join(number(end, 2) for end in ends)


def conditions_text(evaluation: Mapping[str, Any]) -> str:
    """Returns what an AP must name, in words: split, persons, boxes, flip test and input size.

    What is not recorded is left out.
    """
    split, boxes, size = (evaluation.get(key) for key in ("split", "boxes", "input_size"))
    words = [f"{split_name(split)} split"] if split else []
    if evaluation.get("persons") is not None:
        words.append(counted(evaluation["persons"], "person"))
    if boxes:
        words.append("ground-truth boxes" if boxes == "gt" else f"boxes of {boxes}")
    if evaluation.get("flip") is not None:
        words.append("with flip test" if evaluation["flip"] else "no flip test")
    if size:
        words.append(f"{size[0]}x{size[1]}")
    return ", ".join(words)


def split_name(split: str) -> str:
    """Returns the name a reader knows: the search split is cut from the training persons and stored by that name."""
    return "search" if split == "train-held-out" else split


def evaluation_line(name: str, evaluation: dict[str, Any]) -> str:
    """Returns one sentence with AP and everything an AP must name: boxes, flip test, input size, split, persons."""
    height, width = evaluation["input_size"]
    flip = "with flip test" if evaluation["flip"] else "no flip test"
    return (
        f"{name}: AP {number(evaluation['AP'])}  AP50 {number(evaluation['AP50'])}  AP75 {number(evaluation['AP75'])}  "
        f"AR {number(evaluation['AR'])}  PCK@0.2 {number(evaluation.get('PCK'))}  "
        f"({counted(evaluation['persons'], 'person')} of {split_name(evaluation.get('split', 'val'))}, boxes {evaluation['boxes']}, {flip}, {height}x{width})"
    )


def pairs(rows: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Returns "name:  value" lines with the values under one another."""
    longest = max((len(name) for name, _ in rows), default=0)
    return tuple(f"{name + ':':<{longest + 2}}{value}" for name, value in rows)

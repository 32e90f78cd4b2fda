"""The journal of a latency table: every figure on disk the moment it is there, and which of them count.

A neighbour who slows the machine down hits large networks harder than the sentinel, and no common factor takes that out.
What was measured while the sentinel was more than 10 % slower than at its best is therefore measured once more, and
the figure of the better weather counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posesearch.config import parse_stored, to_plain
from posesearch.errors import DataError
from posesearch.files import append_jsonl, read_jsonl
from posesearch.latency.blocks import Block

BAD_WEATHER = 1.1
"""A group whose sentinel takes this many times the best one's time is measured again."""

ATTEMPTS = 2
"""Times a group is measured at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the journal.

    Attributes:
        settings: Identity of what the figure holds for: space, fingerprint, effort.
        run: Number of the run, from 0; blocks are timed in one run.
        sentinel_ms: The sentinel in the same group, milliseconds.
        latency_ms: Of a block its marginal cost, of a network its median.
        block: What was timed, or
        code: the architecture code of what was timed.
    """

    settings: str
    run: int
    sentinel_ms: float
    latency_ms: float
    block: Block | None = None
    code: str = ""

    @property
    def key(self) -> Block | str:
        """What was timed."""
        return self.block or self.code


def best(rows: Sequence[Row]) -> list[Row]:
    """Returns of each block or network the row in whose group the sentinel was fastest."""
    kept: dict[Block | str, Row] = {}
    for row in rows:
        if row.key not in kept or row.sentinel_ms < kept[row.key].sentinel_ms:
            kept[row.key] = row
    return list(kept.values())


class Journal:
    """The figures of one set of settings in a file that may hold others as well.

    Args:
        path: The file.
        settings: Identity of the settings.

    Raises:
        DataError: A line of the file is damaged.
    """

    def __init__(self, path: Path, settings: str) -> None:
        self.path, self._settings = path, settings
        try:
            rows = [parse_stored(Row, plain, f"measured figures in {path}") for plain in read_jsonl(path)]
        except DataError as error:
            raise DataError(f"{error} Measure again with: posesearch latency build --fresh") from error
        self._rows = [row for row in rows if row.settings == settings]
        self.foreign = len(rows) - len(self._rows)

    @property
    def count(self) -> int:
        """Number of figures of these settings."""
        return len(self._rows)

    def disturbed(self, rows: Sequence[Row]) -> list[Row]:
        """Returns the best rows of what was measured in bad weather only and may be measured again."""
        first: dict[Block | str, Row] = {}
        for row in rows:
            first.setdefault(row.key, row)
        # By the first attempts alone: a better second one must not make further figures look bad, call after call.
        lowest_ms = min((row.sentinel_ms for row in first.values()), default=0.0)
        kept, tried = best(rows), Counter(row.key for row in rows)
        return [
            row for row in kept if row.sentinel_ms > BAD_WEATHER * lowest_ms and tried[row.key] < ATTEMPTS
        ]

    def add(self, **figures: Any) -> None:
        """Keeps one figure.

        Raises:
            EnvironmentFault: The file cannot be written.
        """
        row = Row(settings=self._settings, **figures)
        append_jsonl(self.path, to_plain(row))
        self._rows.append(row)

    def blocks(self) -> list[Row]:
        """Returns the figures of blocks."""
        return [row for row in self._rows if row.block is not None]

    def nets(self, run: int) -> list[Row]:
        """Returns the figures of networks in one run."""
        return [row for row in self._rows if row.block is None and row.run == run]

"""A study that lives as long as its process: for benchmarks of samplers, where a database would be what is timed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import optuna

from posesearch.search.storage import Storage, file_address


class MemoryStorage(Storage):
    """Keeps trials in memory; for one user."""

    def __init__(self) -> None:
        self.address = file_address(Path("memory"))
        self.rdb = optuna.storages.InMemoryStorage()

    @contextlib.contextmanager
    def faults(self) -> Iterator[None]:
        """Does nothing: no file and no server can fail."""
        yield

    def close(self) -> None:
        """Does nothing: there is no connection."""

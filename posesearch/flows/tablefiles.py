"""Where latency tables lie: their folder, their names, and who may write one."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from posesearch.errors import UsageError, did_you_mean
from posesearch.latency.types import Conditions
from posesearch.lock import exclusive
from posesearch.spaces import SearchSpace

TABLES = Path("latency")
"""The folder of all latency tables, in the working folder."""


def find_table(file: str | None) -> Path:
    """Returns the path of a table by path or name, or of the newest.

    Raises:
        UsageError: There is no such table; the message lists those there are.
    """
    found = sorted(TABLES.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    if file is None and found:
        return found[0]
    if file is not None:
        for path in (Path(file), TABLES / f"{file}.json"):
            if path.is_file():
                return path
    names = [path.stem for path in found]
    there = f"Tables in {TABLES}: {', '.join(names)}." if names else f"There are no tables in {TABLES} yet."
    wanted = f"there is no latency table '{file}'.{did_you_mean(file, names)} " if file is not None else ""
    raise UsageError(f"{wanted}{there} Build one with: posesearch latency build")


def table_name(space: SearchSpace, conditions: Conditions) -> str:
    """Returns the usual name of a table: SPACE-RUNTIME-PRECISION, and what is not the default of the rest."""
    rest = [f"b{conditions.batch}"] if conditions.batch != 1 else []
    rest += [f"t{conditions.threads}"] if conditions.threads != 1 else []
    rest += [conditions.memory_format] if conditions.memory_format != "contiguous" else []
    return "-".join([space.name, conditions.runtime, conditions.precision, *rest])


def held(path: Path) -> AbstractContextManager[None]:
    """Holds a table for this process: it is built, or a search adds what it measured.

    Raises:
        EnvironmentFault: Another process holds it, or the folder cannot be written.
    """
    rule = "Only one process may write a table. Wait for it to end, stop it, or choose another --out."
    return exclusive(path.with_suffix(".lock"), what=f"latency table '{path.stem}'", rule=rule)

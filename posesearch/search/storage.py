"""Where a study is kept: an SQLite file or a PostgreSQL server, its faults in words, and locks between its users.

No password is ever shown: an address is printed as `Address.shown`.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial
from sqlalchemy.engine import URL, make_url

from posesearch.errors import DataError, EnvironmentFault, UsageError
from posesearch.lock import turn

STORAGE = "study.db"
OWN = "sqlite"
"""The word for the run's own file."""

POSTGRESQL = "postgresql+psycopg"
FORMS = (
    "sqlite (the run's own study.db, for workers on this machine), sqlite:///FILE, or "
    "postgresql://USER@HOST/DATABASE (workers on any machine)"
)
CONNECT_S = 10
"""Seconds a server may take to answer: a machine that is switched off would else hang the command for minutes."""

LOCK_WAIT = "300s"
"""How long a worker waits for its turn to ask: 16 workers whose sampler takes 2 s wait 32 s at most."""

# Fragments of what PostgreSQL and libpq say, and what to do then.
REMEDIES = (
    ("password", "Check user and password; the variable PGPASSWORD or the file ~/.pgpass can hold it."),
    ("does not exist", "Check the name, or create it: createdb NAME, createuser NAME."),
    ("permission denied", "The user needs to create tables: let it own the database, or GRANT CREATE ON SCHEMA public."),
    ("read-only", "The user needs to write: connect to the primary server, not to a standby."),
    ("lock timeout", "Another worker holds its turn: see whether one hangs, stop it, then run the same command again."),
    ("", "Is the server running and reachable? Then run the same command again: what was answered is kept."),
)  # fmt: skip


class _Connection(sqlite3.Connection):
    """A connection that waits for the disk at checkpoints only.

    With a write-ahead log a power cut can then lose the last trials, never the file; accuracies are kept elsewhere. A
    trial makes about 30 commits, which took 200 ms on a busy disk.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.execute("PRAGMA synchronous=NORMAL")


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where a storage is.

    Attributes:
        url: Its URL, with the password.
        shown: What may be printed: the path of a file, or the URL without its password.
        file: The SQLite file; None for a server.
    """

    url: URL
    shown: str
    file: Path | None = None

    def __repr__(self) -> str:
        return f"Address({self.shown})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Liveness:
    """How workers know that one of them died.

    Attributes:
        beat_s: Seconds between the signs of life of a running trial.
        grace_s: Seconds without one after which the trial is dead.
        on_death: Told every trial that was found dead, by the one worker that found it.
    """

    beat_s: int
    grace_s: int
    on_death: Callable[[optuna.Study, FrozenTrial], None]


def file_address(path: Path) -> Address:
    """Returns the address of an SQLite file."""
    return Address(url=URL.create("sqlite", database=str(path)), shown=str(path), file=path)


def parse_address(text: str, own: Path) -> Address:
    """Reads `--storage`.

    Args:
        text: "sqlite", an SQLite URL, or a PostgreSQL URL (`postgres://` and `postgresql://` mean psycopg 3).
        own: What "sqlite" means.

    Raises:
        UsageError: It is none of these.
    """
    if text == OWN:
        return file_address(own)
    scheme, found, _ = text.partition("://")
    try:
        url = make_url(text) if found else None
    except (sqlalchemy.exc.ArgumentError, ValueError):
        url = None
    if url is not None and scheme == "sqlite" and url.database and url.database != ":memory:":
        return file_address(Path(url.database))
    # An @ behind the host is that of a password with an unescaped slash.
    if (
        url is not None
        and scheme in ("postgres", "postgresql", POSTGRESQL)
        and "@" not in (url.database or "")
    ):
        url = url.set(drivername=POSTGRESQL)
        hidden = {key: "***" for key in url.query if "password" in key}
        return Address(url=url, shown=url.update_query_dict(hidden).render_as_string(hide_password=True))
    # What cannot be read may hold a password anywhere.
    told = f"{scheme}://..." if found else "..." if "@" in text or "password" in text else text
    raise UsageError(f"--storage '{told}' cannot be used. Allowed: {FORMS}. Try --storage sqlite.")


class Storage:
    """An open storage.

    Args:
        address: Where it is.
        liveness: For storages with several users; None for one user, who needs no lock.

    Raises:
        DataError: The file is damaged.
        EnvironmentFault: It cannot be reached, written, or lacks its Python package.
    """

    def __init__(self, address: Address, liveness: Liveness | None = None) -> None:
        self.address = address
        self._shared = liveness is not None
        beats: dict[str, Any] = {}
        if liveness is not None:
            beats = {
                "heartbeat_interval": liveness.beat_s,
                "grace_period": liveness.grace_s,
                "heartbeat_stale_trial_callback": liveness.on_death,
            }
        url = address.url.render_as_string(hide_password=False)
        self._lock_engine = _lock_engine(address)
        with self.faults():
            if address.file is not None:
                address.file.parent.mkdir(parents=True, exist_ok=True)
            with self.locked("tables"):
                if address.file is not None:
                    # Write-ahead logging is a property of the file: a third of the time per trial, and readers never
                    # block.
                    with contextlib.closing(sqlite3.connect(address.file, timeout=60)) as connection:
                        connection.execute("PRAGMA journal_mode=WAL")
                # Optuna fills the URL like a template.
                self._rdb = optuna.storages.RDBStorage(
                    url.replace("{", "{{").replace("}", "}}"), _engine_options(address), **beats
                )
                self.rdb: optuna.storages.BaseStorage = self._rdb
                if address.file is None:
                    sqlalchemy.event.listen(self._rdb.engine, "connect", _in_utc)
                    self._rdb.engine.dispose()

    @contextlib.contextmanager
    def locked(self, name: str, *, wait: bool = True) -> Iterator[bool]:
        """Holds the storage's lock of that name while the block runs; a storage with one user needs none.

        Args:
            name: What is locked.
            wait: False does not wait: the block runs either way, and is told.

        Yields:
            Whether the lock is held.
        """
        if not self._shared:
            yield True
        elif self.address.file is not None:
            folder = self.address.file.with_name(f"{self.address.file.name}.locks")
            with turn(folder / name, wait=wait) as held:
                yield held
        else:
            yield from self._advisory(name, wait)

    def _advisory(self, name: str, wait: bool) -> Iterator[bool]:
        # The server frees it when the connection ends, however the worker dies.
        number = int.from_bytes(hashlib.sha256(f"posesearch {name}".encode()).digest()[:8], signed=True)
        take = "pg_advisory_xact_lock" if wait else "pg_try_advisory_xact_lock"
        assert self._lock_engine is not None
        with self.faults():
            connection = self._lock_engine.connect()
        try:
            with self.faults():
                connection.execute(sqlalchemy.text(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'"))
                # The front is measured for minutes under such a lock, in which nothing is said to the server.
                connection.execute(sqlalchemy.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                held = connection.execute(sqlalchemy.text(f"SELECT {take}(:number)"), {"number": number})
                got = wait or bool(held.scalar())
            yield got
        finally:
            # A server that went away has freed the lock as well; whoever needs it next will say so.
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                connection.close()

    def beat(self, trial_id: int) -> None:
        """Gives a sign of life of a trial, in the storage's own clock; raises what the storage raises."""
        self._rdb.record_heartbeat(trial_id)

    def close(self) -> None:
        """Ends all connections, so that a write-ahead log is folded into the one file that then holds everything."""
        with self.faults():
            self._rdb.remove_session()
            self._rdb.engine.dispose()
            if self._lock_engine is not None:
                self._lock_engine.dispose()

    @contextlib.contextmanager
    def faults(self) -> Iterator[None]:
        """Turns what SQLite, PostgreSQL and Optuna raise about the storage into our errors."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise EnvironmentFault(self._unusable(error)) from error
        except (sqlite3.DatabaseError, KeyError) as error:
            raise DataError(self._damaged(error)) from error
        except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
            told = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
            cause = getattr(told, "orig", None) or told or error
            if "malformed" in str(cause) or "not a database" in str(cause):
                raise DataError(self._damaged(cause)) from error
            raise EnvironmentFault(self._unusable(cause)) from error
        except OSError as error:
            raise EnvironmentFault(self._unusable(error)) from error
        except RuntimeError as error:
            if "optuna storage upgrade" not in str(error) and "updating optuna" not in str(error):
                raise
            raise EnvironmentFault(f"storage {self.address.shown}: {error}") from error

    def _damaged(self, error: object) -> str:
        if self.address.file is None:
            return f"storage {self.address.shown} is damaged ({error!r}). Use another database."
        return (
            f"{self.address.file} is damaged ({error}). Delete that file and search again: accuracies already evaluated "
            f"are kept in {self.address.file.parent / 'evaluations.jsonl'}."
        )

    def _unusable(self, error: object) -> str:
        cause = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if self.address.file is not None:
            return (
                f"{self.address.file} cannot be used: {cause}. "
                "Free some space or make the folder writable, then run the same command again."
            )
        password = self.address.url.password
        if password:
            cause = cause.replace(str(password), "***")
        cause = re.sub(r"\.$", "", cause)
        remedy = next(remedy for fragment, remedy in REMEDIES if fragment in cause)
        return f"storage {self.address.shown} cannot be used: {cause}. {remedy}"


def _engine_options(address: Address) -> dict[str, Any]:
    if address.file is not None:
        return {"connect_args": {"timeout": 60, "factory": _Connection}}
    # A connection that the server closed between two trials is made anew.
    return {"pool_pre_ping": True, "connect_args": {"connect_timeout": CONNECT_S}}


def _lock_engine(address: Address) -> sqlalchemy.Engine | None:
    """Returns what the locks of a server are taken with: they must be there before Optuna's tables are."""
    if address.file is not None:
        return None
    try:
        return sqlalchemy.create_engine(address.url, **_engine_options(address))
    except ImportError as error:
        raise EnvironmentFault(
            f"storage {address.shown} needs the Python package psycopg ({error}). "
            "Install it: pip install 'posesearch[postgres]'"
        ) from error


def _in_utc(connection: Any, _record: Any) -> None:
    """Puts a PostgreSQL session on one time zone: signs of life are written by one worker and read by another."""
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
    connection.commit()

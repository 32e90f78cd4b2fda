"""A real PostgreSQL server for tests: its own data folder, a socket, no network; as another user where we are root."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

USER = "owner"
GUARDED, PASSWORD = "guarded", "s3cret-{word}"
DEBIAN = Path("/usr/lib/postgresql")


def programs() -> Path | None:
    """Returns the folder of initdb and postgres: that on PATH, else Debian's newest."""
    found = shutil.which("initdb")
    if found and shutil.which("postgres"):
        return Path(found).parent
    folders = sorted(DEBIAN.glob("*/bin"), key=lambda path: int(path.parent.name.partition(".")[0]))
    return folders[-1] if folders and (folders[-1] / "initdb").exists() else None


def other_user() -> str | None:
    """Returns who the server runs as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Yields the folder of the server's socket; skips the test where no server can be started."""
    folder_of_programs = programs()
    if folder_of_programs is None:
        pytest.skip("PostgreSQL is not installed: no initdb on PATH or in /usr/lib/postgresql")
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'posesearch[postgres]'")
    user = other_user()
    if os.geteuid() == 0 and user is None:
        pytest.skip("PostgreSQL does not run as root, and there is no other user")
    # Not below pytest's folder: that is closed to other users, and a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        folder = Path(name)
        if user is not None:
            shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)
        as_user = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user else {}
        data = folder / "data"
        subprocess.run(
            [folder_of_programs / "initdb", "-D", data, "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync"],
            check=True, capture_output=True, cwd=folder, **as_user,
        )  # fmt: skip
        rules = data / "pg_hba.conf"
        rules.write_text(f"local all {GUARDED} scram-sha-256\n" + rules.read_text())
        log = (folder / "log").open("w")
        running = subprocess.Popen(
            [folder_of_programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
            stdout=log, stderr=log, cwd=folder, **as_user,
        )  # fmt: skip
        try:
            _wait(str(folder))
            yield str(folder)
        finally:
            running.send_signal(signal.SIGINT)  # closes connections, unlike SIGTERM
            running.wait(20)
            log.close()


def _wait(folder: str) -> None:
    import psycopg

    for _ in range(200):
        try:
            with psycopg.connect(host=folder, user=USER, dbname="postgres", autocommit=True) as connection:
                connection.execute(f"CREATE ROLE {GUARDED} LOGIN PASSWORD '{PASSWORD}'")
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
    raise AssertionError(Path(folder, "log").read_text())


def new_database(folder: str, name: str) -> str:
    """Makes an empty database and returns its URL."""
    import psycopg

    with psycopg.connect(host=folder, user=USER, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql://{USER}@/{name}?host={folder}"

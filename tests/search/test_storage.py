"""Storages: which addresses there are, faults in words with a remedy, and never a password."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from postgres_server import GUARDED, PASSWORD, new_database, server

from posesearch.errors import DataError, EnvironmentFault, UsageError
from posesearch.search.storage import Liveness, Storage, parse_address

LIVENESS = Liveness(beat_s=1, grace_s=2, on_death=lambda study, trial: None)


@pytest.fixture(scope="module")
def postgres():
    with server() as folder:
        yield folder


def faults(text, tmp_path):
    """Returns the message with which a storage is refused."""
    with pytest.raises(EnvironmentFault) as caught:
        Storage(parse_address(text, tmp_path / "study.db"), LIVENESS).close()
    assert caught.value.exit_code == 5
    return str(caught.value)


def test_addresses(tmp_path):
    own = tmp_path / "study.db"
    assert parse_address("sqlite", own).file == own
    assert str(parse_address("sqlite:////data/a.db", own).file) == "/data/a.db"
    assert str(parse_address("sqlite:///a.db", own).file) == "a.db"
    for scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        address = parse_address(f"{scheme}://me@host:5433/base", own)
        assert (address.file, address.shown) == (None, "postgresql+psycopg://me@host:5433/base")


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            "study.db",
            "mysql://host/base",
            "postgresql+psycopg2://host/base",
            "sqlite://",
            "sqlite:///:memory:",
        ],
        *["postgresql://host:port/base", "://", "redis://x"],
    ],
)
def test_senseless_addresses(tmp_path, text):
    with pytest.raises(
        UsageError, match=r"--storage '.*' cannot be used. Allowed: sqlite .*Try --storage sqlite"
    ) as e:
        parse_address(text, tmp_path / "study.db")
    assert e.value.exit_code == 2


@given(
    st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=8, max_size=20),
    st.sampled_from(
        [
            "postgresql://me:{}@host/base", "postgresql://host/base?user=me&password={}", "mysql://me:{}@host/base",
            "postgresql://me:{}@host:port/base", "postgresql://me:{}/base", "me:{}@host", "postgresql://me:@/{}@host/b",
            "postgresql://host/base?sslpassword={}",
        ]
    ),
)  # fmt: skip
def test_no_password_is_shown(tmp_path_factory, password, form):
    text = form.format(f"pw{password}")
    own = tmp_path_factory.getbasetemp() / "study.db"
    try:
        address = parse_address(text, own)
    except UsageError as error:
        assert f"pw{password}" not in str(error)
        assert error.__cause__ is None
        return
    assert f"pw{password}" not in address.shown
    assert f"pw{password}" not in repr(address)


def test_no_server(tmp_path):
    told = faults("postgresql://me:hidden-word@127.0.0.1:9/base", tmp_path)
    assert told.startswith(
        "storage postgresql+psycopg://me:***@127.0.0.1:9/base cannot be used: connection failed"
    )
    assert told.endswith(
        "Is the server running and reachable? Then run the same command again: what was answered is kept."
    )
    assert "hidden-word" not in told


def test_no_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    told = faults("postgresql://me:hidden-word@host/base", tmp_path)
    assert "needs the Python package psycopg" in told
    assert told.endswith("Install it: pip install 'posesearch[postgres]'")
    assert "hidden-word" not in told


def test_files_that_cannot_be_used(tmp_path):
    assert "cannot be used: unable to open database file" in faults(f"sqlite:///{tmp_path}", tmp_path)
    (tmp_path / "file").write_text("")
    told = faults(f"sqlite:///{tmp_path / 'file' / 'study.db'}", tmp_path)
    assert "make the folder writable, then run the same command again" in told
    (tmp_path / "text.db").write_text("no database, however long it may be" * 40)
    with pytest.raises(DataError, match=r"text.db is damaged .*Delete that file and search again"):
        Storage(parse_address(f"sqlite:///{tmp_path / 'text.db'}", tmp_path), LIVENESS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_only_be_read(tmp_path):
    Storage(parse_address("sqlite", tmp_path / "study.db"), LIVENESS).close()
    tmp_path.chmod(0o500)
    (tmp_path / "study.db").chmod(0o400)
    try:
        assert "folder" in faults("sqlite", tmp_path)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.postgres
def test_what_the_server_refuses(tmp_path, postgres):
    url = new_database(postgres, "refused")
    wrong = url.replace("owner@", f"{GUARDED}:hidden-word@")
    told = faults(wrong, tmp_path)
    assert f'password authentication failed for user "{GUARDED}"' in told
    assert told.endswith(
        "Check user and password; the variable PGPASSWORD or the file ~/.pgpass can hold it."
    )
    assert "hidden-word" not in told and f"{GUARDED}:***@" in told
    assert "no password supplied" in faults(url.replace("owner@", f"{GUARDED}@"), tmp_path)
    assert 'database "nothing" does not exist. Check the name, or create it: createdb NAME' in faults(
        url.replace("/refused", "/nothing"), tmp_path
    )
    told = faults(
        url.replace("owner@", f"{GUARDED}:{PASSWORD}@".replace("{", "%7B").replace("}", "%7D")), tmp_path
    )
    assert "permission denied for schema public" in told
    assert told.endswith("GRANT CREATE ON SCHEMA public.")
    assert PASSWORD not in told


@pytest.mark.postgres
def test_a_password_with_every_sign_and_sessions_in_one_time_zone(tmp_path, postgres, monkeypatch):
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    url = new_database(postgres, "granted")
    import psycopg

    with psycopg.connect(host=postgres, user="owner", dbname="granted", autocommit=True) as connection:
        connection.execute(f"GRANT CREATE ON SCHEMA public TO {GUARDED}")
    quoted = PASSWORD.replace("{", "%7B").replace("}", "%7D")
    storage = Storage(parse_address(url.replace("owner@", f"{GUARDED}:{quoted}@"), tmp_path), LIVENESS)
    with storage._rdb.engine.connect() as session:
        assert session.exec_driver_sql("SHOW TIME ZONE").scalar() == "UTC", (
            "signs of life are compared across workers"
        )
    with storage.locked("ask"), storage.locked("rank", wait=False) as free:
        assert free
    storage.close()


@pytest.mark.postgres
def test_a_server_that_goes_away(tmp_path, postgres):
    url = new_database(postgres, "gone")
    storage = Storage(parse_address(url, tmp_path), LIVENESS)
    import psycopg

    def cut():
        with psycopg.connect(host=postgres, user="owner", dbname="postgres", autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'gone'"
            )

    with storage.locked("rank"):
        cut()  # while it is held: nobody else needs it any more
    with storage.locked("rank") as held:
        assert held, "connections are made anew"
    with psycopg.connect(host=postgres, user="owner", dbname="postgres", autocommit=True) as connection:
        connection.execute("DROP DATABASE gone WITH (FORCE)")
    with pytest.raises(EnvironmentFault, match="cannot be used"), storage.locked("rank"):
        pass

"""Run folders: creation, finding, damage, and the lock between real processes."""

import json
import os
import subprocess
import sys

import pytest

from posesearch.errors import DataError, EnvironmentFault, UsageError
from posesearch.run import Run, free_name, run_names

HOLDER = """
import sys
from pathlib import Path
from posesearch.run import Run
with Run.read(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.readline()
"""


def aged(run, created):
    """The same run as if created at another time."""
    return run.updated(created=created)


def test_create_open_and_manifest(tmp_path):
    made = Run.create(tmp_path, "first", kind="supernet", seed=3, space={"name": "demo"})
    manifest = json.loads((tmp_path / "first" / "run.json").read_text())
    assert {"format", "name", "kind", "created", "versions", "seed", "space"} == set(manifest)
    assert {"posesearch", "python", "torch", "numpy", "optuna"} == set(manifest["versions"])
    for found in (Run.open(tmp_path, "first"), Run.open(tmp_path, str(tmp_path / "first"))):
        assert found.manifest == made.manifest
        assert found.name == "first"
    assert made.path("supernet", "checkpoint.pt") == tmp_path / "first" / "supernet" / "checkpoint.pt"


def test_updated_keeps_what_was_there(tmp_path):
    run = Run.create(tmp_path, "a", kind="supernet", seed=3).updated(device="cpu")
    assert (run.manifest["seed"], run.manifest["device"]) == (3, "cpu")
    assert Run.open(tmp_path, "a").manifest == run.manifest


def test_newest_goes_by_creation_not_by_last_change(tmp_path):
    aged(Run.create(tmp_path, "old", kind="supernet"), "2024-01-01T00:00:00+00:00")
    aged(Run.create(tmp_path, "new", kind="supernet"), "2025-01-01T00:00:00+00:00")
    Run.open(tmp_path, "old").updated(note="touched later")
    assert run_names(tmp_path) == ("new", "old")
    assert Run.newest(tmp_path).name == "new"


def test_missing_run_lists_those_that_exist(tmp_path):
    with pytest.raises(UsageError, match=r"There are no runs in .* yet\. Start one with: posesearch"):
        Run.newest(tmp_path)
    Run.create(tmp_path, "demo-1", kind="supernet")
    Run.create(tmp_path, "demo-2", kind="supernet")
    with pytest.raises(UsageError) as caught:
        Run.open(tmp_path, "demo-3")
    message = str(caught.value)
    assert "there is no run 'demo-3'" in message
    assert "Did you mean" in message
    assert "newest first: demo-2, demo-1" in message
    assert caught.value.exit_code == 2


def test_existing_name_and_unusable_names(tmp_path):
    Run.create(tmp_path, "a", kind="supernet")
    with pytest.raises(UsageError, match=r"there is a run 'a' in .* already\. Choose another --run"):
        Run.create(tmp_path, "a", kind="supernet")
    for name in ("", "../a", "a/b", ".hidden", "a b", "x" * 101, "-rf"):
        with pytest.raises(UsageError, match="cannot name a folder"):
            Run.create(tmp_path, name, kind="supernet")
    assert free_name(tmp_path, "a") == "a-1"
    (tmp_path / "a-1").mkdir()
    assert free_name(tmp_path, "a") == "a-2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 1, "name": "a", "ki', "not valid JSON (line 1"),
        ("[]", "it holds a list, not an object"),
        ('{"format": 2}', "its format is 2, this posesearch reads up to 1: update posesearch"),
        ("{}", "its format is None, expected 1"),
        ('{"format": 1, "name": 3, "kind": "x", "created": "y"}', "missing or not text: name"),
        ("", "not valid JSON"),
    ],
)
def test_damaged_manifest(tmp_path, content, message):
    Run.create(tmp_path, "a", kind="supernet")
    (tmp_path / "a" / "run.json").write_text(content)
    for action in (lambda: Run.open(tmp_path, "a"), lambda: Run.newest(tmp_path)):
        with pytest.raises(DataError) as caught:
            action()
        assert message in str(caught.value)
        assert caught.value.exit_code == 4


def test_lock_against_another_process(tmp_path):
    run = Run.create(tmp_path, "a", kind="supernet")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run.folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(EnvironmentFault) as caught, run.lock():
        pass
    assert f"run 'a' is in use by process {holder.pid}" in str(caught.value)
    assert caught.value.exit_code == 5
    # Reading needs no lock.
    assert Run.open(tmp_path, "a").name == "a"
    # However the owner dies, the run is free again.
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    with run.lock():
        assert (run.folder / ".lock").read_text() == str(os.getpid())


def test_lock_within_one_process_and_after_an_error(tmp_path):
    run = Run.create(tmp_path, "a", kind="supernet")
    with (
        run.lock(),
        pytest.raises(EnvironmentFault, match=f"in use by process {os.getpid()}"),
        Run.open(tmp_path, "a").lock(),
    ):
        pass
    with pytest.raises(ZeroDivisionError), run.lock():
        raise ZeroDivisionError
    with run.lock():
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_lock_in_a_read_only_folder(tmp_path):
    run = Run.create(tmp_path, "a", kind="supernet")
    run.folder.chmod(0o500)
    try:
        with pytest.raises(EnvironmentFault, match="must be writable"), run.lock():
            pass
    finally:
        run.folder.chmod(0o700)


def test_several_workers_hold_a_run_together_and_nobody_else(tmp_path):
    run = Run.create(tmp_path, "a", kind="supernet")
    with run.lock():
        pass  # leaves its number in the file
    with (
        run.lock(together=True),
        Run.open(tmp_path, "a").lock(together=True),
        pytest.raises(EnvironmentFault, match=r"run 'a' is in use by another process\. Only one"),
        run.lock(),
    ):
        pass
    with (
        run.lock(),
        pytest.raises(EnvironmentFault, match=f"in use by process {os.getpid()}"),
        run.lock(together=True),
    ):
        pass

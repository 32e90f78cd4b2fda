"""A run in use, a full disk, places that cannot be written, Ctrl-C and kills: with real processes where it matters."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_input_world import (
    CHECKPOINT,
    EVALUATE,
    EXTRACT,
    MODEL,
    RUN,
    SEARCH,
    SUPERNET,
    TRAIN,
    Case,
    World,
    check_refusal,
    start,
)

from posesearch.checkpoint import load_training_state
from posesearch.train.state import TrainingState

HOLD = """
import sys
from pathlib import Path
from posesearch.run import Run
with Run.read(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""
LONG = [*TRAIN, "--set", "epochs=10"]


def digest(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str], limit_s: float = 120.0) -> None:
    """Waits until something has happened in a process that still runs."""
    end_s = time.monotonic() + limit_s
    while not what():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end_s, "it never happened"
        time.sleep(0.01)


def test_a_run_in_use_by_another_process(world: World, call) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        says = (f"run 'tiny' is in use by process {holder.pid}", "Wait for it to end", "choose another --run")
        for words in (TRAIN, SEARCH, EXTRACT, ["train", MODEL, "--set", "epochs=1"]):
            check_refusal(Case("in use", words, 5, says), world, call)
        check_refusal(Case("fresh", [*TRAIN, "--fresh"], 5, says), world, call)
        assert [path.name for path in Path("runs").iterdir()] == ["tiny"]
    finally:
        holder.kill()
        holder.communicate()
    assert call(*TRAIN).code == 0  # the lock died with its process


def test_a_full_disk_leaves_the_checkpoint_and_training_goes_on_from_it(
    world: World, call, monkeypatch: pytest.MonkeyPatch
) -> None:
    uninterrupted = digest(SUPERNET)
    world.remove("runs")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    whole: list[str] = []
    save = TrainingState.save

    def save_on_a_disk_that_is_full_the_second_time(state: TrainingState) -> None:
        if not whole:
            save(state)
            whole.append(digest(CHECKPOINT))
            return
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
        try:
            save(state)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(TrainingState, "save", save_on_a_disk_that_is_full_the_second_time)
    outcome = call(*TRAIN)
    assert outcome.code == 5
    for text in (f"cannot write {CHECKPOINT}: File too large", "before is unchanged", "Free some space"):
        assert text in outcome.err
    assert "Traceback" not in outcome.err
    monkeypatch.undo()
    monkeypatch.chdir(world.folder)
    assert whole == [digest(CHECKPOINT)]
    assert load_training_state(Path(CHECKPOINT))["position"]["step"] == 1
    assert not list(Path(CHECKPOINT).parent.glob(".*.tmp"))
    assert call(*TRAIN).code == 0
    assert digest(SUPERNET) == uninterrupted


def in_the_way(file: str, *, folder: bool) -> Callable[[World], None]:
    """Puts a folder where a file is to be written, or the other way round: root may write everything else."""

    def prepare(world: World) -> None:
        if world.path(file).exists():
            world.remove(file)
        world.path(file).mkdir() if folder else world.write(file, "x")

    return prepare


SPACE = "Free some space or choose a folder you can write to"
PLACES = [
    Case("runs is a file", TRAIN, 5, ("cannot write runs/tiny/run.json: Not a directory", SPACE), in_the_way("runs", folder=False)),
    Case("run is a file", TRAIN, 5, (f"cannot write {RUN}/run.json: File exists",), in_the_way(RUN, folder=False)),
    Case("report is a folder", ["report"], 5, (f"cannot write {RUN}/report.html: Is a directory",), in_the_way(f"{RUN}/report.html", folder=True)),
    Case("lock is a folder", SEARCH, 5, (f"cannot write {RUN}/.lock", "The folder must be writable"), in_the_way(f"{RUN}/.lock", folder=True)),
    Case("results into nowhere", [*EVALUATE, "--write-results", "/proc/none/r.json"], 5, ("cannot write /proc/none/r.json", SPACE)),
    Case("grid into nowhere", ["data", "check", "people", "--grid", "/proc/none/g.png"], 5, ("cannot write /proc/none/g.png", SPACE)),
    Case("people into a file", ["data", "synth", "tiny.yaml"], 2, ("tiny.yaml is a file. A folder is needed",)),
]  # fmt: skip


@pytest.mark.parametrize("case", PLACES, ids=lambda case: case.name)
def test_places_that_cannot_be_written(case: Case, world: World, call) -> None:
    check_refusal(case, world, call)


@pytest.mark.slow
def test_the_real_process_prints_one_document_and_a_traceback_only_on_demand(world: World) -> None:
    for debug in ([], ["--debug"]):
        process = start(["search", "--latency-ms", "-1", "--json", *debug], world.folder)
        out, err = process.communicate(timeout=120)
        assert process.returncode == json.loads(out)["exit_code"] == 2
        assert ("Traceback (most recent call last)" in err) == bool(debug)
        assert err.splitlines()[-1] == f"error: {json.loads(out)['error']}"


@pytest.fixture
def long_run(world: World, call) -> str:
    """Trains without interruption, in a folder like the one to come, and clears that; returns the digest."""
    world.remove("runs")
    assert call(*LONG).code == 0
    found = digest(SUPERNET)
    world.remove("runs")
    return found


@pytest.mark.slow
def test_ctrl_c_saves_and_the_printed_line_goes_on_bit_for_bit(world: World, call, long_run: str) -> None:
    process = start([*LONG, "--fresh", "--json"], world.folder)
    wait_for(Path(CHECKPOINT).exists, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    message = json.loads(out)["error"]
    assert json.loads(out)["exit_code"] == 130
    assert err.splitlines()[-1] == message
    assert "Traceback" not in err
    stopped, _, resume = message.partition(" Go on with: posesearch ")
    assert stopped.startswith("training stopped after step ")
    assert stopped.endswith(f" of 10; everything is saved in {RUN}/supernet.")
    assert not Path(SUPERNET).exists()
    assert shlex.split(resume) == [*LONG, "--json"]
    assert call(*shlex.split(resume)).code == 0
    assert digest(SUPERNET) == long_run


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(world: World, call, long_run: str) -> None:
    moments = random.Random(5)
    for awaited in (f"{RUN}/run.json", CHECKPOINT, CHECKPOINT):
        before = os.stat(awaited).st_mtime_ns if Path(awaited).exists() else 0
        process = start(LONG, world.folder)
        wait_for(lambda: Path(awaited).exists() and os.stat(awaited).st_mtime_ns > before, process)  # noqa: B023
        time.sleep(moments.uniform(0.0, 0.5))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert not Path(SUPERNET).exists()
    assert call(*LONG).code == 0
    assert digest(SUPERNET) == long_run
    assert not list(Path(CHECKPOINT).parent.glob(".*.tmp"))

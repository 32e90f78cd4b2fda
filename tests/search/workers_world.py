"""Workers of one search as processes of their own: accuracy and latency by formula, every evaluation on record."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
import traceback
from pathlib import Path

from search_world import FakeCost, FakeMeter, ap_of, latency_of

from posesearch.latency.types import LatencyBudget
from posesearch.progress import SilentProgress
from posesearch.search.coordination import RankedElsewhere
from posesearch.search.propose import members
from posesearch.search.question import Question
from posesearch.search.search import run_search
from posesearch.search.storage import parse_address
from posesearch.search.workers import Workers
from posesearch.spaces import HeadArch, SearchSpace, StageSpace

LIMIT_MS = 1.0


def small_space():
    """A space of 32 members; those of depth 1 and some of depth 2 lie within the budget."""
    return SearchSpace(
        name="small",
        input_size=(64, 48),
        stem_width=8,
        head=HeadArch(hidden=32, attention_dim=16),
        stages=(
            StageSpace(width=(8, 16), depth=(1, 2), kernel=(3, 5), ratio=(2, 3), attention=(False, True)),
        ),
    )


def the_list(space):
    """All members, in an order in which neighbours are far apart."""
    archs = sorted(members(space), key=lambda arch: arch.id)
    return archs, sum(latency_of(arch) <= LIMIT_MS for arch in archs)


class Messages(SilentProgress):
    def __init__(self):
        self.texts = []

    def message(self, text):
        self.texts.append(text)


class Recorder:
    """Evaluates in a moment; writes what it begins and ends into one file of all workers, a line each."""

    def __init__(self, folder, seconds, hangs_at):
        self._path, self._seconds, self._hangs_at = Path(folder) / "record.jsonl", seconds, hangs_at
        self._count = 0

    def write(self, **row):
        line = json.dumps({**row, "pid": os.getpid(), "time": time.monotonic()}) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    def __call__(self, arch):
        self.write(event="begin", arch=arch.id)
        if self._count == self._hangs_at:
            self.write(event="hang", arch=arch.id)
            time.sleep(1000)
        time.sleep(self._seconds)
        self._count += 1
        self.write(event="end", arch=arch.id)
        return {"AP": ap_of(arch), "split": "search"}


def record(folder):
    path = Path(folder) / "record.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def ended(folder):
    return [row["arch"] for row in record(folder) if row["event"] == "end"]


def workers_on(url, folder, **changes):
    address = parse_address(url, Path(folder) / "study.db")
    options = {"run": "r", "split": "people", "heartbeat_s": 1, "grace_s": 4, "poll_s": 0.05, **changes}
    return Workers(address=address, **options)


def search(folder, *, evaluations, workers=None, sampler="random", archs=(), evaluate=None, **changes):
    space = changes.pop("space", None) or small_space()
    options = {
        "folder": Path(folder),
        "question": Question.within(LatencyBudget(latency_ms=LIMIT_MS)),
        "evaluations": evaluations,
        "evaluate": evaluate or (lambda arch: {"AP": ap_of(arch)}),
        "meter": FakeMeter(),
        "cost": FakeCost,
        "weights_id": "weights",
        "progress": SilentProgress(),
        "sampler": sampler,
        "warm": [(arch, "list") for arch in archs],
        "workers": workers,
        **changes,
    }
    return run_search(space, **options)


def work(url, folder, records, seconds, hangs_at, evaluations, sampler, listed, answer):
    """What a worker's process does: searches, then tells how that ended."""
    archs = the_list(small_space())[0] if listed else ()
    progress = Messages()
    try:
        outcome = search(
            folder,
            evaluations=evaluations,
            workers=workers_on(url, folder),
            sampler=sampler,
            archs=archs,
            evaluate=Recorder(records, seconds, hangs_at),
            progress=progress,
        )
        answer.put(("ranked", [member.candidate.arch.code for member in outcome.front], progress.texts))
    except RankedElsewhere as end:
        answer.put(("elsewhere", str(end), progress.texts))
    except BaseException:
        answer.put(("failed", traceback.format_exc(), progress.texts))


def start(
    count, url, folder, *, evaluations, seconds=0.02, hangs_at=None, sampler="random", listed=False, own=False
):
    """Starts workers at once, the first of which hangs in one evaluation if asked; returns processes and answers."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["posesearch.search.search"])
    answers = context.Queue()
    processes = []
    for i in range(count):
        home = str(Path(folder, f"copy{i}") if own else folder)
        hangs = hangs_at if i == 0 else None
        job = (url, home, str(folder), seconds, hangs, evaluations, sampler, listed, answers)
        processes.append(context.Process(target=work, args=job))
    for process in processes:
        process.start()
    return processes, answers


def kill_when_it_hangs(folder, process, limit_s=180):
    """Sends SIGKILL to the worker that hangs in its evaluation; returns the architecture."""
    ending = time.monotonic() + limit_s
    while time.monotonic() < ending and process.is_alive():
        hanging = [row["arch"] for row in record(folder) if row["event"] == "hang"]
        if hanging:
            os.kill(process.pid, signal.SIGKILL)
            return hanging[0]
        time.sleep(0.02)
    raise AssertionError("no worker came to the evaluation in which it hangs")


def collect(processes, answers, count, limit_s=180):
    """Returns what `count` workers told, once all processes have ended."""
    told = [answers.get(timeout=limit_s) for _ in range(count)]
    for process in processes:
        process.join(limit_s)
    assert [text for kind, text, _ in told if kind == "failed"] == []
    return told

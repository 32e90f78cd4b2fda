"""Several workers on one storage: real processes, a real PostgreSQL server and SQLite, one worker killed in mid-trial."""

from __future__ import annotations

import itertools

import optuna
import pytest
from postgres_server import new_database, server
from workers_world import (
    collect,
    ended,
    kill_when_it_hangs,
    record,
    search,
    small_space,
    start,
    the_list,
    workers_on,
)

from posesearch.files import read_jsonl
from posesearch.search.outcome import read_outcome
from posesearch.search.storage import Storage

numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres():
    with server() as folder:
        yield folder


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request):
    if request.param == "sqlite":
        return "sqlite"
    return new_database(request.getfixturevalue("postgres"), f"search{next(numbers)}")


def states(url, folder):
    storage = Storage(workers_on(url, folder).address)
    (summary,) = optuna.get_all_study_summaries(storage.rdb, include_best_trial=False)
    trials = optuna.load_study(study_name=summary.study_name, storage=storage.rdb).trials
    storage.close()
    counts = {}
    for trial in trials:
        counts[trial.state.name] = counts.get(trial.state.name, 0) + 1
    return counts, trials


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_but_its_trial(tmp_path, url):
    archs, feasible = the_list(small_space())
    alone = search(tmp_path / "alone", evaluations=feasible, archs=archs)
    folder = tmp_path / "together"
    folder.mkdir()
    processes, answers = start(4, url, folder, evaluations=feasible, hangs_at=1, listed=True)
    lost = kill_when_it_hangs(folder, processes[0])
    told = collect(processes, answers, 3)

    assert rankings(told) == 1
    assert processes[0].exitcode == -9
    assert sorted(ended(folder)) == sorted(set(ended(folder))), "no architecture is evaluated twice"
    assert len(ended(folder)) == feasible, "all evaluations are made"
    assert lost in ended(folder), "what the dead worker asked is asked again"
    assert [text for _, _, texts in told for text in texts if "died in trial" in text]
    counts, trials = states(url, folder)
    assert counts["COMPLETE"] == feasible
    assert counts["FAIL"] == 1
    assert not counts.keys() & {"RUNNING", "WAITING"}
    codes = [member.candidate.arch.code for member in alone.front]
    assert {tuple(front) for kind, front, _ in told if kind == "ranked"} == {tuple(codes)}
    assert read_outcome(folder).evaluations == feasible
    rows = read_jsonl(folder / "candidates.jsonl")
    assert sorted(row["trial"] for row in rows) == [t.number for t in trials if t.state.name != "FAIL"]


@pytest.mark.slow
def test_workers_that_propose_for_themselves(tmp_path, url):
    shared = url_for(url, tmp_path)
    processes, answers = start(4, shared, tmp_path, evaluations=14, sampler="nsga2", own=True)
    told = collect(processes, answers, 4)
    assert rankings(told) == 1
    assert len(ended(tmp_path)) == len(set(ended(tmp_path))) == 14
    assert len({row["pid"] for row in record(tmp_path)}) >= 2, "the work is shared"
    _, trials = states(shared, tmp_path)
    new = [t for t in trials if t.state.name == "COMPLETE" and not t.user_attrs["candidate"]["repeated"]]
    assert len(new) == 14
    keys = [trial.user_attrs["key"] for trial in trials if trial.state.name != "FAIL"]
    assert len(keys) == len(set(keys)), "no two proposals share their randomness"

    # A worker with a run folder of its own that joins after the end gets the result.
    late = tmp_path / "late"
    outcome = search(late, evaluations=14, sampler="nsga2", workers=workers_on(shared, late))
    assert [m.candidate.arch.code for m in outcome.front] in [
        front for kind, front, _ in told if kind == "ranked"
    ]
    assert read_outcome(late) == outcome
    assert len(ended(tmp_path)) == 14


def rankings(told):
    """Returns how often the front was ranked; a worker that comes later takes the stored result."""
    return sum("ranking the front" in text for _, _, texts in told for text in texts)


def url_for(url, folder):
    """Returns a URL that means the same from another folder."""
    return f"sqlite:///{folder / 'copy0' / 'study.db'}" if url == "sqlite" else url

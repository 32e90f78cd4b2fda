"""`search --storage` on a run of the tiny space: the crew, its refusals, and the command line's answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tiny_workplace import Workplace, train_tiny

from posesearch.cli.app import main
from posesearch.errors import EnvironmentFault, UsageError
from posesearch.flows.differentiable import SAMPLE, Strategy
from posesearch.flows.found import SearchResult
from posesearch.flows.inputs import RUNS
from posesearch.flows.search import search
from posesearch.flows.workers import crew_of, split_id
from posesearch.latency.device import fingerprint
from posesearch.latency.types import Conditions, Measured
from posesearch.progress import SilentProgress
from posesearch.run import Run
from posesearch.search.coordination import RankedElsewhere
from posesearch.spaces import Architecture

CPU = torch.device("cpu")


class Messages(SilentProgress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)


def measured(arch: Architecture, conditions: Conditions, processes: int = 0) -> Measured:
    """Returns a latency that grows with the depth."""
    p50_ms = 1.0 + sum(stage.depth for stage in arch.stages)
    return Measured(
        p50_ms=p50_ms, p90_ms=p50_ms, ci_low_ms=p50_ms, ci_high_ms=p50_ms, runtime=conditions.runtime,
        precision=conditions.precision, device="a device", threads=1, batch=1, rounds=20, processes=processes, noise="quiet",
    )  # fmt: skip


class InstantMeter:
    """Measures by formula."""

    def __init__(self, conditions: Conditions, sentinel: Architecture) -> None:
        self.fingerprint = fingerprint(conditions, sentinel.input_size)

    def measure(self, arch: Architecture) -> Measured:
        return measured(arch, self.fingerprint.conditions)

    def anchor(self, known: object) -> None:
        pass


def measure_at_once(
    archs: Sequence[Architecture], conditions: Conditions, **_options: object
) -> dict[str, Measured]:
    return {arch.id: measured(arch, conditions, processes=2) for arch in archs}


def searched(**options: object) -> SearchResult:
    given = {"latency_ms": 1000.0, "trials": 3, "device": "cpu", "effort": "fast", "sampler": "random"}
    return search(**{**given, "progress": SilentProgress(), **options})  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_worker_on_the_runs_own_file(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(workplace.folder))
    monkeypatch.setattr("posesearch.flows.search.LatencyMeter", InstantMeter)
    monkeypatch.setattr("posesearch.flows.search.measure_fresh", measure_at_once)
    name = train_tiny(workplace).run
    opened = Run.open(RUNS, name)
    messages = Messages()
    with opened.lock(together=True):  # another worker is here as well
        result = searched(storage="sqlite", progress=messages)
        with pytest.raises(EnvironmentFault, match=f"run '{name}' is in use by another process"):
            searched()
    assert result.evaluations == 3
    assert messages.texts[0].startswith(
        f"search: one of several workers on runs/{name}/search/study.db. Latency is timed"
    )
    assert list(workplace.folder.glob("posesearch-*/cpu.lock")), "its measurements and evaluations take turns"
    # Whoever comes later, alone or with others, finds the same study and result.
    assert searched(storage="sqlite").outcome == searched().outcome == result.outcome

    def elsewhere(*_arguments: object, **_options: object) -> None:
        raise RankedElsewhere("search: another worker ranks the front, this one ends.")

    monkeypatch.setattr("posesearch.flows.search.run_search", elsewhere)
    messages = Messages()
    left = searched(storage="sqlite", progress=messages)
    assert (left.outcome, left.front) == (None, ())
    assert messages.texts[-1] == "search: another worker ranks the front, this one ends."
    words = ["search", "--latency-ms", "1000", "--trials", "3", "--device", "cpu", "--storage", "sqlite"]
    assert main(words) == 0
    with opened.lock():
        assert main(words) == 5


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"refine": 2, "strategy": SAMPLE}, "--refine 2 trains, which one worker does alone"),
        ({"refine": 0, "strategy": Strategy(name="differentiable")}, "--strategy differentiable trains"),
    ],
)
def test_what_one_worker_does_alone(options: dict, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        crew_of("sqlite", tmp_path, CPU, **options)
    assert not crew_of(None, tmp_path, CPU, **options).several


def test_alone_nothing_waits_for_anybody(tmp_path: Path) -> None:
    crew = crew_of(None, tmp_path, CPU, refine=0, strategy=SAMPLE)
    call = len
    assert crew.computing(call) is call
    assert crew.timing(call) is call
    assert crew.meter(lambda: "a meter") == "a meter"  # type: ignore[arg-type, comparison-overlap, return-value]
    assert (crew.shown, crew.workers("run", None)) == (None, None)  # type: ignore[arg-type]


def test_the_people_ranked_on_have_an_identity(people_dir: Path) -> None:
    from posesearch.data.source import DataSource

    people = DataSource(data=str(people_dir)).load("val")
    moved = dataclasses.replace(people, keypoints_NK3=people.keypoints_NK3 + 1)
    assert split_id(people) == split_id(DataSource(data=str(people_dir)).load("val"))
    assert split_id(people) != split_id(moved)
    assert split_id(people) != split_id(people.split_by_image(0.5, 0)[0])

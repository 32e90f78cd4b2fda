"""The frame of the benchmarks: what a result holds, how times are taken, what is refused, which files are written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from posesearch.bench import timing
from posesearch.bench.registry import BENCHES, Bench, BenchContext, find_benches
from posesearch.bench.result import BenchResult, Goal
from posesearch.bench.write import page, read_results, write_result
from posesearch.cli.app import main
from posesearch.errors import DataError, EnvironmentFault, UsageError
from posesearch.flows import bench as flow
from posesearch.progress import SilentProgress

Run = Callable[..., flow.BenchRun]


def fake(context: BenchContext) -> BenchResult:
    """A benchmark that looks at its context and measures nothing."""
    return BenchResult(
        name="pipeline",
        ratios={"loader": 9.0, "parts": 2.0},
        figures={
            "seed": context.seed,
            "device": str(context.device),
            "people": context.data is not None and (context.data / "annotations").is_dir(),
            "data": str(context.data),
            "deep": {"ms": 1.25, "sizes": [1, 2]},
        },
        goals=(Goal(key="loader", target=8.0), Goal(key="parts", target=1.5, at_most=True)),
        notes=("A | note.",),
    )


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs `bench` in an empty folder, its benchmarks measuring nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Bench, "run", lambda _, context: fake(context))
    return lambda **options: flow.bench(progress=SilentProgress(), **options)


@given(value=st.floats(allow_nan=False), target=st.floats(allow_nan=False))
def test_a_goal_is_met_on_its_side_of_the_target(value: float, target: float) -> None:
    assert Goal(key="x", target=target).met(value) == (value >= target)
    assert Goal(key="x", target=target, at_most=True).met(value) == (value <= target)


@pytest.mark.parametrize("at_most", [True, False])
def test_nothing_meets_a_goal_with_a_nan(at_most: bool) -> None:
    assert not Goal(key="x", target=1.0, at_most=at_most).met(float("nan"))


def test_goals_are_on_ratios_or_numeric_figures_only() -> None:
    BenchResult(name="x", ratios={}, figures={"a": 1}, goals=(Goal(key="a", target=1),))
    for figures in ({}, {"a": "fast"}):
        with pytest.raises(AssertionError, match=r"x: goals on \['a'\]"):
            BenchResult(name="x", ratios={}, figures=figures, goals=(Goal(key="a", target=1),))


def test_times_are_taken_in_turns_and_the_smallest_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    cost_s = {"a": iter([3.0, 1.0, 2.0]), "b": iter([5.0, 4.0, 6.0])}
    clock = [0.0]
    calls: list[str] = []

    def spend(name: str) -> Callable[[], None]:
        def call() -> None:
            calls.append(name)
            clock[0] += next(cost_s[name])

        return call

    monkeypatch.setattr(timing.time, "process_time", lambda: clock[0])
    assert timing.compare({name: spend(name) for name in cost_s}, 3) == {"a": 1.0, "b": 4.0}
    assert [sorted(calls[turn : turn + 2]) for turn in (0, 2, 4)] == [["a", "b"]] * 3
    cost_s["a"] = iter([7.0, 8.0])
    assert timing.cpu_seconds(spend("a"), 2) == 7.0


def test_the_order_of_turns_is_shuffled_by_the_seed() -> None:
    def order(seed: int) -> str:
        calls: list[str] = []
        timing.compare({name: lambda name=name: calls.append(name) for name in "abcd"}, 6, seed=seed)
        return "".join(calls)

    assert order(1) == order(1) != order(2)
    assert len({order(1)[turn : turn + 4] for turn in range(0, 24, 4)}) > 1


def test_the_names_are_the_issues() -> None:
    names = [bench.name for bench in BENCHES]
    assert names == [
        "pipeline",
        "step",
        "sandwich",
        "evaluate",
        "recalibrate",
        "memory",
        "deploy",
        "sampler",
        "gpu",
    ]
    assert [bench.name for bench in find_benches(None)] == names[:-2]  # sampler takes hours, gpu a GPU
    assert find_benches("memory")[0].target == "posesearch.bench.memory:run"


def test_one_benchmark_is_written_beside_the_others(run: Run, people_dir: Path) -> None:
    result = run(name="pipeline", data=people_dir, seed=3)
    document = json.loads(Path("bench/pipeline.json").read_text())
    assert document == result.to_plain()
    assert document["ratios"] == {"loader": 9.0, "parts": 2.0}
    assert [goal["met"] for goal in document["goals"]] == [True, False]
    assert (document["figures"]["seed"], document["figures"]["device"]) == (3, "cpu")
    assert {"cpu", "cores", "torch", "date"} <= set(document["machine"])
    assert document["command"] == f"posesearch bench pipeline --data {people_dir.name} --seed 3"
    text = Path("bench/bench.md").read_text()
    assert "| loader | 9 | at least 8 | met |" in text
    assert "| parts | 2 | at most 1.5 | not met |" in text
    assert "| deep.sizes | 1, 2 |" in text
    earlier = {**document, "name": "evaluate", "quick": True}
    write_result(Path("bench"), earlier)
    assert [one["name"] for one in read_results(Path("bench"))] == ["pipeline", "evaluate"]
    assert page(read_results(Path("bench"))).count("**Quick run on small sizes: no claims.**") == 1


def test_without_data_people_are_drawn_to_a_folder_that_is_gone_afterwards(run: Run) -> None:
    result = run(name="pipeline", quick=True)
    figures = result.to_plain()["figures"]
    assert figures["people"] is True
    assert not Path(figures["data"]).exists()
    assert sorted(path.name for path in Path().iterdir()) == ["bench"]


@pytest.mark.parametrize("name", [bench.name for bench in BENCHES if not bench.needs_people])
def test_people_nobody_asks_for_are_not_drawn(run: Run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_coco(*_: object, **__: object) -> None:
        raise AssertionError("drew people")

    monkeypatch.setattr(flow, "write_coco", write_coco)
    assert run(name=name, quick=True, dry_run=True).plan["data"] == "none is needed"
    assert run(name=name, quick=True).to_plain()["figures"]["people"] is False


def test_several_are_a_list(run: Run, people_dir: Path) -> None:
    document = run(data=people_dir).to_plain()
    assert list(document) == ["benches"] and len(document["benches"]) == len(BENCHES) - 2


def test_a_dry_run_writes_nothing(run: Run) -> None:
    document = run(dry_run=True, quick=True).to_plain()
    assert document["dry_run"] is True and document["plan"]["benches"][0] == "pipeline"
    assert list(Path().iterdir()) == []


def test_what_cannot_be_run_is_refused_with_a_remedy(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'pipelin' is not known\. Allowed: .* Did you mean 'pipeline'\?"):
        run(name="pipelin")
    with pytest.raises(
        UsageError, match=r"--gpu .* does not go with benchmark 'step'.*bench step --device cuda"
    ):
        run(name="step", gpu=True)
    with pytest.raises(UsageError, match=r"'gpu' needs a GPU\. Allowed: auto, cuda"):
        run(gpu=True, device="cpu")
    with pytest.raises(DataError, match="data folder not found"):
        run(name="pipeline", data=tmp_path / "nothing")
    assert list(Path().iterdir()) == []


def test_gpu_questions_without_a_gpu_end_with_exit_code_5(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EnvironmentFault, match=r"needs a GPU, and torch .* sees none"):
        run(name="gpu")
    assert main(["bench", "--gpu", "--json"]) == 5
    assert json.loads(capsys.readouterr().out)["exit_code"] == 5


def test_a_damaged_earlier_result_is_named(run: Run, people_dir: Path) -> None:
    Path("bench").mkdir()
    Path("bench/memory.json").write_text('{"name": "memory"}')
    with pytest.raises(DataError, match=r"bench/memory\.json lacks command, figures.*Delete it"):
        run(name="pipeline", data=people_dir)
    assert json.loads(Path("bench/pipeline.json").read_text())["name"] == "pipeline"


def test_the_command_prints_a_table_of_ratios_and_goals(
    run: Run, people_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "pipeline", "--data", str(people_dir), "--out", "results", "--quick"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "at most 1.5" in out and "not met" in out and "no claims" in out
    assert str(Path("results/pipeline.json")) in out and str(Path("results/bench.md")) in out
    assert main([*words, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert document["name"] == "pipeline" and set(document["ratios"]) == {"loader", "parts"}
    assert main(["bench", "evalute"]) == 2
    assert "Did you mean 'evaluate'?" in capsys.readouterr().err

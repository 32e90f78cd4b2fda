"""Reading a run folder: complete, cut short at every stage, and broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_run_folder import BUDGET_MS, SPLITS, build_run, measured

from posesearch.errors import DataError
from posesearch.report.axes import DEFAULT, axes_of
from posesearch.report.points import Latency, Point
from posesearch.report.read import latency_of, provisional_front, read_run


def test_full_run_gives_every_row(full_run: Path) -> None:
    rows = read_run(full_run)
    assert rows.name == "full"
    assert len(rows.points) == 160
    assert rows.budget is not None and rows.budget.latency_ms == BUDGET_MS
    assert [pick for pick, _ in rows.picks] == ["fastest", "knee", "best"]
    assert [point.name for point in rows.references] == ["starnet-pose-t", "starnet-pose-s"]
    assert [model.name for model in rows.models] == ["T", "S"]
    assert {(p.phase, p.measure) for p in rows.curves} == {
        (phase, measure) for phase in ("supernet", "S", "T") for measure in ("loss", "AP")
    }
    assert {p.series for p in rows.curves if p.phase == "supernet"} == {"largest", "smallest", "random"}
    assert ("Data", "people") in rows.facts
    assert ("Search split", f"{SPLITS['search']} persons cut from train") in rows.facts


def test_front_takes_the_confirmed_latency(full_run: Path) -> None:
    rows = read_run(full_run)
    first = {point.arch_id: point for point in rows.points}
    latencies = [point.latency.p50_ms for point in rows.front if point.latency]
    assert latencies == sorted(latencies)
    for point in rows.front:
        assert point.confirmed and point.latency is not None
        before = first[point.arch_id].latency
        assert before is not None and not first[point.arch_id].confirmed
        assert point.latency.p50_ms == pytest.approx(before.p50_ms * 1.004)


def test_parts_add_up_to_the_network(full_run: Path) -> None:
    for point in read_run(full_run).points:
        assert [part.name for part in point.parts] == ["stem", "stage0", "stage1", "stage2", "stage3", "head"]
        assert sum(part.macs for part in point.parts) == point.macs


def test_over_budget_asks_have_no_ap(full_run: Path) -> None:
    points = read_run(full_run).points
    assert any(not point.feasible for point in points)
    for point in points:
        assert point.latency is not None
        assert point.feasible == (point.latency.p50_ms <= BUDGET_MS) == (point.ap is not None)


def test_only_the_study_of_the_result_is_read(full_run: Path, tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", asks=12, models=False)
    file = run / "search" / "candidates.jsonl"
    lines = file.read_text().splitlines()
    other = json.loads(lines[0]) | {"study": "another"}
    file.write_text("\n".join([json.dumps(other), *lines]) + "\n")
    assert len(read_run(run).points) == 12
    (run / "search" / "result.json").unlink()
    assert len(read_run(run).points) == 12


@pytest.mark.parametrize(
    "stages", [{"search": False}, {"finished": False}, {"models": False}, {"retrained": False}]
)
def test_stages_that_have_not_run_are_empty(tmp_path: Path, stages: dict[str, bool]) -> None:
    rows = read_run(build_run(tmp_path / "run", asks=30, **stages))
    assert bool(rows.points) == ("search" not in stages)
    assert rows.finished == (not {"search", "finished"} & stages.keys())
    assert bool(rows.models) == (stages == {"retrained": False})
    assert all(model.retrained is None for model in rows.models)


def test_only_a_manifest_is_a_run(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    rows = read_run(tmp_path)
    assert rows.name == tmp_path.name
    assert (rows.points, rows.front, rows.models, rows.curves, rows.facts) == ((), (), (), (), ())


def test_provisional_front_is_undominated_and_increasing() -> None:
    def point(name: str, ap: float | None, ms: float, feasible: bool = True) -> Point:
        return Point(arch_id=name, code=name, ap=ap, latency=Latency(p50_ms=ms), feasible=feasible)

    points = [
        point("a", 0.5, 1.0),
        point("b", 0.4, 2.0),
        point("c", 0.6, 2.0),
        point("d", 0.6, 3.0),
        point("e", 0.9, 9.0, feasible=False),
        point("f", None, 0.5),
        point("a", 0.5, 1.0),
    ]
    assert [p.code for p in provisional_front(points, axes_of(DEFAULT))] == ["a", "c"]


def test_a_prediction_is_no_measurement() -> None:
    assert latency_of({"kind": "predicted", "latency_ms": 2.0, "p50_ms": 2.0}, "row") is None
    assert latency_of(measured(2.0) | {"p50_ms": None}, "row") is None
    latency = latency_of(measured(2.0, "noisy"), "row")
    assert latency is not None
    assert latency.fps == 500.0 and latency.noisy
    assert latency.where == "eager, float32, NVIDIA H200, 1 thread, batch 1"


def test_names_that_a_reader_knows(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", asks=30, models=False)
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(manifest | {"data": {"data": "runs/generated-people"}}))
    file = run / "search" / "evaluations.jsonl"
    file.write_text(file.read_text().replace('"split": "search"', '"split": "train-held-out"'))
    rows = read_run(run)
    assert ("Data", "generated people (runs/generated-people)") in rows.facts
    assert rows.search_accuracy is not None and rows.search_accuracy.split == "search"


def test_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_run(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} is not a run folder: it has no run.json. "
        "Give the folder that `posesearch supernet-train` made, or start one with that command."
    )


def test_a_word_for_a_number_is_named(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", asks=4, finished=False)
    file = run / "search" / "candidates.jsonl"
    lines = file.read_text().splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | {"AP": "high"})
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError) as caught:
        read_run(run)
    assert str(caught.value) == (
        f"{file}, line 3: AP is 'high', expected a number. "
        "The file was changed or written by another version; run the step that writes it again."
    )


def test_a_cut_result_is_named(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", asks=4, models=False)
    file = run / "search" / "result.json"
    file.write_text(file.read_text()[:200])
    with pytest.raises(DataError, match=r"result\.json is not valid JSON"):
        read_run(run)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("front", {"a": 1}, "front is {'a': 1}, expected a list."),
        ("front", [3], "front[0]: got 3, expected a JSON object."),
        ("budget", "fast", "budget: got 'fast', expected a JSON object."),
    ],
)
def test_wrong_shapes_are_named(tmp_path: Path, key: str, value: object, message: str) -> None:
    run = build_run(tmp_path / "run", asks=4, models=False)
    file = run / "search" / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(DataError) as caught:
        read_run(run)
    assert message in str(caught.value) and str(file) in str(caught.value)

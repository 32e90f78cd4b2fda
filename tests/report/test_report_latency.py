"""Latency in the report: predictions beside measurements, blocks, runtimes and the regime, and no claim without data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_predictions import HIGH, LOW, PARTS, TABLE, searched_by_table
from fake_run_folder import build_run
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.errors import DataError
from posesearch.report import write_report
from posesearch.report.block_latency import block_info, block_note, block_plot, block_takeaway
from posesearch.report.caveats import caveats
from posesearch.report.extras import Extras, Kernels, TimedNet, extras_of
from posesearch.report.front_info import front_info
from posesearch.report.points import Latency, Part, Point, Prediction
from posesearch.report.predictions import (
    PredictionRow,
    predictions_info,
    predictions_note,
    predictions_takeaway,
)
from posesearch.report.read import read_run
from posesearch.report.regime import MIN_NETS, fit_counts, regime, timed_nets
from posesearch.report.rows import Budget, RunRows
from posesearch.report.runtimes import runtimes_sentence, runtimes_table
from posesearch.report.sections import sections
from posesearch.report.tables import front_table
from posesearch.report.takeaway import front_takeaway

LABEL = "predicted for NVIDIA H200, unverified"


@pytest.fixture(scope="module")
def by_table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    run = build_run(tmp_path_factory.mktemp("table") / "run", asks=60)
    return run, searched_by_table(run)


def timed(ms: float, width: float = 0.01, **fields: Any) -> Latency:
    return Latency(p50_ms=ms, ci_low_ms=ms * (1 - width), ci_high_ms=ms * (1 + width), **fields)


def pick(ms: float, runtime: str = "", there_ms: float = 1.0, key: str = "a", **fields: Any) -> Point:
    also = ((runtime, timed(there_ms)),) if runtime else ()
    values = {"latency": timed(ms), "also": also} | fields
    return Point(arch_id=key, code=f"code-{key}", ap=0.5, feasible=True, **values)


def run_of(*front: Point, runtime: str = "eager", **fields: Any) -> RunRows:
    picks = tuple(zip(("fastest", "best"), (point.arch_id for point in front), strict=False))
    return RunRows(
        name="r", front=front, picks=picks, budget=Budget(latency_ms=9.0, runtime=runtime), **fields
    )


def nets(a_ms: float, b_ms: float, count: int = 40) -> tuple[TimedNet, ...]:
    """Networks of latency a_ms * operators + b_ms * MACs / 1e6."""
    sizes = [(100 + 37 * (i % 7), 1_000_000 * (5 + 11 * (i % 5))) for i in range(count)]
    return tuple(
        TimedNet(operators=ops, macs=macs, p50_ms=a_ms * ops + b_ms * macs / 1e6) for ops, macs in sizes
    )


def test_each_pair_is_a_prediction_before_its_measurement(by_table: tuple[Path, dict[str, Any]]) -> None:
    run, extras = by_table
    rows = read_run(run, extras)
    table = predictions_info(rows)
    assert {row.code for row in table if row.on_front} == {point.code for point in rows.front}
    own = {point.code for point in (*rows.points, *rows.front) if point.latency and point.predicted}
    assert {row.code for row in table} == own and len(own) == len(table)
    for row in table:
        assert row.predicted.low_ms == pytest.approx(row.predicted.latency_ms * (1 + LOW))
        assert row.above == (row.excess > HIGH + 1e-12)
    confirmed = {point.code: point.latency for point in rows.front}
    assert all(row.latency == confirmed[row.code] for row in table if row.on_front)
    above = sum(row.above for row in table)
    told = predictions_takeaway(table)
    assert f"Predictions of {len(table)} networks were " in told
    assert f"{above or 'none'} of {len(table)} took longer than the upper bound" in told
    assert f"Latency table {TABLE}. " in predictions_note(table)


def test_a_check_counts_by_the_prediction_it_was_chosen_by() -> None:
    first, refitted = (Prediction(latency_ms=ms, low_ms=0.9 * ms, high_ms=1.1 * ms) for ms in (2.0, 2.5))
    rows = run_of(pick(2.6, predicted=first), checks=(pick(2.7, predicted=refitted),))
    (row,) = predictions_info(rows)
    assert (row.predicted, row.latency.p50_ms) == (refitted, 2.6)
    # Rejected when measured: on no front, in no list of candidates with a measurement.
    rows = run_of(checks=(pick(2.9, predicted=refitted),))
    (row,) = predictions_info(rows)
    assert row.above and not row.on_front and row.excess == pytest.approx(0.16)
    assert predictions_takeaway((row,)).startswith(
        "Predictions of 1 network were 13.8% off on average (13.8% too low); 1 of 1 took longer"
    )


def test_predictions_of_a_machine_that_was_slower_say_so() -> None:
    factors = (1.0, 1.04, 1.04)
    table = tuple(
        PredictionRow(
            code="a",
            predicted=Prediction(latency_ms=2.0, low_ms=1.9, high_ms=2.1, factor=factor),
            latency=timed(2.0),
        )
        for factor in factors
    )
    assert "multiplied by 1.040: the machine was that much slower" in predictions_note(table)
    assert "multiplied" not in predictions_note(table[:1])


def test_without_predictions_there_is_a_way_to_get_them_and_no_empty_plot(full_run: Path) -> None:
    rows = read_run(full_run)
    assert predictions_info(rows) == () and block_info(rows) == ()
    keys = [section.key for section in sections(rows)]
    assert "predictions" not in keys and "blocks" not in keys and "breakdown" in keys
    assert any("posesearch latency build" in told for told in caveats(rows, front_info(rows)))


def test_the_page_of_a_search_by_table(by_table: tuple[Path, dict[str, Any]]) -> None:
    run, extras = by_table
    told = {section.key: section for section in sections(read_run(run, extras))}
    assert list(told)[-3:] == ["latency", "predictions", "blocks"]
    bars = [trace for trace in told["blocks"].figure.data if trace.type == "bar"]
    assert [bar.name for bar in bars] == [name.replace("stage", "stage ") for name in PARTS]
    assert f"predicted from the block table {TABLE}, not measured" in told["blocks"].note
    page = write_report(run, extras).html.read_text(encoding="utf-8")
    assert "Predicted against measured latency" in page and "evaluated, latency only predicted" in page
    assert not any("latency build" in sentence for sentence in caveats(read_run(run, extras), None))


def test_blocks_stand_beside_the_measured_total(by_table: tuple[Path, dict[str, Any]]) -> None:
    run, extras = by_table
    rows = read_run(run, extras)
    table = block_info(rows)
    assert [row.name for row in table[-2:]] == ["starnet-pose-t", "starnet-pose-s"]
    best = rows.front[-1].latency
    assert best is not None
    assert block_takeaway(table).endswith(f"measured, it takes {best.p50_ms:.2f} ms.")
    assert block_takeaway(table).startswith("The best pick spends 11% of its predicted 4.50 ms in stem")
    marks = block_plot(table).data[-1]
    assert marks.name == "measured" and len(marks.x) == len(table)
    assert "The call is what no block pays for." in block_note(table, TABLE)
    unmeasured = tuple(replace(row, latency=None) for row in table)
    assert "measured" not in block_takeaway(unmeasured)
    assert all(trace.name != "measured" for trace in block_plot(unmeasured).data)


def test_what_nobody_measured_says_so_everywhere(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", asks=40, models=False)
    extras = searched_by_table(run, label=LABEL)
    rows = read_run(run, extras)
    assert all(point.latency is None and point.predicted for point in rows.front)
    assert [point.figure_ms for point in rows.front] == sorted(point.figure_ms for point in rows.front)
    assert predictions_info(rows) == ()
    info = front_info(rows)
    assert info is not None and LABEL in info.x_title and not any(mark.measured for mark in info.marks)
    assert {mark.kind for mark in info.marks} == {"over budget", "predicted", "front", "reference"}
    assert LABEL in front_takeaway(rows) and "No budget is met before it is measured" in front_takeaway(rows)
    for row in front_table(rows):
        assert row.cells[3].startswith("~") and row.cells[3].endswith("predicted")
    assert any(told.startswith("No latency was measured") for told in caveats(rows, info))
    page = write_report(run, extras).html.read_text(encoding="utf-8")
    assert "predicted, unverified" in page and "measured latency of one image" not in page
    assert (run / "front.csv").read_text().splitlines()[1].split(",")[4] == ""


@pytest.mark.parametrize(
    ("here_ms", "there_ms", "told"),
    [
        (1.8, 1.0, "ONNX Runtime is 1.8 times as fast as eager here."),
        (1.0, 2.0, "Eager is 2.0 times as fast as ONNX Runtime here."),
        (1.005, 1.0, "ONNX Runtime is as fast as eager here, within noise."),
    ],
)
def test_runtimes_in_words(here_ms: float, there_ms: float, told: str) -> None:
    assert runtimes_sentence(run_of(pick(here_ms, "onnxruntime", there_ms))) == told


def test_runtimes_side_by_side() -> None:
    rows = run_of(pick(1.8, "onnxruntime", 1.0), pick(4.0, "onnxruntime", 2.0, key="b"))
    assert runtimes_sentence(rows) == "ONNX Runtime is 1.9 times as fast as eager here (1.8 to 2.0)."
    rows = replace(rows, extras=Extras(kernels=(Kernels(arch_id="b", count=200, unit="ATen calls"),)))
    columns, table = runtimes_table(rows)
    assert columns[1:] == (
        "eager p50 (ms)", "ONNX Runtime p50 (ms)", "eager / ONNX Runtime", "ATen calls a forward", "µs an ATen call",
    )  # fmt: skip
    assert table[0].cells[-3:] == ("1.80", "—", "—")
    assert table[1].cells == ("best", "4.00 [3.96-4.04]", "2.00 [1.98-2.02]", "2.00", "200", "20.0")
    assert runtimes_table(run_of(pick(1.0))) == ((), ())
    assert runtimes_sentence(run_of(pick(1.0))) == ""


@settings(max_examples=15, deadline=None)
@given(share=st.floats(0.02, 0.98))
def test_the_share_of_the_operators_is_found(share: float) -> None:
    found = fit_counts(nets(share / 211, (1 - share) / 27))
    mean = [net.operators * share / 211 / net.p50_ms for net in nets(share / 211, (1 - share) / 27)]
    assert found.share == pytest.approx(sum(mean) / len(mean), abs=1e-6)
    assert found.error < 1e-6 and found.low - 1e-9 <= found.share <= found.high + 1e-9


@pytest.mark.parametrize(
    ("a_ms", "b_ms", "verdict", "words"),
    [
        (0.02, 0.001, "launch-bound", "Launch-bound in eager: about 99% of the latency goes with the number"),
        (0.0005, 0.2, "arithmetic-bound", "narrower blocks and smaller kernels help as much as fewer blocks"),
    ],
)
def test_the_regime_by_counts(a_ms: float, b_ms: float, verdict: str, words: str) -> None:
    rows = run_of(pick(1.0), extras=Extras(nets=nets(a_ms, b_ms)))
    found = regime(rows)
    assert found is not None and found.verdict == verdict and words in found.sentence
    assert "40 measured networks, 0% off" in found.sentence and "memory traffic" in found.note


def test_the_regime_is_left_open_without_evidence() -> None:
    few = regime(run_of(pick(1.0), extras=Extras(nets=nets(0.02, 0.0)[: MIN_NETS - 1])))
    assert few is None  # too few of the table are not taken, and the search has measured nothing
    points = tuple(
        pick(1.0 + i, key=str(i), macs=i + 1, parts=(Part(name="stem", macs=i + 1, operators=5),))
        for i in range(5)
    )
    found = regime(run_of(points[0], points=points))
    assert (
        found is not None
        and found.verdict == "undecided"
        and "5 measured networks are too few" in found.sentence
    )
    assert len(timed_nets(run_of(points=(*points, replace(points[0], latency=None))))) == 5
    wild = tuple(replace(net, p50_ms=net.p50_ms * (0.5 + i % 3)) for i, net in enumerate(nets(0.02, 0.1)))
    found = regime(run_of(pick(1.0), extras=Extras(nets=wild)))
    assert found is not None and found.verdict == "undecided" and "only within" in found.sentence
    even = tuple(
        replace(net, p50_ms=net.p50_ms * (1 + 0.08 * (-1) ** (i // 3)))
        for i, net in enumerate(nets(0.005, 0.046))
    )
    found = regime(run_of(pick(1.0), extras=Extras(nets=even)))
    assert found is not None and found.verdict == "undecided" and found.sentence.startswith("Between ")


def test_the_regime_on_a_gpu() -> None:
    arithmetic = Extras(nets=nets(0.0005, 0.2), kernels=(Kernels(arch_id="a", count=200, unit="kernels"),))
    found = regime(run_of(pick(3.4, "cudagraph", 0.85), extras=arithmetic))
    assert found is not None and found.verdict == "launch-bound"
    assert "4.0 times as fast, so about 75% of the eager latency" in found.sentence
    assert "17.0 µs a kernel" in found.sentence
    # A graph that brings little leaves it to the counts, and so does a GPU clock near the wall clock: it runs while
    # the GPU waits for the host.
    for point in (pick(1.1, "cudagraph", 1.0), pick(1.0, latency=timed(1.0, device_ms=0.95))):
        found = regime(run_of(point, extras=arithmetic))
        assert found is not None and found.verdict == "arithmetic-bound"
    found = regime(run_of(pick(1.0, latency=timed(1.0, device_ms=0.4)), extras=arithmetic))
    assert found is not None and "the GPU works for 40% of the measured latency" in found.sentence
    columns, table = runtimes_table(run_of(pick(1.0, latency=timed(1.0, device_ms=0.4)), extras=arithmetic))
    assert dict(zip(columns, table[0].cells, strict=True))["GPU clock (ms)"] == "0.400"


def test_extras_that_are_no_extras_are_refused() -> None:
    assert extras_of({}) == Extras()
    with pytest.raises(
        DataError, match="latency figures of the report: operators is 'many', expected a number"
    ):
        extras_of({"nets": [{"operators": "many"}]})
    with pytest.raises(DataError, match="expected a list"):
        extras_of({"priced": {"a": 1}})


def test_a_broken_prediction_names_file_and_key(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", asks=12, models=False)
    searched_by_table(run)
    file = run / "search" / "candidates.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[2]["predicted"]["latency_ms"] = "fast"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"candidates\.jsonl, line 3: predicted: latency_ms is 'fast'"):
        read_run(run)

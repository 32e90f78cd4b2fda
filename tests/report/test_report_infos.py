"""The rows behind each figure: what is shown, what it says in one line, and what it refuses to say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_run_folder import build_run
from hypothesis import given
from hypothesis import strategies as st

from posesearch.report.breakdown import breakdown_info, breakdown_takeaway
from posesearch.report.caveats import caveats, next_step
from posesearch.report.choices import MIN_ROWS, choices_info, choices_takeaway, too_few_text
from posesearch.report.curves import curves_info, curves_takeaway
from posesearch.report.front_info import MAX_MARKS, front_info
from posesearch.report.history import history_info, history_takeaway
from posesearch.report.points import Latency, Point
from posesearch.report.promises import promises_info, promises_takeaway
from posesearch.report.read import read_run
from posesearch.report.rows import Accuracy, Budget, Model, RunRows
from posesearch.report.tables import FRONT_COLUMNS, front_table, model_columns, model_conditions, model_table
from posesearch.report.takeaway import against_references, front_takeaway
from posesearch.report.words import (
    ap_text,
    axis_format,
    count_text,
    counted,
    footnote,
    fps_text,
    interval_text,
    listed_words,
    measured_text,
    short_name,
    significant,
)


def point(key: str, ap: float | None, ms: float, **fields: object) -> Point:
    values: dict[str, object] = {"feasible": True, **fields}
    latency = Latency(p50_ms=ms, p90_ms=ms + 0.2, ci_low_ms=ms - 0.1, ci_high_ms=ms + 0.1)
    return Point(arch_id=key, code=f"code-{key}", ap=ap, latency=latency, **values)  # type: ignore[arg-type]


FAST, BEST = point("fast", 0.50, 1.0), point("best", 0.60, 2.0)
ROWS = RunRows(
    name="r",
    points=(FAST, BEST, point("seen", 0.45, 1.5), point("over", None, 4.0, feasible=False)),
    front=(FAST, BEST),
    picks=(("fastest", "fast"), ("knee", "best"), ("best", "best")),
    references=(point("t", 0.58, 2.5, name="starnet-pose-t"),),
    budget=Budget(latency_ms=2.5),
    finished=True,
)


def test_front_marks_and_labels() -> None:
    info = front_info(ROWS)
    assert info is not None
    assert [(mark.kind, mark.label) for mark in info.marks] == [
        ("over budget", ""),
        ("evaluated", ""),
        ("front", "fastest"),
        ("front", "knee and best"),
        ("reference", "starnet-pose-t"),
    ]
    assert info.marks[3].minus == pytest.approx(0.1)
    low, high = info.x_range
    assert low < 1.0 and 2.5 < high < 4.0
    assert info.outside == 1
    assert info.y_range[0] < info.rug_height < 0.45 < 0.60 < info.y_range[1]


def test_front_takeaway_is_computed() -> None:
    assert front_takeaway(ROWS) == (
        "The best pick reaches AP 0.600 at 2.00 ms (1.90-2.10, 500 images/s), 20% under the 2.5 ms budget; "
        "the fastest runs 2.0 times as fast for 0.100 less AP."
    )
    assert against_references(ROWS) == (
        "The best pick under the same conditions: against starnet-pose-t, 0.020 AP more and 0.500 ms faster."
    )


def timed(key: str, ms: float, low_ms: float, high_ms: float, **fields: object) -> Point:
    latency = Latency(p50_ms=ms, ci_low_ms=low_ms, ci_high_ms=high_ms, noisy=True)
    return replace(point(key, 0.6, ms, **fields), latency=latency)


def test_noise_is_told_where_it_decides() -> None:
    near = timed("best", 2.4, 1.0, 2.8, verdict="within noise")
    slow = timed("t", 2.6, 2.3, 4.0, name="starnet-pose-t scaled to demo", verdict="over", feasible=True)
    rows = replace(ROWS, front=(FAST, near), references=(slow,))
    assert front_takeaway(rows) == (
        "The best pick reaches AP 0.600 at 2.40 ms (1.00-2.80, noisy, 417 images/s), within noise of the budget "
        "(2.5 ms); the fastest, with 0.100 less AP, is within noise of its latency."
    )
    assert against_references(rows).endswith("0.200 ms faster (within noise).")
    table = front_table(rows)
    assert [row.cells[1] for row in table] == [
        "fastest",
        "knee and best, within noise of the budget",
        "starnet-pose-t*, over budget, within noise of it",
    ]
    assert table[1].cells[3] == "2.40 [1.00-2.80] noisy"


@pytest.mark.parametrize(
    ("ms", "low_ms", "high_ms", "verdict", "note"),
    [
        (2.0, 1.9, 2.4, "", "within noise of the budget"),  # noisy, and no verdict
        (2.0, 1.9, 2.6, "", "within noise of the budget"),
        (2.0, 1.9, 2.6, "within", ""),
        (2.7, 2.6, 2.8, "", "over budget"),
        (2.7, 2.4, 2.8, "over", "over budget, within noise of it"),
    ],
)
def test_the_budget_note(ms: float, low_ms: float, high_ms: float, verdict: str, note: str) -> None:
    # `feasible` is that of the first measurement and says nothing here.
    assert ROWS.budget_note(timed("p", ms, low_ms, high_ms, verdict=verdict, feasible=False)) == note


def test_front_on_p90_shows_p90() -> None:
    info = front_info(replace(ROWS, budget=Budget(latency_ms=2.5, percentile="p90")))
    assert info is not None
    assert info.x_title == "measured latency of one image, p90 (ms)"
    assert [mark.x for mark in info.of("front")] == pytest.approx([1.2, 2.2])
    assert {mark.plus for mark in info.marks} == {0.0}


def test_infeasible_run_names_the_fastest(tmp_path: Path) -> None:
    rows = read_run(build_run(tmp_path / "run", asks=20, budget_ms=0.5))
    info = front_info(rows)
    assert info is not None and not info.of("front") and info.outside == 0
    assert front_takeaway(rows).startswith(
        "No architecture was measured within 0.5 ms; the fastest of 20 asks takes 1.7"
    )
    sentence, command = next_step(rows)
    assert sentence == "Nothing meets the budget. Try a wider one:"
    assert command.startswith("posesearch search --latency-ms 2.1") and command.endswith("--run run")


def test_many_marks_are_thinned_and_counted() -> None:
    crowd = tuple(point(f"p{i}", None, 5.0 + i / 1000, feasible=False) for i in range(4000))
    info = front_info(replace(ROWS, points=(FAST, BEST, *crowd)))
    assert info is not None
    shown = len(info.of("over budget"))
    assert shown <= MAX_MARKS
    assert shown + info.left_out == 4000
    assert len(info.of("front")) == 2
    assert f"{info.left_out:,} marks are left out of the plot to keep the page fast." in caveats(ROWS, info)


def test_nothing_measured_is_no_figure() -> None:
    assert front_info(RunRows(name="r")) is None


def test_history_counts_distinct_evaluations_within_budget() -> None:
    asks = (FAST, FAST, point("over", 0.9, 9.0, feasible=False), BEST, point("low", 0.3, 1.1))
    history = history_info(replace(ROWS, points=asks))
    assert [(row.evaluation, row.ap, row.best_ap) for row in history] == [
        (1, 0.5, 0.5),
        (2, 0.6, 0.6),
        (3, 0.3, 0.6),
    ]
    assert history_takeaway(history, 5).startswith("The best AP, 0.600, came at evaluation 2 of 3 (5 asks")


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40))
def test_history_never_falls(values: list[float]) -> None:
    asks = tuple(point(f"p{i}", ap, 1.0) for i, ap in enumerate(values))
    best = [row.best_ap for row in history_info(RunRows(name="r", points=asks))]
    assert best == sorted(best) and best[-1] == max(values)


def choices_rows(count: int, seed: int, noise: float, weights: tuple[float, ...]) -> RunRows:
    rng = np.random.default_rng(seed)
    points = []
    for index in range(count):
        genes = [int(rng.integers(3)) for _ in weights]
        ap = 0.5 + sum(w * g for w, g in zip(weights, genes, strict=True)) / 50 + float(rng.normal(0, noise))
        named = tuple((f"stage{i}.width", gene) for i, gene in enumerate(genes))
        points.append(point(f"p{index}", ap, 1.0 + 0.5 * genes[-1], genes=named))
    return RunRows(name="r", points=tuple(points))


def test_choices_find_what_the_target_is_made_of() -> None:
    table = {row.gene: row for row in choices_info(choices_rows(120, 1, 0.0, (3.0, 1.0, 0.0))).rows}
    # Variances of independent, equally drawn genes: 9 : 1 : 0.
    assert table["stage0.width"].ap_share == pytest.approx(0.9, abs=0.06)
    assert table["stage1.width"].ap_share == pytest.approx(0.1, abs=0.06)
    assert abs(table["stage2.width"].ap_share) < 0.02
    assert table["stage0.width"].ap_effect == pytest.approx(0.12, rel=0.05)
    assert table["stage2.width"].latency_share == pytest.approx(1.0, abs=0.03)
    assert table["stage2.width"].latency_effect_ms == pytest.approx(1.0, rel=0.05)


def test_choices_give_noise_nothing() -> None:
    found = [choices_info(choices_rows(60, seed, 0.02, (0.0, 0.0, 0.0, 0.0))) for seed in range(40)]
    # In-sample R² of 8 free columns on 60 rows would be about 0.14 on average.
    assert abs(np.mean([sum(row.ap_share for row in choices.rows) for choices in found])) < 0.03
    told = [choices_takeaway(choices) for choices in found]
    assert sum(line.startswith("No single choice stands out for AP") for line in told) >= 35


def test_choices_do_not_depend_on_a_repeat() -> None:
    rows = choices_rows(40, 3, 0.01, (2.0, 1.0))
    assert choices_info(replace(rows, points=(*rows.points, *rows.points[:9]))) == choices_info(rows)


def test_too_few_evaluations_say_so() -> None:
    assert choices_info(choices_rows(MIN_ROWS - 1, 0, 0.0, (1.0, 1.0))).rows == ()
    assert choices_info(choices_rows(MIN_ROWS, 0, 0.0, (1.0, 1.0))).rows != ()
    assert too_few_text(7) == (
        "Too few evaluations to say: 7 architectures have an AP, at least 20 are needed. Search with more trials."
    )


def test_equal_aps_have_no_choices_that_matter() -> None:
    assert choices_info(choices_rows(40, 0, 0.0, (0.0, 0.0))).rows == ()


def test_choices_takeaway_names_the_top() -> None:
    told = choices_takeaway(choices_info(choices_rows(120, 1, 0.0, (3.0, 1.0, 0.0))))
    assert told.startswith("stage0.width matters most for AP: it explains ")
    assert "for latency it is stage2.width" in told


def test_breakdown_shares_sum_to_one(full_run: Path) -> None:
    table = breakdown_info(read_run(full_run))
    bars: dict[tuple[str, str], float] = {}
    for row in table:
        bars[row.architecture, row.measure] = bars.get((row.architecture, row.measure), 0.0) + row.share
    assert {name for name, _ in bars} == {"fastest", "knee", "best", "starnet-pose-t", "starnet-pose-s"}
    assert list(bars.values()) == pytest.approx([1.0] * len(bars))
    told = breakdown_takeaway(table)
    assert told.startswith("The best pick spends ") and told.endswith("Counted, not timed.")


def test_curves_are_split_by_phase_and_measure(full_run: Path) -> None:
    rows = read_run(full_run)
    loss = curves_info(rows, "supernet", "loss")
    assert list(loss) == ["largest", "smallest", "random"]
    assert [p.epoch for p in loss["random"]] == list(range(1, 25))
    assert list(curves_info(rows, "supernet", "AP")) == ["largest", "smallest"]
    assert list(curves_info(rows, "retraining", "AP")) == ["S", "T"]
    single = replace(rows, curves=tuple(p for p in rows.curves if p.measure == "loss" or p.epoch == 24))
    assert curves_info(single, "supernet", "AP") == {} == curves_info(single, "retraining", "AP")
    assert curves_takeaway(loss, "loss").startswith("Loss over 24 epochs: largest ")
    assert curves_info(RunRows(name="r"), "supernet", "loss") == {}


def accuracy(ap: float, split: str, boxes: str = "gt") -> Accuracy:
    return Accuracy(ap=ap, boxes=boxes, flip=True, split=split, persons=1234, input_size=(256, 192))


def model(**fields: Accuracy | None) -> Model:
    values = {"supernet": accuracy(0.6, "search"), "extracted": None, "retrained": None, **fields}
    return Model(name="T", pick="knee", code="c", params=3_504_155, macs=1, latency=None, **values)  # type: ignore[arg-type]


def test_promises_subtract_only_equal_conditions() -> None:
    conditions = "val split, 1,234 persons, ground-truth boxes, flip test on, 256x192"
    equal = model(extracted=accuracy(0.55, "val"), retrained=accuracy(0.65, "val"))
    told = promises_takeaway(promises_info(RunRows(name="r", models=(equal,))))
    assert told.startswith(
        f"Retrained, T reaches AP 0.650 ({conditions}), +0.100 against its extracted weights there."
    )
    unequal = model(extracted=accuracy(0.55, "val", boxes="detector.json"), retrained=accuracy(0.65, "val"))
    told = promises_takeaway(promises_info(RunRows(name="r", models=(unequal,))))
    assert told.startswith(f"Retrained, T reaches AP 0.650 ({conditions}). The supernet")
    told = promises_takeaway(promises_info(RunRows(name="r", models=(model(),))))
    assert told.startswith("No model has been retrained yet")


def test_tables_say_every_condition(full_run: Path) -> None:
    rows = read_run(full_run)
    table = front_table(rows)
    assert {len(row.cells) for row in table} == {len(FRONT_COLUMNS)}
    assert [row.cells[0] for row in table[: len(rows.front)]] == [
        str(rank) for rank in range(1, len(rows.front) + 1)
    ]
    assert [row.mark for row in table].count("pick") == 3
    assert table[-2].cells[6] == "3.50 M"
    assert len({row.key for row in table}) == len(table)
    assert {len(row.cells) for row in model_table(rows)} == {len(model_columns(rows))}
    assert model_conditions(rows)[2] == (
        "retrained AP: val split, 600 persons, ground-truth boxes, flip test off, 256x192"
    )


def test_caveats_are_said(tmp_path: Path, full_run: Path) -> None:
    rows = read_run(full_run)
    told = " ".join(caveats(rows, front_info(rows)))
    assert "Ranking quality is not established in this run" in told
    assert "AP carries no interval" in told
    assert "Latency holds for this device and runtime only: eager, float32, NVIDIA H200" in told
    assert "noisy" not in told and "provisional" not in told and "retrained: final" not in told
    noisy = read_run(build_run(tmp_path / "a", asks=30, noise="noisy", retrained=False))
    told = " ".join(caveats(noisy, front_info(noisy)))
    assert "busy machine" in told and "No model was retrained" in told
    cut = read_run(build_run(tmp_path / "b", asks=30, finished=False))
    told = " ".join(caveats(cut, front_info(cut)))
    assert "provisional" in told and "not all confirmed" in told and "without a reference" in told


@pytest.mark.parametrize(
    ("stages", "command"),
    [
        ({"search": False}, "posesearch search --latency-ms 3.5 --run run"),
        ({"finished": False}, "posesearch search --latency-ms 3.5 --run run"),
        ({"models": False}, "posesearch extract --run run"),
        ({"retrained": False}, "posesearch train runs/run/models/T.safetensors"),
        ({}, "posesearch evaluate runs/run/models/S-trained.safetensors --flip"),
    ],
)
def test_next_step(tmp_path: Path, stages: dict[str, bool], command: str) -> None:
    assert next_step(read_run(build_run(tmp_path / "run", asks=30, **stages)))[1] == command


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0512, "0.0512"),
        (0.5, "0.500"),
        (2.9149, "2.91"),
        (34.56, "34.6"),
        (812.4, "812"),
        (12345, "12345"),
        (0, "0"),
    ],
)
def test_significant(value: float, text: str) -> None:
    assert significant(value) == text


def test_words() -> None:
    assert [count_text(n) for n in (None, 999, 1094, 3_504_155, 434_939_520)] == [
        "—",
        "999",
        "1.09 K",
        "3.50 M",
        "435 M",
    ]
    assert ap_text(None) == "—" and ap_text(0.6666) == "0.667"
    assert (
        fps_text(Latency(p50_ms=2.5)) == "400"
        and fps_text(Latency(p50_ms=250)) == "4.0"
        and fps_text(None) == "—"
    )
    assert interval_text(Latency(p50_ms=2, ci_low_ms=1.9, ci_high_ms=2.1)) == "1.90-2.10"
    assert interval_text(Latency(p50_ms=2, ci_low_ms=1.9)) == ""
    noisy = Latency(p50_ms=2, ci_low_ms=1.9, ci_high_ms=2.1, noisy=True)
    assert measured_text(noisy) == "2.00 ms [1.90-2.10] noisy"
    assert [counted(n, "ask") for n in (0, 1, 1200)] == ["0 asks", "1 ask", "1,200 asks"]
    assert short_name("starnet-pose-t scaled to demo") == "starnet-pose-t*"
    assert footnote(["starnet-pose-t scaled to demo", "x scaled to demo", "y"]) == "* scaled to demo"
    assert (short_name("starnet-pose-t"), footnote(["starnet-pose-t"])) == ("starnet-pose-t", "")
    # Ticks of 0.005 need a third decimal, of 0.05 none more than two.
    assert [axis_format(values) for values in ([0.55, 0.577], [0.2, 0.7], [0.5], [])] == [
        ".3f",
        ".2f",
        ".2f",
        ".2f",
    ]
    assert [listed_words(list("abc")[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]

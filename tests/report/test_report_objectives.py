"""The report of a search with other objectives and budgets: axes, colour, columns, sentences, and unfinished ones."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_run_folder import build_run, write, write_lines

from posesearch.errors import DataError
from posesearch.report import write_report
from posesearch.report.axes import axes_of
from posesearch.report.caveats import next_step, search_options
from posesearch.report.front_info import front_info
from posesearch.report.front_plot import front_plot
from posesearch.report.png import front_png
from posesearch.report.read import provisional_front, read_run
from posesearch.report.style import RAMP
from posesearch.report.tables import front_columns, front_table
from posesearch.report.takeaway import front_takeaway, objectives_text

LIMITS = {
    "latency_ms": 3.5,
    "params": 4_000_000,
    "macs": None,
    "memory_bytes": 40_000_000,
    "memory": "calculated: x",
}


def asked_run(
    folder: Path, objectives: list[str], limits: dict[str, Any] | None = None, **options: Any
) -> Path:
    """Builds a run whose candidates have a loss and calculated memory, and whose result names the objectives."""
    build_run(folder, **options)
    place = folder / "search"
    asks = [json.loads(line) for line in (place / "candidates.jsonl").read_text().splitlines()]
    for row in asks:
        described(row)
    write_lines(place / "candidates.jsonl", asks)
    question = {"objectives": objectives, "budgets": limits or {}}
    if not (place / "result.json").is_file():
        write(place / "question.json", {"study": "x", "budget": {"latency_ms": 3.5}, **question})
        return folder
    result = json.loads((place / "result.json").read_text())
    for row in (*result["front"], *result["references"]):
        described(row)
    if (limits or {}).get("latency_ms") is None:
        result["budget"] = None
    write(place / "result.json", {**result, **question})
    return folder


def described(row: dict[str, Any]) -> None:
    if row["AP"] is not None:
        row["metrics"] = {"loss": 6.0 - 5.0 * row["AP"]}
    row["cost"]["memory_bytes"] = row["cost"]["parameter_bytes"] + row["cost"]["peak_activation_bytes"]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "three"
    return asked_run(folder, ["AP", "latency_ms", "params"], LIMITS)


def test_a_third_objective_is_colour_with_a_scale(three: Path) -> None:
    rows = read_run(three)
    info = front_info(rows)
    assert info is not None and info.axes.colour is not None
    (front,) = (trace for trace in front_plot(info).data if trace.name == "Pareto front")
    assert front.mode == "markers", "no line joins a surface"
    assert list(front.marker.color) == [point.params / 1e6 for point in rows.front if point.params]
    assert front.marker.colorbar.title.text == "parameters (millions)"
    assert front.marker.colorscale[0][1] == RAMP[-1], "fewer is better, and dark"
    assert all(
        f"{point.params / 1e6:.1f}"[:1] in text
        for point, text in zip(rows.front, front.hovertext, strict=True)
    )
    assert all("MB calculated" in text for text in front.hovertext)
    png = front_png(info, "three")
    assert png[:8] == b"\x89PNG\r\n\x1a\n"


def test_page_states_objectives_and_budgets(three: Path) -> None:
    files = write_report(three)
    page = files.html.read_text(encoding="utf-8")
    for words in (
        "Pareto front: AP against latency, params as colour",
        "budget 3.5 ms (p50), at most 4 M parameters, at most 40 MB of memory (calculated), objectives AP, latency_ms "
        "and params",
        "memory (MB, calculated)",
        "Memory: calculated: x.",
        "Colour: parameters (millions).",
        "over the budget of parameters",
    ):
        assert words in page, words
    assert files.csv is not None
    table = pd.read_csv(io.StringIO(files.csv.read_text()))
    assert (table["calculated_memory_bytes"] > 1e6).all() and "supernet_loss" not in table
    assert "with params" in files.summary and "latency" in files.summary


@pytest.mark.parametrize(
    ("objectives", "x", "y", "colour"),
    [
        (["AP", "latency_ms"], "latency_ms", "AP", None),
        (["params", "AP"], "params", "AP", None),
        (["loss", "latency_ms"], "latency_ms", "loss", None),
        (["loss", "AP"], "loss", "AP", None),
        (["macs", "loss", "latency_ms"], "latency_ms", "loss", "macs"),
        (["AP", "loss", "params"], "loss", "AP", "params"),
    ],
)
def test_every_choice_of_objectives_is_drawn(
    tmp_path: Path, objectives: list[str], x: str, y: str, colour: str | None
) -> None:
    limits = {**LIMITS, "latency_ms": None}
    rows = read_run(asked_run(tmp_path / "run", objectives, limits, asks=60))
    info = front_info(rows)
    assert info is not None
    axes = info.axes
    assert (axes.x.name, axes.y.name, axes.colour.name if axes.colour else None) == (x, y, colour)
    assert (info.y_range[0] > info.y_range[1]) == (y == "loss"), "better is up"
    low, high = sorted(info.y_range)
    assert all(mark.y is None or low <= mark.y <= high for mark in info.marks)
    assert info.budget == (4.0 if x == "params" else None)
    assert ("loss" in front_columns(rows)) == ("loss" in objectives)
    assert {len(row.cells) for row in front_table(rows)} == {len(front_columns(rows))}
    assert front_takeaway(rows).startswith("The best pick reaches AP")
    files = write_report(tmp_path / "run")
    assert objectives_text(rows) in files.html.read_text(encoding="utf-8")
    assert files.png is not None and files.png.stat().st_size > 10_000


def test_an_unfinished_search_is_drawn_by_what_was_asked(tmp_path: Path) -> None:
    rows = read_run(asked_run(tmp_path / "run", ["AP", "params"], {"params": 5_500_000}, finished=False))
    assert rows.objectives == ("AP", "params") and rows.budget is not None
    points = [(point.ap, point.params) for point in rows.points if point.ap is not None]
    for ap, params in ((point.ap, point.params) for point in rows.front):
        assert not any(a >= ap and p <= params and (a, p) != (ap, params) for a, p in points)
    assert rows.front == tuple(sorted(rows.front, key=lambda point: point.figure_ms))
    assert len(provisional_front(rows.points, axes_of(rows.objectives))) == len(rows.front)
    command = next_step(rows)[1]
    assert command == "posesearch search --latency-ms 3.5 --max-params 5.5M --objectives AP,params --run run"
    assert search_options(read_run(build_run(tmp_path / "old", finished=False))) == "--latency-ms 3.5"


def test_asks_that_were_never_timed_are_left_out_of_a_plot_of_latency(tmp_path: Path) -> None:
    folder = asked_run(tmp_path / "run", ["AP", "latency_ms"], LIMITS, asks=60)
    file = folder / "search" / "candidates.jsonl"
    asks = [json.loads(line) for line in file.read_text().splitlines()]
    for row in asks[:10]:
        row |= {"latency": None, "AP": None, "feasible": False}
    write_lines(file, asks)
    info = front_info(read_run(folder))
    assert info is not None
    untimed = {row["arch_id"] for row in asks[:10]} - {row["arch_id"] for row in asks[10:]}
    assert not untimed & {mark.point.arch_id for mark in info.marks if mark.kind != "front"}
    write_report(folder)


def test_unknown_objectives_are_refused(tmp_path: Path) -> None:
    folder = asked_run(tmp_path / "run", ["AP", "speed"])
    with pytest.raises(
        DataError, match=r"result.json: objectives is \['AP', 'speed'\], expected two or three of AP"
    ):
        read_run(folder)

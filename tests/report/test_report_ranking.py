"""The ranking in the report: measured, not measured, measured of other weights; with its figure, or said to be missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fake_run_folder import build_run, write

from posesearch.errors import DataError
from posesearch.report.caveats import caveats
from posesearch.report.front_info import front_info
from posesearch.report.ranking import ranking_phrase, ranking_sentence, read_ranking
from posesearch.report.ranking_plot import COLUMNS, ranking_note, ranking_plot, ranking_table
from posesearch.report.read import read_run
from posesearch.report.sections import sections

SENTENCE = "Ranking quality established: supernet AP orders 8 networks like training each alone."
TOLD = {
    "tau": {"value": 0.8, "low": 0.6, "high": 0.95},
    "spearman": {"value": 0.9, "low": 0.7, "high": 1.0},
    "within_bins": {"value": None, "low": None, "high": None},
}


def result(weights_id: str = "aa11", **quality: object) -> dict:
    nets = [
        {
            "arch_id": f"n{i}", "code": f"w{i}<b>", "bin": i // 2, "macs": 1_000_000 * (i + 1), "params": 10,
            "alone": [0.3 + i / 50, 0.31 + i / 50] if i % 2 else [0.3 + i / 50], "supernet_ap": 0.2 + i / 40,
        }
        for i in range(8)
    ]  # fmt: skip
    return {
        "format": 1,
        "weights_id": weights_id,
        "plan": {"start": "fresh weights", "epochs": 11},
        "quality": {
            "verdict": "established",
            "sentence": SENTENCE,
            "noise": {"sd": 0.01},
            "agreements": {"supernet_ap": TOLD, "macs": TOLD},
            **quality,
        },
        "nets": nets,
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return build_run(tmp_path / "run", asks=30)


def searched_with(run: Path, weights_id: str) -> None:
    file = run / "search" / "evaluations.jsonl"
    rows = [json.loads(line) | {"weights_id": weights_id} for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_not_measured(run: Path) -> None:
    rows = read_run(run)
    assert rows.ranking is None and all(section.key != "ranking" for section in sections(rows))
    told = " ".join(caveats(rows, front_info(rows)))
    assert "Ranking quality is not established in this run" in told and "posesearch rank --run run" in told
    front = next(section for section in sections(rows) if section.key == "front")
    assert front.note.endswith("Ranking quality: not established (not measured; posesearch rank --run run).")


def test_measured(run: Path) -> None:
    searched_with(run, "aa11")
    write(run / "rank" / "result.json", result())
    rows = read_run(run)
    assert rows.ranking is not None and rows.ranking.current
    section = next(section for section in sections(rows) if section.key == "ranking")
    assert section.takeaway == SENTENCE and section.columns == COLUMNS
    assert [row.cells for row in section.table] == [
        ("supernet AP", "0.80", "0.60 to 0.95", "—"),
        ("MACs alone", "0.80", "0.60 to 0.95", "—"),
    ]
    assert not [told for told in caveats(rows, front_info(rows)) if "anking" in told]
    assert ranking_phrase("run", rows.ranking) == (
        "Ranking quality: established, Kendall's tau-b 0.80 (0.60 to 0.95)."
    )
    assert [section.key for section in sections(rows)][:2] == ["front", "ranking"]


def test_measured_with_other_weights(run: Path) -> None:
    searched_with(run, "bb22")
    write(run / "rank" / "result.json", result())
    rows = read_run(run)
    assert rows.ranking is not None and not rows.ranking.current
    section = next(section for section in sections(rows) if section.key == "ranking")
    assert section.takeaway.startswith(
        "Ranking quality is not established for this search: it was measured with other"
    )
    assert "(aa11)" in section.takeaway and "posesearch rank --run run" in section.takeaway
    assert section.takeaway in caveats(rows, front_info(rows))
    assert "other weights" in ranking_phrase("run", rows.ranking)


def test_the_figure(run: Path) -> None:
    write(run / "rank" / "result.json", result())
    ranking = read_ranking(run)
    assert ranking is not None
    plot = json.loads(ranking_plot(ranking).to_json())
    assert len(plot["data"]) == 4  # a trace for each size
    assert sum(len(trace["x"]) for trace in plot["data"]) == 8
    bars = plot["data"][0]["error_y"]["array"]
    assert bars == pytest.approx([0.0196, 0.0196 / 2**0.5])  # two seeds: the mean's bar is shorter
    assert all(
        "<b>" not in text and "&lt;b&gt;" in text for trace in plot["data"] for text in trace["hovertext"]
    )
    assert "for 11 epochs" in ranking_note(ranking) and "0.0100 AP" in ranking_note(ranking)
    write(run / "rank" / "result.json", result(noise={"sd": None}))
    unknown = read_ranking(run)
    assert unknown is not None and "No bars" in ranking_note(unknown)
    assert ranking_plot(unknown).data[0].error_y.visible is False
    assert len(ranking_table(unknown)) == 2


def test_a_damaged_result_is_named(run: Path) -> None:
    (run / "rank").mkdir()
    (run / "rank" / "result.json").write_text("{")
    with pytest.raises(
        DataError, match=r"rank result .*result\.json is not valid JSON .*no training is lost"
    ):
        read_ranking(run)
    write(run / "rank" / "result.json", result() | {"nets": [{"alone": "x", "code": "c"}]})
    with pytest.raises(DataError, match="alone"):
        read_ranking(run)


def test_sentences_quote_the_name() -> None:
    assert "posesearch rank --run 'a b'" in ranking_sentence("a b", None)

"""What people read about a ranking: the table, the noise, and the line beside a search's answer."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from posesearch.cli.rank import agreement_grid, noise_lines, ranking_line, regret_grid

INTERVAL = {"value": 0.784, "low": 0.652, "high": 0.881}
NONE = {"value": None, "low": None, "high": None}
TOLD = {"tau": INTERVAL, "spearman": INTERVAL, "within_bins": NONE}
QUALITY = {
    "nets": 2,
    "agreements": dict.fromkeys(
        ("supernet_ap", "uncalibrated_ap", "supernet_loss", "macs", "params"), TOLD
    ),
    "lead": {"value": 0.1, "low": -0.05, "high": 0.22},
    "noise": {
        "pairs": 2, "tau": INTERVAL, "sd": 0.00512, "spread": 0.0317, "ratio": 6.19, "expected_ceiling": 0.898,
    },
    "regrets": [
        {"kind": "macs", "limit": 12_345_678.0, "nets": 1, "top1": 0.0123, "top3": 0.0},
        {"kind": "latency_ms", "limit": 3.456, "nets": 2, "top1": 0.0, "top3": 0.0},
    ],
    "verdict": "established",
    "reasons": [],
    "sentence": "Ranking quality established: all of it.",
}  # fmt: skip
NETS = ({"alone": [0.4, 0.5]}, {"alone": [0.6]})
CONDITIONS = {
    "split": "train-held-out",
    "persons": 660,
    "boxes": "gt",
    "flip": False,
    "input_size": [128, 96],
}


def test_the_table_has_intervals_and_says_what_was_compared() -> None:
    grid = agreement_grid(QUALITY, NETS, CONDITIONS)
    assert grid.rows[0] == ("supernet AP", "0.78", "0.65 to 0.88", "0.78", "0.65 to 0.88", "-", "-")
    assert [row[0] for row in grid.rows][3:] == ["MACs", "parameters"]
    assert grid.caption[0] == (
        "2 networks, trained alone to AP 0.450 to 0.600 (search split, 660 persons, ground-truth boxes, no flip test, 128x96)."
    )
    assert grid.caption[-1] == "supernet AP less MACs: tau-b 0.10 (-0.05 to 0.22)."


def test_regrets_name_their_budget() -> None:
    rows = regret_grid(QUALITY).rows
    assert rows == (("12.346 M MACs", "1", "0.012", "0.000"), ("~3.46 ms (predicted)", "2", "0.000", "0.000"))


def test_noise_is_told_in_units_of_the_seeds() -> None:
    seeds, ceiling = noise_lines(QUALITY["noise"])
    assert "differ by 0.0051 AP" in seeds and "spread 0.0317, 6.2 times that" in seeds
    assert "tau-b 0.78 (0.65 to 0.88)" in ceiling and "about 0.90" in ceiling
    assert "infinitely many times that" in noise_lines(QUALITY["noise"] | {"ratio": None})[0]
    (unknown,) = noise_lines({"pairs": 0})
    assert "--second-seeds 8" in unknown


def test_the_command_prints_them(call, flow, tmp_path: Path) -> None:
    document = {"quality": QUALITY, "conditions": CONDITIONS}
    result = SimpleNamespace(
        to_plain=lambda: document,
        folder=tmp_path,
        nets=NETS,
        plan={"networks": 2},
        next_command="posesearch report",
    )
    spy = flow("rank", "rank", result=result)
    told = call("rank", "--nets", "12", "--trained-in", "a", "--trained-in", "b", "--epochs", "3")
    assert told.code == 0 and "Ranking quality established: all of it." in told.out
    assert "next: posesearch report" in told.out and "standalone.jsonl" in told.out
    asked = spy.calls[0]
    assert (asked["nets"], asked["second_seeds"], asked["epochs"], asked["start"]) == (12, 8, 3, "scratch")
    assert asked["trained_in"] == ("a", "b") and asked["data"] is None
    assert json.loads(call("rank", "--json").out) == document
    assert "networks: 2" in call("rank", "--dry-run").out


def test_the_line_beside_a_search(tmp_path: Path) -> None:
    run = tmp_path / "my run"
    assert ranking_line(run / "search") == (
        "Ranking quality: not established (not measured; posesearch rank --run 'my run')."
    )
    (run / "rank").mkdir(parents=True)
    (run / "rank" / "result.json").write_text(
        json.dumps({"weights_id": "ab", "quality": QUALITY, "nets": []})
    )
    assert (
        ranking_line(run / "search") == "Ranking quality: established, Kendall's tau-b 0.78 (0.65 to 0.88)."
    )
    (run / "search").mkdir()
    (run / "search" / "evaluations.jsonl").write_text(json.dumps({"weights_id": "cd"}) + "\n")
    assert ranking_line(run / "search") == (
        "Ranking quality: not established (measured with other weights; posesearch rank --run 'my run')."
    )

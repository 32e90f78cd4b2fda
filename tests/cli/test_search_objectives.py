"""`search` with other objectives and budgets, on a tiny run: what it prints, writes, refuses and reports."""

from __future__ import annotations

import json
from typing import Any

import pytest
from bad_input_world import RESULT, RUN, World

from posesearch.models.cost import cost
from posesearch.spaces import SearchSpace

QUICK = ("--trials", "3", "--device", "cpu", "--quiet")


@pytest.fixture
def sizes(tiny_space: SearchSpace) -> tuple[int, int]:
    return cost(tiny_space.smallest()).params, cost(tiny_space.largest()).params


def result_of(world: World) -> dict[str, Any]:
    return json.loads(world.path(RESULT).read_text())


@pytest.mark.slow
def test_a_budget_on_parameters_alone(world: World, call, sizes: tuple[int, int]) -> None:
    limit = sum(sizes) // 2
    told = call("search", "--max-params", str(limit), "--objectives", "AP,params", *QUICK)
    assert told.code == 0, told.err
    assert f"Pareto front of AP, params within {limit / 1e6:.10g} M parameters" in told.out
    result = result_of(world)
    assert (result["budget"], result["objectives"]) == (None, ["AP", "params"])
    assert result["budgets"]["params"] == limit
    assert all(row["cost"]["params"] <= limit for row in result["front"])
    assert all(
        row["confirmed"]["kind"] == "measured" and row["metrics"]["loss"] > 0 for row in result["front"]
    )
    over = [row["reference"] for row in result["references"] if row["cost"]["params"] > limit]
    assert told.out.count("over the budget of parameters") == len(over)
    assert call("extract", "--pick", "best", "--device", "cpu", "--quiet").code == 0
    assert call("report").code == 0
    page = world.path(f"{RUN}/report.html").read_text()
    assert "Pareto front: AP against params" in page and "at most" in page


@pytest.mark.slow
def test_three_objectives_and_memory(world: World, call) -> None:
    words = ("--latency-ms", "1000", "--max-memory-mb", "50", "--objectives", "AP,latency_ms,loss")
    told = call("search", *words, *QUICK)
    assert told.code == 0, told.err
    assert "Pareto front of AP, latency_ms, loss within 1000 ms, 50 MB of memory (calculated)" in told.out
    assert (
        "loss (search)" in told.out
        and "MB (calculated)" in told.out
        and "calculated, not measured" in told.out
    )
    document = json.loads(call("search", *words, *QUICK, "--json").out)
    assert document["objectives"] == ["AP", "latency_ms", "loss"]
    assert document["front"][0]["cost"]["memory_bytes"] <= 50_000_000
    assert call("report").code == 0
    assert "AP against latency, loss as colour" in world.path(f"{RUN}/report.html").read_text()


def test_an_impossible_budget_ends_with_3_and_extract_says_the_same(
    world: World, call, sizes: tuple[int, int]
) -> None:
    told = call("search", "--max-params", str(sizes[0] - 1), *QUICK)
    assert told.code == 3
    assert f"meets --max-params {sizes[0] - 1}. The smallest is" in told.err
    assert f"with {sizes[0] / 1e6:.3g} M parameters" in told.err
    assert call("extract", "--device", "cpu").err == told.err


def test_a_dry_run_shows_objectives_and_budgets(world: World, call) -> None:
    before = world.path(RESULT).read_bytes()
    told = call(
        "search", "--max-macs", "1.2G", "--max-memory-mb", "12.5", "--objectives", "AP,macs", "--dry-run"
    )
    assert told.code == 0
    for words in (
        "objectives: ['AP', 'macs']",
        "macs: 1200000000",
        "memory_bytes: 12500000",
        "calculated, not measured",
    ):
        assert words in told.out, words
    assert world.path(RESULT).read_bytes() == before
    plan = json.loads(call("search", "--latency-ms", "3", "--dry-run", "--json").out)["plan"]
    assert plan["objectives"] == ["AP", "latency_ms"] and plan["budgets"]["params"] is None

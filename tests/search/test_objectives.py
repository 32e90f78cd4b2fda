"""Objectives and budgets one by one: names, directions, ties, limits, and fronts of two and three objectives."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_world import measured

from posesearch.errors import DataError, UsageError
from posesearch.latency.types import LatencyBudget, Predicted
from posesearch.models.cost import cost
from posesearch.search.candidate import Candidate, FrontMember
from posesearch.search.confirm import ranked_members
from posesearch.search.front import best, dominates, hypervolume, knee, losses, pareto_front
from posesearch.search.objectives import OBJECTIVES, Budgets, memory_bytes, objectives_of, value_of
from posesearch.search.question import Question, figure_text, limit_words
from posesearch.spaces import load_space

MAXIMISE = st.tuples(st.booleans(), st.booleans(), st.booleans())
TRIPLES = st.lists(st.tuples(*[st.integers(0, 4).map(float)] * 3), min_size=1, max_size=12)


@given(TRIPLES, MAXIMISE)
def test_a_front_of_three_is_what_nothing_dominates(points, maximise):
    front = pareto_front(points, lambda p: p, maximise)
    assert set(front) == {p for p in points if not any(dominates(q, p, maximise) for q in points)}
    assert len(front) == len(set(front))
    assert not any(dominates(p, q, maximise) for p in front for q in front)
    for point in set(points) - set(front):
        assert any(dominates(member, point, maximise) for member in front)


@given(TRIPLES, MAXIMISE, st.randoms(use_true_random=False))
def test_the_order_of_evaluation_changes_nothing(points, maximise, random):
    named = [(point, f"name {index}") for index, point in enumerate(points)]
    shuffled = random.sample(named, len(named))
    fronts = [pareto_front(each, lambda i: i[0], maximise, lambda i: i[1]) for each in (named, shuffled)]
    assert fronts[0] == fronts[1]
    values = [[point for point, _ in front] for front in fronts]
    assert best(values[0], maximise) == best(values[1], maximise)
    assert knee(values[0], maximise) == knee(values[1], maximise)


@settings(max_examples=60)
@given(TRIPLES)
def test_volume_is_the_count_of_unit_cubes(points):
    corner = (5.0, 5.0, 5.0)
    grid = itertools.product(range(5), repeat=3)
    cubes = sum(any(all(a <= b for a, b in zip(p, cell, strict=True)) for p in points) for cell in grid)
    assert hypervolume(points, corner, (False,) * 3) == cubes
    turned = [(-x, y, -z) for x, y, z in points]
    assert hypervolume(turned, (-5.0, 5.0, -5.0), (True, False, True)) == cubes
    assert hypervolume([(x, y) for x, y, _ in points], (5.0, 5.0), (False, False)) == len(
        {(i, j) for i in range(5) for j in range(5) if any(p[0] <= i and p[1] <= j for p in points)}
    )


@given(TRIPLES, MAXIMISE)
def test_knee_of_three_has_the_largest_sum_of_scaled_objectives(points, maximise):
    front = pareto_front(points, lambda p: p, maximise)
    turned = np.array([losses(p, maximise) for p in front])
    span = np.ptp(turned, axis=0)
    goodness = ((turned.max(axis=0) - turned) / np.where(span > 0, span, 1)).sum(axis=1)
    index = knee(front, maximise)
    if len(front) > 2 and goodness.max() > 1 + 1e-9:
        assert goodness[index] == pytest.approx(goodness.max())
    else:
        assert turned[index, 2] == turned[:, 2].min()


def test_names_of_objectives():
    assert [o.name for o in objectives_of("AP, params,latency_ms")] == ["AP", "params", "latency_ms"]
    for names, says in (
        ("AP,latency", r"--objectives AP,latency: 'latency' is not known. Did you mean 'latency_ms'\?"),
        ("AP", "expected two or three different ones"),
        ("AP,AP", "expected two or three different ones"),
        ("AP,loss,params,macs", "expected two or three different ones"),
        ("params,macs", "none of them says how good a network is. Add one of AP, loss."),
    ):
        with pytest.raises(UsageError, match=says):
            objectives_of(names)


def candidate(arch, **changes):
    row = Candidate(
        trial=0, arch=arch, cost={"params": 300_000, "macs": 40_000_000}, latency=measured(2.0), feasible=True,
        ap=0.5, origin="sampler", study="s", metrics={"loss": 3.25},
    )  # fmt: skip
    return dataclasses.replace(row, **changes)


def test_value_of_each_objective(tiny_space):
    row = candidate(tiny_space.smallest())
    values = {name: value_of(objective, row) for name, objective in OBJECTIVES.items()}
    assert values == {"AP": 0.5, "latency_ms": 2.0, "params": 3e5, "macs": 4e7, "loss": 3.25}
    assert value_of(OBJECTIVES["latency_ms"], row, "p90") == pytest.approx(2.2)
    assert Candidate.from_row(row.to_row(), "file") == row
    assert Candidate.from_row(candidate(row.arch, latency=None).to_row(), "file").latency is None


def test_ties_go_by_ap_latency_macs_params_then_code(tiny_space):
    question = Question(budgets=Budgets(params=10**9), objectives=objectives_of("loss,macs"))
    small, large = tiny_space.smallest(), tiny_space.largest()
    first = candidate(large)
    worse = [
        candidate(small, ap=0.4),
        candidate(small, latency=measured(2.1)),
        candidate(small, cost={"params": 300_001, "macs": 40_000_000}),
        candidate(max(small, large, key=lambda arch: arch.code)),
    ]
    first = dataclasses.replace(first, arch=min(small, large, key=lambda arch: arch.code))
    for order in itertools.permutations([first, *worse]):
        assert pareto_front(order, question.point, question.maximise, question.tie_key) == (first,)


def test_budgets_say_how_far_each_figure_is_over(tiny_space):
    row = candidate(
        tiny_space.smallest(),
        cost={
            "params": 300_000, "macs": 40_000_000, "parameter_bytes": 1_200_000, "peak_activation_bytes": 800_000
        },
    )  # fmt: skip
    limits = Budgets(
        latency=LatencyBudget(latency_ms=1.5), params=200_000, macs=80_000_000, memory_bytes=2_000_000
    )
    assert limits.excess(row) == pytest.approx(
        {"latency_ms": 0.5, "params": 0.5, "macs": -0.5, "memory_bytes": 0.0}
    )
    assert not limits.allows_cost(row.cost)
    assert dataclasses.replace(limits, params=None).allows_cost(row.cost)
    untimed = dataclasses.replace(row, latency=None)
    assert "latency_ms" not in limits.excess(untimed), "nobody asked for its latency"
    bound = Predicted(latency_ms=1.4, low_ms=1.3, high_ms=1.7, source="t")
    assert limits.excess(dataclasses.replace(row, latency=bound))["latency_ms"] == pytest.approx(0.2)
    assert memory_bytes(row.cost, "fp16", batch=3) == (1_200_000 + 3 * 800_000) // 2


@pytest.mark.parametrize("space", ["demo", "starnet"])
def test_the_smallest_member_has_the_least_of_every_counted_figure(space):
    members = load_space(space)
    generator = np.random.default_rng(0)
    least = cost(members.smallest()).to_plain()
    for _ in range(60):
        plain = cost(members.sample(generator)).to_plain()
        for figure in ("params", "macs", "parameter_bytes", "peak_activation_bytes"):
            assert plain[figure] >= least[figure]


def test_the_usual_question_keeps_its_name_and_others_have_their_own():
    usual = Question.within(LatencyBudget(latency_ms=3.5))
    assert usual.name == "p50_3.5ms", "studies of earlier versions go on"
    names = {
        question.name
        for question in (
            usual,
            Question.within(LatencyBudget(latency_ms=3.5, percentile="p90")),
            Question(budgets=usual.budgets, objectives=objectives_of("AP,latency_ms,params")),
            Question(budgets=usual.budgets, objectives=objectives_of("AP,params")),
            Question(budgets=dataclasses.replace(usual.budgets, params=400_000)),
            Question(budgets=Budgets(params=400_000)),
            Question(budgets=Budgets(macs=400_000)),
            Question(budgets=Budgets(memory_bytes=400_000)),
        )
    }
    assert len(names) == 8


def test_a_question_survives_its_file_and_an_old_one_is_the_usual():
    limit = LatencyBudget(latency_ms=3.5, runtime="onnxruntime")
    asked = Question(
        budgets=Budgets(latency=limit, macs=60_000_000, memory_bytes=5_000_000, precision="fp16", batch=4),
        objectives=objectives_of("AP,latency_ms,macs"),
    )
    assert Question.from_plain(asked.stored(), "file") == asked
    assert "calculated, not measured" in asked.stored()["budgets"]["memory"]
    assert Question.from_plain({"budget": limit.to_plain()}, "file") == Question.within(limit)
    with pytest.raises(DataError, match=r"result\.json: objective 'speed' is not known\. Allowed: AP"):
        Question.from_plain({**asked.stored(), "objectives": ["AP", "speed"]}, "result.json")


def test_figures_in_words():
    assert limit_words("params", 400_000) == ("--max-params", "0.4M")
    assert limit_words("macs", 1_200_000_000) == ("--max-macs", "1.2G")
    assert limit_words("params", 99_999) == ("--max-params", "99999")
    assert limit_words("memory_bytes", 12_500_000) == ("--max-memory-mb", "12.5")
    assert figure_text("memory_bytes", 12_500_000) == "12.5 MB of memory (calculated)"
    assert figure_text("params", 412_000) == "0.412 M parameters"


def test_members_are_ordered_by_latency_whatever_the_objectives(tiny_space):
    question = Question(budgets=Budgets(params=10**9), objectives=objectives_of("AP,params"))
    members = [
        FrontMember(candidate=candidate(arch, ap=ap, cost={"params": params, "macs": 1}), confirmed=measured(ms))
        for arch, ap, params, ms in (
            (tiny_space.smallest(), 0.4, 10, 3.0),
            (tiny_space.largest(), 0.6, 30, 1.0),
            (tiny_space.sample(np.random.default_rng(0)), 0.5, 30, 0.5),
        )
    ]  # fmt: skip
    assert [m.ap for m in ranked_members(members, question)] == [0.6, 0.4], (
        "the third is dominated, fast as it is"
    )

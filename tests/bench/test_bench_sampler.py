"""The benchmark of samplers: its exact front is exact, its problem is the stated one, and its runs are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posesearch.bench import sampler
from posesearch.bench.registry import BenchContext
from posesearch.bench.sampler_front import all_members, best_known_front, exact_front, front_of
from posesearch.bench.sampler_problem import BUDGET_MS, Problem
from posesearch.bench.sampler_runs import ROWS, known, missing_runs, run, run_into, wanted_runs
from posesearch.bench.sampler_space import small_wide_space, wide_space
from posesearch.files import read_jsonl
from posesearch.progress import SilentProgress


def test_dynamic_programming_finds_the_front_of_all_members():
    problem = Problem(small_wide_space())
    members = all_members(problem)
    exact, brute = exact_front(problem), front_of(problem, members)
    assert len(members) == problem.space.cardinality
    assert exact.ap == pytest.approx(brute.ap)
    assert exact.latency_ms == pytest.approx(brute.latency_ms)
    assert problem.ap(exact.members_NG) == pytest.approx(exact.ap)
    assert problem.latency_ms(exact.members_NG) == pytest.approx(exact.latency_ms)


def test_no_random_member_beats_the_exact_front():
    problem = Problem(wide_space())
    front = exact_front(problem)
    members = problem.draws(20_000, np.random.default_rng(0))
    place = np.searchsorted(front.latency_ms, problem.latency_ms(members), side="right") - 1
    assert (place >= 0).all()
    assert (problem.ap(members) <= front.ap[place] + 1e-9).all()


def test_the_problem_is_the_stated_one():
    problem = Problem(wide_space())
    assert len(problem.names) == 25
    assert 4e12 < problem.space.cardinality < 6e12
    feasible = problem.latency_ms(problem.draws(20_000, np.random.default_rng(0))) <= BUDGET_MS
    assert 0.15 < feasible.mean() < 0.19
    with pytest.raises(ValueError, match="interactions is not known"):
        exact_front(Problem(wide_space(), interactions=1))


def test_members_are_real_architectures():
    space = wide_space()
    problem = Problem(space)
    members = problem.draws(20, np.random.default_rng(0))
    archs = [problem.arch(member) for member in members]
    assert (problem.places(archs) == members).all()
    assert [space.decode(space.encode(arch)) for arch in archs] == archs
    assert len({arch.id for arch in archs}) == 20


def test_hypervolume_of_the_front_is_one():
    case = known("plain")
    assert case.share(case.front.ap, case.front.latency_ms) == pytest.approx(1.0)
    assert 0.0 < case.share(case.front.ap[::40], case.front.latency_ms[::40]) < 1.0
    assert case.share(case.front.ap[:1], case.front.latency_ms[:1]) == pytest.approx(0.0)


def test_best_known_front_is_no_worse_than_that_without_interactions():
    problem = Problem(wide_space(), interactions=40)
    plain = exact_front(Problem(wide_space())).within(BUDGET_MS)
    found = best_known_front(problem, kicks=0)
    assert found.ap[-1] > problem.ap(plain.members_NG).max()
    assert found.latency_ms.max() <= BUDGET_MS


def test_noise_belongs_to_the_member():
    problem = Problem(wide_space())
    members = problem.draws(400, np.random.default_rng(0))
    errors = problem.noisy_ap(members, 0.4, 7) - problem.ap(members)
    assert errors.std() == pytest.approx(0.4, rel=0.15)
    assert (problem.noisy_ap(members[::-1], 0.4, 7)[::-1] == problem.noisy_ap(members, 0.4, 7)).all()
    assert (problem.noisy_ap(members, 0.4, 8) != problem.noisy_ap(members, 0.4, 7)).all()


@pytest.mark.parametrize("name", ["random", "random feasible", "nsga2", "surrogate"])
def test_every_sampler_answers(name):
    (row,) = run(known("noise"), name, 0, (24,))
    assert row["evaluations"] == 24
    assert row["gap_ap"] > 0.0
    assert row["chosen_gap_ap"] >= row["gap_ap"]
    assert 0.0 < row["hypervolume"] < 1.0
    assert (row["over_budget_evaluations"] == 0) == (name != "random")


def test_runs_are_kept_and_not_made_again(tmp_path):
    wanted = wanted_runs(("plain",), ("random", "gp"), (0, 1), (10, 300))
    assert [key["marks"] for key in wanted] == [[10, 300], [10], [10, 300], [10]]
    run_into(tmp_path, wanted[0])
    assert missing_runs(tmp_path, wanted) == wanted[1:]
    assert len(read_jsonl(tmp_path / ROWS)) == 1


def test_the_benchmark_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(sampler, "QUICK_MARKS", (16,))
    context = BenchContext(
        device=torch.device("cpu"), seed=0, data=None, quick=True, progress=SilentProgress(), out=tmp_path
    )
    plain = sampler.run(context).to_plain()
    assert set(plain["figures"]) >= {"plain", "noise", "interactions"}
    assert set(plain["figures"]["plain"]) == set(sampler.QUICK_SAMPLERS)
    assert len(plain["ratios"]) == 3
    assert list(tmp_path.iterdir()) == []

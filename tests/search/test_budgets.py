"""Whole searches with counted budgets and other objectives, in the synthetic world."""

from __future__ import annotations

import optuna
import pytest
from search_world import Evaluator, FakeCost, FakeMeter, ap_of, latency_of
from test_search import Messages, confirming, rows, search

from posesearch.errors import NoFeasibleArchitecture
from posesearch.files import read_json, write_json_atomic
from posesearch.latency.types import LatencyBudget, Measured
from posesearch.search.front import dominates
from posesearch.search.objectives import Budgets, objectives_of
from posesearch.search.outcome import read_outcome
from posesearch.search.question import Question

LATENCY = LatencyBudget(latency_ms=2.5)


def loss_of(arch):
    return 5.0 - 4.0 * ap_of(arch)


class Scorer(Evaluator):
    """Gives the loss as well."""

    def __call__(self, arch):
        return {**super().__call__(arch), "loss": loss_of(arch)}


class MemoryCost(FakeCost):
    def to_plain(self):
        return {
            **super().to_plain(),
            "parameter_bytes": 4 * self.params,
            "peak_activation_bytes": self.activation_bytes,
        }


def params_between(space, share):
    low, high = (FakeCost(arch).params for arch in (space.smallest(), space.largest()))
    return round(low + share * (high - low))


def ask(space, folder, budgets, objectives="AP,latency_ms", **changes):
    question = Question(budgets=budgets, objectives=objectives_of(objectives))
    return search(
        space, folder, **{"question": question, "evaluate": Scorer(), "cost": MemoryCost, **changes}
    )


@pytest.mark.parametrize("sampler", ["surrogate", "gp", "nsga2", "tpe", "random"])
def test_what_is_over_a_counted_budget_is_neither_timed_nor_evaluated(tiny_space, tmp_path, sampler):
    limit = params_between(tiny_space, 0.25)
    scorer, meter = Scorer(), FakeMeter()
    outcome = ask(
        tiny_space, tmp_path, Budgets(latency=LATENCY, params=limit), sampler=sampler, evaluate=scorer, meter=meter,
        evaluations=10,
    )  # fmt: skip
    assert outcome.evaluations == 10
    assert all(FakeCost(arch).params <= limit for arch in (*scorer.asked, *meter.asked))
    logged = rows(tmp_path)
    over = [row for row in logged if row["cost"]["params"] > limit]
    assert over, "the largest is asked, as in every search"
    assert all(row["latency"] is None and row["AP"] is None and not row["feasible"] for row in over)
    study = optuna.load_study(study_name=outcome.study, storage=f"sqlite:///{tmp_path / 'study.db'}")
    for trial in study.trials:
        params = trial.user_attrs["candidate"]["cost"]["params"]
        assert trial.constraints["params"] == pytest.approx(params / limit - 1)
        if params <= limit:
            assert "latency_ms" in trial.constraints
    assert all(m.candidate.cost["params"] <= limit for m in outcome.front)


def test_each_kind_of_budget_holds_alone_and_the_front_is_still_timed(tiny_space, tmp_path):
    half = MemoryCost(tiny_space.largest()).to_plain()
    limits = {
        "params": Budgets(params=half["params"] // 2),
        "macs": Budgets(macs=half["macs"] // 2),
        "memory": Budgets(memory_bytes=(half["parameter_bytes"] + half["peak_activation_bytes"]) // 2),
    }
    for name, budgets in limits.items():
        confirm = confirming()
        outcome = ask(tiny_space, tmp_path / name, budgets, "AP,macs", confirm=confirm, confirm_effort="full")
        assert outcome.budget is None
        assert all(budgets.allows_cost(m.candidate.cost) for m in outcome.front)
        assert all(isinstance(m.confirmed, Measured) and m.confirmed.processes == 2 for m in outcome.front)
        assert len(confirm.asked) == 1, "no latency decides, so one round is enough"
        assert {row["latency"] for row in rows(tmp_path / name)} == {None}
        assert read_outcome(tmp_path / name) == outcome
        times = [m.confirmed.p50_ms for m in outcome.front]
        assert times == sorted(times)
        assert outcome.picks["fastest"] == outcome.front[0].candidate.arch
    assert read_json(tmp_path / "memory/result.json", "result")["front"][0]["cost"]["memory_bytes"] > 0


def test_without_a_latency_budget_latency_may_still_be_an_objective(tiny_space, tmp_path):
    outcome = ask(tiny_space, tmp_path, Budgets(params=params_between(tiny_space, 0.5)))
    assert [m.ap for m in outcome.front] == sorted(m.ap for m in outcome.front)
    assert all(row["latency"] for row in rows(tmp_path) if row["feasible"])
    assert outcome.front[0].to_row(None)["verdict"] == ""


@pytest.mark.parametrize("sampler", ["surrogate", "nsga2"])
@pytest.mark.parametrize("objectives", ["AP,latency_ms,params", "AP,macs", "loss,latency_ms", "AP,loss,macs"])
def test_the_front_of_any_objectives_dominates_all_that_was_evaluated(
    tiny_space, tmp_path, objectives, sampler
):
    budgets = Budgets(latency=LATENCY, macs=FakeCost(tiny_space.largest()).macs // 2)
    outcome = ask(tiny_space, tmp_path, budgets, objectives, evaluations=12, sampler=sampler)
    question = outcome.question
    points = {m.candidate.arch.id: question.member_point(m) for m in outcome.front}
    evaluated = [row for row in rows(tmp_path) if row["AP"] is not None]
    assert len(evaluated) >= 12

    def point(row):
        figures = {"AP": row["AP"], "latency_ms": row["latency"]["p50_ms"], **row["metrics"], **row["cost"]}
        return tuple(figures[objective.name] for objective in question.objectives)

    maximise = question.maximise
    for row in evaluated:
        if row["arch_id"] in points:
            assert not any(dominates(point(other), point(row), maximise) for other in evaluated)
        else:
            assert any(p == point(row) or dominates(p, point(row), maximise) for p in points.values())
    study = optuna.load_study(study_name=outcome.study, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [d.name == "MAXIMIZE" for d in study.directions] == list(maximise)
    values = {m.candidate.arch.id: question.goodness.maximise for m in outcome.front}
    best = outcome.picks["best"].id
    good = [value[question.objectives.index(question.goodness)] for value in points.values()]
    wanted = max(good) if values[best] else min(good)
    assert points[best][question.objectives.index(question.goodness)] == wanted


def test_impossible_budgets_name_the_smallest_and_its_figure(tiny_space, tmp_path):
    smallest = tiny_space.smallest()
    least = FakeCost(smallest)
    meter, scorer = FakeMeter(), Scorer()
    with pytest.raises(NoFeasibleArchitecture) as e:
        ask(
            tiny_space,
            tmp_path,
            Budgets(latency=LATENCY, params=least.params - 1),
            meter=meter,
            evaluate=scorer,
        )
    assert e.value.exit_code == 3
    assert f"no architecture of space 'tiny' meets --max-params {least.params - 1}" in str(e.value)
    assert f"The smallest is {smallest} with {least.params / 1e6:.3g} M parameters" in str(e.value)
    assert "leaves some choice" in str(e.value)
    assert (meter.asked, scorer.asked) == ([], [])
    result = read_outcome(tmp_path)
    assert (result.status, result.reason, result.fastest_latency) == ("infeasible", str(e.value), None)
    both = Budgets(macs=1000, memory_bytes=1000)
    with pytest.raises(
        NoFeasibleArchitecture, match=r"--max-macs 1000 and --max-memory-mb 0.001 \(calculated\)"
    ):
        ask(tiny_space, tmp_path, both)


def test_a_latency_nobody_meets_within_a_counted_budget_names_both(tiny_space, tmp_path):
    limit = params_between(tiny_space, 0.3)
    with pytest.raises(NoFeasibleArchitecture, match=rf"within --max-params {limit} meets --latency-ms 0.2"):
        ask(tiny_space, tmp_path, Budgets(latency=LatencyBudget(latency_ms=0.2), params=limit))


def test_another_question_is_another_study_with_the_same_accuracies(tiny_space, tmp_path):
    first, second, third = Scorer(), Scorer(), Scorer()
    usual = ask(tiny_space, tmp_path, Budgets(latency=LATENCY), evaluate=first, sampler="random")
    other = ask(
        tiny_space, tmp_path, Budgets(latency=LATENCY, params=params_between(tiny_space, 0.6)), evaluate=second,
        sampler="random",
    )  # fmt: skip
    ask(
        tiny_space, tmp_path, Budgets(latency=LATENCY), "AP,latency_ms,macs", evaluate=third, sampler="random"
    )
    assert not {*first.asked} & {*second.asked} | {*first.asked, *second.asked} & {*third.asked}
    assert usual.study != other.study
    assert len({row["study"] for row in rows(tmp_path)}) == 3
    messages, again = Messages(), Scorer()
    search(
        tiny_space,
        tmp_path,
        budget=LATENCY,
        evaluate=again,
        cost=MemoryCost,
        sampler="random",
        progress=messages,
    )
    assert again.asked == [], "the study of the usual question has kept its name"


def test_accuracies_of_an_earlier_version_without_a_loss_are_evaluated_again(tiny_space, tmp_path):
    old, new = Evaluator(), Scorer()
    ask(tiny_space, tmp_path, Budgets(latency=LATENCY), evaluate=old, sampler="random", evaluations=4)
    assert "metrics" not in rows(tmp_path)[0]
    outcome = ask(
        tiny_space, tmp_path, Budgets(latency=LATENCY), "loss,latency_ms", evaluate=new, sampler="random",
        evaluations=4,
    )  # fmt: skip
    assert new.asked[0] == old.asked[0]
    assert outcome.front[-1].candidate.metrics["loss"] == loss_of(outcome.front[-1].candidate.arch)


def test_an_old_result_loads_as_the_usual_question(tiny_space, tmp_path):
    outcome = ask(tiny_space, tmp_path, Budgets(latency=LATENCY))
    plain = read_json(tmp_path / "result.json", "result")
    for key in ("objectives", "budgets", "reason"):
        del plain[key]
    write_json_atomic(tmp_path / "result.json", plain)
    assert read_outcome(tmp_path) == outcome


def test_references_over_a_counted_budget_are_shown_and_stay_off_the_front(tiny_space, tmp_path):
    large = tiny_space.largest()
    budgets = Budgets(params=params_between(tiny_space, 0.5))
    outcome = ask(tiny_space, tmp_path, budgets, "AP,params", references={"big": large}, confirm=confirming())
    (reference,) = outcome.references
    assert reference.member.candidate.arch == large
    assert (reference.member.ap, reference.member.candidate.feasible) == (ap_of(large), False)
    assert large not in {m.candidate.arch for m in outcome.front}


def test_members_that_fail_the_latency_budget_when_confirmed_make_room(tiny_space, tmp_path):
    # Latency is a budget and no objective: what is over it in fresh processes leaves the front of AP and MACs.
    slower = confirming(lambda arch: 1.15 * latency_of(arch))
    outcome = ask(
        tiny_space,
        tmp_path,
        Budgets(latency=LATENCY),
        "AP,macs",
        confirm=slower,
        confirm_effort="f",
        evaluations=14,
    )
    assert outcome.rejected
    assert all(LATENCY.allows(m.confirmed) for m in outcome.front)
    assert all(1.15 * latency_of(m.candidate.arch) > 2.5 for m in outcome.rejected)


def test_killed_and_resumed_equals_uninterrupted_with_three_objectives(tiny_space, tmp_path):
    budgets = Budgets(latency=LATENCY, params=params_between(tiny_space, 0.4))
    objectives = "AP,latency_ms,params"
    whole, parts, rest = Scorer(), Scorer(fails_at=4), Scorer()
    expected = ask(tiny_space, tmp_path / "whole", budgets, objectives, evaluate=whole)
    with pytest.raises(KeyboardInterrupt):
        ask(tiny_space, tmp_path / "parts", budgets, objectives, evaluate=parts)
    found = ask(tiny_space, tmp_path / "parts", budgets, objectives, evaluate=rest)
    assert parts.asked + rest.asked == whole.asked
    assert [m.candidate.arch for m in found.front] == [m.candidate.arch for m in expected.front]


def test_the_largest_within_the_budgets_is_asked_where_the_largest_is_over(tiny_space, tmp_path):
    limit = params_between(tiny_space, 0.4)
    ask(tiny_space, tmp_path, Budgets(latency=LatencyBudget(latency_ms=50.0), params=limit))
    row = next(row for row in rows(tmp_path) if row["origin"] == "largest within the budgets")
    assert 0.5 * limit < row["cost"]["params"] <= limit

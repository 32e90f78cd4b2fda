"""A search by a latency table: what is predicted, what is measured, what is claimed."""

from __future__ import annotations

import dataclasses

import optuna
import pytest
from predicted_world import FakePredictor, NoisyDevice
from search_world import Evaluator, FakeMeter, latency_of, measured
from test_parts import candidate, draws
from test_search import Messages, confirming, rows, search

from posesearch.errors import DataError
from posesearch.files import read_json
from posesearch.latency.types import Conditions, LatencyBudget, Measured, Predicted
from posesearch.search.candidate import Candidate
from posesearch.search.check import Check, check_front, checks_text, learnt
from posesearch.search.judge import LatencyJudge
from posesearch.search.limit import excess_ms, figure_ms, fits, may_fit
from posesearch.search.outcome import read_outcome
from posesearch.search.question import Question

BUDGET = LatencyBudget(latency_ms=2.0)


def predicted(ms, bound=0.1):
    return Predicted(latency_ms=ms, low_ms=ms * (1 - bound), high_ms=ms * (1 + bound), source="t1")


def test_a_prediction_is_held_to_its_upper_bound_and_satisfies_no_budget():
    sure, doubtful, over = predicted(1.7), predicted(1.9), predicted(2.5)
    assert [fits(latency, BUDGET) for latency in (sure, doubtful, over)] == [True, False, False]
    assert [may_fit(latency, BUDGET) for latency in (sure, doubtful, over)] == [True, True, False]
    assert excess_ms(doubtful, BUDGET) == pytest.approx(0.09)
    assert figure_ms(doubtful, "p50") == 1.9
    with pytest.raises(TypeError, match="only a Measured latency can satisfy a budget, got Predicted"):
        BUDGET.allows(sure)


def test_only_doubtful_proposals_are_measured(tiny_space):
    meter = FakeMeter()
    judge = LatencyJudge(BUDGET, meter=meter, predictor=FakePredictor(bound=0.1), known={})
    for arch in draws(tiny_space, 60):
        latency, ms = judge.latency(arch), latency_of(arch)
        assert isinstance(latency, Measured) == (ms * 0.9 <= 2.0 < ms * 1.1)
        assert judge.latency(arch) is latency
    assert 0 < len(meter.asked) < 40


@pytest.mark.parametrize("runtime", ["compile", "tensorrt"])
def test_where_networks_are_compiled_first_the_bound_alone_decides(tiny_space, runtime):
    meter = FakeMeter(runtime=runtime)
    budget = LatencyBudget(latency_ms=2.0, runtime=runtime)
    judge = LatencyJudge(budget, meter=meter, predictor=FakePredictor(bound=0.1, runtime=runtime), known={})
    assert all(isinstance(judge.latency(arch), Predicted) for arch in draws(tiny_space, 60))
    arch = draws(tiny_space, 1)[0]
    assert judge.aim_ms(arch) == pytest.approx(1.1 * latency_of(arch)), "what decides is what is aimed by"
    assert meter.asked == []


def test_a_search_by_table_measures_little_and_claims_by_measurement(tiny_space, tmp_path):
    meter, confirm, evaluator, messages = FakeMeter(), confirming(), Evaluator(), Messages()
    outcome = search(
        tiny_space, tmp_path, meter=meter, predictor=FakePredictor(), confirm=confirm, evaluate=evaluator,
        evaluations=12, references={"large": tiny_space.largest()}, progress=messages,
    )  # fmt: skip
    assert outcome.evaluations == 12 and outcome.table == "t1" and outcome.label == ""
    assert read_outcome(tmp_path) == outcome
    kinds = {row["latency"]["kind"] for row in rows(tmp_path)}
    assert "predicted" in kinds
    assert all(row["predicted"]["source"] == "t1" for row in rows(tmp_path))
    for member in outcome.front:
        assert isinstance(member.confirmed, Measured) and member.confirmed.processes == 2
        assert member.candidate.predicted.latency_ms == pytest.approx(latency_of(member.candidate.arch))
    large = outcome.references[0].member
    assert isinstance(large.candidate.latency, Measured) and not large.candidate.feasible
    checked = {check.arch for check in outcome.checks}
    assert {m.candidate.arch for m in outcome.front} <= checked | set(meter.asked)
    assert any(
        text.startswith(f"search: {len(checked)} of the predicted front measured") for text in messages.texts
    )
    plain = read_json(tmp_path / "result.json", "search result")
    assert plain["conditions"] == Conditions().to_plain()
    assert {check["predicted"]["kind"] for check in plain["checks"]} == {"predicted"}
    assert {check["measured"]["kind"] for check in plain["checks"]} == {"measured"}


def test_every_trial_says_what_decided_it(tiny_space, tmp_path):
    outcome = search(tiny_space, tmp_path, predictor=FakePredictor(bound=0.1), evaluations=10)
    study = optuna.load_study(study_name=outcome.study, storage=f"sqlite:///{tmp_path / 'study.db'}")
    over = 0
    for trial in study.trials:
        latency = trial.user_attrs["candidate"]["latency"]
        assert trial.user_attrs["decided_by"] == latency["kind"]
        held = latency["high_ms"] if latency["kind"] == "predicted" else latency["p50_ms"]
        assert trial.system_attrs["constraints:latency_ms"] == pytest.approx(held - 2.0)
        assert (trial.state == optuna.trial.TrialState.COMPLETE) == (held <= 2.0)
        over += latency["kind"] == "predicted" and held > 2.0
    assert over > 0, "the largest is refused by prediction"


def test_rounds_go_on_until_the_front_is_measured(tiny_space):
    # The table says 10 % too little. The most accurate is found over the budget, so another one enters the front.
    one, two, three = sorted(draws(tiny_space, 3), key=latency_of)
    top = latency_of(three)
    found = [
        candidate(arch, ap, 0.0, latency=FakePredictor().predict(arch))
        for arch, ap in ((one, 0.4), (two, 0.8), (three, 0.9))
    ]
    device, noted = NoisyDevice(0, bias=1.1, noise=0.0), []
    budget = LatencyBudget(latency_ms=1.05 * top)
    kept = check_front(
        found, Question.within(budget), FakePredictor(), {}, device.meter().measure, noted.append
    )
    assert [(check.arch, check.round) for check in noted] == [(three, 1), (two, 1), (one, 1)]
    assert {c.arch for c in kept} == {one, two}
    assert all(isinstance(c.latency, Measured) and c.feasible for c in kept)
    assert noted[0].error == pytest.approx(0.1 / 1.1)
    # `two` is as slow as `three` now and less accurate: it is looked at only when `three` has fallen.
    slow = lambda arch: top * (0.999 if arch == three else 1.0 if arch == two else 0.5)  # noqa: E731
    table, noted = FakePredictor(slow), []
    found = [dataclasses.replace(c, latency=table.predict(c.arch)) for c in found]
    meter = FakeMeter(lambda arch: slow(arch) * (1.2 if arch == three else 1.0))
    kept = check_front(found, Question.within(budget), table, {}, meter.measure, noted.append, first_round=3)
    assert [(check.arch, check.round) for check in noted] == [(three, 3), (one, 3), (two, 4)]
    assert {c.arch for c in kept} == {one, two}


def test_checks_are_told_and_learnt_in_their_order(tiny_space):
    archs = draws(tiny_space, 4)
    checks = [
        Check(arch=arch, predicted=predicted(1.0), measured=measured(1.25), round=1 + (number > 1))
        for number, arch in enumerate(archs)
    ]
    assert checks_text([], BUDGET) == ""
    text = checks_text(checks, BUDGET)
    assert text == (
        "search: 4 of the predicted front measured in 2 rounds: predictions were 20.0% off on average, 4 above their "
        "bound, 0 over the budget."
    )
    assert "The table flatters what a search picks" in checks_text(checks, LatencyBudget(latency_ms=1.2))
    assert learnt(FakePredictor(), checks).known == frozenset(archs)
    assert [Check.from_plain(check.to_plain(), "file") for check in checks] == checks
    with pytest.raises(DataError, match="file: expected a predicted latency, found a measured one"):
        Check.from_plain({**checks[0].to_plain(), "predicted": measured(1.0).to_plain()}, "file")


def test_predicted_candidates_survive_as_what_they_are(tiny_space):
    told = FakePredictor().predict(tiny_space.largest())
    row = candidate(tiny_space.largest(), 0.5, 2.0, latency=told, predicted=told)
    assert Candidate.from_row(row.to_row(), "file") == row
    assert row.to_row()["latency"]["kind"] == "predicted"
    with pytest.raises(
        DataError, match="expected a predicted latency under 'predicted', found a measured one"
    ):
        Candidate.from_row({**row.to_row(), "predicted": measured(2.0).to_plain()}, "file")

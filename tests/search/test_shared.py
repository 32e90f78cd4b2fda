"""One worker at a time on a shared storage: what it agrees on, claims, hands back and hears. No processes, milliseconds."""

from __future__ import annotations

import dataclasses
import threading

import optuna
import pytest
from search_world import Evaluator, FakeMeter, ap_of, latency_of
from workers_world import LIMIT_MS, Messages, search, workers_on

from posesearch.errors import DataError, EnvironmentFault, UsageError
from posesearch.files import read_jsonl
from posesearch.latency.types import LatencyBudget
from posesearch.search.coordination import RankedElsewhere
from posesearch.search.outcome import read_outcome
from posesearch.search.question import Question
from posesearch.search.storage import Storage
from posesearch.search.trials import CLAIMED, free_key
from posesearch.spaces import load_space

EVALUATIONS = 9


def together(folder, **changes):
    evaluate = changes.pop("evaluate", None) or Evaluator()
    workers = changes.pop("workers", None) or workers_on("sqlite", folder)
    return search(folder, **{"evaluations": EVALUATIONS, "workers": workers, "evaluate": evaluate, **changes})


def interrupted(folder, at=4, **changes):
    evaluator = Evaluator(fails_at=at)
    with pytest.raises(KeyboardInterrupt):
        together(folder, evaluate=evaluator, **changes)
    return evaluator.asked


def study_of(folder):
    storage = f"sqlite:///{folder / 'study.db'}"
    (summary,) = optuna.get_all_study_summaries(storage)
    return optuna.load_study(study_name=summary.study_name, storage=storage)


@pytest.mark.parametrize("sampler", ["nsga2", "random"])
def test_one_worker_proposes_what_a_search_alone_does(tmp_path, sampler):
    alone, shared = Evaluator(), Evaluator()
    expected = search(tmp_path / "alone", evaluations=EVALUATIONS, evaluate=alone, sampler=sampler)
    outcome = together(tmp_path / "shared", evaluate=shared, sampler=sampler)
    assert shared.asked == alone.asked
    assert outcome == expected


def test_a_worker_that_fails_hands_its_trial_back(tmp_path):
    first = interrupted(tmp_path)
    states = [trial.state.name for trial in study_of(tmp_path).trials]
    assert "RUNNING" not in states and states.count("WAITING") == 1
    rest, whole = Evaluator(), Evaluator()
    together(tmp_path, evaluate=rest)
    search(tmp_path / "alone", evaluations=EVALUATIONS, evaluate=whole)
    assert first + rest.asked == whole.asked, "nobody waits for it to count as dead"


def test_a_worker_killed_while_asking_is_noticed_at_once(tmp_path):
    interrupted(tmp_path)
    study = study_of(tmp_path)
    study.ask()  # without a sign of life and without an owner
    messages = Messages()
    together(tmp_path, progress=messages)
    assert "search: worker unknown died in trial" in messages.texts[0]
    assert [t.state.name for t in study.trials].count("RUNNING") == 0


def test_a_later_worker_gets_the_stored_result(tmp_path):
    outcome = together(tmp_path)
    evaluator, meter = Evaluator(), FakeMeter()
    elsewhere = tmp_path / "another copy"
    again = together(elsewhere, workers=workers_on(f"sqlite:///{tmp_path / 'study.db'}", elsewhere), evaluate=evaluator, meter=meter)  # fmt: skip
    assert (evaluator.asked, meter.asked) == ([], [])
    assert again == outcome == read_outcome(elsewhere)
    rows = read_jsonl(elsewhere / "candidates.jsonl")
    assert rows == read_jsonl(tmp_path / "candidates.jsonl"), "a report of that folder shows the whole search"


def test_more_evaluations_go_on_and_another_budget_uses_the_accuracies_again(tmp_path):
    together(tmp_path)
    more, wider = Evaluator(), Evaluator()
    assert together(tmp_path, evaluations=EVALUATIONS + 3, evaluate=more).evaluations == EVALUATIONS + 3
    assert len(more.asked) == 3
    elsewhere = tmp_path / "another copy"
    workers = workers_on(f"sqlite:///{tmp_path / 'study.db'}", elsewhere)
    question = Question.within(LatencyBudget(latency_ms=LIMIT_MS + 0.1))
    together(elsewhere, workers=workers, question=question, evaluate=wider)
    known = {row["arch_id"] for row in read_jsonl(tmp_path / "evaluations.jsonl")}
    assert not {arch.id for arch in wider.asked} & known, "accuracies travel through the storage"


def other_device():
    meter = FakeMeter()
    meter.fingerprint = dataclasses.replace(meter.fingerprint, device="another device")
    return meter


@pytest.mark.parametrize(
    ("changes", "split", "error", "told"),
    [
        ({"weights_id": "others"}, "people", DataError, "weights: weights there, others here"),
        ({}, "other people", DataError, "people ranked on: people there, other people here"),
        ({"space": load_space("demo")}, "people", DataError, "space: small"),
        ({"meter": other_device()}, "people", EnvironmentFault, "device: a device stored, another device here"),
        ({"seed": 5}, "people", UsageError, "--seed: 0 there, 5 here"),
        ({"evaluations": 40}, "people", UsageError, f"--trials: {EVALUATIONS} there, 40 here"),
        ({"sampler": "tpe"}, "people", UsageError, "--sampler: random there, tpe here"),
        (
            {"question": Question.within(LatencyBudget(latency_ms=2.5))}, "people", UsageError,
            "--latency-ms: 1 there, 2.5 here",
        ),
    ],
)  # fmt: skip
def test_a_worker_that_differs_is_refused(tmp_path, changes, split, error, told):
    interrupted(tmp_path)
    with pytest.raises(error, match=r"holds a search of run 'r' that is not finished") as caught:
        together(tmp_path, workers=workers_on("sqlite", tmp_path, split=split), **changes)
    assert told in str(caught.value)
    assert "optuna delete-study --storage URL --study-name" in str(caught.value)
    together(tmp_path)  # those that agree go on
    if error is not UsageError or "--trials" not in told:
        return
    assert together(tmp_path, **changes).target == 40, "a finished search may be asked for more"


def test_searches_of_other_runs_do_not_matter(tmp_path):
    interrupted(tmp_path)
    outcome = together(tmp_path, workers=workers_on("sqlite", tmp_path, run="another"), weights_id="others")
    assert outcome.status == "ok"


def test_an_impossible_search_is_finished(tmp_path):
    from posesearch.errors import NoFeasibleArchitecture

    with pytest.raises(NoFeasibleArchitecture):
        together(tmp_path, question=Question.within(LatencyBudget(latency_ms=0.1)))
    assert together(tmp_path).status == "ok", "another budget is not refused for it"


def test_only_one_worker_ranks(tmp_path):
    confirmed = []

    def confirm(archs):
        # While this worker measures the front, another one comes to the end.
        confirmed.append(len(archs))
        with pytest.raises(RankedElsewhere, match="another worker ranks the front, this one ends"):
            together(tmp_path, confirm=lambda archs: pytest.fail("measured twice"), confirm_effort="full")
        meter = FakeMeter()
        return {arch.id: meter.measure(arch) for arch in archs}

    together(tmp_path, confirm=confirm, confirm_effort="full")
    assert confirmed


def test_what_another_worker_evaluates_is_not_evaluated_again(tmp_path):
    interrupted(tmp_path, at=6)
    inner = []

    def outer(arch):
        if not inner:
            inner.append(arch)
            study = study_of(tmp_path)
            (running,) = [t for t in study.trials if t.state.name == "RUNNING"]
            study.enqueue_trial(running.params)
            second = Evaluator(fails_at=1)
            with pytest.raises(KeyboardInterrupt):
                together(tmp_path, evaluate=second, evaluations=EVALUATIONS)
            assert arch not in second.asked
        return {"AP": ap_of(arch)}

    together(tmp_path, evaluate=outer)
    claimed = [trial for trial in study_of(tmp_path).trials if CLAIMED in trial.user_attrs]
    assert len(claimed) == 1 and claimed[0].state.name == "FAIL"


def test_an_answer_that_comes_too_late_does_not_count(tmp_path):
    messages = Messages()
    late = []

    def evaluate(arch):
        if not late:
            late.append(arch)
            study = study_of(tmp_path)
            (running,) = [t for t in study.trials if t.state.name == "RUNNING"]
            study.tell(running.number, state=optuna.trial.TrialState.FAIL)
        return {"AP": ap_of(arch)}

    outcome = together(tmp_path, evaluate=evaluate, progress=messages)
    assert outcome.evaluations == EVALUATIONS
    assert any("gave no sign of life for 4 s while it evaluated trial" in text for text in messages.texts)


def test_measurements_of_other_workers_are_not_made_again(tmp_path):
    interrupted(tmp_path, at=4)
    before = [trial for trial in study_of(tmp_path).trials if "candidate" in trial.user_attrs]
    meter = FakeMeter()
    together(tmp_path, meter=meter)
    known = {trial.user_attrs["candidate"]["arch_id"] for trial in before}
    assert not known & {arch.id for arch in meter.asked}
    assert [latency_of(a) for a in meter.anchored[0]] == pytest.approx(
        [a.p50_ms for a in meter.anchored[0].values()]
    )


def trial(number, state="COMPLETE", **attributes):
    return optuna.trial.FrozenTrial(
        number=number, state=optuna.trial.TrialState[state], value=None, datetime_start=None, datetime_complete=None,
        params={}, distributions={}, user_attrs=attributes, system_attrs={}, intermediate_values={}, trial_id=number,
    )  # fmt: skip


def test_every_proposal_has_a_key_of_its_own():
    assert free_key([]) == 0
    assert free_key([trial(0), trial(1, "PRUNED")]) == 2, "a search alone counts its answers"
    assert free_key([trial(0, key=0), trial(1, "RUNNING", key=1)]) == 2
    assert free_key([trial(0, key=0), trial(1, "FAIL", key=1), trial(2, key=2)]) == 1, "it is proposed again"
    assert free_key([trial(0, key=0), trial(1, "FAIL", key=1, claimed=True), trial(2, key=2)]) == 3
    assert free_key([trial(0), trial(1, key=1), trial(2, "WAITING", key=2)]) == 3


def test_locks_of_a_file_exclude_each_other(tmp_path):
    from posesearch.search.storage import Liveness, file_address

    liveness = Liveness(beat_s=1, grace_s=2, on_death=lambda study, trial: None)
    one, two = (Storage(file_address(tmp_path / "s.db"), liveness) for _ in range(2))
    with one.locked("rank") as first, two.locked("rank", wait=False) as second, two.locked("ask") as other:
        assert (first, second, other) == (True, False, True)
    order = []

    def later():
        with two.locked("ask"):
            order.append("two")

    with one.locked("ask"):
        thread = threading.Thread(target=later)
        thread.start()
        order.append("one")
    thread.join()
    assert order == ["one", "two"]
    one.close()
    two.close()

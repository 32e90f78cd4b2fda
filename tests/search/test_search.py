"""Whole searches in a synthetic world: the front, the counts, kills and resumes, refusals."""

from __future__ import annotations

import logging
import math
import sqlite3
import warnings

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_world import Evaluator, FakeCost, FakeMeter, ap_of, latency_of, measured

from posesearch.errors import DataError, EnvironmentFault, Interrupted, NoFeasibleArchitecture, UsageError
from posesearch.files import read_json, read_jsonl
from posesearch.latency.types import LatencyBudget
from posesearch.progress import SilentProgress
from posesearch.search.outcome import read_outcome
from posesearch.search.question import Question
from posesearch.search.search import run_search
from posesearch.spaces import load_space


class Messages(SilentProgress):
    def __init__(self):
        self.texts = []

    def message(self, text):
        self.texts.append(text)


def search(space, folder, **changes):
    budget = changes.pop("budget", LatencyBudget(latency_ms=2.0))
    options = {
        "folder": folder,
        "question": Question.within(budget),
        "evaluations": 8,
        "evaluate": Evaluator(),
        "meter": FakeMeter(),
        "cost": FakeCost,
        "weights_id": "weights",
        "progress": SilentProgress(),
        "sampler": "nsga2",
        **changes,
    }
    return run_search(space, **options)


def rows(folder):
    return read_jsonl(folder / "candidates.jsonl")


def front_of(outcome):
    return [(m.candidate.arch.code, m.ap) for m in outcome.front]


@pytest.mark.parametrize("sampler", ["surrogate", "gp", "nsga2", "tpe", "random"])
def test_a_search_of_each_sampler(tiny_space, tmp_path, sampler):
    evaluator = Evaluator()
    outcome = search(tiny_space, tmp_path, sampler=sampler, evaluate=evaluator, evaluations=12)
    assert outcome.status == "ok"
    assert outcome.evaluations == 12
    assert len(evaluator.asked) == len(set(evaluator.asked)) == 12, "no architecture is evaluated twice"
    assert all(latency_of(arch) <= 2.0 for arch in evaluator.asked), "nothing over budget is evaluated"
    assert len(outcome.front) >= 3
    assert outcome.picks.keys() == {"best", "knee", "fastest"}
    assert read_outcome(tmp_path) == outcome
    logged = rows(tmp_path)
    assert [row["trial"] for row in logged] == list(range(outcome.asks))
    assert logged[0]["origin"] == "smallest"
    assert logged[1]["origin"] == "largest"
    assert all((row["AP"] is None) == (not row["feasible"]) for row in logged)


@pytest.mark.slow
def test_forty_evaluations_give_a_front_of_the_demo_space(tmp_path):
    space = load_space("demo")
    limit = LatencyBudget(latency_ms=0.6 * latency_of(space.largest()))
    outcome = search(space, tmp_path, sampler="auto", evaluations=40, budget=limit)
    assert outcome.sampler == "surrogate"
    assert len(outcome.front) >= 8
    assert outcome.asks <= 60
    tops = [m.ap for m in outcome.front]
    assert tops == sorted(tops)
    # On this formula `random` reaches 0.71-0.73 with the same start and count, GP 0.816 (two seeds each).
    assert tops[-1] > 0.78


def test_every_trial_has_the_constraint_and_only_feasible_ones_are_best(tiny_space, tmp_path):
    outcome = search(tiny_space, tmp_path)
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.load_study(study_name=outcome.study, storage=storage)
    assert study.user_attrs["space_id"] == tiny_space.id
    for trial in study.trials:
        value = trial.system_attrs["constraints:latency_ms"]
        assert value == pytest.approx(trial.user_attrs["candidate"]["latency"]["p50_ms"] - 2.0)
        assert (trial.state == optuna.trial.TrialState.COMPLETE) == (value <= 0)
    assert {t.number for t in study.best_trials} >= {m.candidate.trial for m in outcome.front}


def test_the_start_spreads_over_the_latencies(tiny_space, tmp_path):
    search(tiny_space, tmp_path, evaluations=20, budget=LatencyBudget(latency_ms=3.0))
    low = latency_of(tiny_space.smallest())
    starts = [
        row["latency"]["p50_ms"] for row in rows(tmp_path) if row["origin"] == "start" and row["feasible"]
    ]
    assert len(starts) == 8
    quarters = {min(3, int(4 * (ms - low) / (3.0 - low))) for ms in starts}
    assert quarters == {0, 1, 2, 3}


@pytest.mark.parametrize("fails_at", [0, 3, 6])
@pytest.mark.parametrize("sampler", ["surrogate", "nsga2", "random"])
def test_killed_and_resumed_equals_uninterrupted(tiny_space, tmp_path, sampler, fails_at):
    whole, parts = Evaluator(), Evaluator(fails_at=fails_at)
    expected = search(tiny_space, tmp_path / "whole", evaluate=whole, sampler=sampler, seed=3)
    with pytest.raises(KeyboardInterrupt):
        search(tiny_space, tmp_path / "parts", evaluate=parts, sampler=sampler, seed=3)
    messages, rest = Messages(), Evaluator()
    found = search(tiny_space, tmp_path / "parts", evaluate=rest, sampler=sampler, seed=3, progress=messages)
    assert parts.asked + rest.asked == whole.asked
    assert front_of(found) == front_of(expected)
    assert messages.texts[0] == "search: asking again what a stopped search left unfinished (1)."


def test_gp_resumes_with_the_same_proposals(one_stage, tmp_path):
    whole, parts, rest = Evaluator(), Evaluator(fails_at=8), Evaluator()
    search(one_stage, tmp_path / "whole", evaluate=whole, sampler="gp", evaluations=9)
    with pytest.raises(KeyboardInterrupt):
        search(one_stage, tmp_path / "parts", evaluate=parts, sampler="gp", evaluations=9)
    search(one_stage, tmp_path / "parts", evaluate=rest, sampler="gp", evaluations=9)
    assert parts.asked + rest.asked == whole.asked


def test_killed_before_the_answer_was_stored_keeps_the_evaluation(tiny_space, tmp_path):
    class DyingMeter(FakeMeter):
        def measure(self, arch):
            if len(self.asked) == 4:
                raise KeyboardInterrupt
            return super().measure(arch)

    first, second = Evaluator(), Evaluator()
    with pytest.raises(KeyboardInterrupt):
        search(tiny_space, tmp_path, evaluate=first, meter=DyingMeter())
    search(tiny_space, tmp_path, evaluate=second)
    assert not set(first.asked) & set(second.asked)
    assert len(first.asked + second.asked) == 8


def test_done_returns_at_once_and_more_goes_on(tiny_space, tmp_path):
    search(tiny_space, tmp_path)
    evaluator, meter = Evaluator(), FakeMeter()
    again = search(tiny_space, tmp_path, evaluate=evaluator, meter=meter)
    assert (evaluator.asked, meter.asked) == ([], [])
    assert again.evaluations == 8
    more = search(tiny_space, tmp_path, evaluate=evaluator, evaluations=11)
    assert more.evaluations == 11
    assert len(evaluator.asked) == 3


def test_another_budget_uses_the_accuracies_again(tiny_space, tmp_path):
    first, second = Evaluator(), Evaluator()
    search(tiny_space, tmp_path, evaluate=first, sampler="random")
    outcome = search(
        tiny_space, tmp_path, evaluate=second, sampler="random", budget=LatencyBudget(latency_ms=2.5)
    )
    assert outcome.budget.latency_ms == 2.5
    assert not set(first.asked) & set(second.asked)
    assert len({row["study"] for row in rows(tmp_path)}) == 2


def test_stop_saves_and_says_how_to_go_on(tiny_space, tmp_path):
    evaluator = Evaluator()
    with pytest.raises(Interrupted, match=r"stopped after 3 of 8 evaluations; all of them are saved") as e:
        search(tiny_space, tmp_path, evaluate=evaluator, stop=lambda: len(evaluator.asked) >= 3)
    assert e.value.exit_code == 130
    assert search(tiny_space, tmp_path, evaluate=evaluator).evaluations == 8
    assert len(set(evaluator.asked)) == len(evaluator.asked) == 8


@pytest.mark.parametrize("sampler", ["nsga2", "gp"])
def test_a_small_space_is_exhausted_cleanly(one_stage, tmp_path, sampler):
    messages = Messages()
    outcome = search(
        one_stage,
        tmp_path,
        sampler=sampler,
        evaluations=1000 if sampler == "nsga2" else 100,
        budget=LatencyBudget(latency_ms=50.0),
        progress=messages,
    )
    assert outcome.evaluations == one_stage.cardinality == 24
    assert outcome.stopped == "all 24 architectures of space 'one' have been asked"
    assert any(text.startswith("search ends after 24 of") for text in messages.texts)
    assert (
        search(one_stage, tmp_path, sampler=sampler, budget=LatencyBudget(latency_ms=50.0)).evaluations == 24
    )


def test_a_tight_budget_stops_by_itself(tiny_space, tmp_path):
    # Only the smallest member is within the budget: the search must neither hang nor evaluate anything else.
    evaluator = Evaluator()
    limit = LatencyBudget(latency_ms=latency_of(tiny_space.smallest()))
    outcome = search(tiny_space, tmp_path, evaluate=evaluator, budget=limit, sampler="random", evaluations=4)
    assert evaluator.asked == [tiny_space.smallest()]
    assert "proposals brought nothing new" in outcome.stopped
    assert outcome.picks["best"] == outcome.picks["knee"] == tiny_space.smallest()


def test_impossible_budget(tiny_space, tmp_path):
    evaluator = Evaluator()
    with pytest.raises(NoFeasibleArchitecture, match=f"fastest found is {tiny_space.smallest()} with") as e:
        search(tiny_space, tmp_path, evaluate=evaluator, budget=LatencyBudget(latency_ms=0.2))
    assert e.value.exit_code == 3
    assert evaluator.asked == [], "accuracy is not asked before the budget is known to be possible"
    result = read_json(tmp_path / "result.json", "search result")
    assert result["status"] == "infeasible"
    assert result["fastest"]["arch_id"] == tiny_space.smallest().id
    assert read_outcome(tmp_path).picks == {}


def test_nothing_within_budget_when_measured_again(tiny_space, tmp_path):
    confirm = lambda archs: {a.id: measured(9.0, processes=2) for a in archs}  # noqa: E731
    with pytest.raises(
        NoFeasibleArchitecture,
        match=r"^4 architectures were measured within the budget during the search; 4 were measured again in fresh "
        r"processes\. None meets it: no",
    ):
        search(tiny_space, tmp_path, confirm=confirm, evaluations=4, sampler="random")
    assert read_outcome(tmp_path).status == "infeasible"


def confirming(latency=latency_of, **changes):
    """A `confirm` that logs what it is asked."""

    def confirm(archs):
        confirm.asked.append(list(archs))
        return {a.id: measured(latency(a), processes=2, **changes) for a in archs}

    confirm.asked = []
    return confirm


def test_an_impossible_budget_is_confirmed_before_it_is_claimed(tiny_space, tmp_path):
    confirm = confirming(lambda arch: 1.5 * latency_of(arch))
    smallest_ms = 1.5 * latency_of(tiny_space.smallest())
    with pytest.raises(NoFeasibleArchitecture, match=f"with {smallest_ms:.3g} ms"):
        search(tiny_space, tmp_path, budget=LatencyBudget(latency_ms=0.2), confirm=confirm)
    assert confirm.asked == [[tiny_space.smallest()]]
    outcome = read_outcome(tmp_path)
    assert outcome.confirmed
    assert outcome.fastest_latency == measured(smallest_ms, processes=2)


def test_a_budget_met_when_confirmed_is_searched(tiny_space, tmp_path):
    # The meter's yardstick was laid in a busy moment: everything looks three times as slow until it is anchored.
    class BusyMeter(FakeMeter):
        factor = 3.0

        def measure(self, arch):
            self.asked.append(arch)
            return measured(self.factor * latency_of(arch))

        def anchor(self, known):
            if tiny_space.smallest() in known:
                self.factor = 1.0

    confirm = confirming()
    outcome = search(tiny_space, tmp_path, meter=BusyMeter(), confirm=confirm)
    assert confirm.asked[0] == [tiny_space.smallest()]
    assert outcome.status == "ok"
    assert outcome.evaluations == 8
    assert rows(tmp_path)[0]["latency"]["processes"] == 2
    assert outcome.fastest_latency.p50_ms == pytest.approx(latency_of(tiny_space.smallest()))


def test_a_candidate_once_over_budget_is_asked_again_when_it_fits(tiny_space, tmp_path):
    # Killed after the smallest was stored as over budget; every later figure is too slow, and only it is confirmed.
    limit = LatencyBudget(latency_ms=latency_of(tiny_space.smallest()))

    class Falling(FakeMeter):
        def measure(self, arch):
            self.asked.append(arch)
            # Only the largest fits, so that the search begins; it is killed before that one is asked.
            return measured(0.5 if arch == tiny_space.largest() else 9.0)

    meter = Falling()
    with pytest.raises(Interrupted):
        search(
            tiny_space, tmp_path, budget=limit, meter=meter, references={"l": tiny_space.largest()},
            stop=lambda: len(rows(tmp_path)) == 1,
        )  # fmt: skip
    (first,) = rows(tmp_path)
    assert (first["code"], first["feasible"]) == (tiny_space.smallest().code, False)
    outcome = search(
        tiny_space,
        tmp_path,
        budget=limit,
        meter=FakeMeter(lambda arch: 9.0),
        confirm=confirming(),
        evaluations=1,
    )
    assert [m.candidate.arch for m in outcome.front] == [tiny_space.smallest()]
    assert not outcome.front[0].candidate.repeated


def test_a_resumed_search_anchors_the_meter_on_what_is_stored(tiny_space, tmp_path):
    search(tiny_space, tmp_path, evaluations=3)
    meter = FakeMeter()
    search(tiny_space, tmp_path, evaluations=4, meter=meter)
    known = meter.anchored[0]
    assert known[tiny_space.smallest()].p50_ms == pytest.approx(latency_of(tiny_space.smallest()))
    assert len(known) == len({row["arch_id"] for row in rows(tmp_path)}) - 1


def test_the_fastest_that_is_told_was_confirmed(tiny_space, tmp_path):
    # All look equally fast, so the front of the search is its most accurate member alone, not the first one asked.
    confirm = confirming(lambda arch: 9.0)
    with pytest.raises(NoFeasibleArchitecture, match="with 9 ms"):
        search(tiny_space, tmp_path, meter=FakeMeter(lambda arch: 1.0), confirm=confirm, evaluations=5)
    assert read_outcome(tmp_path).fastest_latency.processes == 2


def test_other_settings_after_the_end_are_told(tiny_space, tmp_path):
    search(tiny_space, tmp_path, sampler="random", seed=1)
    messages, evaluator = Messages(), Evaluator()
    again = search(tiny_space, tmp_path, sampler="nsga2", seed=2, evaluate=evaluator, progress=messages)
    assert messages.texts == [
        "search: the stored result was searched with sampler random, seed 1, and all evaluations asked for are made: "
        "nothing is left to propose with sampler nsga2, seed 2. Ask for more evaluations (--trials), or search in "
        "another run."
    ]
    assert (again.sampler, again.seed, evaluator.asked) == ("random", 1, [])


def test_other_settings_propose_what_is_left(tiny_space, tmp_path):
    asks = search(tiny_space, tmp_path, sampler="random", seed=1).asks
    messages, evaluator = Messages(), Evaluator()
    more = search(
        tiny_space, tmp_path, sampler="nsga2", seed=2, evaluations=11, evaluate=evaluator, progress=messages
    )
    assert messages.texts[0] == (
        "search: the stored result was searched with sampler random, seed 1; the 3 evaluations left are proposed with "
        "sampler nsga2, seed 2."
    )
    assert len(evaluator.asked) == 3
    assert (more.sampler, more.seed, more.earlier) == (
        "nsga2", 2, (f"sampler random, seed 1 for {asks} asks",)
    )  # fmt: skip
    assert read_outcome(tmp_path) == more


def test_another_sampler_gets_its_own_patience(tiny_space, tmp_path):
    limit = LatencyBudget(latency_ms=latency_of(tiny_space.smallest()))
    first = search(tiny_space, tmp_path, budget=limit, sampler="random", evaluations=4)
    assert "brought nothing new" in first.stopped
    second = search(tiny_space, tmp_path, budget=limit, sampler="random", seed=5, evaluations=4)
    assert second.asks >= first.asks + 60
    assert second.seed == 5


def test_a_sampler_with_a_study_of_its_own_says_so(tiny_space, tmp_path):
    search(tiny_space, tmp_path, sampler="random", evaluations=3)
    messages = Messages()
    found = search(tiny_space, tmp_path, sampler="tpe", evaluations=3, progress=messages)
    assert messages.texts[0].startswith(
        "search: the stored result was searched with sampler random, seed 0; sampler tpe keeps a study of its own."
    )
    assert (found.sampler, found.earlier) == ("tpe", ())


def test_another_effort_confirms_again(tiny_space, tmp_path):
    brief, same, full, evaluator = confirming(), confirming(), confirming(), Evaluator()
    search(tiny_space, tmp_path, confirm=brief, confirm_effort="brief")
    search(tiny_space, tmp_path, confirm=same, confirm_effort="brief", evaluate=evaluator)
    outcome = search(tiny_space, tmp_path, confirm=full, confirm_effort="full", evaluate=evaluator)
    assert len(brief.asked) > 0
    assert same.asked == []
    assert len(full.asked) > 0
    assert evaluator.asked == []
    assert outcome.confirm_effort == read_outcome(tmp_path).confirm_effort == "full"


def test_a_damaged_result_is_made_again(tiny_space, tmp_path):
    first, messages = search(tiny_space, tmp_path), Messages()
    (tmp_path / "result.json").write_text('{"study": 1}')
    assert search(tiny_space, tmp_path, progress=messages) == first
    assert "result.json is damaged; it is made again from the study" in messages.texts[0]


def test_the_other_runtime_stands_beside_the_confirmed_latency(tiny_space, tmp_path):
    also = confirming(lambda arch: latency_of(arch) / 4, runtime="cudagraph")
    confirm = confirming()
    search(tiny_space, tmp_path, confirm=confirm)
    outcome = search(tiny_space, tmp_path, confirm=confirm, confirm_also=also)
    assert also.asked == [[m.candidate.arch for m in outcome.front]], "no references here"
    assert read_outcome(tmp_path) == outcome
    for row in read_json(tmp_path / "result.json", "search result")["front"]:
        assert row["confirmed_also"].keys() == {"cudagraph"}
        assert row["confirmed_also"]["cudagraph"]["p50_ms"] == pytest.approx(row["confirmed"]["p50_ms"] / 4)
    search(tiny_space, tmp_path, confirm=confirm, confirm_also=also)
    assert len(also.asked) == 1, "it is not measured again"


def test_a_failing_other_runtime_loses_no_result(tiny_space, tmp_path):
    def fails(archs):
        raise EnvironmentFault("the graph cannot be captured. Use --runtime eager.")

    messages = Messages()
    outcome = search(tiny_space, tmp_path, confirm=confirming(), confirm_also=fails, progress=messages)
    assert outcome.status == "ok"
    assert messages.texts[-1].startswith("search: no latencies in the other runtime: the graph cannot be")


def test_optuna_is_silent_and_its_settings_are_restored(one_stage, tmp_path, monkeypatch):
    def shouting(*arguments, **options):
        logging.getLogger("optuna._gp.gp").warning("The optimization of kernel parameters failed")
        warnings.warn("Clip non-finite values", UserWarning, stacklevel=1)
        return ask(*arguments, **options)

    ask, level, filters = optuna.Study.ask, optuna.logging.get_verbosity(), list(warnings.filters)
    monkeypatch.setattr(optuna.Study, "ask", shouting)
    heard = []
    handler = logging.Handler()
    handler.emit = heard.append
    logging.getLogger("optuna").addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            search(one_stage, tmp_path, sampler="random", evaluations=3)
    finally:
        logging.getLogger("optuna").removeHandler(handler)
    assert [record.getMessage() for record in heard] == []
    assert [str(warning.message) for warning in caught] == []
    assert optuna.logging.get_verbosity() == level
    assert list(warnings.filters) == filters


def test_references_are_evaluated_whatever_their_latency(tiny_space, tmp_path):
    references = {"small": tiny_space.smallest(), "large": tiny_space.largest()}
    outcome = search(tiny_space, tmp_path, references=references, evaluations=4)
    assert [r.name for r in outcome.references] == ["small", "large"]
    large = outcome.references[1].member
    assert large.ap == ap_of(tiny_space.largest())
    assert not large.candidate.feasible
    assert outcome.evaluations == 4
    plain = read_json(tmp_path / "result.json", "search result")
    assert [(row["reference"], row["verdict"]) for row in plain["references"]] == [
        ("small", "within"),
        ("large", "over"),
    ]


def test_confirmed_latency_is_what_the_result_ranks_by(tiny_space, tmp_path):
    confirm = lambda archs: {a.id: measured(latency_of(a) * 0.9, half_width=0.5, processes=2) for a in archs}  # noqa: E731
    outcome = search(tiny_space, tmp_path, confirm=confirm)
    assert outcome.confirmed
    plain = read_json(tmp_path / "result.json", "search result")
    for row in plain["front"]:
        assert row["confirmed"]["processes"] == 2
        assert row["confirmed"]["p50_ms"] == pytest.approx(0.9 * row["latency"]["p50_ms"])
        assert "confirmed_also" not in row
    assert {row["verdict"] for row in plain["front"]} == {"within", "within noise"}


def test_another_space_in_the_same_folder_is_refused(tiny_space, one_stage, tmp_path):
    search(one_stage, tmp_path, evaluations=2, sampler="random")
    with pytest.raises(
        DataError, match=rf"study.db holds a search of space {one_stage.id}, this one is 'tiny'"
    ) as e:
        search(tiny_space, tmp_path)
    assert e.value.exit_code == 4


def test_a_damaged_study_is_refused(tiny_space, tmp_path):
    (tmp_path / "study.db").write_bytes(b"this is not a database, however long it may be" * 40)
    with pytest.raises(DataError, match=r"study.db is damaged .*Delete that file and search again"):
        search(tiny_space, tmp_path)


def test_a_row_lost_between_storage_and_log_comes_back(one_stage, tmp_path):
    search(one_stage, tmp_path, evaluations=3, sampler="random")
    before = rows(tmp_path)
    log = tmp_path / "candidates.jsonl"
    log.write_text("\n".join(log.read_text().splitlines()[:-1]) + "\n")
    search(one_stage, tmp_path, evaluations=3, sampler="random")
    assert rows(tmp_path) == before


@pytest.mark.parametrize("count", [0, -3])
def test_bad_number_of_evaluations(tiny_space, tmp_path, count):
    with pytest.raises(UsageError, match=f"--trials {count}: expected at least 1 evaluation"):
        search(tiny_space, tmp_path, evaluations=count)


def test_budget_and_meter_must_speak_of_the_same_runtime(tiny_space, tmp_path):
    with pytest.raises(UsageError, match="the budget is for cudagraph, fp32; the meter measures eager, fp32"):
        search(tiny_space, tmp_path, budget=LatencyBudget(latency_ms=2.0, runtime="cudagraph"))


def test_a_reference_outside_the_space_is_refused(tiny_space, one_stage, tmp_path):
    with pytest.raises(UsageError, match="is not in space 'tiny'"):
        search(tiny_space, tmp_path, references={"x": one_stage.smallest()})


@given(st.one_of(st.floats(max_value=0.0), st.just(math.nan), st.just(math.inf)))
def test_senseless_budgets(value):
    with pytest.raises(UsageError, match=r"--latency-ms .*finite number of milliseconds above 0") as e:
        LatencyBudget(latency_ms=value)
    assert e.value.exit_code == 2


def test_the_storage_uses_write_ahead_logging(one_stage, tmp_path):
    search(one_stage, tmp_path, evaluations=1, sampler="random")
    connection = sqlite3.connect(tmp_path / "study.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()

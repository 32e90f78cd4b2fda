"""A search by a latency table in a run folder: kills, more trials, other tables, devices that are not here."""

from __future__ import annotations

import pytest
from predicted_world import FakePredictor
from search_world import Evaluator, FakeCost, FakeMeter, latency_of, measured
from test_search import Messages, confirming, rows, search

from posesearch.errors import Interrupted, NoFeasibleArchitecture, UsageError
from posesearch.files import read_json
from posesearch.latency.types import LatencyBudget, Measured
from posesearch.search.feasible import no_feasible_text
from posesearch.search.outcome import read_outcome
from posesearch.search.question import Question

BUDGET = LatencyBudget(latency_ms=2.0)


def test_killed_while_the_front_is_measured_and_resumed(tiny_space, tmp_path):
    world = {"predictor": FakePredictor(bound=0.02), "evaluations": 10}
    whole = search(tiny_space, tmp_path / "whole", confirm=confirming(), **world)
    assert len(whole.checks) > 3

    class Dying(FakeMeter):
        left = None

        def measure(self, arch):
            if rows(tmp_path / "parts") and sum(r["AP"] is not None for r in rows(tmp_path / "parts")) == 10:
                self.left = 2 if self.left is None else self.left - 1
                if self.left == 0:
                    raise KeyboardInterrupt
            return super().measure(arch)

    with pytest.raises(KeyboardInterrupt):
        search(tiny_space, tmp_path / "parts", meter=Dying(), confirm=confirming(), **world)
    meter, evaluator = FakeMeter(), Evaluator()
    found = search(
        tiny_space, tmp_path / "parts", meter=meter, confirm=confirming(), evaluate=evaluator, **world
    )
    assert evaluator.asked == []
    assert [m.candidate.arch for m in found.front] == [m.candidate.arch for m in whole.front]
    assert {c.arch for c in found.checks} == {c.arch for c in whole.checks}
    assert not {c.arch for c in found.checks if c.round == 1} & set(meter.asked), "nothing is measured twice"


def test_stopping_while_the_front_is_measured_saves(tiny_space, tmp_path):
    evaluator = Evaluator()
    with pytest.raises(
        Interrupted, match=r"search stopped after 0 measurements of the predicted front; all of"
    ):
        search(
            tiny_space, tmp_path, predictor=FakePredictor(), evaluate=evaluator,
            stop=lambda: len(evaluator.asked) >= 8,
        )  # fmt: skip


def test_more_trials_go_on_with_what_was_learnt(tiny_space, tmp_path):
    world = {"predictor": FakePredictor(bound=0.02), "confirm": confirming()}
    first = search(tiny_space, tmp_path, evaluations=8, **world)
    meter, evaluator = FakeMeter(), Evaluator()
    same = search(tiny_space, tmp_path, evaluations=8, meter=meter, evaluate=evaluator, **world)
    assert (same, meter.asked, evaluator.asked) == (first, [], [])
    more = search(tiny_space, tmp_path, evaluations=20, meter=meter, evaluate=evaluator, **world)
    assert more.evaluations == 20 and len(evaluator.asked) == 12
    assert more.checks[: len(first.checks)] == first.checks
    assert not {check.arch for check in first.checks} & set(meter.asked)
    new = more.checks[len(first.checks) :]
    assert new and min(check.round for check in new) > max(check.round for check in first.checks)


def test_another_table_or_none_begins_anew_and_says_so(tiny_space, tmp_path):
    search(tiny_space, tmp_path, predictor=FakePredictor(table_id="t1"), sampler="random")
    messages, evaluator = Messages(), Evaluator()
    other = search(
        tiny_space, tmp_path, predictor=FakePredictor(table_id="t2"), sampler="random", progress=messages,
        evaluate=evaluator,
    )  # fmt: skip
    assert messages.texts[0] == (
        "search: the stored result was searched by latency table t1, this search goes by latency table t2 and keeps a "
        "study of its own. It begins anew, with the accuracies already known, and replaces the result."
    )
    assert (other.table, evaluator.asked) == ("t2", []), "the same proposals need no new evaluation"
    messages = Messages()
    none = search(tiny_space, tmp_path, sampler="random", progress=messages)
    assert "searched by latency table t2, this search goes by measuring every candidate" in messages.texts[0]
    assert (none.table, none.checks) == ("", ())
    assert len({row["study"] for row in rows(tmp_path)}) == 3


def test_a_device_that_is_not_here_is_searched_on_its_table_alone(tiny_space, tmp_path):
    messages, evaluator = Messages(), Evaluator()
    asked = {"meter": None, "predictor": FakePredictor(bound=0.1, device="NVIDIA H200"), "evaluations": 10}
    refuse = confirming()
    outcome = search(
        tiny_space, tmp_path, evaluate=evaluator, confirm=refuse, confirm_also=refuse,
        references={"large": tiny_space.largest()}, progress=messages, **asked,
    )  # fmt: skip
    assert refuse.asked == [], "nothing is measured"
    assert outcome.status == "ok" and not outcome.confirmed
    assert outcome.label == "predicted for NVIDIA H200, unverified"
    assert messages.texts[-1].startswith(
        "search: the front is predicted for NVIDIA H200, unverified: nothing was"
    )
    assert read_outcome(tmp_path) == outcome
    plain = read_json(tmp_path / "result.json", "search result")
    assert plain["label"] == "predicted for NVIDIA H200, unverified"
    for row in (*plain["front"], *plain["references"]):
        assert (row["confirmed"], row["verdict"], row["latency"]["kind"]) == (None, "unverified", "predicted")
    assert all(row["latency"]["high_ms"] <= 2.0 for row in plain["front"])
    assert outcome.picks.keys() == {"best", "knee", "fastest"}
    again = search(
        tiny_space, tmp_path, evaluate=evaluator, references={"large": tiny_space.largest()}, **asked
    )
    assert again == outcome


def test_an_impossible_budget_of_an_absent_device_is_no_measurement(tiny_space, tmp_path):
    absent = FakePredictor(bound=0.1, device="NVIDIA H200")
    with pytest.raises(NoFeasibleArchitecture) as e:
        search(tiny_space, tmp_path, meter=None, predictor=absent, budget=LatencyBudget(latency_ms=0.5))
    ms = latency_of(tiny_space.smallest())
    assert "is predicted to meet --latency-ms 0.5 (p50, eager, fp32) on NVIDIA H200, unverified." in str(
        e.value
    )
    assert f"with ~{ms:.3g} ms predicted, at most {1.1 * ms:.3g}" in str(e.value)
    assert read_outcome(tmp_path).status == "infeasible"
    text = no_feasible_text(Question.within(BUDGET), tiny_space.smallest(), measured(2.5), tiny_space)
    assert "meets --latency-ms 2 (p50, eager, fp32) on a device." in text


def test_a_budget_impossible_by_table_is_measured_before_it_is_claimed(tiny_space, tmp_path):
    # The table says twice the truth: by its bound nothing fits, in fresh processes the smallest does.
    confirm = confirming()
    slow = FakePredictor(lambda arch: 2.0 * latency_of(arch))
    limit = LatencyBudget(latency_ms=1.2 * latency_of(tiny_space.smallest()))
    outcome = search(
        tiny_space, tmp_path, predictor=slow, confirm=confirm, budget=limit, evaluations=1, sampler="random"
    )
    assert outcome.front[0].candidate.arch == tiny_space.smallest()
    assert isinstance(outcome.front[0].confirmed, Measured)


def test_conditions_that_do_not_go_together(tiny_space, tmp_path):
    with pytest.raises(
        UsageError, match=r"latency table t1 predicts cudagraph, fp32\. Use the same --runtime"
    ):
        search(tiny_space, tmp_path, predictor=FakePredictor(runtime="cudagraph"))
    with pytest.raises(
        UsageError, match=r"--percentile p90: a latency table predicts the median \(p50\) alone"
    ):
        search(
            tiny_space, tmp_path, predictor=FakePredictor(),
            budget=LatencyBudget(latency_ms=2.0, percentile="p90"),
        )  # fmt: skip
    with pytest.raises(UsageError, match="neither a meter nor a latency table"):
        search(tiny_space, tmp_path, meter=None)


def test_costs_are_not_needed_to_aim_by_a_table(tiny_space, tmp_path):
    class NoFeatures(FakeCost):
        def __init__(self, arch):
            super().__init__(arch)
            self.activation_bytes = float("nan")

    outcome = search(tiny_space, tmp_path, predictor=FakePredictor(), cost=NoFeatures, evaluations=10)
    assert outcome.evaluations == 10


def test_a_finished_search_leaves_one_storage_file(tiny_space, tmp_path):
    # A write-ahead log that is left would hide that the file beside it was damaged, or be lost when that is copied.
    search(tiny_space, tmp_path, predictor=FakePredictor(), evaluations=3)
    assert sorted(path.name for path in tmp_path.glob("study*")) == ["study.db"]

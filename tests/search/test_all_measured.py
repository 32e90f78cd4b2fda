"""No candidate that may be feasible is lost unmeasured, and a search that ends badly keeps what it measured."""

from __future__ import annotations

import pytest
from predicted_world import FakePredictor
from search_world import Evaluator, FakeMeter, latency_of, measured
from test_parts import candidate
from test_parts import draws as drawn
from test_search import confirming, search

from posesearch.errors import Interrupted, NoFeasibleArchitecture
from posesearch.latency.types import LatencyBudget, Predicted
from posesearch.search.check import check_front
from posesearch.search.confirm import confirm_front
from posesearch.search.outcome import read_outcome
from posesearch.search.question import Question

QUESTION = Question.within(LatencyBudget(latency_ms=2.0))


def predicted(ms, bound=0.03):
    return Predicted(latency_ms=ms, low_ms=ms * (1 - bound), high_ms=ms * (1 + bound), source="t1")


def draws(space, count):
    return list(dict.fromkeys(drawn(space, 4 * count)))[:count]


class Fixed:
    """A predictor that says the same of everything and learns nothing."""

    def __init__(self, ms):
        self.told = predicted(ms)

    def predict(self, arch):
        return self.told

    def refit(self, seen):
        return self


@pytest.mark.parametrize("slow", [3, 5, 8])
def test_the_front_is_confirmed_until_none_is_left(tiny_space, slow):
    # Each dominates the next, and the first ones are over the budget in the fresh processes.
    archs = draws(tiny_space, 8)
    own_ms = [1.90 + 0.005 * i for i in range(8)]
    found = [
        candidate(a, 0.9 - 0.01 * i, own_ms[i], latency=predicted(own_ms[i])) for i, a in enumerate(archs)
    ]
    confirm = confirming(lambda a: 2.01 if archs.index(a) < slow else own_ms[archs.index(a)])
    front, rejected, confirmed = confirm_front(found, QUESTION, confirm)
    assert len(rejected) == slow and {m.candidate.arch for m in rejected} == set(archs[:slow])
    assert [m.candidate.arch for m in front] == archs[slow : slow + 1]
    assert front or len(confirmed) == len(archs), "infeasible is said of what was measured"


def test_a_doubtful_one_behind_a_rejected_one_is_measured(tiny_space):
    first, doubtful = draws(tiny_space, 2)
    found = [
        candidate(first, 0.9, 1.95, latency=measured(1.95)),
        candidate(doubtful, 0.8, 1.97, latency=predicted(1.97)),
    ]
    kept = check_front(found, QUESTION, Fixed(1.97), {first: measured(1.95)}, FakeMeter().measure, [].append)
    assert {c.arch: c.feasible for c in kept} == {first: True, doubtful: False}
    confirm = confirming(lambda arch: 2.001 if arch == first else 1.98)
    front, rejected, _ = confirm_front(kept, QUESTION, confirm)
    assert [m.candidate.arch for m in front] == [doubtful]
    assert front[0].candidate.feasible and [m.candidate.arch for m in rejected] == [first]


def test_the_predicted_front_is_measured_however_many_rounds_it_takes(tiny_space):
    # Each dominates the next and is found over the budget; only the last is not.
    archs = draws(tiny_space, 14)
    found = [candidate(a, 0.9 - 0.01 * i, 1.9, latency=predicted(1.9)) for i, a in enumerate(archs)]
    meter = FakeMeter(lambda arch: 1.9 if arch == archs[-1] else 2.1)
    kept = check_front(found, QUESTION, Fixed(1.9), {}, meter.measure, [].append)
    assert [c.arch for c in kept] == archs[-1:] and len(meter.asked) == 14


def test_a_search_without_a_front_teaches_and_tells_predicted_from_measured(tiny_space, tmp_path):
    taught = []
    flattering = {"predictor": FakePredictor(bound=0.01), "evaluations": 8, "sampler": "random"}
    with pytest.raises(NoFeasibleArchitecture) as e:
        search(
            tiny_space, tmp_path, meter=FakeMeter(lambda arch: 9.0 * latency_of(arch)), confirm=confirming(),
            teach=taught.append, **flattering,
        )  # fmt: skip
    checks = read_outcome(tmp_path).checks
    assert checks and taught == [checks]
    left = 8 - len(checks)
    told = f"0 architectures were measured within the budget during the search, 8 were predicted within it, of which {len(checks)} were measured"
    assert str(e.value).startswith(told)
    assert (f"and {left} lie above it by the predictions refitted on these" in str(e.value)) == (left > 0)
    assert "; 0 were measured again in fresh processes. None meets it: no architecture" in str(e.value)


def test_a_stopped_search_teaches_what_it_measured(tiny_space, tmp_path):
    taught, evaluator, calls = [], Evaluator(), []

    def stop():
        if len(evaluator.asked) < 10:
            return False
        calls.append("a measurement")
        return len(calls) > 2

    with pytest.raises(Interrupted, match="measurements of the predicted front"):
        search(
            tiny_space, tmp_path, predictor=FakePredictor(), evaluations=10, evaluate=evaluator,
            teach=taught.append, stop=stop, confirm=confirming(),
        )  # fmt: skip
    assert len(taught) == 1 and len(taught[0]) == 2

"""Proposals from earlier searches: what is taken over, in which order, and what is left alone without an error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from search_world import Evaluator, FakeCost, FakeMeter, latency_of, measured

from posesearch.files import read_jsonl
from posesearch.latency.types import LatencyBudget
from posesearch.progress import SilentProgress
from posesearch.search.earlier import LIMIT, Earlier, Limit, earlier_starts, read_studies
from posesearch.search.front import pareto_front
from posesearch.search.question import Question
from posesearch.search.search import run_search
from posesearch.spaces import SearchSpace


class Heard(SilentProgress):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def search(space: SearchSpace, folder: Path, *, budget_ms: float = 2.5, weights: str = "w", **options):
    budget = LatencyBudget(latency_ms=budget_ms, percentile="p50", runtime="eager", precision="fp32")
    arguments = {
        "question": Question.within(budget),
        "evaluations": 14,
        "evaluate": Evaluator(),
        "meter": FakeMeter(),
        "cost": FakeCost,
        "weights_id": weights,
        "progress": SilentProgress(),
        "sampler": "random",
    }
    return run_search(space, folder=folder, **{**arguments, **options})


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, tiny_space: SearchSpace) -> Path:
    """The search folder of a finished search."""
    folder = tmp_path_factory.mktemp("searched") / "search"
    search(tiny_space, folder)
    return folder


def origins(folder: Path, study: str) -> list[tuple[str, str]]:
    rows = read_jsonl(folder / "candidates.jsonl")
    return [(row["code"], row["origin"]) for row in rows if row["study"] == study]


def test_the_front_of_an_earlier_search_is_taken_best_first_then_far_apart(
    searched: Path, tiny_space: SearchSpace
) -> None:
    (candidates,) = read_studies(searched, tiny_space).values()
    front = pareto_front(candidates, lambda c: (c.ap, c.latency.p50_ms))
    starts = earlier_starts([("one", searched)], tiny_space, limit=len(front) + 5)
    assert {arch for arch, _ in starts} == {c.arch for c in front}
    assert starts[0][0] == front[-1].arch and starts[1][0] == front[0].arch
    assert {origin for _, origin in starts} == {"earlier: one"}
    assert earlier_starts([("one", searched)], tiny_space, limit=2) == starts[:2]


def test_runs_take_turns_and_nothing_comes_twice(
    searched: Path, tiny_space: SearchSpace, tmp_path: Path
) -> None:
    search(tiny_space, tmp_path / "other", seed=5)
    starts = earlier_starts([("one", searched), ("two", tmp_path / "other")], tiny_space)
    assert len(starts) <= LIMIT and len({arch for arch, _ in starts}) == len(starts)
    assert {origin for _, origin in starts} == {"earlier: one", "earlier: two"}


def test_what_is_known_to_be_too_slow_is_left_out(searched: Path, tiny_space: SearchSpace) -> None:
    fingerprint = FakeMeter().fingerprint
    limit = Limit(latency_ms=1.6, fingerprint=fingerprint)
    starts = earlier_starts([("one", searched)], tiny_space, within=limit)
    assert starts and all(latency_of(arch) <= 1.6 for arch, _ in starts)
    assert len(earlier_starts([("one", searched)], tiny_space)) > len(starts)
    # Of another runtime or device nothing is known.
    assert not limit.excludes(measured(9.0, runtime="onnxruntime")) and limit.excludes(measured(9.0))


def test_a_search_asks_them_first_and_evaluates_them_anew(
    searched: Path, tiny_space: SearchSpace, tmp_path: Path
) -> None:
    evaluator = Evaluator(ap=lambda arch: 0.5)
    heard = Heard()
    earlier = Earlier(choice="all", folders=(("one", searched),))
    outcome = search(
        tiny_space, tmp_path / "s", weights="other", evaluate=evaluator, earlier=earlier, progress=heard
    )
    asked = origins(tmp_path / "s", outcome.study)
    taken = [code for code, origin in asked if origin == "earlier: one"]
    assert taken and set(taken) <= {arch.code for arch in evaluator.asked}
    places = [place for place, (_, origin) in enumerate(asked) if origin == "earlier: one"]
    others = [place for place, (_, origin) in enumerate(asked) if origin in ("start", "sampler", "nearby")]
    assert max(places) < min(others)
    assert any("of earlier searches of this space are asked first" in message for message in heard.messages)


def test_another_budget_of_the_same_folder_is_an_earlier_search_but_not_the_study_itself(
    searched: Path, tiny_space: SearchSpace, tmp_path: Path
) -> None:
    folder = tmp_path / "search"
    shutil.copytree(searched, folder)
    earlier = Earlier(choice="same", folders=(("run", folder),))
    again = search(tiny_space, folder, earlier=earlier, evaluations=16)
    assert "earlier: run" not in dict(map(reversed, origins(folder, again.study)))
    other = search(tiny_space, folder, earlier=earlier, budget_ms=2.0, evaluations=16)
    assert "earlier: run" in dict(map(reversed, origins(folder, other.study)))


def test_a_stopped_search_proposes_the_same_although_other_runs_changed(
    searched: Path, tiny_space: SearchSpace, tmp_path: Path
) -> None:
    neighbour = tmp_path / "neighbour"
    shutil.copytree(searched, neighbour)
    earlier = Earlier(choice="all", folders=(("n", neighbour),))
    whole = search(tiny_space, tmp_path / "a", earlier=earlier, weights="v")
    with pytest.raises(KeyboardInterrupt):
        search(tiny_space, tmp_path / "b", earlier=earlier, weights="v", evaluate=Evaluator(fails_at=4))
    search(tiny_space, neighbour, seed=9, evaluations=20)
    search(tiny_space, neighbour, weights="x", budget_ms=3.0)
    resumed = search(tiny_space, tmp_path / "b", earlier=earlier, weights="v")
    assert origins(tmp_path / "b", resumed.study) == origins(tmp_path / "a", whole.study)


def test_another_space_and_damaged_logs_are_left_alone_with_a_word(
    searched: Path, tiny_space: SearchSpace, tmp_path: Path
) -> None:
    rows = read_jsonl(searched / "candidates.jsonl")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    lines = [json.dumps({**row, "study": "0123456789ab_" + row["study"]}) for row in rows]
    (foreign / "candidates.jsonl").write_text("\n".join(lines) + "\n")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "candidates.jsonl").write_text("{\n" + json.dumps(rows[0]) + "\n")
    heard = Heard()
    starts = earlier_starts(
        [("foreign", foreign), ("broken", broken), ("none", tmp_path / "none"), ("one", searched)],
        tiny_space,
        progress=heard,
    )
    assert {origin for _, origin in starts} == {"earlier: one"}
    assert len(heard.messages) == 1 and heard.messages[0].startswith(
        "search: nothing is taken over from run 'broken': "
    )
    assert "line 1 is not valid JSON" in heard.messages[0]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(["arch", "AP", "latency", "cost", "study", "feasible", "origin", "trial", "metrics"]),
    value=JSON,
)
def test_no_damage_of_a_row_is_fatal(
    searched: Path, tiny_space: SearchSpace, tmp_path: Path, key: str, value: object
) -> None:
    rows = read_jsonl(searched / "candidates.jsonl")
    rows[3] = {**rows[3], key: value}
    (tmp_path / "candidates.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    starts = earlier_starts([("d", tmp_path)], tiny_space)
    assert all(tiny_space.contains(arch) for arch, _ in starts)

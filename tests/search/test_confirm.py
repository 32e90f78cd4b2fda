"""Confirming the front: fewer rounds, no worse a front, and a stop between two rounds that loses nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_world import Evaluator, latency_of, measured
from test_parts import candidate
from test_search import Messages, confirming, search

from posesearch.errors import DataError, Interrupted
from posesearch.files import read_jsonl
from posesearch.latency.types import LatencyBudget
from posesearch.progress import SilentProgress, SilentTask
from posesearch.search import confirm as module
from posesearch.search.confirm import BESIDE, confirm_front
from posesearch.search.confirmed import CONFIRMED, ConfirmedLog
from posesearch.search.front import dominates, pareto_front
from posesearch.search.propose import members
from posesearch.search.question import Question

BUDGET = LatencyBudget(latency_ms=2.0)
QUESTION = Question.within(BUDGET)


def fronts(found, ms):
    """(front, rounds) without and with likely members; figures of fresh processes from `ms` by architecture."""
    results = []
    for beside in (0, BESIDE):
        confirm = confirming(ms.__getitem__)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "BESIDE", beside)
            front, rejected, confirmed = confirm_front(found, QUESTION, confirm)
        asked = [arch for round_ in confirm.asked for arch in round_]
        assert all(confirm.asked) and len(asked) == len(set(asked)), "each round confirms more, nothing twice"
        assert {arch.id for arch in asked} == set(confirmed)
        assert {m.candidate.arch for m in rejected} == {arch for arch in asked if ms[arch] > 2.0}
        results.append((front, confirm.asked))
    return results


def point(member):
    return member.ap, member.confirmed.p50_ms


worlds = st.lists(
    st.tuples(
        st.integers(1, 8),  # accuracy, with ties
        st.floats(1.0, 2.0),  # the search's own figure
        st.floats(0.9, 1.1),  # fresh processes over it
    ),
    min_size=1,
    max_size=24,
)


@given(world=worlds, common=st.sampled_from([0.9, 1.0, 1.2]))
@settings(deadline=None, max_examples=150)
def test_likely_members_cost_no_round_and_no_member(one_stage, world, common):
    archs = list(members(one_stage))
    found = [candidate(arch, row[0] / 10, row[1]) for arch, row in zip(archs, world, strict=False)]
    ms = {arch: common * row[1] * row[2] for arch, row in zip(archs, world, strict=False)}
    (plain, rounds), (front, fewer) = fronts(found, ms)
    assert len(fewer) <= len(rounds)
    assert all(len(round_) <= len(found) for round_ in fewer)
    for member in plain:
        assert any(point(m) == point(member) or dominates(point(m), point(member)) for m in front)
    assert all(m.confirmed.p50_ms <= 2.0 for m in front)
    assert not any(dominates(point(one), point(other)) for one in front for other in front)


@given(world=worlds, common=st.sampled_from([0.9, 1.0, 1.2]))
@settings(deadline=None, max_examples=100)
def test_of_figures_that_agree_the_front_is_the_same(one_stage, world, common):
    archs = list(members(one_stage))
    found = [candidate(arch, row[0] / 10, row[1]) for arch, row in zip(archs, world, strict=False)]
    ms = {arch: common * row[1] for arch, row in zip(archs, world, strict=False)}
    (plain, _), (front, _) = fronts(found, ms)
    assert front == plain
    allowed = [c for c in found if ms[c.arch] <= 2.0]
    best = pareto_front(allowed, lambda c: (c.ap, ms[c.arch]))
    assert [point(m) for m in front] == [(c.ap, ms[c.arch]) for c in best]


def test_one_round_where_each_hid_the_next(one_stage):
    archs = list(members(one_stage))[:6]
    found = [candidate(arch, 0.9 - 0.1 * i, 1.90 + 0.005 * i) for i, arch in enumerate(archs)]
    ms = {arch: 2.1 if arch in archs[:4] else 1.95 for arch in archs}
    (plain, rounds), (front, fewer) = fronts(found, ms)
    assert [len(round_) for round_ in rounds] == [1, 1, 1, 1, 1]
    assert [len(round_) for round_ in fewer] == [1 + BESIDE]
    assert front == plain and [m.candidate.arch for m in front] == [archs[4]]


def test_only_those_that_noise_may_bring_in_are_measured_beside(one_stage):
    archs = list(members(one_stage))[:3]
    near, far = 1.0 * 1.02, 1.0 * 1.05
    found = [
        candidate(arch, ap, ms) for arch, ap, ms in zip(archs, (0.5, 0.4, 0.4), (1.0, far, near), strict=True)
    ]
    confirm = confirming(lambda arch: 1.0)
    confirm_front(found, QUESTION, confirm)
    assert confirm.asked == [[archs[0], archs[2]]]


def in_two_rounds():
    """A `confirm` that finds all of its first round over the budget, so that there is a second one."""

    def latency(arch):
        return 5.0 if arch in confirm.asked[0] else latency_of(arch)

    confirm = confirming(latency)
    return confirm


def test_stopped_between_two_rounds_and_gone_on(tiny_space, tmp_path):
    whole, stopped = in_two_rounds(), in_two_rounds()
    expected = search(tiny_space, tmp_path / "whole", evaluations=20, confirm=whole)
    assert len(whole.asked) >= 2, "else there is nothing to stop"
    taught, messages, evaluator = [], Messages(), Evaluator()
    with pytest.raises(Interrupted) as e:
        search(
            tiny_space, tmp_path, evaluations=20, confirm=stopped, evaluate=evaluator, teach=taught.append,
            stop=lambda: bool(stopped.asked),
        )  # fmt: skip
    (first,) = stopped.asked
    assert str(e.value) == (
        f"search stopped after {len(first)} networks of its front were measured again in fresh processes; all of them "
        "are saved."
    )
    assert e.value.exit_code == 130 and len(read_jsonl(tmp_path / CONFIRMED)) == len(first)
    assert taught == [()] and not (tmp_path / "result.json").exists()
    found = search(
        tiny_space, tmp_path, evaluations=20, confirm=stopped, evaluate=evaluator, progress=messages
    )
    assert stopped.asked == whole.asked, "nothing is measured twice"
    assert found.front == expected.front and found.rejected == expected.rejected
    assert f"going on with the {len(first)} networks that were measured again" in "".join(messages.texts)
    assert not (tmp_path / CONFIRMED).exists() and len(evaluator.asked) == 20


def test_a_stop_before_the_first_round(tiny_space, tmp_path):
    evaluator, confirm = Evaluator(), confirming()
    with pytest.raises(Interrupted, match="after 0 networks of its front were measured again"):
        search(
            tiny_space, tmp_path, evaluate=evaluator, confirm=confirm, stop=lambda: len(evaluator.asked) == 8
        )
    assert confirm.asked == []


def test_a_stop_before_the_other_runtime_keeps_the_result(tiny_space, tmp_path):
    confirm, also, messages = confirming(), confirming(runtime="onnxruntime"), Messages()
    found = search(
        tiny_space, tmp_path, confirm=confirm, confirm_also=also, progress=messages,
        stop=lambda: bool(confirm.asked),
    )  # fmt: skip
    assert found.front and also.asked == []
    assert messages.texts[-1].startswith("search: stopped before the front was measured in the other runtime")
    again = search(tiny_space, tmp_path, confirm=confirm, confirm_also=also)
    assert len(confirm.asked) == 1 and len(also.asked) == 1 and again.front[0].confirmed_also


def test_a_failing_process_keeps_what_was_measured(tiny_space, tmp_path):
    confirm = in_two_rounds()

    def dies(archs):
        if confirm.asked:
            raise OSError("the machine went away")
        return confirm(archs)

    with pytest.raises(OSError, match="went away"):
        search(tiny_space, tmp_path, evaluations=20, confirm=dies)
    first = set(confirm.asked[0])
    search(tiny_space, tmp_path, evaluations=20, confirm=confirm)
    assert not first & {arch for round_ in confirm.asked[1:] for arch in round_}


def test_what_was_kept_is_of_one_study_and_effort(tmp_path):
    log = ConfirmedLog(tmp_path, "study", "brief")
    log.add({"a1": measured(1.5, processes=2)})
    assert ConfirmedLog(tmp_path, "study", "brief").known == log.known == {"a1": measured(1.5, processes=2)}
    assert (
        ConfirmedLog(tmp_path, "study", "full").known == ConfirmedLog(tmp_path, "other", "brief").known == {}
    )
    (tmp_path / CONFIRMED).write_text('{"study": "study"}\n')
    with pytest.raises(
        DataError, match=r"confirmed\.jsonl, line 1: study, effort, arch_id or latency is missing"
    ):
        ConfirmedLog(tmp_path, "study", "brief")


def test_one_task_tells_rounds_and_networks(tiny_space, tmp_path):
    told = []

    class Seen(SilentProgress):
        def task(self, name, total, *, done=0):
            class Task(SilentTask):
                def __enter__(self):
                    return self

                def __exit__(self, *_):
                    return None

                def advance(self, count=1, **numbers):
                    if name == "measuring the front again":
                        told.append((count, total, numbers))

            return Task()

    confirm = in_two_rounds()
    search(tiny_space, tmp_path, evaluations=20, confirm=confirm, progress=Seen())
    rounds = len(confirm.asked)
    assert [count for count, _, _ in told] == [0] * rounds + [1]
    last = told[-2][2]
    assert last == {"round": str(rounds), "networks": str(sum(map(len, confirm.asked)))}

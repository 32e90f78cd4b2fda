"""Heartbeat lines: when they come, and that no time left is told before anything says how long a unit takes."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesearch import progress
from posesearch.progress import PlainProgress, format_duration


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


def lines_of(
    monkeypatch: pytest.MonkeyPatch, total: int, done: int, steps: list[tuple[float, int]]
) -> list[str]:
    """What a task of `total` units prints while (seconds, units) pass by."""
    clock, stream = Clock(), io.StringIO()
    monkeypatch.setattr(progress.time, "monotonic", clock.monotonic)
    with PlainProgress(stream, every_s=10.0).task("search", total, done=done) as task:
        for seconds, count in steps:
            clock.now_s += seconds
            task.advance(count, AP=0.25)
    return stream.getvalue().splitlines()


def test_no_time_left_before_the_first_unit_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines_of(monkeypatch, 4, 0, [(12.0, 0), (12.0, 0), (12.0, 1), (12.0, 3)]) == [
        "search: 0/4  AP 0.25  (12 s so far)",
        "search: 0/4  AP 0.25  (24 s so far)",
        "search: 1/4  AP 0.25  (about 1 min 48 s left)",
        "search: 4/4  AP 0.25  (in 48 s)",
    ]


def test_what_an_earlier_run_finished_tells_nothing_of_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines_of(monkeypatch, 100, 90, [(15.0, 0), (15.0, 2)])[:2] == [
        "search: 90/100  AP 0.25  (15 s so far)",
        "search: 92/100  AP 0.25  (about 2 min 00 s left)",
    ]


@given(
    total=st.integers(1, 50),
    done=st.integers(0, 50),
    steps=st.lists(st.tuples(st.floats(0.0, 60.0), st.integers(0, 5)), max_size=30),
)
def test_a_time_left_always_rests_on_a_finished_unit(
    total: int, done: int, steps: list[tuple[float, int]]
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        first = min(done, total)
        lines = lines_of(monkeypatch, total, first, steps)
    for line in lines:
        shown = re.match(r"search: (\d+)/", line)
        assert shown is not None
        assert ("left" in line) <= (int(shown[1]) > first)
    assert "(in " in lines[-1]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text

"""Names in the front's figure: inside the axes, apart, and off the budget, whatever the search found."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.report.front_info import Mark, front_info
from posesearch.report.placing import Box, Canvas, better_on_left, notes_of, place_names
from posesearch.report.points import Latency, Point
from posesearch.report.rows import Budget, RunRows

WIDE, HIGH = 540.0, 280.0
FRAME = Box(left=0, bottom=0, right=WIDE, top=HIGH)


def size(mark: Mark) -> tuple[float, float]:
    return (75.0, 12.0) if mark.kind == "reference" else (95.0, 27.0)


def point(key: str, ap: float, ms: float, name: str = "") -> Point:
    return Point(arch_id=key, code=key, ap=ap, latency=Latency(p50_ms=ms), feasible=True, name=name)


def run(front: list[tuple[float, float]], presets: list[tuple[float, float]], budget_ms: float) -> RunRows:
    points = tuple(point(f"p{index}", ap, ms) for index, (ms, ap) in enumerate(front))
    names = ("fastest", "knee", "best")
    return RunRows(
        name="r",
        points=points,
        front=points,
        picks=tuple(zip(names, (point.arch_id for point in points), strict=False)),
        references=tuple(
            point(f"t{index}", ap, ms, f"starnet-pose-{'ts'[index]} scaled to demo")
            for index, (ms, ap) in enumerate(presets)
        ),
        budget=Budget(latency_ms=budget_ms),
        finished=True,
    )


def boxes(rows: RunRows) -> list[Box]:
    info = front_info(rows)
    assert info is not None
    notes = notes_of(info, width=WIDE, height=HIGH, better=195, budget=108)
    canvas = Canvas(width=WIDE, height=HIGH, size=size, notes=notes)
    return [place.box(canvas, info) for place in place_names(info, canvas)]


@pytest.mark.parametrize(
    ("front", "presets", "budget_ms"),
    [
        # The two runs that were found with names over the axis, the frame and each other.
        ([(0.91, 0.556), (1.00, 0.563), (1.44, 0.577)], [(2.47, 0.590), (2.81, 0.592)], 2.1),
        ([(0.97, 0.565), (1.15, 0.570), (1.26, 0.573)], [(2.80, 0.593), (2.94, 0.596)], 2.7),
        # Far slower presets press the front against the left border.
        ([(0.91, 0.556), (1.00, 0.563), (1.44, 0.577)], [(30.0, 0.590), (31.0, 0.592)], 2.1),
        # All in one spot.
        ([(1.0, 0.5), (1.001, 0.5001), (1.002, 0.5002)], [(1.003, 0.5), (1.004, 0.5)], 1.0),
    ],
)
def test_names_are_inside_and_apart(
    front: list[tuple[float, float]], presets: list[tuple[float, float]], budget_ms: float
) -> None:
    found = boxes(run(front, presets, budget_ms))
    assert len(found) == 5
    assert all(box.within(FRAME) for box in found)
    assert not [pair for pair in combinations(found, 2) if pair[0].meets(pair[1])]


PLACES = st.tuples(st.floats(0.5, 20.0), st.floats(0.3, 0.8))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(PLACES, min_size=1, max_size=3), st.lists(PLACES, min_size=0, max_size=2), st.floats(0.5, 20.0)
)
def test_no_name_leaves_the_axes(
    front: list[tuple[float, float]], presets: list[tuple[float, float]], budget_ms: float
) -> None:
    assert all(box.within(FRAME) for box in boxes(run(sorted(front), presets, budget_ms)))


@given(st.floats(0.5, 20.0))
def test_the_budget_crosses_no_corner_text(budget_ms: float) -> None:
    rows = run([(2.0, 0.5), (3.0, 0.6)], [(4.0, 0.6)], budget_ms)
    info = front_info(rows)
    assert info is not None
    corner = notes_of(info, width=WIDE, height=HIGH, better=0.36 * WIDE, budget=100)[0]
    low, high = info.x_range
    line = WIDE * (budget_ms - low) / (high - low)
    assert not corner.left <= line <= corner.right
    assert better_on_left(info) == (corner.left == 0)

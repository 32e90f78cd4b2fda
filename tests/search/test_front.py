"""Dominance, picks and hypervolume against brute force and hand-made figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesearch.search.front import best, dominates, fastest, hypervolume, knee, pareto_front

POINTS = st.lists(
    st.tuples(st.integers(0, 6).map(lambda i: i / 6), st.integers(1, 6).map(float)), min_size=1, max_size=14
)


@given(POINTS)
def test_front_is_what_nothing_dominates(points):
    front = pareto_front(points, lambda p: p)
    assert set(front) == {p for p in points if not any(dominates(q, p) for q in points)}
    assert len(front) == len(set(front)), "exact duplicates stay once"
    assert list(front) == sorted(front, key=lambda p: p[1])


@given(POINTS)
def test_picks_lie_on_the_front(points):
    front = pareto_front(points, lambda p: p)
    assert front[best(front)][0] == max(p[0] for p in points)
    assert front[fastest(front)][1] == min(p[1] for p in points)
    assert 0 <= knee(front) < len(front)


def test_of_equal_points_the_first_stays():
    items = [("a", 0.5, 2.0), ("b", 0.5, 2.0), ("c", 0.4, 3.0)]
    assert pareto_front(items, lambda item: item[1:]) == (("a", 0.5, 2.0),)


def test_equal_points_do_not_dominate_each_other():
    assert not dominates((0.5, 2.0), (0.5, 2.0))
    assert dominates((0.5, 2.0), (0.5, 2.1))
    assert not dominates((0.6, 2.1), (0.5, 2.0))


def test_knee_is_farthest_from_the_chord():
    # Chord from (1 ms, 0.2) to (5 ms, 0.6); on unit axes the third point is 0.75 - 0.25 above it.
    points = [(0.2, 1.0), (0.25, 1.5), (0.5, 2.0), (0.55, 4.0), (0.6, 5.0)]
    assert knee(points) == 2


@pytest.mark.parametrize(
    "points", [[(0.3, 1.0)], [(0.3, 1.0), (0.5, 2.0)], [(0.2, 1.0), (0.21, 4.0), (0.6, 5.0)]]
)
def test_without_a_point_above_the_chord_the_knee_is_the_fastest(points):
    assert knee(points) == 0


def test_hypervolume_of_two_steps():
    # 0.4 from 1 ms to 2 ms, 0.6 from 2 ms to the budget of 4 ms.
    points = [(0.4, 1.0), (0.6, 2.0), (0.5, 3.0), (0.9, 4.5)]
    assert hypervolume(points, (0.0, 4.0)) == pytest.approx(0.4 * 1 + 0.6 * 2)
    assert hypervolume([], (0.0, 4.0)) == 0.0


@given(POINTS, POINTS)
def test_hypervolume_never_falls_when_points_are_added(points, more):
    assert hypervolume(points + more, (0.0, 5.0)) >= hypervolume(points, (0.0, 5.0)) - 1e-12

"""The Pareto front of two or three objectives: dominance, the picks, hypervolume.

A point is a tuple of the objectives' values in their own units, `maximise` says of each whether more is better. Without
it points are (AP, latency_ms).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Point = Sequence[float]
AP_LATENCY = (True, False)


def losses(point: Point, maximise: Sequence[bool] = AP_LATENCY) -> tuple[float, ...]:
    """Returns the point with every objective turned so that less is better."""
    return tuple(-value if more else value for value, more in zip(point, maximise, strict=True))


def dominates(first: Point, second: Point, maximise: Sequence[bool] = AP_LATENCY) -> bool:
    """Says whether a point is no worse than another in all objectives and better in one."""
    one, two = losses(first, maximise), losses(second, maximise)
    return one != two and all(a <= b for a, b in zip(one, two, strict=True))


def pareto_front(
    items: Sequence[T],
    point: Callable[[T], Point],
    maximise: Sequence[bool] = AP_LATENCY,
    tie: Callable[[T], Any] = lambda _: 0,
) -> tuple[T, ...]:
    """Returns the items no other dominates, ordered by the last objective, then the one before it.

    Of items at exactly the same point only one stays: they are one choice, not two.

    Args:
        items: What to rank.
        point: Gives the objectives of an item.
        maximise: Their directions.
        tie: Of items at one point that with the smallest of these stays, then the first given.
    """
    turned = [losses(point(item), maximise) for item in items]
    order = sorted(range(len(items)), key=lambda i: (turned[i][::-1], tie(items[i]), i))
    front: list[int] = []
    kept_FM = np.empty((len(items), len(maximise)))
    for index in order:
        # Whatever dominates an item or equals it comes before it in this order.
        if not (kept_FM[: len(front)] <= turned[index]).all(axis=1).any():
            kept_FM[len(front)] = turned[index]
            front.append(index)
    return tuple(items[index] for index in front)


def best(points: Sequence[Point], maximise: Sequence[bool] = AP_LATENCY, objective: int = 0) -> int:
    """Returns the index of the best point in one objective; of equals, the best in the others in their order."""
    turned = [losses(point, maximise) for point in points]
    return min(range(len(points)), key=lambda i: (turned[i][objective], turned[i], i))


def fastest(points: Sequence[Point]) -> int:
    """Returns the index of the fastest of (AP, latency_ms) points, the most accurate of equals."""
    return best(points, objective=1)


def knee(points: Sequence[Point], maximise: Sequence[bool] = AP_LATENCY) -> int:
    """Returns the index of the point that gives up least.

    Each objective is scaled to 0 (worst of the points) .. 1 (best). Wanted is the point furthest above the plane through
    the corners that are best in one objective and worst in the others: that with the largest sum of scaled objectives.
    With two objectives the plane is the chord between the ends of the front (Das, "On characterizing the knee of the
    Pareto curve", 1999). Units do not matter. Ties go to the better one in the last objective. An objective in which all
    points are equal says nothing and counts for none of them. With fewer than three points, or none above the plane, it
    is the best one in the last objective, so the fastest of (AP, latency_ms).
    """
    turned_NM = np.array([losses(point, maximise) for point in points])
    worst_M, span_M = turned_NM.max(axis=0), np.ptp(turned_NM, axis=0)
    scaled_NM: NDArray[np.float64] = (worst_M - turned_NM) / np.where(span_M > 0, span_M, 1.0)
    above_N = scaled_NM.sum(axis=1) - 1.0
    top = max(range(len(points)), key=lambda i: (above_N[i], tuple(-turned_NM[i][::-1])))
    if len(points) > 2 and above_N[top] > 1e-12:
        return top
    return best(points, maximise, len(maximise) - 1)


def hypervolume(points: Sequence[Point], corner: Point, maximise: Sequence[bool] = AP_LATENCY) -> float:
    """Returns the area or volume between the front and a corner, exact for two and three objectives.

    Its unit is the product of those of the objectives. Points that are not better than the corner in all of them add
    nothing. (Optuna's own, `_hypervolume`, is not public.)

    Args:
        points: Points, dominated ones included.
        corner: What is just not good enough, such as (AP 0, the latency budget).
        maximise: The directions.
    """
    end = losses(corner, maximise)
    turned = [losses(point, maximise) for point in points]
    inside = [point for point in turned if all(a < b for a, b in zip(point, end, strict=True))]
    front = pareto_front(inside, lambda p: p, (False,) * len(end))
    return _volume(front, end)


def _volume(front: Sequence[tuple[float, ...]], end: tuple[float, ...]) -> float:
    """Returns the volume between losses and their upper end, slice by slice along the last objective."""
    if len(end) == 1:
        return max((end[0] - point[0] for point in front), default=0.0)
    if not front:
        return 0.0
    levels = sorted({point[-1] for point in front})
    return float(
        sum(
            _volume([point[:-1] for point in front if point[-1] <= level], end[:-1]) * (above - level)
            for level, above in zip(levels, (*levels[1:], end[-1]), strict=True)
        )
    )

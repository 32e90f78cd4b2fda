"""The Pareto front of accuracy against latency: dominance, the three picks, hypervolume."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def dominates(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Says whether a point (AP, latency_ms) is no worse than another in both and better in one."""
    return first[0] >= second[0] and first[1] <= second[1] and first != second


def pareto_front(items: Sequence[T], point: Callable[[T], tuple[float, float]]) -> tuple[T, ...]:
    """Returns the items no other dominates, fastest first.

    Of items at exactly the same point only the first one given stays: they are one choice, not two.

    Args:
        items: What to rank.
        point: Gives (AP, latency_ms) of an item.
    """
    order = sorted(range(len(items)), key=lambda i: (point(items[i])[1], -point(items[i])[0], i))
    front: list[T] = []
    best_ap = -math.inf
    for index in order:
        ap, _ = point(items[index])
        if ap > best_ap:
            front.append(items[index])
            best_ap = ap
    return tuple(front)


def best(points: Sequence[tuple[float, float]]) -> int:
    """Returns the index of the most accurate point, the fastest of equals."""
    return min(range(len(points)), key=lambda i: (-points[i][0], points[i][1]))


def fastest(points: Sequence[tuple[float, float]]) -> int:
    """Returns the index of the fastest point, the most accurate of equals."""
    return min(range(len(points)), key=lambda i: (points[i][1], -points[i][0]))


def knee(points: Sequence[tuple[float, float]]) -> int:
    """Returns the index of the point that lies furthest above the chord from the fastest to the best point.

    Both axes are scaled to 0..1 over the points first, so the result does not depend on units (the distance to the
    chord is the criterion of Das, "On characterizing the knee of the Pareto curve", 1999). With fewer than three
    points, or none above the chord, it is the fastest one.
    """
    low, high = fastest(points), best(points)
    ap_span, latency_span = points[high][0] - points[low][0], points[high][1] - points[low][1]
    if ap_span <= 0 or latency_span <= 0:
        return low

    def above(index: int) -> float:
        # On unit axes the chord is the diagonal; the distance to it is this difference over sqrt(2).
        return (points[index][0] - points[low][0]) / ap_span - (
            points[index][1] - points[low][1]
        ) / latency_span

    top = max(range(len(points)), key=lambda i: (above(i), -points[i][1]))
    return top if above(top) > 1e-12 else low


def hypervolume(points: Sequence[tuple[float, float]], *, budget_ms: float, ap_floor: float = 0.0) -> float:
    """Returns the area between the front and the corner (ap_floor, budget_ms), in AP * milliseconds.

    Points over the budget or below the floor add nothing.
    """
    inside = [p for p in points if p[1] <= budget_ms and p[0] > ap_floor]
    front = pareto_front(inside, lambda p: p)
    ends = [latency for _, latency in (*front[1:], (0.0, budget_ms))] if front else []
    return float(
        np.sum([(ap - ap_floor) * (end - start) for (ap, start), end in zip(front, ends, strict=True)])
    )

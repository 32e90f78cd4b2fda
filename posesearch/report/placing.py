"""Where the names in the front's figure go: inside the axes, clear of each other, of the marks and of the budget.

Each name is tried on eight sides of its mark at growing distance; the place that covers least wins. Lengths are in
pixels (or points) of the drawn plot, x to the right and y up from its lower left corner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from posesearch.report.front_info import FrontInfo, Mark

TextSize = Callable[[Mark], tuple[float, float]]
# Ordered by liking. No point of the front lies up-left of another: that side is free for the names of picks.
_PICK_SIDES = ((-1, 1), (-1, 0), (0, 1), (1, -1), (1, 0), (0, -1), (-1, -1), (1, 1))
_PRESET_SIDES = ((1, -1), (1, 0), (0, -1), (-1, -1), (-1, 0), (0, 1), (1, 1), (-1, 1))
_GAPS = (10.0, 20.0, 34.0, 52.0, 76.0, 104.0)
# What covering costs: readers lose a name outside or under another, a mark under a name, least a grey dot.
_OUTSIDE, _NAME, _MARK, _LINE, _DOT = 4000.0, 600.0, 160.0, 50.0, 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A rectangle."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: Box) -> bool:
        """Says whether the two have a point in common."""
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top

    def within(self, other: Box) -> bool:
        """Says whether all of this one lies in the other."""
        across = other.left <= self.left and self.right <= other.right
        return across and other.bottom <= self.bottom and self.top <= other.top


@dataclass(frozen=True, kw_only=True, slots=True)
class Canvas:
    """A plot as it is drawn.

    Attributes:
        width: Of the axes.
        height: Of the axes.
        size: Width and height of the name of a mark.
        notes: What else is written, which names keep clear of.
    """

    width: float
    height: float
    size: TextSize
    notes: tuple[Box, ...] = ()

    def point(self, info: FrontInfo, x: float, y: float) -> tuple[float, float]:
        """Returns where a figure along the bottom and one upwards are drawn."""
        (x_low, x_high), (y_low, y_high) = info.x_range, info.y_range
        return (
            self.width * (x - x_low) / (x_high - x_low),
            self.height * (y - y_low) / (y_high - y_low),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where the name of a mark goes.

    Attributes:
        side: Of the mark, as (x, y) of -1, 0 and 1; (-1, 1) is up-left.
        gap: From the mark to the name's nearest edge, along both axes that `side` names.
    """

    mark: Mark
    side: tuple[int, int]
    gap: float

    @property
    def far(self) -> bool:
        """Says whether a line must join the name to its mark."""
        return self.gap > _GAPS[1]

    def box(self, canvas: Canvas, info: FrontInfo) -> Box:
        """Returns the rectangle of the name on a canvas."""
        x, y = canvas.point(info, self.mark.x, self.mark.y or 0.0)
        wide, high = canvas.size(self.mark)
        x += self.side[0] * (self.gap + wide / 2)
        y += self.side[1] * (self.gap + high / 2)
        return Box(left=x - wide / 2, bottom=y - high / 2, right=x + wide / 2, top=y + high / 2)


def better_on_left(info: FrontInfo) -> bool:
    """Says in which upper corner the way to better networks is told: the one that the budget does not cross."""
    if info.budget is None:
        return True
    low, high = info.x_range
    return info.budget > low + 0.45 * (high - low)


def budget_on_right(info: FrontInfo) -> bool:
    """Says on which side of its line the budget is written; a phone has room for it on 90 of 290 pixels."""
    low, high = info.x_range
    return info.budget is not None and info.budget < low + 0.65 * (high - low)


def place_names(info: FrontInfo, canvas: Canvas) -> tuple[Place, ...]:
    """Returns a place on the canvas for each named mark."""
    covered = _covered(canvas, info)
    taken = list(canvas.notes)
    places: list[Place] = []
    for mark in info.marks:
        if not mark.label or mark.y is None:
            continue
        sides = _PRESET_SIDES if mark.kind == "reference" else _PICK_SIDES
        options = [
            (_liking(rank, gap), Place(mark=mark, side=side, gap=gap))
            for gap in _GAPS
            for rank, side in enumerate(sides)
        ]
        costs = [liking + _cost(place.box(canvas, info), canvas, taken, covered) for liking, place in options]
        best = options[costs.index(min(costs))][1]
        places.append(best)
        taken.append(best.box(canvas, info))
    return tuple(places)


def _liking(rank: int, gap: float) -> float:
    return 2.0 * rank + 0.5 * gap


def _cost(box: Box, canvas: Canvas, names: Iterable[Box], covered: Iterable[tuple[float, Box]]) -> float:
    frame = Box(left=3, bottom=3, right=canvas.width - 3, top=canvas.height - 3)
    cost = 0.0 if box.within(frame) else _OUTSIDE
    cost += _NAME * sum(box.meets(name) for name in names)
    return cost + sum(weight for weight, other in covered if box.meets(other))


def _covered(canvas: Canvas, info: FrontInfo) -> list[tuple[float, Box]]:
    """Returns what names should not lie on, each with its cost."""
    found: list[tuple[float, Box]] = []
    drawn = [(mark, *canvas.point(info, mark.x, mark.y)) for mark in info.marks if mark.y is not None]
    for mark, x, y in drawn:
        weight, half = (_MARK, 7.0) if mark.kind in ("front", "reference") else (_DOT, 2.5)
        found.append((weight, Box(left=x - half, bottom=y - half, right=x + half, top=y + half)))
        if mark.kind in ("front", "reference"):
            left, right = (canvas.point(info, end, 0.0)[0] for end in mark.interval)
            found.append((_LINE, Box(left=left, bottom=y - 4, right=right, top=y + 4)))
    front = [(x, y) for mark, x, y in drawn if mark.kind == "front"]
    # Without a third objective a line joins the marks.
    for (x, y), (next_x, next_y) in pairwise(front) if info.axes.colour is None else ():
        found.append((_LINE, Box(left=x, bottom=y - 1, right=next_x, top=y + 1)))
        low, high = sorted((y, next_y))
        found.append((_LINE, Box(left=next_x - 1, bottom=low, right=next_x + 1, top=high)))
    if info.budget is not None:
        x, _ = canvas.point(info, info.budget, 0.0)
        found.append((_MARK, Box(left=x - 2, bottom=0, right=x + 2, top=canvas.height)))
    return found


def notes_of(
    info: FrontInfo, *, width: float, height: float, better: float, budget: float
) -> tuple[Box, ...]:
    """Returns what is written besides the names: the way to better ones in its corner, the budget at its line.

    Args:
        info: The front.
        width: Of the axes.
        height: Of the axes.
        better: Width of the text in the corner.
        budget: Width of the text at the line.
    """
    left = 0.0 if better_on_left(info) else width - better
    notes = [Box(left=left, bottom=height - 26, right=left + better, top=height)]
    if info.budget is not None:
        low, high = info.x_range
        x = width * (info.budget - low) / (high - low)
        left = x if budget_on_right(info) else x - budget
        notes.append(Box(left=left, bottom=0.03 * height, right=left + budget, top=0.06 * height + 18))
    return tuple(notes)

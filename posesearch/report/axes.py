"""What the front is drawn against: the objectives of the search as the two axes of its figure, and a third as colour."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from posesearch.report.points import Point
from posesearch.report.words import ap_text, count_text, ms_text, significant


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """One objective as it is drawn.

    Attributes:
        name: Of the objective.
        title: Of the axis, with its unit.
        short: In a table or a legend.
        better: What less of it (more of AP) makes a network, in a word.
        of: What a point has of it; None where that is not known.
        text: A value with its unit.
        more: Whether more is better.
    """

    name: str
    title: str
    short: str
    better: str
    of: Callable[[Point], float | None]
    text: Callable[[float | None], str]
    more: bool = False


AXES: Mapping[str, Axis] = MappingProxyType(
    {
        axis.name: axis
        for axis in (
            Axis(
                name="AP",
                title="supernet AP on the search split (0 to 1)",
                short="AP",
                better="more accurate",
                of=lambda point: point.ap,
                text=ap_text,
                more=True,
            ),
            Axis(
                name="latency_ms",
                title="latency of one image (ms)",
                short="latency",
                better="faster",
                of=lambda point: point.figure_ms or None,
                text=ms_text,
            ),
            Axis(
                name="params",
                title="parameters (millions)",
                short="params",
                better="smaller",
                of=lambda point: None if point.params is None else point.params / 1e6,
                text=lambda value: count_text(None if value is None else round(1e6 * value)),
            ),
            Axis(
                name="macs",
                title="multiply-accumulates of one image (millions)",
                short="MACs",
                better="cheaper",
                of=lambda point: None if point.macs is None else point.macs / 1e6,
                text=lambda value: count_text(None if value is None else round(1e6 * value)),
            ),
            Axis(
                name="loss",
                title="supernet loss on the search split",
                short="loss",
                better="lower in loss",
                of=lambda point: point.loss,
                text=lambda value: "—" if value is None else significant(value),
            ),
        )
    }
)
DEFAULT = ("AP", "latency_ms")


@dataclass(frozen=True, kw_only=True, slots=True)
class Axes:
    """Where each objective of a search is drawn.

    Attributes:
        x: Along the bottom: latency where that is an objective, else the first that is not `y`.
        y: Upwards: AP, or the loss where that takes its place.
        colour: The third objective, if there is one.
    """

    x: Axis
    y: Axis
    colour: Axis | None = None

    @property
    def timed(self) -> bool:
        """Whether the axis along the bottom is latency."""
        return self.x.name == "latency_ms"

    @property
    def usual(self) -> bool:
        """Whether the search was for AP and latency alone."""
        return self.timed and self.y.name == "AP" and self.colour is None

    @property
    def better(self) -> str:
        """Where better networks lie, in words: always up and to the left, as an axis is turned for that."""
        return f"better: {self.x.better} and {self.y.better}"


def axes_of(objectives: tuple[str, ...]) -> Axes:
    """Returns where the objectives of a search are drawn."""
    y = "AP" if "AP" in objectives else next(name for name in objectives if name == "loss")
    rest = [name for name in objectives if name != y]
    x = "latency_ms" if "latency_ms" in rest else rest[0]
    others = [name for name in rest if name != x]
    return Axes(x=AXES[x], y=AXES[y], colour=AXES[others[0]] if others else None)

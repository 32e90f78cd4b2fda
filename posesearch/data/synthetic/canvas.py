"""Canvas: fills polygons in the picture and, in the same place, in the map of who owns which pixel.

The ownership map is what makes visibility flags true: a joint is visible when the pixel under it is owned by
a part that carries the joint. Polygons are anti-aliased in the picture and hard in the map. Coordinates are
pixels, (x, y), with pixel centres on whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

Colour = tuple[int, int, int]
"""Blue, green, red; 0 to 255."""

_SHIFT_BITS = 4  # cv2 draws in 1/16 pixel, enough that a slow limb does not jump by whole pixels.


def unit_circle(count: int) -> np.ndarray:
    """`count` points on the unit circle, (count, 2)."""
    angles = np.arange(count) * (2 * math.pi / count)
    return np.stack((np.cos(angles), np.sin(angles)), axis=1)


def hull_of_circles(
    centres: Sequence[np.ndarray] | np.ndarray, radii: Sequence[float] | np.ndarray, circle: np.ndarray
) -> np.ndarray:
    """Convex outline around circles: two of them make a tapered capsule, more of them a torso or a skirt.

    Returns:
        Points of the outline, (P, 2) float.
    """
    rims = np.asarray(centres)[:, None] + np.asarray(radii)[:, None, None] * circle
    return convex_outline(rims.reshape(-1, 2))


def convex_outline(points: np.ndarray) -> np.ndarray:
    """Convex hull of (N, 2) points as (P, 2) float."""
    return cv2.convexHull(points.astype(np.float32))[:, 0]


def shade(colour: Colour, gain: float) -> Colour:
    """The colour made darker (gain below 1) or lighter (above 1), kept within 0 to 255."""
    blue, green, red = (min(255, max(0, int(channel * gain))) for channel in colour)
    return blue, green, red


class Canvas:
    """A picture (height, width, 3) uint8 BGR with an optional ownership map (height, width) uint8."""

    def __init__(self, picture: np.ndarray, owner: np.ndarray | None = None) -> None:
        self.picture = picture
        self.owner = owner
        self.circle = unit_circle(14)

    def fill(self, outline: np.ndarray, colour: Colour, owner: int | None = None) -> None:
        """Fills an outline (convex or not) and gives its pixels to `owner`; None only paints."""
        points = np.rint(outline * (1 << _SHIFT_BITS)).astype(np.int32)[None]
        cv2.fillPoly(self.picture, points, colour, cv2.LINE_AA, _SHIFT_BITS)
        if owner is not None and self.owner is not None:
            cv2.fillPoly(self.owner, points, owner, cv2.LINE_8, _SHIFT_BITS)

    def solid(
        self,
        centres: Sequence[np.ndarray],
        radii: Sequence[float],
        colour: Colour,
        owner: int | None,
        light: np.ndarray,
    ) -> None:
        """Fills the hull of circles with a dark rim on the side away from `light`, so it looks round.

        `light` is the direction towards the light in the image, (2,), of length up to 1.
        """
        self.fill(hull_of_circles(centres, radii, self.circle), shade(colour, 0.7), owner)
        widths = np.asarray(radii)
        lit_centres = np.asarray(centres) + 0.2 * widths[:, None] * light
        self.fill(hull_of_circles(lit_centres, 0.76 * widths, self.circle), colour)

    def disc(self, centre: np.ndarray, radius: float, colour: Colour, owner: int | None = None) -> None:
        """Fills a circle."""
        self.fill(centre + radius * self.circle, colour, owner)

    def stroke(self, start: np.ndarray, end: np.ndarray, width: float, colour: Colour) -> None:
        """Paints a line of a fractional width with round ends; owns nothing."""
        self.fill(hull_of_circles((start, end), (width / 2, width / 2), self.circle), colour)

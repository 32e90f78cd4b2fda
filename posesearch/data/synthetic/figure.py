"""Figure: a dressed body as parts sorted by depth, drawn far to near, with the rule for what is visible.

Each limb is a tapered capsule of skin with a sleeve or trouser leg over part of it. Parts are painted in
order of their depth, so an arm behind the back disappears behind the torso in the picture and in the
ownership map alike; the flags follow from the map.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from posesearch.data.synthetic.body import PosedBody, Proportions
from posesearch.data.synthetic.canvas import Canvas, Colour, shade
from posesearch.data.synthetic.head import HAIR_OWNER, HEAD_OWNER, Head
from posesearch.data.synthetic.wardrobe import Outfit
from posesearch.keypoints.skeleton import COCO17

TORSO_OWNER = 1
SKIRT_OWNER = 12
NECK_OWNER = 13
_LIMB_OWNERS = {
    "left_upper_arm": 4,
    "left_forearm": 5,
    "left_thigh": 6,
    "left_shank": 7,
    "right_upper_arm": 8,
    "right_forearm": 9,
    "right_thigh": 10,
    "right_shank": 11,
}
# Radii in statures, start and end of each segment, for an average build.
_RADII = {
    "upper_arm": (0.037, 0.033),
    "forearm": (0.033, 0.026),
    "thigh": (0.055, 0.038),
    "shank": (0.041, 0.03),
}
# The far shoulder or hip is hidden by the torso once the body is turned by about asin(0.75) = 49 degrees.
_FAR_SIDE = 0.75

Painter = Callable[[Canvas], None]


def _carriers(joint: str) -> frozenset[int]:
    """Parts that show the joint when they own its pixel."""
    side, _, kind = joint.partition("_")
    own = {part: _LIMB_OWNERS.get(f"{side}_{part}", 0) for part in _RADII}
    return frozenset(
        {
            "shoulder": (TORSO_OWNER, own["upper_arm"]),
            "elbow": (own["upper_arm"], own["forearm"]),
            "wrist": (own["forearm"],),
            "hip": (TORSO_OWNER, SKIRT_OWNER, own["thigh"]),
            "knee": (SKIRT_OWNER, own["thigh"], own["shank"]),
            "ankle": (own["shank"],),
        }.get(kind, (HEAD_OWNER,))
    )


class Figure:
    """One posed, dressed person placed in the image.

    Args:
        origin: pixel (x, y) of the middle of the pelvis.
        stature: pixels a stature.
        light: direction towards the light in the image, (2,).
    """

    def __init__(
        self,
        body: PosedBody,
        proportions: Proportions,
        outfit: Outfit,
        *,
        origin: tuple[float, float],
        stature: float,
        light: np.ndarray,
    ) -> None:
        to_image = np.array((stature, -stature, stature))
        shift = np.array((*origin, 0.0))
        self._points = {name: shift + to_image * point for name, point in body.points.items()}
        self._body, self._proportions, self._outfit = body, proportions, outfit
        self._stature, self._light = stature, light
        self._head = Head(self._points["head"], body.head_axes, stature * proportions.head, outfit)
        face = self._head.joints()
        self._joints = {name: face[name] if name in face else self._points[name] for name in COCO17.names}

    def joints(self) -> np.ndarray:
        """The COCO joints in pixels, (17, 2); also those outside the image."""
        return np.stack([self._joints[name][:2] for name in COCO17.names])

    def faces_away(self, joint: str) -> bool:
        """Whether the person's own head or torso hides the joint whatever is painted over it."""
        kind = joint.rpartition("_")[2]
        if kind in ("shoulder", "hip"):
            middle, half_width = {
                "shoulder": ("neck", self._proportions.half_shoulders),
                "hip": ("pelvis", self._proportions.half_hips),
            }[kind]
            depth = self._points[joint][2] - self._points[middle][2]
            return bool(depth < -_FAR_SIDE * half_width * self._stature)
        return kind in ("nose", "eye", "ear") and not self._head.turned_to_camera(joint)

    def carries(self, joint: str, part: int) -> bool:
        """Whether a part that owns the joint's pixel shows the joint itself."""
        if joint.endswith("ear") and part == HAIR_OWNER:
            return False
        return part in _carriers(joint)

    def draw(self, canvas: Canvas) -> None:
        """Paints the person, far parts first."""
        parts = [*self._torso_parts(), *self._head_parts()]
        for side in ("left", "right"):
            parts += self._arm_parts(side)
            parts += self._leg_parts(side)
        if self._outfit.leg_wear == "skirt":
            parts.append(self._skirt_part())
        for _, paint in sorted(parts, key=lambda part: part[0]):
            paint(canvas)

    def _depth(self, *names: str, nearer: float = 0.0) -> float:
        """Mean depth of points, in statures, moved towards the camera by `nearer` to settle ties."""
        return sum(float(self._points[name][2]) for name in names) / (len(names) * self._stature) + nearer

    def _torso_parts(self) -> list[tuple[float, Painter]]:
        points, unit = self._points, self._stature * (0.75 + 0.25 * self._proportions.stoutness)
        neck, pelvis = points["neck"][:2], points["pelvis"][:2]
        chest, waist = 0.72 * neck + 0.28 * pelvis, 0.3 * neck + 0.7 * pelvis
        shoulders = (points["left_shoulder"][:2], points["right_shoulder"][:2])
        hips = (points["left_hip"][:2], points["right_hip"][:2])
        hem = [0.78 * hip + 0.22 * neck for hip in hips]

        def paint(canvas: Canvas) -> None:
            canvas.solid(
                (*shoulders, chest, waist, *hem),
                tuple(unit * r for r in (0.04, 0.04, 0.082, 0.074, 0.05, 0.05)),
                self._outfit.top,
                TORSO_OWNER,
                self._light,
            )
            self._decorate_top(canvas)

        def paint_seat(canvas: Canvas) -> None:
            radii = (0.056 * unit, 0.056 * unit, 0.06 * unit)
            canvas.solid((*hips, pelvis), radii, self._outfit.leg_colour, TORSO_OWNER, self._light)

        def paint_neck(canvas: Canvas) -> None:
            radius = 0.034 * unit
            ends = (neck, points["head"][:2])
            canvas.solid(ends, (radius, radius), shade(self._outfit.skin, 0.9), NECK_OWNER, self._light)

        return [
            (self._depth("neck", "pelvis"), paint),
            (self._depth("pelvis", nearer=-0.012), paint_seat),
            (self._depth("neck", "head", nearer=0.01), paint_neck),
        ]

    def _decorate_top(self, canvas: Canvas) -> None:
        """Paints collar, stripes, zip or logo; front and back differ, which helps to tell left from right."""
        axes, unit = self._body.chest_axes, self._stature
        neck, pelvis = self._points["neck"][:2], self._points["pelvis"][:2]
        across = unit * np.array((axes[0, 0], -axes[1, 0]))
        outwards = 0.075 * unit * np.array((axes[0, 2], -axes[1, 2]))
        towards = float(axes[2, 2])
        accent, pattern = self._outfit.top_accent, self._outfit.top_pattern
        if pattern == "stripes":
            for share in (0.2, 0.45, 0.7):
                middle = neck + share * (pelvis - neck)
                canvas.stroke(middle - 0.095 * across, middle + 0.095 * across, 0.035 * unit, accent)
        if towards < 0.25:
            return
        front = neck + outwards
        down = pelvis - neck
        collar = np.stack((front - 0.045 * across, front + 0.045 * across, front + 0.22 * down))
        canvas.fill(collar, shade(self._outfit.skin, 0.92))
        if pattern == "jacket":
            canvas.stroke(front + 0.2 * down, front + 0.9 * down, 0.03 * unit, accent)
        elif pattern == "logo":
            canvas.disc(front + 0.42 * down, 0.042 * unit, accent)

    def _head_parts(self) -> list[tuple[float, Painter]]:
        head = self._head
        parts: list[tuple[float, Painter]] = [(self._depth("head", nearer=0.04), head.draw)]
        if self._outfit.hair_style == "long":
            depth = head.back_hair_depth() / self._stature + 0.04
            parts.append((depth, lambda canvas: head.draw_back_hair(canvas, self._light)))
        return parts

    def _segment(
        self, side: str, kind: str, start: str, end: str, cover: float, cloth: Colour, *, nearer: float
    ) -> tuple[float, Painter]:
        """A capsule of skin from joint to joint with cloth over the first `cover` of it."""
        first, last = self._points[f"{side}_{start}"][:2], self._points[f"{side}_{end}"][:2]
        scale = self._stature * self._proportions.stoutness
        start_radius, end_radius = (scale * radius for radius in _RADII[kind])
        owner = _LIMB_OWNERS[f"{side}_{kind}"]

        def paint(canvas: Canvas) -> None:
            if cover < 0.99:
                canvas.solid((first, last), (start_radius, end_radius), self._outfit.skin, owner, self._light)
            if cover > 0:
                hem = first + cover * (last - first)
                hem_radius = start_radius + cover * (end_radius - start_radius)
                radii = (1.12 * start_radius, 1.2 * hem_radius)
                canvas.solid((first, hem), radii, cloth, owner, self._light)

        return self._depth(f"{side}_{start}", f"{side}_{end}", nearer=nearer), paint

    def _arm_parts(self, side: str) -> list[tuple[float, Painter]]:
        upper_cover = min(1.0, 2 * self._outfit.sleeve)
        lower_cover = max(0.0, 2 * self._outfit.sleeve - 1)
        top = self._outfit.top
        wrist, fingertips = self._points[f"{side}_wrist"][:2], self._points[f"{side}_fingertips"][:2]
        radius = 0.034 * self._stature
        owner = _LIMB_OWNERS[f"{side}_forearm"]

        def paint_hand(canvas: Canvas) -> None:
            centres = (0.7 * wrist + 0.3 * fingertips, 0.3 * wrist + 0.7 * fingertips)
            canvas.solid(centres, (radius, 0.8 * radius), self._outfit.skin, owner, self._light)

        return [
            self._segment(side, "upper_arm", "shoulder", "elbow", upper_cover, top, nearer=0.02),
            self._segment(side, "forearm", "elbow", "wrist", lower_cover, top, nearer=0.035),
            (self._depth(f"{side}_wrist", f"{side}_fingertips", nearer=0.034), paint_hand),
        ]

    def _leg_parts(self, side: str) -> list[tuple[float, Painter]]:
        cloth = self._outfit.leg_colour
        cover = 0.12 if self._outfit.leg_wear == "skirt" else self._outfit.leg_cover
        heel, toes = self._points[f"{side}_heel"][:2], self._points[f"{side}_toes"][:2]
        radius = 0.036 * self._stature
        owner = _LIMB_OWNERS[f"{side}_shank"]

        def paint_shoe(canvas: Canvas) -> None:
            canvas.solid((heel, toes), (radius, 0.85 * radius), self._outfit.shoes, owner, self._light)

        return [
            self._segment(side, "thigh", "hip", "knee", min(1.0, 2 * cover), cloth, nearer=-0.015),
            self._segment(side, "shank", "knee", "ankle", max(0.0, 2 * cover - 1), cloth, nearer=-0.01),
            (self._depth(f"{side}_heel", f"{side}_toes", nearer=-0.02), paint_shoe),
        ]

    def _skirt_part(self) -> tuple[float, Painter]:
        share = min(1.0, 2 * self._outfit.leg_cover)
        hips = [self._points[f"{side}_hip"][:2] for side in ("left", "right")]
        hems = [
            hip + share * (self._points[f"{side}_knee"][:2] - hip)
            for hip, side in zip(hips, ("left", "right"), strict=True)
        ]
        unit = self._stature

        def paint(canvas: Canvas) -> None:
            radii = (0.055 * unit, 0.055 * unit, 0.06 * unit, 0.06 * unit)
            canvas.solid((*hips, *hems), radii, self._outfit.leg_colour, SKIRT_OWNER, self._light)

        depth = max(self._depth(f"{side}_hip", f"{side}_knee") for side in ("left", "right"))
        return depth + 0.005, paint

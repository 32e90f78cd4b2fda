"""Head: an ellipsoid with hair and a face, and where its five joints are.

Everything on the head is a place on the unit sphere in the head's own axes (left, up, forward), so turning
the head moves the face, hides an ear and shows the hair at the back without any special case per view.
"""

from __future__ import annotations

import math

import numpy as np

from posesearch.data.synthetic.canvas import Canvas, Colour, convex_outline, shade, unit_circle
from posesearch.data.synthetic.wardrobe import Outfit

HEAD_OWNER = 2
HAIR_OWNER = 3

_RADII = np.array((0.78, 1.0, 0.86))  # left-right, up-down, front-back; in half head heights
_FACE = {
    "nose": np.array((0.0, -0.14, 1.04)),
    "left_eye": np.array((0.38, 0.12, 0.92)),
    "right_eye": np.array((-0.38, 0.12, 0.92)),
    "left_ear": np.array((1.02, -0.05, -0.08)),
    "right_ear": np.array((-1.02, -0.05, -0.08)),
}
# How far a place must be turned towards the camera to be seen. Ears stand off the head, so they show past
# the outline until they are well behind it; eyes and nose vanish at the outline.
_LEAST_TURNED = {"nose": 0.0, "left_eye": 0.06, "right_eye": 0.06, "left_ear": -0.38, "right_ear": -0.38}
_HAIR_CAPS = {  # middle of the hair on the sphere, and the cosine of its angular radius
    "short": ((0.0, 0.62, -0.78), 0.22),
    "long": ((0.0, 0.55, -0.83), 0.12),
    "hat": ((0.0, 0.98, -0.2), 0.36),
}


class Head:
    """A posed head in image pixels.

    Args:
        centre: middle of the head, (3,): x and y in image pixels, z towards the camera in pixels.
        axes: columns are the head's left, up and forward in camera axes (right, up, towards the camera).
        half_height: half the height of the head, pixels.
    """

    def __init__(self, centre: np.ndarray, axes: np.ndarray, half_height: float, outfit: Outfit) -> None:
        to_image = np.array((1.0, -1.0, 1.0))  # image y points down
        self._shape = to_image[:, None] * axes * (_RADII * half_height)
        self._centre = centre
        self._half_height = half_height
        self._outfit = outfit
        # Orthonormal axes on the unit sphere: two that move in the image and the one the camera looks along.
        first = self._shape[0] / math.sqrt(self._shape[0] @ self._shape[0])
        second = self._shape[1] - (self._shape[1] @ first) * first
        second /= math.sqrt(second @ second)
        self._across = np.stack((first, second))
        towards = np.cross(first, second)
        self._towards = towards if self._shape[2] @ towards > 0 else -towards

    def joints(self) -> dict[str, np.ndarray]:
        """The five head joints in pixels: name to (x, y, z)."""
        return {name: self._centre + self._shape @ place for name, place in _FACE.items()}

    def turned_to_camera(self, joint: str) -> bool:
        """Whether the head itself leaves the joint in sight: not behind the head, not under long hair."""
        if joint.endswith("ear") and self._outfit.hair_style == "long":
            return False
        return float(_FACE[joint] @ self._towards) > _LEAST_TURNED[joint]

    def _at(self, *place: float) -> np.ndarray:
        return self._centre[:2] + self._shape[:2] @ np.array(place)

    def _outline(self) -> np.ndarray:
        return unit_circle(28) @ self._across  # on the unit sphere, (28, 3)

    def _cap_outline(self, middle: tuple[float, float, float], cosine: float) -> np.ndarray | None:
        """What the camera sees of a cap on the sphere: its rim in front plus the head's outline inside it."""
        pole = np.array(middle)
        pole /= np.linalg.norm(pole)
        side = np.cross(pole, (1.0, 0.0, 0.0) if abs(pole[0]) < 0.9 else (0.0, 1.0, 0.0))
        side /= np.linalg.norm(side)
        ring = unit_circle(24) @ np.stack((side, np.cross(pole, side)))
        rim = cosine * pole + math.sqrt(1 - cosine * cosine) * ring
        outline = self._outline()
        seen = np.concatenate((rim[rim @ self._towards > 0], outline[outline @ pole > cosine]))
        if len(seen) < 3:
            return None
        return convex_outline(self._centre[:2] + 1.07 * seen @ self._shape[:2].T)

    def draw_back_hair(self, canvas: Canvas, light: np.ndarray) -> None:
        """Draws long hair that hangs behind the head (over it when the head is seen from behind)."""
        size = self._half_height
        centres = (self._at(0, 0.15, -0.4), self._at(0, -1.25, -0.55))
        canvas.solid(centres, (0.9 * size, 0.68 * size), self._outfit.hair, HAIR_OWNER, light)

    def back_hair_depth(self) -> float:
        """How near the hanging hair is, pixels towards the camera."""
        return float(self._centre[2] + self._shape[2] @ np.array((0, -0.3, -0.5)))

    def draw(self, canvas: Canvas) -> None:
        """Draws the head with hair, ears and face."""
        outfit, size = self._outfit, self._half_height
        self._draw_ears(canvas, in_front=False)
        outline = self._centre[:2] + self._outline() @ self._shape[:2].T
        canvas.fill(outline, outfit.skin, HEAD_OWNER)
        if outfit.beard:
            jaw = self._cap_outline((0.0, -0.85, 0.55), 0.6)
            if jaw is not None:
                canvas.fill(jaw, shade(outfit.hair, 1.1), HEAD_OWNER)
        self._draw_face(canvas)
        if outfit.hair_style != "bald":
            cap = self._cap_outline(*_HAIR_CAPS[outfit.hair_style])
            if cap is not None:
                canvas.fill(cap, outfit.hat if outfit.hair_style == "hat" else outfit.hair, HAIR_OWNER)
        if outfit.hair_style == "hat" and self._towards[2] > 0:
            brim = (self._at(-0.7, 0.55, 0.75), self._at(0.7, 0.55, 0.75))
            canvas.stroke(*brim, 0.3 * size, shade(outfit.hat, 0.7))
        self._draw_ears(canvas, in_front=True)

    def _draw_ears(self, canvas: Canvas, *, in_front: bool) -> None:
        if self._outfit.hair_style == "long":
            return
        for name in ("left_ear", "right_ear"):
            towards = float(_FACE[name] @ self._towards)
            if in_front == (towards > -0.05) and towards > _LEAST_TURNED[name]:
                middle = self._at(*_FACE[name])
                canvas.disc(middle, 0.27 * self._half_height, shade(self._outfit.skin, 0.8), HEAD_OWNER)
                canvas.disc(middle, 0.13 * self._half_height, shade(self._outfit.skin, 0.6), HEAD_OWNER)

    def _draw_face(self, canvas: Canvas) -> None:
        size, skin = self._half_height, self._outfit.skin
        iris: Colour = (40, 30, 24)
        for name in ("left_eye", "right_eye"):
            if self.turned_to_camera(name):
                x, y, z = _FACE[name]
                middle = self._at(x, y, z)
                canvas.disc(middle, 0.21 * size, (250, 250, 250), HEAD_OWNER)
                canvas.disc(middle, 0.12 * size, iris, HEAD_OWNER)
                brow = (self._at(x - 0.2, y + 0.27, z), self._at(x + 0.2, y + 0.27, z))
                canvas.stroke(*brow, 0.11 * size, shade(self._outfit.hair, 0.6))
                if self._outfit.glasses:
                    bridge = (middle, self._at(0.0, y + 0.02, 1.0))
                    canvas.stroke(*bridge, 0.08 * size, (30, 30, 30))
        if self.turned_to_camera("nose"):
            nose = (self._at(0, 0.12, 0.98), self._at(*_FACE["nose"]))
            canvas.fill(
                convex_outline(np.concatenate((nose[0][None], nose[1] + 0.16 * size * canvas.circle))),
                shade(skin, 0.74),
                HEAD_OWNER,
            )
        if self._towards @ np.array((0.0, -0.5, 0.87)) > 0.2:
            mouth = (self._at(-0.26, -0.5, 0.82), self._at(0.26, -0.5, 0.82))
            canvas.stroke(*mouth, 0.12 * size, (60, 50, 150))

"""Scenery: the textured background, clutter in it, objects in front of people, and the look of the photo."""

from __future__ import annotations

import cv2
import numpy as np

from posesearch.data.synthetic.canvas import Canvas, shade
from posesearch.data.synthetic.difficulty import Difficulty
from posesearch.data.synthetic.draws import Draws
from posesearch.data.synthetic.wardrobe import draw_colour


def draw_background(draws: Draws, image_size: tuple[int, int], difficulty: Difficulty) -> np.ndarray:
    """Paints walls, floor, blotches, fine texture and clutter.

    Args:
        draws: where the scenery comes from.
        image_size: (height, width) in pixels.
        difficulty: strength of texture and clutter.

    Returns:
        Picture (height, width, 3), uint8 BGR.
    """
    height, width = image_size
    rows, columns = draws.integer(2, 9), draws.integer(2, 9)
    base = np.asarray(draw_colour(draws), dtype=np.float32)
    # Mostly brightness, a little hue: independent channels would make every wall a rainbow.
    grey = draws.generator.standard_normal((rows, columns, 1), dtype=np.float32)
    tint = draws.generator.standard_normal((rows, columns, 3), dtype=np.float32)
    blotches = difficulty.texture * (draws.uniform(8, 40) * grey + draws.uniform(3, 24) * tint)
    picture = cv2.resize(base + blotches, (width, height), interpolation=cv2.INTER_CUBIC)
    if draws.chance(0.6):
        # A floor or skyline: below it another colour, so that many people stand on something.
        horizon = int(height * draws.uniform(0.45, 0.85))
        picture[horizon:] = 0.4 * picture[horizon:] + 0.6 * np.asarray(draw_colour(draws), dtype=np.float32)
    fineness = draws.uniform(2, 6)
    grain = draws.generator.standard_normal(
        (int(height / fineness) + 1, int(width / fineness) + 1), dtype=np.float32
    )
    fine = cv2.cvtColor(cv2.resize(grain, (width, height)), cv2.COLOR_GRAY2BGR)
    strength = difficulty.texture * draws.uniform(2, 16)
    background = cv2.addWeighted(fine, strength, picture, 1.0, 0.0, dtype=cv2.CV_8U)
    canvas = Canvas(background)
    for _ in range(draws.integer(*difficulty.clutter)):
        _draw_clutter(draws, canvas, difficulty)
    return background


def _draw_clutter(draws: Draws, canvas: Canvas, difficulty: Difficulty) -> None:
    height, width = canvas.picture.shape[:2]
    middle = np.array((draws.uniform(0, width), draws.uniform(0, height)))
    size = height * draws.uniform(0.03, 0.22)
    colour = draw_colour(draws)
    kind = draws.pick(("box", "disc", "pole", "stripes", "limb"))
    if kind == "box":
        _draw_box(canvas, middle, size, size * draws.uniform(0.4, 2.0), draws.around(0, 25), colour, None)
    elif kind == "disc":
        canvas.disc(middle, size * draws.uniform(0.3, 0.8), colour)
    elif kind == "pole":
        half = np.array((0, 2 * size))
        canvas.stroke(middle - half, middle + half, 0.25 * size, colour)
    elif kind == "stripes":
        for step in range(4):
            start = middle + np.array((0, 0.35 * size * step))
            canvas.stroke(start, start + np.array((1.5 * size, 0)), 0.12 * size, colour)
    else:
        # Limb-like capsules teach that a capsule alone is not a person; skin-coloured ones only at levels
        # that hide people on purpose.
        if draws.chance(difficulty.camouflage):
            colour = (120, 160, 215)
        angle = draws.uniform(0, 6.283)
        end = middle + size * np.array((np.cos(angle), np.sin(angle)))
        canvas.solid((middle, end), (0.22 * size, 0.14 * size), colour, None, np.array((-0.5, -0.8)))


def _draw_box(
    canvas: Canvas,
    middle: np.ndarray,
    width: float,
    height: float,
    angle_deg: float,
    colour: tuple[int, int, int],
    owner: int | None,
) -> None:
    corners = cv2.boxPoints(((float(middle[0]), float(middle[1])), (float(width), float(height)), angle_deg))
    canvas.fill(corners, shade(colour, 0.7), owner)
    inner = middle + 0.86 * (corners - middle)
    canvas.fill(inner, colour)


def draw_occluder(draws: Draws, canvas: Canvas, box: tuple[float, float, float, float], owner: int) -> None:
    """Paints a table, pole, box or bush that hides a part of one person.

    Args:
        draws: where the object comes from.
        canvas: what to paint on.
        box: the person's extent (left, top, right, bottom) in pixels.
        owner: what to write in the ownership map where the object is.
    """
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    colour = draw_colour(draws)
    kind = draws.pick(("table", "pole", "box", "bush"))
    if kind == "table":
        cut = bottom - height * draws.uniform(0.1, 0.35)
        middle = np.array(((left + right) / 2 + draws.around(0, 0.4) * width, cut + 0.25 * height))
        _draw_box(canvas, middle, width * draws.uniform(0.8, 1.8), 0.5 * height, 0.0, colour, owner)
    elif kind == "pole":
        x = draws.uniform(left, right)
        slant = draws.around(0, 0.15) * height
        thickness = height * draws.uniform(0.02, 0.05)
        start, end = np.array((x - slant, top - 2 * height)), np.array((x + slant, bottom + 2 * height))
        canvas.solid((start, end), (thickness, thickness), colour, owner, np.array((-0.8, -0.2)))
    elif kind == "box":
        middle = np.array((draws.uniform(left, right), draws.uniform(top + 0.3 * height, bottom)))
        size = height * draws.uniform(0.1, 0.26)
        _draw_box(canvas, middle, size, size * draws.uniform(0.5, 1.6), draws.around(0, 30), colour, owner)
    else:
        middle = np.array((draws.uniform(left, right), draws.uniform(top + 0.35 * height, bottom)))
        size = height * draws.uniform(0.07, 0.14)
        for _ in range(7):
            leaf = middle + size * np.array((draws.around(0, 1), draws.around(0, 1)))
            canvas.disc(leaf, 0.5 * size, shade(colour, draws.uniform(0.75, 1.15)), owner)


def develop(draws: Draws, picture: np.ndarray, difficulty: Difficulty) -> np.ndarray:
    """Applies light from one side, contrast, a defocus blur and sensor noise, like a camera would.

    Args:
        draws: where light, blur and noise come from.
        picture: (height, width, 3) uint8 BGR.
        difficulty: ranges of light, blur and noise.

    Returns:
        The finished photo, same shape and type.
    """
    height, width = picture.shape[:2]
    reach = difficulty.light_range
    contrast, brightness = draws.around(1, reach), draws.around(1, reach)
    slope = draws.around(0, reach)
    ramp = brightness + slope * np.linspace(-0.5, 0.5, width, dtype=np.float32)
    photo = picture * (contrast * ramp)[:, None] + (128 * (1 - contrast) * ramp)[:, None]
    if draws.chance(difficulty.blur_chance):
        photo = cv2.GaussianBlur(photo, (0, 0), draws.uniform(0.4, 1.3) * height / 192)
    # The difference of two random bytes is triangular noise of deviation 104, ten times cheaper to draw than
    # Gaussian noise, which alone took 3 of the 6 ms that a picture may cost.
    noise = np.frombuffer(draws.generator.bytes(2 * picture.size), np.uint8).reshape(2, height, width, 3)
    grain = cv2.subtract(noise[0], noise[1], dtype=cv2.CV_32F)
    share = draws.uniform(0, difficulty.noise_sigma) / 104
    return cv2.addWeighted(grain, share, photo, 1.0, 0.0, dtype=cv2.CV_8U)

"""Scene: one picture with its people, each labelled from what was really painted.

A joint inside the image is visible (2) when the pixel under it belongs to its person and to a part that shows
the joint, and neither the person's own head nor torso is in the way; otherwise it is labelled but occluded
(1). A joint outside the image is (0, 0, 0), as in COCO. Box and area come from the person's whole silhouette
inside the image, other people and objects ignored, so that a box also holds the joints that something hides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from posesearch import rng
from posesearch.data.synthetic.body import PosedBody, Proportions, View, draw_proportions, pose_body
from posesearch.data.synthetic.canvas import Canvas
from posesearch.data.synthetic.difficulty import Difficulty
from posesearch.data.synthetic.draws import Draws
from posesearch.data.synthetic.figure import Figure
from posesearch.data.synthetic.poses import draw_pose
from posesearch.data.synthetic.scenery import develop, draw_background, draw_occluder
from posesearch.data.synthetic.wardrobe import draw_outfit
from posesearch.keypoints.skeleton import COCO17

OBJECT_OWNER = 255
_LOW_POSTURES = ("sitting", "crouching", "bending")


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonLabel:
    """What COCO says about one person.

    Attributes:
        keypoints_K3: 17 rows of x, y in pixels (two decimals) and the flag 0, 1 or 2.
        bbox_xywh: tight box around the silhouette inside the image, whole pixels.
        area: pixels of that silhouette.
        polygons: outlines of the silhouette, each x1, y1, x2, y2, ...
    """

    keypoints_K3: np.ndarray
    bbox_xywh: tuple[int, int, int, int]
    area: int
    polygons: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A picture (height, width, 3), uint8 BGR, with its people from far to near.

    Attributes:
        owner: (height, width) uint8: 0 background, 1.. the person (place in `people` plus 1),
            255 an object in front.
    """

    picture: np.ndarray
    owner: np.ndarray
    people: tuple[PersonLabel, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Placed:
    """A drawn person: pixels a stature, the pelvis within the box, the box (left, top, right, bottom)."""

    body: PosedBody
    proportions: Proportions
    stature: float
    pelvis: tuple[float, float]
    truncated: bool
    box: tuple[float, float, float, float]


def make_scene(seed: int, index: int, difficulty: Difficulty, image_size: tuple[int, int]) -> Scene:
    """Makes scene number `index` of a seed; nothing else decides what is in it.

    Args:
        seed: of the data set.
        index: number of the scene, 0 or more.
        difficulty: ranges to draw from.
        image_size: (height, width) in pixels.
    """
    draws = Draws(rng.generator(seed, "synthetic-scene", index))
    picture = draw_background(draws, image_size, difficulty)
    owner = np.zeros(image_size, np.uint8)
    placed = _place_people(draws, difficulty, image_size)
    angle = draws.uniform(0, 6.283)
    light = np.array((np.cos(angle), -abs(np.sin(angle))))  # from above, left or right
    figures, parts = [], []
    for number, person in enumerate(placed, start=1):
        figure = _dress(draws, person, picture, difficulty, light)
        part_map = np.zeros(image_size, np.uint8)
        figure.draw(Canvas(picture, part_map))
        owner[part_map > 0] = number
        figures.append(figure)
        parts.append(part_map)
    front = Canvas(picture, owner)
    for _ in range(difficulty.max_occluders):
        if draws.chance(difficulty.occluder_chance):
            draw_occluder(draws, front, draws.pick(placed).box, OBJECT_OWNER)
    people = tuple(
        _label(figure, part_map, owner == number)
        for number, (figure, part_map) in enumerate(zip(figures, parts, strict=True), start=1)
    )
    return Scene(picture=develop(draws, picture, difficulty), owner=owner, people=people)


def _dress(
    draws: Draws, person: _Placed, picture: np.ndarray, difficulty: Difficulty, light: np.ndarray
) -> Figure:
    height, width = picture.shape[:2]
    left, top, right, bottom = (int(edge) for edge in person.box)
    behind = picture[max(0, top) : max(1, min(height, bottom)), max(0, left) : max(1, min(width, right))]
    background = behind.reshape(-1, 3).mean(axis=0) if behind.size else np.full(3, 128.0)
    outfit = draw_outfit(draws, background, difficulty.camouflage)
    origin = (person.box[0] + person.pelvis[0], person.box[1] + person.pelvis[1])
    return Figure(person.body, person.proportions, outfit, origin=origin, stature=person.stature, light=light)


def _draw_view(draws: Draws, difficulty: Difficulty) -> View:
    kind = draws.weighted(("front", "side", "back"), difficulty.facing)
    if kind == "front":
        yaw = draws.around(0, 30)
    elif kind == "side":
        yaw = draws.pick((-1, 1)) * draws.uniform(30, 110)
    else:
        yaw = 180 + draws.around(0, 30)
    tilt = draws.around(0, difficulty.tilt_deg)
    if draws.chance(difficulty.flipped_chance):
        tilt = draws.uniform(-180, 180)
    return View(yaw=yaw, pitch=draws.between(difficulty.camera_pitch_deg), tilt=tilt)


def _place_people(draws: Draws, difficulty: Difficulty, image_size: tuple[int, int]) -> list[_Placed]:
    """Draws people and puts them where they keep their distance; at least one, far ones first."""
    wanted = draws.weighted(tuple(range(1, len(difficulty.people) + 1)), difficulty.people)
    smaller = (1.0, 0.88, 0.78, 0.7)[min(wanted, 4) - 1]
    placed: list[_Placed] = []
    for _ in range(wanted):
        person = _draw_person(draws, difficulty, image_size, smaller)
        for _ in range(12):
            box = _draw_box(draws, person, image_size)
            if all(_apart(box, other.box, difficulty.crowding) for other in placed):
                placed.append(replace(person, box=box))
                break
    # Feet lower in the image stand nearer to the camera.
    return sorted(placed, key=lambda person: person.box[3])


def _apart(first: tuple[float, ...], second: tuple[float, ...], crowding: float) -> bool:
    across = abs(first[0] + first[2] - second[0] - second[2]) / 2
    down = abs(first[1] + first[3] - second[1] - second[3]) / 2
    half_widths = (first[2] - first[0] + second[2] - second[0]) / 2
    half_heights = (first[3] - first[1] + second[3] - second[1]) / 2
    return across >= crowding * half_widths or down >= crowding * half_heights


def _draw_person(
    draws: Draws, difficulty: Difficulty, image_size: tuple[int, int], smaller: float
) -> _Placed:
    """Draws a body and its size; its box starts at (0, 0)."""
    height, width = image_size
    postures, weights = zip(*difficulty.postures, strict=True)
    posture = draws.weighted(postures, weights)
    proportions = draw_proportions(draws)
    body = pose_body(
        proportions, draw_pose(draws, posture, difficulty.busy_arms), _draw_view(draws, difficulty)
    )
    stature = height * smaller * draws.between(difficulty.stature)
    if posture in _LOW_POSTURES:
        stature *= 1.25
    flat = np.stack([point[:2] for point in body.points.values()]) * (1, -1)
    low, high = flat.min(axis=0) - 0.04, flat.max(axis=0) + 0.04
    head = body.points["head"][:2] * (1, -1)
    low, high = np.minimum(low, head - proportions.head), np.maximum(high, head + proportions.head)
    truncated = draws.chance(difficulty.truncated_chance)
    if truncated:
        stature *= draws.uniform(1.0, 1.5)
    else:
        stature = min(stature, 0.97 * width / (high[0] - low[0]), 0.98 * height / (high[1] - low[1]))
    size = stature * (high - low)
    return _Placed(
        body=body,
        proportions=proportions,
        stature=float(stature),
        pelvis=(float(-stature * low[0]), float(-stature * low[1])),
        truncated=truncated,
        box=(0.0, 0.0, float(size[0]), float(size[1])),
    )


def _draw_box(
    draws: Draws, person: _Placed, image_size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Draws where the person's box goes: inside the image, or over one border when truncated."""
    height, width = image_size
    _, _, across, down = person.box
    left, top = draws.uniform(0, width - across), draws.uniform(0.15, 1.0) * (height - down)
    if person.truncated:
        share = draws.uniform(0.08, 0.4)
        border = draws.weighted(("left", "right", "bottom", "top"), (0.3, 0.3, 0.33, 0.07))
        if border == "left":
            left = -share * across
        elif border == "right":
            left = width - (1 - share) * across
        elif border == "bottom":
            top = height - (1 - share) * down
        else:
            top = -share * down
    return left, top, left + across, top + down


def _label(figure: Figure, part_map: np.ndarray, owned: np.ndarray) -> PersonLabel:
    height, width = part_map.shape
    keypoints = np.zeros((COCO17.num_joints, 3))
    for row, name, (x, y) in zip(keypoints, COCO17.names, figure.joints(), strict=True):
        x, y = round(float(x), 2), round(float(y), 2)
        if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
            continue
        pixel = round(y), round(x)
        seen = (
            bool(owned[pixel]) and figure.carries(name, int(part_map[pixel])) and not figure.faces_away(name)
        )
        row[:] = x, y, 2 if seen else 1
    silhouette = (part_map > 0).astype(np.uint8)
    left, top, across, down = (int(value) for value in cv2.boundingRect(silhouette))
    contours, _ = cv2.findContours(silhouette, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outlines = [cv2.approxPolyDP(contour, 0.8, True).reshape(-1) for contour in contours]
    return PersonLabel(
        keypoints_K3=keypoints,
        bbox_xywh=(left, top, across, down),
        area=int(silhouette.sum()),
        polygons=tuple(tuple(float(value) for value in outline) for outline in outlines if len(outline) >= 6),
    )

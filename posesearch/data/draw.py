"""Pictures of people with their skeletons drawn on, for a look at the data with one's own eyes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from posesearch.data.augment import AugmentConfig
from posesearch.data.batch import make_batch
from posesearch.data.dataset import PoseDataset
from posesearch.data.store import ImageStore
from posesearch.files import write_bytes_atomic
from posesearch.keypoints.skeleton import Skeleton
from posesearch.rng import generator

# RGB. The person's own left and right must be told apart at a glance.
LEFT, RIGHT, MIDDLE = (40, 200, 255), (255, 120, 30), (120, 255, 80)


def draw_sample_grid(
    dataset: PoseDataset,
    path: Path,
    *,
    count: int = 16,
    columns: int = 8,
    input_size: tuple[int, int] = (256, 192),
    augment: AugmentConfig | None = None,
    seed: int = 0,
) -> Path:
    """Writes a PNG of crops as training sees them, joints drawn where the labels say.

    Left is blue, right orange; filled joints are visible, hollow ones labelled as occluded.

    Args:
        dataset: Persons to choose from; a seeded choice.
        path: The PNG to write.
        count: Persons drawn.
        columns: Crops in a row.
        input_size: (height, width) of a crop.
        augment: Show augmented crops instead of plain ones.
        seed: Key of the choice and of the augmentation.

    Returns:
        `path`.

    Raises:
        DataError: An image cannot be read.
    """
    count = min(count, len(dataset))
    chosen = generator(seed, "sample-grid").choice(len(dataset), count, replace=False)
    part = dataset.subset(np.sort(chosen))
    batch = make_batch(part, ImageStore.build(part), np.arange(count), input_size, augment, seed, 0)
    height, width = input_size
    rows = -(-count // columns)
    grid = np.zeros((rows * height, min(columns, count) * width, 3), dtype=np.uint8)
    flags_NK = part.keypoints_NK3[..., 2]
    for index in range(count):
        image = batch.images_BHWC[index].copy()
        # A mirrored crop has its joints swapped, so the occlusion flags of the file no longer line up.
        flags_K = flags_NK[index] if augment is None else batch.visible_BK[index] * 2
        draw_pose(image, batch.keypoints_BK2[index], flags_K, part.skeleton)
        top, left = index // columns * height, index % columns * width
        grid[top : top + height, left : left + width] = image
    encoded = cv2.imencode(".png", cv2.cvtColor(grid, cv2.COLOR_RGB2BGR))[1]
    write_bytes_atomic(Path(path), encoded.tobytes())
    return Path(path)


def draw_pose(
    image_HWC: NDArray[np.uint8],
    points_K2: NDArray[np.floating],
    flags_K: NDArray[np.floating],
    skeleton: Skeleton,
) -> None:
    """Draws limbs and joints into an RGB image, in place.

    Args:
        image_HWC: uint8 RGB.
        points_K2: Joints in its pixels.
        flags_K: 0 not drawn, 1 hollow (occluded), 2 filled.
        skeleton: Limbs and names.
    """
    colours = [_colour(name) for name in skeleton.names]
    size = max(1, round(min(image_HWC.shape[:2]) / 96))
    places = [(round(float(x)), round(float(y))) for x, y in points_K2]
    for start, end in skeleton.limbs:
        if flags_K[start] > 0 and flags_K[end] > 0:
            colour = colours[start] if colours[start] == colours[end] else MIDDLE
            cv2.line(image_HWC, places[start], places[end], colour, size, cv2.LINE_AA)
    for place, flag, colour in zip(places, flags_K, colours, strict=True):
        if flag > 0:
            thickness = cv2.FILLED if flag > 1 else 1
            cv2.circle(image_HWC, place, size + 1, colour, thickness, cv2.LINE_AA)


def _colour(name: str) -> tuple[int, int, int]:
    lowered = name.lower()
    if "left" in lowered or lowered.startswith("l_"):
        return LEFT
    return RIGHT if "right" in lowered or lowered.startswith("r_") else MIDDLE

"""The usual way to a training batch: one dict a person through a chain of transforms, each image read for each person.

The baseline of `bench pipeline`, written for the purpose after the published structure of MMPose 1.3's RTMPose pipeline (flip,
half body, box transform, affine crop, HSV, blurs and rectangle, SimCC labels in a loop, packing). It is the kinder
side of faithful: no registry, no Albumentations wrapper, no segmentation among the annotations, PNG or JPEG from
the page cache.

Points are (x, y); images are (height, width, colour), BGR, as OpenCV reads them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from posesearch.bench.baseline_samples import SampleDraws, pack
from posesearch.data.augment import BOX_PADDING, AugmentConfig
from posesearch.data.dataset import PoseDataset
from posesearch.errors import DataError
from posesearch.keypoints.simcc import SimCCCodec

Results = dict[str, Any]
# Copied anew for every sample, so that transforms may change them.
SHARED_FACTS = (
    *("dataset_name", "upper_body_ids", "lower_body_ids", "flip_pairs"),
    *("dataset_keypoint_weights", "flip_indices", "skeleton_links"),
)


class SampleDataset:
    """Persons as dicts; indexing one runs its whole chain of transforms.

    Args:
        dataset: The persons.
        config: The augmentation recipe.
        codec: The labels.
        draws: Random numbers of the person in a row.
        image: Pixels (BGR) of an image row, for a comparison without reading files; by default the file is read.
    """

    def __init__(
        self,
        dataset: PoseDataset,
        config: AugmentConfig,
        codec: SimCCCodec,
        draws: Callable[[int], SampleDraws],
        image: Callable[[int], NDArray[np.uint8]] | None = None,
    ) -> None:
        self.infos = [_info(dataset, row) for row in range(len(dataset))]
        self.facts = _facts(dataset)
        self.config, self.codec, self.draws, self.image = config, codec, draws, image

    def __len__(self) -> int:
        """Returns the number of persons."""
        return len(self.infos)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Returns one packed sample."""
        results: Results = copy.deepcopy(self.infos[row])
        results |= {name: copy.deepcopy(self.facts[name]) for name in SHARED_FACTS}
        draws = self.draws(row)
        load_image(results, self.image)
        center_and_scale(results)
        random_flip(results, draws)
        half_body(results, self.config, draws)
        box_transform(results, draws)
        affine_crop(results, self.codec.input_size)
        hsv_jitter(results, draws)
        blur_and_hole(results, draws)
        generate_target(results, self.codec)
        return pack(results)


def _info(dataset: PoseDataset, row: int) -> Results:
    """Returns one person as MMPose's reader keeps it."""
    record = dataset.images[dataset.image_index_N[row]]
    left, top, width, height = dataset.crop_boxes(np.array([row]))[0]
    joints = dataset.keypoints_NK3[row]
    raw = {
        "id": int(dataset.annotation_id_N[row]),
        "image_id": record.id,
        "category_id": dataset.category_id,
        "iscrowd": 0,
        "bbox": dataset.bbox_xywh_N4[row].tolist(),
        "area": float(dataset.area_N[row]),
        "num_keypoints": int((joints[:, 2] > 0).sum()),
        "keypoints": joints.reshape(-1).tolist(),
    }
    return {
        "id": raw["id"],
        "img_id": record.id,
        "img_path": str(record.path),
        "image_row": int(dataset.image_index_N[row]),
        "bbox": np.array([[left, top, left + width, top + height]], dtype=np.float32),
        "bbox_score": np.ones(1, dtype=np.float32),
        "keypoints": joints[None, :, :2].astype(np.float32),
        "keypoints_visible": np.minimum(1, joints[None, :, 2]).astype(np.float32),
        "category_id": dataset.category_id,
        "raw_ann_info": raw,
    }


def _facts(dataset: PoseDataset) -> Results:
    skeleton = dataset.skeleton
    flip_index = skeleton.flip_index.tolist()
    return {
        "dataset_name": dataset.name,
        "upper_body_ids": list(skeleton.upper_body),
        "lower_body_ids": list(skeleton.lower_body),
        "flip_pairs": [(one, other) for one, other in enumerate(flip_index) if one < other],
        "dataset_keypoint_weights": np.ones(skeleton.num_joints, dtype=np.float32),
        "flip_indices": flip_index,
        "skeleton_links": [tuple(limb) for limb in skeleton.limbs],
    }


def load_image(results: Results, image: Callable[[int], NDArray[np.uint8]] | None) -> None:
    """Reads the image of this person, whoever read it before."""
    if image is None:
        data = np.frombuffer(Path(results["img_path"]).read_bytes(), dtype=np.uint8)
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    else:
        pixels = image(results["image_row"])
    if pixels is None:
        raise DataError(
            f"the file {results['img_path']} cannot be read. Allowed: a JPEG or PNG image. Fetch it again."
        )
    results["img"] = pixels
    results["img_shape"] = results["ori_shape"] = pixels.shape[:2]


def center_and_scale(results: Results) -> None:
    """Centre and padded size of the box."""
    low, high = results["bbox"][:, :2], results["bbox"][:, 2:]
    results["bbox_center"] = (low + high) * 0.5
    results["bbox_scale"] = (high - low) * BOX_PADDING


def random_flip(results: Results, draws: SampleDraws) -> None:
    """Mirrors image, box and joints, left and right exchanged."""
    results["flip"] = draws.flip()
    results["flip_direction"] = "horizontal" if results["flip"] else None
    if not results["flip"]:
        return
    width = results["img_shape"][1]
    results["img"] = np.flip(results["img"], axis=1)
    bbox = results["bbox"].copy()
    bbox[:, 0::2] = width - results["bbox"][:, 2::-2] - 1
    results["bbox"] = bbox
    results["bbox_center"][:, 0] = width - results["bbox_center"][:, 0] - 1
    keypoints, visible = results["keypoints"].copy(), results["keypoints_visible"].copy()
    for left, right in results["flip_pairs"]:
        keypoints[:, [left, right]] = keypoints[:, [right, left]]
        visible[:, [left, right]] = visible[:, [right, left]]
    keypoints[..., 0] = width - 1 - keypoints[..., 0]
    results["keypoints"], results["keypoints_visible"] = keypoints, visible


def half_body(results: Results, config: AugmentConfig, draws: SampleDraws) -> None:
    """Crops to the labelled joints of the upper or the lower body."""
    wanted, upper_first = draws.half_body()
    visible = results["keypoints_visible"][0]
    if visible.sum() < config.half_body_min_labelled or not wanted:
        return
    upper = [joint for joint in results["upper_body_ids"] if visible[joint] > 0]
    lower = [joint for joint in results["lower_body_ids"] if visible[joint] > 0]
    upper_ok = len(upper) >= config.half_body_min_upper
    lower_ok = len(lower) >= config.half_body_min_lower
    if not upper_ok and not lower_ok:
        return
    chosen = results["keypoints"][0][upper if upper_ok and (upper_first or not lower_ok) else lower]
    size = (chosen.max(axis=0) - chosen.min(axis=0)) * config.half_body_padding
    if size.max() >= 1:  # ours leaves out joints on one spot, and the two are compared
        results["bbox_center"], results["bbox_scale"] = chosen.mean(axis=0)[None], size[None]


def box_transform(results: Results, draws: SampleDraws) -> None:
    """Moves, scales and turns the box."""
    shift, scale, rotation = draws.box()
    results["bbox_center"] = results["bbox_center"] + shift * results["bbox_scale"]
    results["bbox_scale"] = results["bbox_scale"] * scale
    results["bbox_rotation"] = np.array([rotation])


def affine_crop(results: Results, input_size: tuple[int, int]) -> None:
    """Widens the box to the crop's aspect, warps the image and moves the joints."""
    height, width = input_size
    wide, high = np.hsplit(results["bbox_scale"], [1])
    aspect = width / height
    scale = np.where(wide > high * aspect, np.hstack([wide, wide / aspect]), np.hstack([high * aspect, high]))
    results["bbox_scale"] = scale
    matrix = _warp_matrix(results["bbox_center"][0], scale[0], results["bbox_rotation"][0], (width, height))
    results["img"] = cv2.warpAffine(results["img"], matrix, (width, height), flags=cv2.INTER_LINEAR)
    moved = results["keypoints"].copy()
    moved[..., :2] = cv2.transform(results["keypoints"][..., :2], matrix)
    results["transformed_keypoints"] = moved
    results["input_size"] = (width, height)
    results["input_center"], results["input_scale"] = results["bbox_center"][0], scale[0]


def _warp_matrix(
    center: NDArray[np.floating], scale: NDArray[np.floating], rotation_deg: float, size: tuple[int, int]
) -> NDArray[np.float64]:
    """The map that takes three points of the box to three points of the crop."""
    width, height = size
    angle = np.deg2rad(rotation_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    source, target = np.zeros((3, 2), dtype=np.float32), np.zeros((3, 2), dtype=np.float32)
    source[0], source[1] = center, center + turn @ np.array([scale[0] * -0.5, 0.0])
    target[0], target[1] = (width * 0.5, height * 0.5), (0.0, height * 0.5)
    for points in (source, target):
        x, y = points[0] - points[1]
        points[2] = points[1] + np.array([-y, x], dtype=np.float32)
    return np.asarray(cv2.getAffineTransform(source, target))


def hsv_jitter(results: Results, draws: SampleDraws) -> None:
    """Adds to hue, saturation and value, in whole numbers; converts to HSV and back even where nothing is added."""
    gains = draws.hsv()
    if gains is None:
        return
    hue, saturation, value = gains
    image = np.ascontiguousarray(results["img"])
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + hue) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] + saturation, 0, 255)
    hsv[..., 2] = np.clip(hsv[..., 2] + value, 0, 255)
    cv2.cvtColor(hsv.astype(image.dtype), cv2.COLOR_HSV2BGR, dst=image)
    results["img"] = image


def blur_and_hole(results: Results, draws: SampleDraws) -> None:
    """Box blur, median blur, and the black rectangle."""
    if kernel := draws.blur():
        results["img"] = cv2.blur(results["img"], (kernel, kernel))
    if kernel := draws.median():
        results["img"] = cv2.medianBlur(results["img"], kernel)
    height, width = results["img"].shape[:2]
    if hole := draws.hole(height, width):
        left, top, wide, high = hole
        results["img"] = results["img"].copy()
        results["img"][top : top + high, left : left + wide] = 0


def generate_target(results: Results, codec: SimCCCodec) -> None:
    """SimCC labels, joint by joint."""
    points, visible = results["transformed_keypoints"], results["keypoints_visible"]
    bins_x, bins_y = codec.num_bins
    count, joints = points.shape[:2]
    label_x = np.zeros((count, joints, bins_x), dtype=np.float32)
    label_y = np.zeros((count, joints, bins_y), dtype=np.float32)
    x, y = np.arange(bins_x, dtype=np.float32), np.arange(bins_y, dtype=np.float32)
    weights = visible.copy()
    split = np.around(points * codec.split_ratio).astype(np.int64)
    radius = np.array(codec.sigma) * 3
    for person, joint in np.ndindex(count, joints):
        if visible[person, joint] < 0.5:
            continue
        mean = split[person, joint]
        left, top = mean - radius
        right, bottom = mean + radius + 1
        if left >= bins_x or top >= bins_y or right < 0 or bottom < 0:
            weights[person, joint] = 0
            continue
        label_x[person, joint] = np.exp(-((x - mean[0]) ** 2) / (2 * codec.sigma[0] ** 2))
        label_y[person, joint] = np.exp(-((y - mean[1]) ** 2) / (2 * codec.sigma[1] ** 2))
    results["keypoint_x_labels"], results["keypoint_y_labels"] = label_x, label_y
    results["keypoint_weights"] = weights

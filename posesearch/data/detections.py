"""Person boxes from a detector: the file a detector writes for COCO, as a data set to run a pose network on.

COCO's detector boxes are a list of {image_id, category_id, bbox, score}. Scores multiply into the pose scores, so a
box file changes AP; every result carries the file's name in `boxes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from posesearch.data.coco import check_used_files
from posesearch.data.coco_checks import is_id, is_number
from posesearch.data.dataset import PoseDataset
from posesearch.data.faults import Fault, error, raise_errors, short
from posesearch.errors import DataError
from posesearch.files import read_json


def read_detections(
    detections_file: Path, dataset: PoseDataset, *, score_threshold: float = 0.0
) -> PoseDataset:
    """Returns `dataset` with a detector's boxes in place of its own.

    Boxes of other categories and of images the data set does not have (a full COCO box file with a part of COCO) are
    left out, as are boxes without a positive size.

    Args:
        detections_file: JSON list of boxes.
        dataset: Images, skeleton and ground truth.
        score_threshold: Boxes with a lower score are left out.

    Raises:
        DataError: The file is missing or cut off, entries are malformed (NaN, wrong length), or no box remains.
    """
    detections_file = Path(detections_file)
    what = "detector box file"
    entries = read_json(detections_file, what)
    if not isinstance(entries, list) or not entries:
        raise DataError(
            f"{what} {detections_file} holds {short(entries)}. Allowed: a filled list of objects with image_id, "
            "category_id, bbox, score, as detectors write for COCO. Give such a file or use ground-truth boxes."
        )
    faults = [fault for position, entry in enumerate(entries) for fault in _check(position, entry)]
    raise_errors(
        faults,
        f"{what} {detections_file}",
        "Export the boxes again, or use ground-truth boxes (`--boxes gt`).",
    )
    kept = _usable(entries, dataset, score_threshold)
    if not kept:
        raise DataError(
            f"{what} {detections_file}: none of its {len(entries)} boxes has category {dataset.category_id}, a "
            f"positive size, a score of at least {score_threshold:g} and an image of {dataset.annotation_file}. "
            "Give the boxes of the same split, or use ground-truth boxes (`--boxes gt`)."
        )
    return _with_boxes(dataset, detections_file, kept)


def _check(position: int, entry: object) -> list[Fault]:
    where = f"entry {position}"
    if not isinstance(entry, dict):
        return [error(where, f"{short(entry)} is not an object")]
    faults = []
    for key in ("image_id", "category_id"):
        if not is_id(entry.get(key)):
            faults.append(error(where, f"key '{key}' is {short(entry.get(key))}. Allowed: an integer"))
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        text = f"key 'bbox' is {short(box)}. Allowed: four finite numbers (x, y, width, height)"
        faults.append(error(where, text))
    if not is_number(entry.get("score")):
        faults.append(error(where, f"key 'score' is {short(entry.get('score'))}. Allowed: a finite number"))
    return faults


def _usable(
    entries: Sequence[Mapping[str, Any]], dataset: PoseDataset, score_threshold: float
) -> list[tuple[int, int, Mapping[str, Any]]]:
    """Returns (row in the file, row of the image, entry) of the boxes to use."""
    # A part of a data set carries all image records; its own images are those of its ground truth.
    own = set(dataset.ground_truth.image_ids_I.tolist())
    row_of = {image.id: row for row, image in enumerate(dataset.images) if image.id in own}
    return [
        (position, row_of[entry["image_id"]], entry)
        for position, entry in enumerate(entries)
        if entry["image_id"] in row_of
        and entry["category_id"] == dataset.category_id
        and entry["score"] >= score_threshold
        and min(entry["bbox"][2:]) > 0
    ]


def _with_boxes(
    dataset: PoseDataset, detections_file: Path, kept: Sequence[tuple[int, int, Mapping[str, Any]]]
) -> PoseDataset:
    records = [dataset.images[row] for _, row, _ in kept]
    bbox_xywh_N4 = np.array([entry["bbox"] for _, _, entry in kept], dtype=np.float64)
    result = replace(
        dataset,
        boxes=detections_file.name,
        image_index_N=np.array([row for _, row, _ in kept], dtype=np.int64),
        image_id_N=np.array([record.id for record in records], dtype=np.int64),
        image_size_N2=np.array([(record.height, record.width) for record in records], dtype=np.int64),
        bbox_xywh_N4=bbox_xywh_N4,
        keypoints_NK3=np.zeros((len(kept), dataset.skeleton.num_joints, 3)),
        area_N=bbox_xywh_N4[:, 2] * bbox_xywh_N4[:, 3],
        annotation_id_N=np.array([position for position, _, _ in kept], dtype=np.int64),
        box_score_N=np.array([entry["score"] for _, _, entry in kept], dtype=np.float64),
    )
    check_used_files(result, f"the images of {detections_file}")
    return result

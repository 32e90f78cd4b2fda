"""An oracle (pycocotools) and random annotated crowds with everything that makes evaluation hard."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from posesearch.keypoints import COCO17, FIGURES

Figures = dict[str, float]


def _oracle(
    coco: dict[str, Any], rows: list[dict[str, Any]], sigmas: tuple[float, ...] | None = None
) -> Figures:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(coco)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(rows)), "keypoints")
        if sigmas is not None:
            evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(FIGURES, evaluation.stats.tolist(), strict=True))


@pytest.fixture(scope="session")
def oracle() -> Callable[..., Figures]:
    """COCO dict, result rows -> the ten figures by pycocotools."""
    return _oracle


def _crowd(
    seed: int,
    images: int = 12,
    most_persons: int = 6,
    extra_detections: int = 3,
    first_id: int = 1,
    boxes: bool = False,
    ties: bool = True,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    rng = np.random.default_rng(seed)
    joints = COCO17.num_joints
    annotations: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    ids = rng.permutation(images * 3)[:images].tolist()
    # The last image has neither, the one before only detections.
    for place, image_id in enumerate(ids[:-1]):
        for _ in range(0 if place == images - 2 else int(rng.integers(0, most_persons + 1))):
            x, y = rng.uniform(0, 300, 2)
            width, height = rng.uniform(15, 220, 2)
            points = np.stack(
                (x + rng.random(joints) * width, y + rng.random(joints) * height), axis=1
            ).round(1)
            if annotations and rng.random() < 0.2:  # the same pose again: equal OKS for two persons
                points = np.array(annotations[-1]["keypoints"], dtype=float).reshape(-1, 3)[:, :2]
            visible = rng.integers(0, 3, joints) * (rng.random() > 0.25)
            annotation = {
                "id": len(annotations) + first_id,
                "image_id": image_id,
                "category_id": 1,
                "iscrowd": int(rng.random() < 0.15),
                "bbox": [x, y, width, height],
                "area": float(rng.choice([0.6 * width * height, 32.0**2, 96.0**2])),
                # Sometimes "ignore" despite labelled joints, sometimes counted without any.
                "num_keypoints": int((visible > 0).sum()) if rng.random() < 0.9 else int(rng.integers(0, 2)),
                "keypoints": np.concatenate((points * (visible[:, None] > 0), visible[:, None]), 1)
                .ravel()
                .tolist(),
            }
            annotations.append(annotation)
    for image_id in ids[:-1]:
        mine = [row for row in annotations if row["image_id"] == image_id]
        for _ in range(int(rng.integers(0, len(mine) + extra_detections + 1))):
            if mine and rng.random() < 0.85:
                source = mine[int(rng.integers(len(mine)))]
                points = np.array(source["keypoints"], dtype=float).reshape(-1, 3)[:, :2]
                points = points + rng.normal(
                    0, rng.choice([0, 0.02, 0.08]) * source["area"] ** 0.5, points.shape
                )
            else:
                points = rng.uniform(0, 400, (joints, 2))
            score = float(rng.integers(1, 6)) / 5 if ties else float(rng.random())
            row = {
                "image_id": image_id,
                "category_id": 1,
                "keypoints": np.concatenate((points, np.ones((joints, 1))), axis=1).ravel().tolist(),
                "score": score,
            }
            if boxes:
                row["bbox"] = [*points.min(axis=0).tolist(), *rng.uniform(10, 200, 2).tolist()]
            rows.append(row)
    coco = {
        "images": [
            {"id": image_id, "width": 640, "height": 480, "file_name": f"{image_id}.jpg"} for image_id in ids
        ],
        "annotations": [annotations[index] for index in rng.permutation(len(annotations))],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.names), "skeleton": []}],
    }
    return coco, [rows[index] for index in rng.permutation(len(rows))]


@pytest.fixture(scope="session")
def crowd() -> Callable[..., tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Keyword arguments -> (COCO dict, result rows), random but fixed by the seed."""
    return _crowd

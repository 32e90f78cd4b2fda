"""The usual metric step: a dict an instance, rescoring in a Python loop, NMS image by image, a JSON file, pycocotools.

The baseline of `bench evaluate`, written for the purpose after the published structure of MMPose 1.3's CocoMetric.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posesearch.bench.crowds import Poses
from posesearch.keypoints.cocoeval import FIGURES

JOINT_SCORE_THRESHOLD, NMS_THRESHOLD = 0.2, 0.9

Instance = dict[str, Any]


def make_coco(document: dict[str, Any]) -> Any:
    """Returns pycocotools' COCO of an annotation document."""
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = document
        coco.createIndex()
    return coco


def load_results(coco: Any, results: Any) -> Any:
    """Returns pycocotools' COCO of results: a list of rows, or a file."""
    with contextlib.redirect_stdout(io.StringIO()):
        return coco.loadRes(results)


def evaluate_and_accumulate(coco: Any, found: Any, sigmas: Sequence[float]) -> Any:
    """Returns pycocotools' COCOeval after evaluate and accumulate: what ours is compared with."""
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco, found, "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def figures_of(evaluation: Any) -> dict[str, float]:
    """Returns the ten figures of a COCOeval."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.summarize()
    return dict(zip(FIGURES, evaluation.stats.tolist(), strict=True))


def per_instance(poses: Poses) -> list[Instance]:
    """Returns predictions as a metric collects them during a validation epoch: one dict with arrays a person."""
    return [
        {
            "id": row,
            "img_id": int(poses.image_id_D[row]),
            "keypoints": poses.points_DK2[row][None],
            "keypoint_scores": poses.joint_scores_DK[row][None],
            "bbox_scores": poses.box_score_D[row][None],
            "areas": poses.box_area_D[row][None],
        }
        for row in range(len(poses.image_id_D))
    ]


def metric_step(predictions: Sequence[Instance], coco: Any, sigmas: Sequence[float]) -> dict[str, float]:
    """Scores predictions by the top-down protocol.

    Args:
        predictions: From `per_instance`.
        coco: The annotations, from `make_coco`.
        sigmas: The K constants.

    Returns:
        The ten figures.
    """
    by_image: dict[int, list[Instance]] = defaultdict(list)
    for prediction in predictions:
        for index in range(len(prediction["bbox_scores"])):
            by_image[prediction["img_id"]].append(
                {
                    "id": prediction["id"],
                    "img_id": prediction["img_id"],
                    "keypoints": prediction["keypoints"][index],
                    "keypoint_scores": prediction["keypoint_scores"][index],
                    "bbox_score": prediction["bbox_scores"][index],
                    "area": prediction["areas"][index],
                }
            )
    for image_id, instances in by_image.items():
        instances.sort(key=lambda instance: instance["id"])
        by_image[image_id] = [
            instance
            for place, instance in enumerate(instances)
            if not place or instance["id"] != instances[place - 1]["id"]
        ]
    kept: dict[int, list[Instance]] = {}
    for image_id, instances in by_image.items():
        for instance in instances:
            instance["keypoints"] = np.concatenate(
                [instance["keypoints"], instance["keypoint_scores"][:, None]], axis=-1
            )
            instance["score"] = _score(instance)
        kept[image_id] = [instances[index] for index in oks_nms(instances, np.array(sigmas))]
    with TemporaryDirectory(prefix="posesearch-bench-") as folder:
        path = Path(folder) / "results.keypoints.json"
        with path.open("w", encoding="utf-8") as stream:
            json.dump(_rows(kept), stream, sort_keys=True, indent=4)
        found = load_results(coco, str(path))
    return figures_of(evaluate_and_accumulate(coco, found, sigmas))


def _score(instance: Instance) -> float:
    """Box score times the mean of the joint scores above the threshold."""
    total, counted = 0.0, 0
    for joint in range(len(instance["keypoint_scores"])):
        score = instance["keypoint_scores"][joint]
        if score > JOINT_SCORE_THRESHOLD:
            total += score
            counted += 1
    return float(instance["bbox_score"] * (total / counted if counted else total))


def oks_nms(instances: Sequence[Instance], sigmas_K: NDArray[np.float64]) -> list[int]:
    """Returns the positions of the instances of one image that are kept, the best first."""
    scores = np.array([instance["score"] for instance in instances])
    poses = np.array([instance["keypoints"].flatten() for instance in instances])
    areas = np.array([instance["area"] for instance in instances])
    order = scores.argsort()[::-1]
    keep = []
    while len(order):
        best, others = order[0], order[1:]
        keep.append(int(best))
        similar = _oks(poses[best], poses[others], areas[best], areas[others], sigmas_K)
        order = others[similar <= NMS_THRESHOLD]
    return keep


def _oks(
    pose: NDArray[np.float64],
    others: NDArray[np.float64],
    area: float,
    areas: NDArray[np.float64],
    sigmas_K: NDArray[np.float64],
) -> NDArray[np.float64]:
    variances = (sigmas_K * 2) ** 2
    similar = np.zeros(len(others), dtype=np.float64)
    for index, other in enumerate(others):
        difference_x, difference_y = other[0::3] - pose[0::3], other[1::3] - pose[1::3]
        mean_area = (area + areas[index]) / 2 + np.spacing(1)
        exponent = (difference_x**2 + difference_y**2) / variances / mean_area / 2
        similar[index] = np.sum(np.exp(-exponent)) / len(exponent)
    return similar


def _rows(kept: dict[int, list[Instance]]) -> list[Instance]:
    rows = []
    for image_id, instances in kept.items():
        flat = np.array([instance["keypoints"] for instance in instances]).reshape(len(instances), -1)
        rows += [
            {
                "image_id": image_id,
                "category_id": 1,
                "keypoints": keypoints.tolist(),
                "score": float(instance["score"]),
            }
            for instance, keypoints in zip(instances, flat, strict=True)
        ]
    return rows

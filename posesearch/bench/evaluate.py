"""`bench evaluate`: the ten COCO figures from arrays against pycocotools, and the whole metric step against the usual one.

Same people, same predictions on both sides; the largest difference of any figure is part of the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from posesearch.bench.baseline_metric import (
    evaluate_and_accumulate,
    figures_of,
    load_results,
    make_coco,
    metric_step,
    per_instance,
)
from posesearch.bench.crowds import (
    IMAGES,
    Poses,
    as_coco,
    detector_poses,
    ground_truth_box_poses,
    random_people,
)
from posesearch.bench.registry import BenchContext
from posesearch.bench.result import BenchResult, Goal
from posesearch.bench.timing import compare
from posesearch.keypoints.cocoeval import FIGURES, evaluate_oks
from posesearch.keypoints.groundtruth import Detections, GroundTruth
from posesearch.keypoints.skeleton import COCO17
from posesearch.keypoints.topdown import top_down_detections

IMAGES_QUICK = 120
SIGMAS = COCO17.sigmas
EQUAL = 1e-12
GOALS = (
    Goal(key="gt_boxes", target=40.0),
    Goal(key="dense", target=25.0),
    Goal(key="max_abs_diff", target=EQUAL, at_most=True),
    Goal(key="metric_step", target=50.0),
    Goal(key="metric_step_max_abs_diff", target=EQUAL, at_most=True),
)
NOTES = (
    "gt_boxes and dense: pycocotools' evaluate and accumulate, its results already loaded, against ours from arrays to the "
    "ten figures; max_abs_diff: the largest difference of any of these figures in either.",
    "metric_step: rescoring, OKS-NMS and the ten figures from one pose a ground-truth box, against Python loops, a JSON "
    "file, loadRes and COCOeval.",
    "People and poses are random, with the make-up of COCO val2017: crowds, ignored persons, tied scores.",
)


def run(context: BenchContext) -> BenchResult:
    """Measures both cases and the metric step.

    Args:
        context: No data set is used.
    """
    truth = random_people(context.seed, IMAGES_QUICK if context.quick else IMAGES)
    repeats = 1 if context.quick else 5
    coco = make_coco(as_coco(truth))
    boxes, dense = ground_truth_box_poses(truth, context.seed), detector_poses(truth, context.seed)
    with context.progress.task("timing evaluators", 3) as task:
        gt_boxes = _evaluator(truth, boxes, coco, repeats, context.seed)
        task.advance()
        detector = _evaluator(truth, dense, coco, repeats, context.seed)
        task.advance()
        step = _metric_step(truth, boxes, coco, repeats, context.seed)
        task.advance()
    return BenchResult(
        name="evaluate",
        ratios={
            "gt_boxes": gt_boxes["pycocotools_ms"] / gt_boxes["ours_ms"],
            "dense": detector["pycocotools_ms"] / detector["ours_ms"],
            "max_abs_diff": max(gt_boxes["max_abs_diff"], detector["max_abs_diff"]),
        },
        figures={
            "metric_step": step["baseline_ms"] / step["ours_ms"],
            "metric_step_max_abs_diff": step["max_abs_diff"],
            "gt_boxes_case": gt_boxes,
            "dense_case": detector,
            "metric_step_case": step,
            "sizes": {
                "images": len(truth.image_ids_I),
                "annotations": len(truth.image_id_G),
                "with_keypoints": int((truth.num_keypoints_G > 0).sum()),
                "crowds": int(truth.iscrowd_G.sum()),
                "repeats": repeats,
            },
        },
        goals=GOALS,
        notes=NOTES,
    )


def detections_of(poses: Poses) -> Detections:
    """Returns poses as detections with their own scores, nothing suppressed."""
    keypoints_DK3 = np.concatenate((poses.points_DK2, poses.joint_scores_DK[..., None]), axis=2)
    return Detections.from_arrays(poses.image_id_D, keypoints_DK3, poses.score_D)


def _evaluator(truth: GroundTruth, poses: Poses, coco: Any, repeats: int, seed: int) -> dict[str, Any]:
    detections = detections_of(poses)
    found = load_results(coco, detections.to_results())
    seconds = compare(
        {
            "ours": lambda: evaluate_oks(truth, detections, SIGMAS),
            "pycocotools": lambda: evaluate_and_accumulate(coco, found, SIGMAS),
        },
        repeats,
        seed=seed,
    )
    ours = evaluate_oks(truth, detections, SIGMAS)
    theirs = figures_of(evaluate_and_accumulate(coco, found, SIGMAS))
    return {
        "detections": len(detections.score_D),
        "ours_ms": seconds["ours"] * 1000,
        "pycocotools_ms": seconds["pycocotools"] * 1000,
        "max_abs_diff": max_abs_diff(ours, theirs),
        "AP": ours["AP"],
    }


def our_metric_step(truth: GroundTruth, poses: Poses) -> dict[str, float]:
    """Returns the ten figures after rescoring and OKS-NMS, as an evaluation of a network gets them."""
    detections = top_down_detections(
        poses.image_id_D,
        poses.points_DK2,
        poses.joint_scores_DK,
        poses.box_score_D,
        poses.box_area_D,
        None,
        SIGMAS,
    )
    return evaluate_oks(truth, detections, SIGMAS)


def _metric_step(truth: GroundTruth, poses: Poses, coco: Any, repeats: int, seed: int) -> dict[str, Any]:
    predictions = per_instance(poses)
    seconds = compare(
        {
            "ours": lambda: our_metric_step(truth, poses),
            "baseline": lambda: metric_step(predictions, coco, SIGMAS),
        },
        repeats,
        seed=seed,
    )
    ours, theirs = our_metric_step(truth, poses), metric_step(predictions, coco, SIGMAS)
    return {
        "predictions": len(predictions),
        "ours_ms": seconds["ours"] * 1000,
        "baseline_ms": seconds["baseline"] * 1000,
        "max_abs_diff": max_abs_diff(ours, theirs),
        "AP": ours["AP"],
    }


def max_abs_diff(ours: dict[str, float], theirs: dict[str, float]) -> float:
    """Returns the largest difference of any of the ten figures."""
    return max(abs(ours[name] - theirs[name]) for name in FIGURES)

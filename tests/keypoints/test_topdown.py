"""Golden values of MMPose's CocoMetric on its own test slice (4 images, 14 annotations)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from posesearch.keypoints import (
    COCO17,
    FIGURES,
    GroundTruth,
    evaluate_oks,
    oks_nms,
    rescore,
    top_down_detections,
)

RESCORED = (0.528746, 0.904290, 0.500990, 0.424752, 0.621955, 0.583333, 0.916667, 0.583333, 0.44, 0.685714)
BOX_RLE = (0.500495, 0.883663, 0.467987, 0.424752, 0.581411, 0.583333, 0.916667, 0.583333, 0.44, 0.685714)


@pytest.fixture(scope="module")
def slice_of_coco(data_root: Path):
    return json.loads((data_root / "mmpose_slices/coco/test_coco.json").read_text())


def persons(coco):
    """MMPose's test predictions: x * 0.98, y * 1.02, visibility * 0.8 as score, box score 0.98.

    In single precision, as a network gives them: means of equal scores are then exactly tied.
    """
    rows = sorted(coco["annotations"], key=lambda row: row["id"])
    keypoints_NK3 = np.array([row["keypoints"] for row in rows], dtype=np.float32).reshape(len(rows), 17, 3)
    bbox_N4 = np.array([row["bbox"] for row in rows])
    return {
        "image_ids_N": np.array([row["image_id"] for row in rows]),
        "keypoints_NK3": keypoints_NK3 * np.float32([0.98, 1.02, 1]),
        "keypoint_scores_NK": keypoints_NK3[..., 2] * np.float32(0.8),
        "box_scores_N": np.full(len(rows), 0.98, dtype=np.float32),
        "areas_N": (bbox_N4[:, 2:] * 1.25).prod(axis=1),
        "bbox_N4": bbox_N4,
        "sigmas": COCO17.sigmas,
    }


def figures_of(coco, detections):
    return evaluate_oks(GroundTruth.from_coco(coco), detections, COCO17.sigmas)


def assert_golden(figures, golden):
    assert [round(figures[name], 6) for name in FIGURES] == pytest.approx(golden, abs=1e-6)


def test_default_scoring(slice_of_coco):
    detections = top_down_detections(**persons(slice_of_coco) | {"bbox_N4": None})
    assert_golden(figures_of(slice_of_coco, detections), RESCORED)


def test_boxes_in_the_results_move_only_ap_of_medium(slice_of_coco):
    figures = figures_of(slice_of_coco, top_down_detections(**persons(slice_of_coco)))
    assert_golden(figures, (*RESCORED[:3], 0.416832, *RESCORED[4:]))


def test_a_stable_order_of_ties_would_not_be_mmposes(slice_of_coco):
    """The trap: with the first of equal scores first, AP is .527185."""
    turned = persons(slice_of_coco) | {"bbox_N4": None}
    for key in ("image_ids_N", "keypoints_NK3", "keypoint_scores_NK", "box_scores_N", "areas_N"):
        turned[key] = turned[key][::-1]
    assert figures_of(slice_of_coco, top_down_detections(**turned))["AP"] == pytest.approx(0.527185, abs=1e-6)


def test_box_plus_mean_plus_best_joint(slice_of_coco):
    """MMPose's bbox_rle: the same NMS under other scores."""
    people = persons(slice_of_coco)
    scores_NK = people["keypoint_scores_NK"]
    rle_N = people["box_scores_N"] + scores_NK.mean(axis=1) + scores_NK.max(axis=1)
    detections = top_down_detections(
        **people | {"bbox_N4": None, "keypoint_scores_NK": np.ones_like(scores_NK), "box_scores_N": rle_N}
    )
    assert_golden(figures_of(slice_of_coco, detections), BOX_RLE)


def test_pieces_are_put_together(crowd):
    rng = np.random.default_rng(0)
    keypoints_NK3 = rng.random((6, 17, 3)) * 100
    scores_NK, box_scores_N = rng.random((6, 17)), rng.random(6)
    images_N = np.array([9, 2, 9, 2, 9, 2])
    boxes_N4 = rng.random((6, 4)) * 50
    detections = top_down_detections(
        images_N, keypoints_NK3, scores_NK, box_scores_N, np.full(6, 1e4), boxes_N4, COCO17.sigmas
    )
    expected = rescore(box_scores_N, scores_NK)
    kept = oks_nms(keypoints_NK3, expected, np.full(6, 1e4), COCO17.sigmas, 0.9, images_N)
    np.testing.assert_array_equal(detections.image_id_D, images_N[kept])
    np.testing.assert_array_equal(detections.score_D, expected[kept])
    np.testing.assert_array_equal(detections.keypoints_DK3[..., :2], keypoints_NK3[kept, :, :2])
    np.testing.assert_array_equal(detections.keypoints_DK3[..., 2], scores_NK[kept])
    np.testing.assert_array_equal(detections.bbox_D4, boxes_N4[kept])
    np.testing.assert_array_equal(detections.area_D, boxes_N4[kept, 2] * boxes_N4[kept, 3])


def test_no_persons():
    nothing = np.zeros((0, 17, 3))
    detections = top_down_detections([], nothing, nothing[..., 2], [], [], None, COCO17.sigmas)
    assert detections.keypoints_DK3.shape == (0, 17, 3) and detections.to_results() == []

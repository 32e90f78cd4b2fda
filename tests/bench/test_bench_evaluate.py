"""Both sides of `bench evaluate` score the same people and the same poses, and come to the same figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.bench import evaluate
from posesearch.bench.baseline_metric import make_coco, metric_step, oks_nms, per_instance
from posesearch.bench.crowds import (
    LABELLED,
    PEOPLE,
    as_coco,
    detector_poses,
    ground_truth_box_poses,
    random_people,
)
from posesearch.bench.registry import BenchContext
from posesearch.keypoints import oks_nms as our_nms
from posesearch.keypoints.cocoeval import FIGURES
from posesearch.keypoints.groundtruth import GroundTruth
from posesearch.keypoints.skeleton import COCO17
from posesearch.progress import SilentProgress


def test_people_have_the_make_up_of_coco() -> None:
    truth = random_people(0)
    assert (len(truth.image_ids_I), len(truth.image_id_G)) == (5000, PEOPLE)
    assert np.count_nonzero(truth.num_keypoints_G) == LABELLED == truth.num_persons
    assert np.count_nonzero(truth.iscrowd_G) == 227
    assert len(set(truth.annotation_id_G.tolist())) == PEOPLE and truth.annotation_id_G.min() == 1
    labelled_G = truth.num_keypoints_G > 0
    areas = truth.area_G[labelled_G]
    for low, high in ((0, 32**2), (32**2, 96**2), (96**2, np.inf)):
        assert np.mean((areas >= low) & (areas < high)) > 0.05
    assert np.bincount(np.unique(truth.image_id_G, return_inverse=True)[1]).max() > 10
    assert np.array_equal(truth.num_keypoints_G, np.count_nonzero(truth.keypoints_GK3[..., 2], axis=1))


def test_poses_are_as_many_as_asked_with_ties_and_some_images_crowded() -> None:
    truth = random_people(1, 500)
    boxes, dense = ground_truth_box_poses(truth, 1), detector_poses(truth, 1)
    assert len(boxes.image_id_D) == np.count_nonzero(truth.num_keypoints_G)
    assert (boxes.box_score_D == 1).all() and dense.box_score_D.min() < 0.2
    assert len(dense.image_id_D) == 20 * 500
    assert len(np.unique(dense.score_D)) < len(dense.score_D) / 5
    assert np.unique(dense.image_id_D, return_counts=True)[1].max() > 20
    assert np.isin(dense.image_id_D, truth.image_ids_I).all()


def test_the_document_of_pycocotools_holds_the_same_people() -> None:
    truth = random_people(2, 60)
    again = GroundTruth.from_coco(as_coco(truth))
    for name in ("image_ids_I", "image_id_G", "keypoints_GK3", "bbox_G4", "area_G", "iscrowd_G"):
        np.testing.assert_array_equal(getattr(again, name), getattr(truth, name))
    np.testing.assert_array_equal(again.annotation_id_G, truth.annotation_id_G)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_the_usual_metric_step_comes_to_our_figures(seed: int) -> None:
    truth = random_people(seed, 40)
    coco = make_coco(as_coco(truth))
    for poses in (ground_truth_box_poses(truth, seed), detector_poses(truth, seed)):
        predictions = per_instance(poses)
        theirs = metric_step(predictions, coco, COCO17.sigmas)
        assert evaluate.max_abs_diff(evaluate.our_metric_step(truth, poses), theirs) <= 1e-12
        # Nothing was changed on the way: a second pass over the same predictions is the same.
        assert metric_step(predictions, coco, COCO17.sigmas) == theirs


def test_both_suppress_the_same_poses() -> None:
    rng = np.random.default_rng(0)
    poses = np.repeat(rng.random((6, 17, 3)) * 200, 4, axis=0) + rng.normal(0, 4, (24, 17, 3))
    scores, areas = rng.random(24), rng.uniform(1e4, 3e4, 24)
    instances = [
        {"score": score, "keypoints": pose, "area": area}
        for score, pose, area in zip(scores, poses, areas, strict=True)
    ]
    kept = oks_nms(instances, np.array(COCO17.sigmas))
    assert kept == our_nms(poses, scores, areas, COCO17.sigmas).tolist()
    assert 6 <= len(kept) < 24


def test_a_difference_in_one_figure_is_seen() -> None:
    same = dict.fromkeys(FIGURES, 0.5)
    assert evaluate.max_abs_diff(same, same | {"ARL": 0.25}) == 0.25


def test_the_benchmark_reports_what_the_issue_asks() -> None:
    context = BenchContext(
        device=torch.device("cpu"), seed=0, data=None, quick=True, progress=SilentProgress()
    )
    plain = evaluate.run(context).to_plain()
    assert set(plain["ratios"]) == {"gt_boxes", "dense", "max_abs_diff"}
    assert plain["ratios"]["max_abs_diff"] <= 1e-12
    assert plain["figures"]["metric_step_max_abs_diff"] <= 1e-12
    targets = {goal["key"]: goal["target"] for goal in plain["goals"]}
    assert targets == {
        "gt_boxes": 40,
        "dense": 25,
        "max_abs_diff": 1e-12,
        "metric_step": 50,
        "metric_step_max_abs_diff": 1e-12,
    }
    case = plain["figures"]["gt_boxes_case"]
    assert plain["ratios"]["gt_boxes"] == pytest.approx(case["pycocotools_ms"] / case["ours_ms"])
    assert 0.05 < case["AP"] < 0.95

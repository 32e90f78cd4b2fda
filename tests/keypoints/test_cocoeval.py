"""The evaluator is pycocotools', to the last bit, whatever the annotations and detections look like."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.errors import DataError
from posesearch.keypoints import COCO17, FIGURES, Detections, GroundTruth, evaluate_oks

GT_ONLY = "coco17_mini/annotations/gt_only_val2017_subset.json"


def ours(coco, rows, sigmas=COCO17.sigmas):
    ground_truth = GroundTruth.from_coco(coco)
    return evaluate_oks(ground_truth, Detections.from_results(rows, ground_truth.num_joints), sigmas)


def assert_equal(found, expected):
    assert list(found) == list(FIGURES)
    differences = {name: abs(found[name] - expected[name]) for name in FIGURES}
    assert max(differences.values()) <= 1e-12, differences


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(3, 12),
    most_persons=st.integers(0, 8),
    extra_detections=st.integers(0, 6),
    boxes=st.booleans(),
    ties=st.booleans(),
)
def test_equals_pycocotools(oracle, crowd, seed, images, most_persons, extra_detections, boxes, ties):
    coco, rows = crowd(
        seed,
        images=images,
        most_persons=most_persons,
        extra_detections=extra_detections,
        boxes=boxes,
        ties=ties,
    )
    if rows:
        assert_equal(ours(coco, rows), oracle(coco, rows))


def test_more_than_twenty_detections_an_image(oracle, crowd):
    coco, rows = crowd(5, images=4, most_persons=30, extra_detections=30)
    images = [row["image_id"] for row in rows]
    assert max(images.count(image) for image in set(images)) > 20
    assert_equal(ours(coco, rows), oracle(coco, rows))


def test_annotation_id_zero_is_never_found_as_in_cocoeval(oracle, crowd):
    changed = 0
    for seed in range(12):
        coco, rows = crowd(seed, first_id=0, images=4, most_persons=2)
        figures = ours(coco, rows)
        assert_equal(figures, oracle(coco, rows))
        for annotation in coco["annotations"]:
            annotation["id"] += 1
        changed += figures["AP"] != ours(coco, rows)["AP"]
    assert changed >= 3


def test_other_joint_sets(oracle, crowd):
    coco, rows = crowd(11)
    for annotation in (*coco["annotations"], *rows):
        annotation["keypoints"] = annotation["keypoints"][:42]
    coco["categories"][0]["keypoints"] = [f"joint_{index}" for index in range(14)]
    sigmas = tuple(np.linspace(0.03, 0.1, 14))
    assert_equal(ours(coco, rows, sigmas), oracle(coco, rows, sigmas))


def test_oks_exactly_on_a_threshold_matches(oracle, crowd):
    coco, _ = crowd(0, images=2, most_persons=0)
    points = np.zeros((17, 3))
    points[:2, 2] = 2
    image_id = coco["images"][0]["id"]
    person = {"id": 7, "image_id": image_id, "category_id": 1, "iscrowd": 0, "num_keypoints": 2}
    coco["annotations"] = [
        person | {"bbox": [0, 0, 99, 99], "area": 9801.0, "keypoints": points.ravel().tolist()}
    ]
    # One of two joints exact, the other far off: OKS is 0.5, and only the threshold .50 is met.
    points[1, :2] = 1e5
    rows = [{"image_id": image_id, "category_id": 1, "keypoints": points.ravel().tolist(), "score": 1.0}]
    figures = ours(coco, rows)
    assert figures["AP50"] == pytest.approx(1.0) and figures["AP75"] == 0.0
    assert_equal(figures, oracle(coco, rows))


@pytest.mark.parametrize(("shift", "found"), [(25.19, True), (25.21, False)])
@pytest.mark.parametrize("labelled", [True, False])
def test_matches_at_the_edge_of_reach(oracle, crowd, shift, found, labelled):
    """Hips have the widest constant: all joints 0.252 sqrt(area) away still give an OKS of 0.5."""
    coco, _ = crowd(0, images=2, most_persons=0)
    image_id = coco["images"][0]["id"]
    true = np.zeros((17, 3))
    true[11:13, 2] = 2 * labelled
    # A person without labels is a box, here grown to [-10, 20]: from its edge the face joints decide.
    predicted = np.full((17, 3), -shift) if labelled else np.full((17, 3), 20 + shift)
    predicted[:, 1] = 0
    person = {"id": 1, "image_id": image_id, "category_id": 1, "iscrowd": 0, "num_keypoints": 2}
    person |= {"bbox": [0, -5, 10, 10], "area": 1e4, "keypoints": true.ravel().tolist()}
    coco["annotations"] = [person]
    rows = [{"image_id": image_id, "category_id": 1, "keypoints": predicted.ravel().tolist(), "score": 0.5}]
    figures = ours(coco, rows)
    assert_equal(figures, oracle(coco, rows))
    assert (figures["AP50"] > 0) == (found and labelled)


def test_perfect_predictions_score_one(crowd):
    coco, _ = crowd(2, most_persons=4)
    coco["annotations"] = [row | {"iscrowd": 0} for row in coco["annotations"] if any(row["keypoints"][2::3])]
    for row in coco["annotations"]:
        row["num_keypoints"] = sum(value > 0 for value in row["keypoints"][2::3])
    # Random poses of one image may overlap, but each person has one detection with an OKS of 1.
    keys = ("image_id", "category_id", "keypoints")
    rows = [{key: row[key] for key in keys} | {"score": 1.0} for row in coco["annotations"]]
    figures = ours(coco, rows)
    assert figures["AP"] == pytest.approx(1.0, abs=1e-15) and figures["AR"] == 1.0


def test_no_detections_is_zero_and_no_persons_is_minus_one(crowd):
    coco, rows = crowd(4)
    assert ours(coco, []) == dict.fromkeys(FIGURES, 0.0)
    assert ours(coco | {"annotations": []}, rows) == dict.fromkeys(FIGURES, -1.0)
    assert ours(coco | {"annotations": []}, []) == dict.fromkeys(FIGURES, -1.0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), factor=st.sampled_from([0.25, 2.0, 8.0]))
def test_only_the_order_of_scores_counts(crowd, seed, factor):
    coco, rows = crowd(seed, ties=True)
    scaled = [row | {"score": row["score"] * factor} for row in rows]
    assert ours(coco, scaled) == ours(coco, rows)


def test_detections_elsewhere_and_other_joint_counts_are_refused(crowd):
    coco, rows = crowd(1)
    ground_truth = GroundTruth.from_coco(coco)
    stray = Detections.from_results([rows[0] | {"image_id": 999_999}], 17)
    with pytest.raises(
        DataError, match=r"1 images have detections .* the first with image_id 999999\. Only images"
    ):
        evaluate_oks(ground_truth, stray, COCO17.sigmas)
    detections = Detections.from_results(rows, 17)
    with pytest.raises(DataError, match="17 in the annotations, 17 in the detections, 14 in the sigmas"):
        evaluate_oks(ground_truth, detections, COCO17.sigmas[:14])


@pytest.fixture(scope="module")
def real(data_root: Path):
    return json.loads((data_root / GT_ONLY).read_text())


@pytest.mark.parametrize(
    ("spread", "ties", "boxes"), [(0.01, False, False), (0.04, True, True), (0.1, True, False)]
)
def test_equals_pycocotools_on_coco(oracle, real, spread, ties, boxes):
    """529 val2017 images: persons moved by noise, doubled, left out; strays; tied scores."""
    rng = np.random.default_rng(17)
    rows = []
    for annotation in real["annotations"]:
        points = np.array(annotation["keypoints"], dtype=float).reshape(-1, 3)
        for _ in range(int(rng.choice([0, 1, 1, 1, 2, 3]))):
            moved = points[:, :2] + rng.normal(0, spread * annotation["area"] ** 0.5, (17, 2))
            score = rng.integers(1, 20) / 20 if ties else rng.random()
            row = {"image_id": annotation["image_id"], "category_id": 1, "score": float(score)}
            row["keypoints"] = np.concatenate((moved, points[:, 2:]), axis=1).ravel().tolist()
            rows.append(row | ({"bbox": annotation["bbox"]} if boxes else {}))
    found = ours(real, rows)
    assert 0.05 < found["AP"] < 0.95
    assert_equal(found, oracle(real, rows))


def test_evaluation_leaves_its_input_alone(crowd):
    coco, rows = crowd(8)
    ground_truth, detections = GroundTruth.from_coco(coco), Detections.from_results(rows, 17)
    columns = [
        getattr(side, field.name) for side in (ground_truth, detections) for field in dataclasses.fields(side)
    ]
    before = [None if column is None else column.copy() for column in columns]
    evaluate_oks(ground_truth, detections, COCO17.sigmas)
    for column, copy in zip(columns, before, strict=True):
        np.testing.assert_array_equal(column, copy)

"""Parts of a data set: persons and ground truth stay together."""

from __future__ import annotations

import numpy as np
import pytest

from posesearch.data.dataset import clip_boxes
from posesearch.errors import DataError
from posesearch.keypoints.cocoeval import evaluate_oks
from posesearch.keypoints.groundtruth import Detections


def perfect(dataset):
    return Detections.from_arrays(
        dataset.image_id_N, dataset.keypoints_NK3, np.ones(len(dataset)), dataset.bbox_xywh_N4
    )


def test_subset_is_scored_against_itself(folder):
    folder.document["annotations"][1]["iscrowd"] = 1
    dataset = folder.write_json().read()
    part = dataset.subset(np.array([3, 0]), split="few")
    assert part.split == "few"
    assert (
        part.annotation_id_N.tolist()
        == [dataset.annotation_id_N[3], dataset.annotation_id_N[0]]
        == [104, 100]
    )
    # 101 is the crowd beside 100: it stays. 105, beside 104, was not chosen: missing it must cost nothing.
    assert sorted(part.ground_truth.annotation_id_G) == [100, 101, 104]
    assert part.ground_truth.image_ids_I.tolist() == [10, 12]
    assert evaluate_oks(part.ground_truth, perfect(part), part.skeleton.sigmas)["AP"] == pytest.approx(1.0)


def test_split_by_image(folder):
    dataset = folder.read()
    fit, held = dataset.split_by_image(0.25, seed=3)
    assert (fit.split, held.split) == ("train-fit", "train-held-out")
    assert len(np.unique(held.image_id_N)) == 1
    assert not set(fit.image_id_N) & set(held.image_id_N)
    assert sorted([*fit.annotation_id_N, *held.annotation_id_N]) == sorted(dataset.annotation_id_N)
    assert sorted(held.ground_truth.annotation_id_G) == sorted(held.annotation_id_N)
    assert evaluate_oks(held.ground_truth, perfect(held), held.skeleton.sigmas)["AP"] == pytest.approx(1.0)
    again = dataset.split_by_image(0.25, seed=3)[1]
    assert again.annotation_id_N.tolist() == held.annotation_id_N.tolist()
    others = {tuple(dataset.split_by_image(0.5, seed)[1].annotation_id_N) for seed in range(8)}
    assert len(others) > 1


def test_split_that_leaves_a_side_empty(folder):
    with pytest.raises(
        DataError, match=r"cannot hold out 0.01 of 4 images .*: one side would be empty. Allowed"
    ):
        folder.read().split_by_image(0.01, seed=0)


def test_clip_boxes():
    boxes = np.array([[-10.0, 5, 30, 20], [70, 90, 30, 30], [200, 5, 10, 10], [5, 5, 10, 10]])
    clipped = clip_boxes(boxes, np.array([[100, 80]] * 4))
    assert clipped.tolist() == [[0, 5, 20, 20], [70, 90, 9, 9], [79, 5, 0, 10], [5, 5, 10, 10]]

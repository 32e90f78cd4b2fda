"""The floor of a data set: the mean pose, against a literal computation, and exact where all poses are one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from posesearch.data.batch import crops
from posesearch.data.source import DataSource
from posesearch.data.store import ImageStore
from posesearch.errors import DataError
from posesearch.keypoints.boxes import affine, apply_affine, center_scale
from posesearch.train.meanpose import evaluate_mean_pose, mean_pose

SIZE = (64, 48)


def test_mean_over_labelled_joints_only(people_dir: Path) -> None:
    train = DataSource(data=str(people_dir)).load("train")
    wanted = np.zeros((17, 2))
    counts = np.zeros(17)
    for box, pose in zip(train.crop_boxes(), train.keypoints_NK3, strict=True):
        matrix = affine(*center_scale(box[None], SIZE), 0.0, SIZE)
        placed = apply_affine(matrix, pose[None, :, :2])[0]
        for joint in range(17):
            if pose[joint, 2] > 0:
                wanted[joint] += placed[joint]
                counts[joint] += 1
    np.testing.assert_allclose(mean_pose(train, SIZE), wanted / counts[:, None], atol=1e-9)


def test_one_pose_for_all_is_found_again(people_dir: Path) -> None:
    val = DataSource(data=str(people_dir)).load("val")
    one = val.subset(np.array([0]))
    evaluation = evaluate_mean_pose(one, one, crops(one, ImageStore.build(one), SIZE))
    # Labelled joints land where they are; only rounding separates this from a perfect answer.
    assert evaluation.ap == pytest.approx(1.0, abs=1e-12)
    assert (evaluation.boxes, evaluation.flip, evaluation.persons) == ("gt", False, 1)


def test_size_of_the_crop_changes_nothing(people_dir: Path) -> None:
    source = DataSource(data=str(people_dir))
    train, val = source.load("train"), source.load("val")
    store = ImageStore.build(val)
    small, large = (evaluate_mean_pose(train, val, crops(val, store, size)) for size in (SIZE, (256, 192)))
    assert small.figures == pytest.approx(large.figures, abs=1e-9)


def test_refuses_other_joints_and_no_joints(people_dir: Path) -> None:
    val = DataSource(data=str(people_dir)).load("val")
    material = crops(val, ImageStore.build(val), SIZE)
    other = replace(val, skeleton=replace(val.skeleton, names=("x", *val.skeleton.names[1:])))
    with pytest.raises(DataError, match=r"have different joints\. Both splits must have one joint set"):
        evaluate_mean_pose(other, val, material)
    with pytest.raises(DataError, match=r"has no labelled joint\. A mean pose needs some"):
        mean_pose(replace(val, keypoints_NK3=np.zeros_like(val.keypoints_NK3)), SIZE)

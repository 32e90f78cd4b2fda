"""The pose that knows nothing: every person gets the average pose of the training boxes.

What a network has learned about images is what it scores above this; AP at this level is the floor of a data set.

Shape letters: N persons, K joints. Points are (x, y).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posesearch.data.batch import EvalCrops
from posesearch.data.dataset import PoseDataset
from posesearch.errors import DataError
from posesearch.keypoints.boxes import affine, apply_affine, center_scale
from posesearch.train.evaluate import Evaluation, Predictions, score_predictions


def mean_pose(dataset: PoseDataset, input_size: tuple[int, int]) -> NDArray[np.float64]:
    """Returns the mean position of each joint over the persons that have it labelled, in crop pixels, (K, 2).

    Args:
        dataset: Training persons with ground-truth boxes.
        input_size: (height, width) of the crops.

    Raises:
        DataError: A joint is labelled nowhere.
    """
    matrix_N23 = affine(*center_scale(dataset.crop_boxes(), input_size), 0.0, input_size)
    points_NK2 = apply_affine(matrix_N23, dataset.keypoints_NK3[..., :2])
    weight_NK1 = (dataset.keypoints_NK3[..., 2:] > 0).astype(np.float64)
    count_K1 = weight_NK1.sum(axis=0)
    # A joint nobody has (LSP's faces in COCO's order) is put in the middle; nothing is ever scored against it.
    middle_2 = np.array(input_size[::-1], dtype=np.float64) / 2
    if not count_K1.any():
        raise DataError(
            f"{dataset.annotation_file} ({dataset.split}) has no labelled joint. A mean pose needs some. "
            "Check the file with `posesearch data check`."
        )
    sums_K2 = (weight_NK1 * points_NK2).sum(axis=0)
    return np.where(count_K1 > 0, sums_K2 / np.maximum(count_K1, 1), middle_2)


def evaluate_mean_pose(train: PoseDataset, dataset: PoseDataset, crops: EvalCrops) -> Evaluation:
    """Scores the mean pose of `train` on the persons of `dataset`.

    Raises:
        DataError: The joint sets differ, or `train` has no labelled joint.
    """
    if train.skeleton.names != dataset.skeleton.names:
        raise DataError(
            f"{train.annotation_file} and {dataset.annotation_file} have different joints. Both splits must have one "
            "joint set."
        )
    pose_K2 = mean_pose(train, crops.input_size)
    crop_points_NK2 = np.broadcast_to(pose_K2, (len(crops), *pose_K2.shape))
    predicted = Predictions(
        points_NK2=apply_affine(crops.inverse_affine_N23, crop_points_NK2),
        scores_NK=np.ones((len(crops), len(pose_K2))),
    )
    return score_predictions(predicted, crops, dataset)

"""From the poses of a top-down network to detections: rescoring, then OKS-NMS.

The default scoring of MMPose's CocoMetric, so that figures compare with those published for
RTMPose and StarNet-Pose.

Shapes: N persons, K joints, D <= N persons kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from posesearch.keypoints.groundtruth import Detections
from posesearch.keypoints.oks import oks_nms, rescore


def top_down_detections(
    image_ids_N: ArrayLike,
    keypoints_NK3: ArrayLike,
    keypoint_scores_NK: ArrayLike,
    box_scores_N: ArrayLike,
    areas_N: ArrayLike,
    bbox_N4: ArrayLike | None,
    sigmas: Sequence[float],
    nms_threshold: float = 0.9,
) -> Detections:
    """Scores persons by box and joints and drops those that repeat a better one.

    Args:
        image_ids_N: the image of each person.
        keypoints_NK3: poses in image pixels; only (x, y) is used.
        keypoint_scores_NK: joint scores; they become the third column of the result.
        box_scores_N: detector scores, 1 for ground-truth boxes.
        areas_N: width * height of the padded box (the product of its `center_scale` scale), for NMS.
        bbox_N4: boxes for the result, which then decide the detections' areas (MMPose writes them);
            None to leave the areas to the joints' extent.
        sigmas: the K constants of the skeleton.
        nms_threshold: OKS above which the worse of two poses goes.

    Returns:
        The persons kept, by ascending image id and within an image as `oks_nms` orders them. The
        order matters: COCOeval keeps it among equal scores. MMPose feeds the persons of an image by
        ascending annotation id; do the same for its exact figures under ties.
    """
    scores_NK = np.asarray(keypoint_scores_NK, dtype=np.float64)
    points_NK2 = np.asarray(keypoints_NK3, dtype=np.float64)[..., :2]
    image_ids_N = np.asarray(image_ids_N, dtype=np.int64)
    person_scores_N = rescore(box_scores_N, scores_NK)
    kept_D = oks_nms(points_NK2, person_scores_N, areas_N, sigmas, nms_threshold, image_ids_N)
    return Detections.from_arrays(
        image_ids_N[kept_D],
        np.concatenate((points_NK2, scores_NK[..., None]), axis=2)[kept_D],
        person_scores_N[kept_D],
        None if bbox_N4 is None else np.asarray(bbox_N4, dtype=np.float64)[kept_D],
    )

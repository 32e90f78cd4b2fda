"""Object keypoint similarity, and what is built on it: OKS-NMS and the rescoring of detections.

OKS is COCO's: the mean over joints of exp(-d^2 / (2 A (2 sigma)^2)), with d the distance of two
poses at a joint, A the area of the person and sigma the joint's constant
(https://cocodataset.org/#keypoints-eval). Rescoring and NMS are the default top-down scoring of
MMPose's CocoMetric ("bbox_keypoint" with "oks_nms").

Shapes: P pairs of poses, N detections, K joints.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


def oks(
    predicted_PK2: ArrayLike,
    true_PK2: ArrayLike,
    area_P: ArrayLike,
    sigmas: Sequence[float],
    visible_PK: ArrayLike | None = None,
) -> FloatArray:
    """The OKS of each pair of poses, in [0, 1].

    Args:
        predicted_PK2: (x, y) of one pose of each pair, in pixels.
        true_PK2: (x, y) of the other.
        area_P: the person's area in square pixels (COCO: of the segmentation).
        sigmas: the K constants.
        visible_PK: the joints that count, all where not given. At least one a pair.
    """
    difference_PK2 = np.asarray(predicted_PK2, dtype=np.float64) - np.asarray(true_PK2, dtype=np.float64)
    squared_PK = difference_PK2[..., 0] ** 2 + difference_PK2[..., 1] ** 2
    terms_PK = joint_terms(squared_PK, np.asarray(area_P, dtype=np.float64), variances(sigmas))
    visible_PK = (
        np.ones(terms_PK.shape, dtype=bool) if visible_PK is None else np.asarray(visible_PK, dtype=bool)
    )
    return mean_of_visible(terms_PK, visible_PK)


def variances(sigmas: Sequence[float]) -> FloatArray:
    """(2 sigma)^2 of each joint: the 2 is COCO's."""
    return (np.asarray(sigmas, dtype=np.float64) * 2) ** 2


def joint_terms(squared_PK: FloatArray, area_P: FloatArray, variance_K: FloatArray) -> FloatArray:
    """exp(-d^2 / (2 A (2 sigma)^2)) with pycocotools' order of operations; 1 where joints coincide."""
    exponent_PK = squared_PK / variance_K
    exponent_PK /= (area_P + np.spacing(1))[:, None]
    exponent_PK /= -2
    return np.exp(exponent_PK, out=exponent_PK)


def mean_of_visible(terms_PK: FloatArray, visible_PK: BoolArray) -> FloatArray:
    """Means over the visible joints of each pair, to the last bit as pycocotools computes them.

    Pairs with equally many visible joints are summed together: `numpy.sum` then adds the same
    numbers in the same order as pycocotools does pair by pair, so that no OKS that lies on a
    threshold falls on the other side of it.
    """
    count_P = np.count_nonzero(visible_PK, axis=1)
    oks_P = np.empty(len(count_P))
    for count in np.flatnonzero(np.bincount(count_P)).tolist():
        pairs = np.flatnonzero(count_P == count)
        oks_P[pairs] = terms_PK[pairs][visible_PK[pairs]].reshape(len(pairs), count).sum(axis=1) / count
    return oks_P


def rescore(box_scores_N: ArrayLike, keypoint_scores_NK: ArrayLike, threshold: float = 0.2) -> FloatArray:
    """Detection scores: box score times the mean of the joint scores above the threshold (0 if none)."""
    scores_NK = np.asarray(keypoint_scores_NK, dtype=np.float64)
    counted_NK = scores_NK > threshold
    count_N = np.count_nonzero(counted_NK, axis=1)
    mean_N = np.where(counted_NK, scores_NK, 0).sum(axis=1) / np.maximum(count_N, 1)
    return np.asarray(box_scores_N, dtype=np.float64) * mean_N


def oks_nms(
    keypoints_NK3: ArrayLike,
    scores_N: ArrayLike,
    areas_N: ArrayLike,
    sigmas: Sequence[float],
    threshold: float = 0.9,
    image_ids_N: ArrayLike | None = None,
) -> NDArray[np.int64]:
    """Greedy suppression of poses that repeat a better one of the same image.

    A pose goes if its OKS with a kept pose of a higher score exceeds the threshold, with the mean
    of the two areas and over all joints, whatever their visibility.

    Args:
        keypoints_NK3: poses; only (x, y) is used, further columns may be absent.
        scores_N: detection scores.
        areas_N: areas in square pixels. MMPose: width * height of the *padded* box.
        sigmas: the K constants.
        threshold: OKS above which two poses are one; 1.0 keeps all.
        image_ids_N: the image of each pose; one image where not given.

    Returns:
        Indices of the poses kept: by ascending image id, within an image by descending score. Of
        equal scores the *later* pose is first, as in MMPose (`argsort()[::-1]`): on its 14-person
        test file the other order gives AP .527185 for .528746.
    """
    points_NK2 = np.asarray(keypoints_NK3, dtype=np.float64)[..., :2]
    scores_N = np.asarray(scores_N, dtype=np.float64)
    areas_N = np.asarray(areas_N, dtype=np.float64)
    image_N = np.zeros(len(scores_N), dtype=np.int64) if image_ids_N is None else np.asarray(image_ids_N)
    order_N = np.lexsort((-np.arange(len(scores_N)), -scores_N, image_N))
    points_NK2, areas_N = points_NK2[order_N], areas_N[order_N]
    better_P, worse_P = _pairs_within(image_N[order_N])
    area_P = (areas_N[better_P] + areas_N[worse_P]) / 2
    alike_P = _may_exceed(points_NK2, better_P, worse_P, area_P, variances(sigmas), threshold)
    better_P, worse_P, area_P = better_P[alike_P], worse_P[alike_P], area_P[alike_P]
    repeats_P = oks(points_NK2[worse_P], points_NK2[better_P], area_P, sigmas) > threshold
    kept_N = np.ones(len(order_N), dtype=bool)
    # Pairs come by ascending better pose, whose own fate is settled by the pairs before.
    for better, worse in zip(better_P[repeats_P].tolist(), worse_P[repeats_P].tolist(), strict=True):
        if kept_N[better]:
            kept_N[worse] = False
    return order_N[kept_N]


def _may_exceed(
    points_NK2: FloatArray,
    one_P: NDArray[np.int64],
    other_P: NDArray[np.int64],
    area_P: FloatArray,
    variance_K: FloatArray,
    threshold: float,
) -> NDArray[np.int64]:
    """Indices of the pairs whose OKS may exceed the threshold.

    Joint by joint, the tightest first, a pair leaves as soon as the joints seen have cost it more
    than all of them together may. In a crowd almost all pairs leave after two of 17 joints.
    """
    alive_P = np.arange(len(one_P))
    # 1e-9 against rounding: what stays is computed exactly afterwards.
    left_P = np.full(len(one_P), (1 - threshold) * len(variance_K) + 1e-9)
    columns_2KN = np.ascontiguousarray(points_NK2.transpose(2, 1, 0))
    for joint in np.argsort(variance_K, kind="stable").tolist():
        x_N, y_N = columns_2KN[:, joint]
        one, other = one_P[alive_P], other_P[alive_P]
        squared_P = (x_N[one] - x_N[other]) ** 2 + (y_N[one] - y_N[other]) ** 2
        left_P -= 1 - np.exp(squared_P / (-2 * variance_K[joint] * (area_P[alive_P] + np.spacing(1))))
        stays_P = left_P >= 0
        alive_P, left_P = alive_P[stays_P], left_P[stays_P]
    return alive_P


def _pairs_within(group_N: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index pairs (i, j), i < j, of equal group, by ascending i; equal groups must be neighbours."""
    index_N = np.arange(len(group_N))
    end_N = np.searchsorted(group_N, group_N, side="right")
    count_N = end_N - index_N - 1
    first_P = np.repeat(index_N, count_N)
    step_P = np.arange(count_N.sum()) - np.repeat(np.cumsum(count_N) - count_N, count_N)
    return first_P, first_P + 1 + step_P

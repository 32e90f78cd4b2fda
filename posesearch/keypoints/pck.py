"""PCK: the share of joints predicted within a fraction of a body length.

Yang and Ramanan, "Articulated Human Detection with Flexible Mixtures of Parts" (PAMI 2013)
introduced it relative to the box; Sapp and Taskar, "MODEC" (CVPR 2013) relative to the torso, which
PCK@0.2 on LSP uses.

Shapes: N persons, K joints.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posesearch.errors import DataError
from posesearch.keypoints.skeleton import Skeleton


def pck(
    predicted_NK2: ArrayLike,
    true_NK2: ArrayLike,
    visible_NK: ArrayLike,
    normaliser_N: ArrayLike,
    threshold: float = 0.2,
) -> float:
    """The share, in [0, 1], of labelled joints with |predicted - true| <= threshold * normaliser.

    Args:
        predicted_NK2: (x, y) in pixels of the image.
        true_NK2: (x, y) in the same pixels.
        visible_NK: joints that count (COCO visibility: above 0).
        normaliser_N: body length in pixels; persons where it is NaN or not positive do not count.
        threshold: fraction of the normaliser.

    Returns:
        The share over all joints of all persons that count; -1 (as COCO's figures) if there are none.
    """
    difference_NK2 = np.asarray(predicted_NK2, dtype=np.float64) - np.asarray(true_NK2, dtype=np.float64)
    distance_NK = np.sqrt(difference_NK2[..., 0] ** 2 + difference_NK2[..., 1] ** 2)
    normaliser_N = np.asarray(normaliser_N, dtype=np.float64)
    usable_N = np.isfinite(normaliser_N) & (normaliser_N > 0)
    counts_NK = (np.asarray(visible_NK) > 0) & usable_N[:, None]
    if not counts_NK.any():
        return -1.0
    correct_NK = distance_NK <= threshold * np.where(usable_N, normaliser_N, 0)[:, None]
    return float(np.count_nonzero(correct_NK & counts_NK) / np.count_nonzero(counts_NK))


def torso_normaliser(keypoints_NK3: ArrayLike, skeleton: Skeleton) -> NDArray[np.float64]:
    """Torso length in pixels: from between the shoulders to between the hips.

    This takes all four joints, so that one misplaced label moves it by half only; MODEC and MMPose
    take the distance of one shoulder to the opposite hip, which is some 10 % longer.

    Args:
        keypoints_NK3: annotated (x, y, visibility).
        skeleton: a joint set with left and right shoulders and hips.

    Returns:
        normaliser_N, NaN for persons where one of the four is unlabelled.

    Raises:
        DataError: the skeleton lacks one of the four joints.
    """
    wanted = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
    missing = [name for name in wanted if name not in skeleton.names]
    if missing:
        raise DataError(
            f"The torso length needs the joints {', '.join(wanted)}; this joint set has no {', '.join(missing)}. "
            "Use OKS-AP for it, or PCK with another normaliser."
        )
    torso_N43 = np.asarray(keypoints_NK3, dtype=np.float64)[
        :, [skeleton.names.index(name) for name in wanted]
    ]
    middle_N22 = torso_N43[..., :2].reshape(-1, 2, 2, 2).mean(axis=2)
    length_N = np.hypot(*(middle_N22[:, 0] - middle_N22[:, 1]).T)
    return np.where((torso_N43[..., 2] > 0).all(axis=1), length_N, np.nan)

"""From a batch of persons and their random numbers to one matrix each, image pixels to crop pixels.

Shape suffixes: B persons of a batch, K joints. Boxes are (x, y, width, height), points (x, y).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posesearch.data.augment import BOX_PADDING, AugmentConfig, AugmentDraws
from posesearch.keypoints.boxes import affine, center_scale
from posesearch.keypoints.skeleton import Skeleton


def half_body_boxes(
    keypoints_BK3: NDArray[np.float64], skeleton: Skeleton, config: AugmentConfig, draws: AugmentDraws
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Boxes around the labelled joints of the upper or the lower body (MMPose RandomHalfBody).

    A half is possible when enough of its joints are labelled; where both are, the draw decides. The centre is the
    mean of the joints, the size their extent times `half_body_padding`.

    Returns:
        applies_B, center_B2, size_B2 (width, height); rows where it does not apply are meaningless.
    """
    labelled_BK = keypoints_BK3[..., 2] > 0
    half_2K = np.zeros((2, skeleton.num_joints), dtype=bool)
    half_2K[0, list(skeleton.upper_body)] = True
    half_2K[1, list(skeleton.lower_body)] = True
    upper_ok_B = (labelled_BK & half_2K[0]).sum(axis=1) >= config.half_body_min_upper
    lower_ok_B = (labelled_BK & half_2K[1]).sum(axis=1) >= config.half_body_min_lower
    enough_B = labelled_BK.sum(axis=1) >= config.half_body_min_labelled
    take_upper_B = upper_ok_B & (draws.upper_B | ~lower_ok_B)
    chosen_BK1 = (labelled_BK & np.where(take_upper_B[:, None], half_2K[0], half_2K[1]))[..., None]
    points_BK2 = keypoints_BK3[..., :2]
    low_B2 = np.where(chosen_BK1, points_BK2, np.inf).min(axis=1)
    high_B2 = np.where(chosen_BK1, points_BK2, -np.inf).max(axis=1)
    size_B2 = (high_B2 - low_B2) * config.half_body_padding
    center_B2 = np.where(chosen_BK1, points_BK2, 0).sum(axis=1) / np.maximum(chosen_BK1.sum(axis=1), 1)
    # Joints on one spot span no box to zoom into.
    applies_B = draws.half_body_B & enough_B & (upper_ok_B | lower_ok_B) & (size_B2.max(axis=1) >= 1)
    return applies_B, center_B2, size_B2


def augment_matrices(
    crop_boxes_B4: NDArray[np.float64],
    keypoints_BK3: NDArray[np.float64],
    skeleton: Skeleton,
    config: AugmentConfig,
    draws: AugmentDraws,
    input_size: tuple[int, int],
) -> NDArray[np.float64]:
    """Returns matrix_B23 from the stored image to the augmented crop, the mirror image folded in.

    Order as in MMPose: mirror, half-body box, shift by a share of the padded box, scale, rotate, then widen the box to
    the crop's aspect and warp (non-UDP). MMPose mirrors x -> width - 1 - x; the box is mirrored with the image, so
    the column it is mirrored about cancels out and x -> -x gives the same crop.
    """
    size_B2 = crop_boxes_B4[:, 2:] * BOX_PADDING
    center_B2 = crop_boxes_B4[:, :2] + crop_boxes_B4[:, 2:] / 2
    applies_B, half_center_B2, half_size_B2 = half_body_boxes(keypoints_BK3, skeleton, config, draws)
    center_B2 = np.where(applies_B[:, None], half_center_B2, center_B2)
    size_B2 = np.where(applies_B[:, None], half_size_B2, size_B2)
    mirror_B = np.where(draws.flip_B, -1.0, 1.0)
    center_B2[:, 0] *= mirror_B
    center_B2 += draws.shift_B2 * size_B2
    size_B2 = size_B2 * draws.scale_B[:, None]
    boxes_B4 = np.concatenate((center_B2 - size_B2 / 2, size_B2), axis=1)
    center_B2, scale_B2 = center_scale(boxes_B4, input_size, padding=1.0)
    matrix_B23 = affine(center_B2, scale_B2, draws.rotation_B, input_size)
    matrix_B23[:, :, 0] *= mirror_B[:, None]
    return matrix_B23

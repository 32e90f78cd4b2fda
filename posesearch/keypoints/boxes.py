"""From a person's box to the crop a network sees, and back.

Points are (x, y) in pixels of the image or of the crop; sizes are (height, width). A crop is
given by its centre (x, y) and its scale (width, height), both in image pixels, and an angle.
The formulas are those of MMPose's default top-down transform (GetBBoxCenterScale and
TopdownAffine with use_udp=False), which RTMPose and StarNet-Pose were trained with.

Shapes: N persons, K points each; an affine matrix is (2, 3) and acts on (x, y, 1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def center_scale(
    bbox_xywh_N4: ArrayLike,
    input_size: tuple[int, int],
    padding: float = 1.25,
    image_size: ArrayLike | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Centre and scale of the padded box, widened or heightened to the aspect of the crop.

    Args:
        bbox_xywh_N4: boxes as (left, top, width, height) in image pixels.
        input_size: (height, width) of the crop.
        padding: factor on both sides of the box.
        image_size: (height, width) of the image, one for all or one a box, to clip the boxes to
            [0, width - 1] x [0, height - 1]. For ground-truth boxes only: MMPose clips those
            while reading annotations, and leaves detector boxes as they are.

    Returns:
        center_N2 (x, y) and scale_N2 (width, height). The product of a scale is the area
        that OKS-NMS works with.
    """
    bbox_N4 = np.asarray(bbox_xywh_N4, dtype=np.float64).reshape(-1, 4)
    low_N2 = bbox_N4[:, :2]
    high_N2 = low_N2 + bbox_N4[:, 2:]
    if image_size is not None:
        last_pixel_xy = np.asarray(image_size, dtype=np.float64)[..., ::-1] - 1
        low_N2 = np.clip(low_N2, 0, last_pixel_xy)
        high_N2 = np.clip(high_N2, 0, last_pixel_xy)
    scale_N2 = (high_N2 - low_N2) * padding
    height, width = input_size
    aspect = width / height
    width_N, height_N = scale_N2[:, 0], scale_N2[:, 1]
    too_wide_N = width_N > aspect * height_N
    fixed_N2 = np.stack(
        (np.where(too_wide_N, width_N, height_N * aspect), np.where(too_wide_N, width_N / aspect, height_N)),
        axis=1,
    )
    return (low_N2 + high_N2) / 2, fixed_N2


def affine(
    center_N2: ArrayLike, scale_N2: ArrayLike, rotation_deg_N: ArrayLike, input_size: tuple[int, int]
) -> FloatArray:
    """Matrices that take image pixels to crop pixels.

    x' = A x + b with s = crop width / scale width, A = s [[cos, sin], [-sin, cos]] and
    b = crop centre - A c. The crop centre is (width / 2, height / 2): the non-UDP rule.

    Args:
        center_N2: (x, y) in image pixels.
        scale_N2: (width, height) in image pixels, positive, of the crop's aspect.
        rotation_deg_N: angles in degrees, one for all or one a person; the region of the image
            that is cut out is turned clockwise (as seen, y down) by this angle.
        input_size: (height, width) of the crop.

    Returns:
        matrix_N23.
    """
    center_N2 = np.asarray(center_N2, dtype=np.float64).reshape(-1, 2)
    scale_N2 = np.asarray(scale_N2, dtype=np.float64).reshape(-1, 2)
    angle_N = np.deg2rad(np.broadcast_to(np.asarray(rotation_deg_N, dtype=np.float64), len(center_N2)))
    height, width = input_size
    zoom_N = width / scale_N2[:, 0]
    cos_N, sin_N = zoom_N * np.cos(angle_N), zoom_N * np.sin(angle_N)
    matrix_N23 = np.empty((len(center_N2), 2, 3))
    matrix_N23[:, 0, 0], matrix_N23[:, 0, 1] = cos_N, sin_N
    matrix_N23[:, 1, 0], matrix_N23[:, 1, 1] = -sin_N, cos_N
    moved_N2 = np.einsum("nij,nj->ni", matrix_N23[:, :, :2], center_N2)
    matrix_N23[:, :, 2] = (width / 2, height / 2) - moved_N2
    return matrix_N23


def invert_affine(matrix_N23: ArrayLike) -> FloatArray:
    """The inverse maps: crop pixels to image pixels for the matrices of `affine`.

    Without UDP this is exactly MMPose's x = x' / (width, height) * scale + center - scale / 2.
    """
    matrix_N23 = np.asarray(matrix_N23, dtype=np.float64)
    a_N, b_N, c_N, d_N = (matrix_N23[:, row, column] for row in (0, 1) for column in (0, 1))
    inverse_N23 = np.empty_like(matrix_N23)
    inverse_N23[:, 0, 0], inverse_N23[:, 0, 1] = d_N, -b_N
    inverse_N23[:, 1, 0], inverse_N23[:, 1, 1] = -c_N, a_N
    inverse_N23[:, :, :2] /= (a_N * d_N - b_N * c_N)[:, None, None]
    inverse_N23[:, :, 2] = -np.einsum("nij,nj->ni", inverse_N23[:, :, :2], matrix_N23[:, :, 2])
    return inverse_N23


def apply_affine(matrix_N23: ArrayLike, points_NK2: ArrayLike) -> FloatArray:
    """points_NK2, each person's (x, y) moved by the person's own matrix."""
    matrix_N23 = np.asarray(matrix_N23, dtype=np.float64)
    points_NK2 = np.asarray(points_NK2, dtype=np.float64)
    return points_NK2 @ matrix_N23[:, :, :2].transpose(0, 2, 1) + matrix_N23[:, None, :, 2]

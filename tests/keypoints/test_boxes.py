"""Crops against MMPose's construction by three points, written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.keypoints import affine, apply_affine, center_scale, invert_affine

SIZE = (256, 192)


def test_center_and_scale_by_hand():
    # 100 x 100 at (10, 20): 125 wide is more than .75 * 125, so the height grows to 125 / .75.
    center, scale = center_scale([[10, 20, 100, 100]], SIZE)
    np.testing.assert_allclose(center, [[60, 70]])
    np.testing.assert_allclose(scale, [[125, 125 / 0.75]])
    # 30 x 100: 125 high, so the width grows to .75 * 125.
    _, scale = center_scale([[10, 20, 30, 100]], SIZE)
    np.testing.assert_allclose(scale, [[93.75, 125]])
    _, scale = center_scale([[10, 20, 30, 100]], SIZE, padding=1.0)
    np.testing.assert_allclose(scale, [[75, 100]])


def test_ground_truth_boxes_are_clipped_to_the_last_pixel():
    box = [[-10.0, 20, 60, 500]]
    center, scale = center_scale(box, SIZE, image_size=(480, 640))
    np.testing.assert_allclose(center, [[25, (20 + 479) / 2]])
    np.testing.assert_allclose(scale, [[459 * 1.25 * 0.75, 459 * 1.25]])
    np.testing.assert_allclose(center_scale(box, SIZE)[0], [[20, 270]])
    each = center_scale(np.repeat(box, 2, axis=0), SIZE, image_size=[(480, 640), (1000, 1000)])[0]
    np.testing.assert_allclose(each, [[25, 249.5], [25, 270]])


def three_point_matrix(center, scale, degrees, input_size):
    """MMPose get_warp_matrix: the middle, the middle of the turned left side, and a right angle to it."""
    height, width = input_size
    angle = math.radians(degrees)
    left = np.array([math.cos(angle), math.sin(angle)]) * -scale[0] / 2
    source = np.array([center, center + left, center + left + (-left[1], left[0])])
    target = np.array([(width / 2, height / 2), (0, height / 2), (0, height / 2 - width / 2)])
    return np.linalg.solve(np.c_[source, np.ones(3)], target).T


@settings(deadline=None)
@given(
    x=st.floats(-100, 1000),
    y=st.floats(-100, 1000),
    width=st.floats(5, 800),
    degrees=st.floats(-180, 180),
    size=st.sampled_from([(256, 192), (128, 96), (64, 48), (192, 192)]),
)
def test_affine_is_the_three_point_construction(x, y, width, degrees, size):
    center, scale = np.array([x, y]), np.array([width, width * size[0] / size[1]])
    matrix = affine(center[None], scale[None], degrees, size)
    # Its third point is found by turning the side by 90 degrees; both frames are right-handed.
    expected = three_point_matrix(center, scale, degrees, size)
    points = np.random.default_rng(0).uniform(0, 500, (1, 9, 2))
    np.testing.assert_allclose(
        apply_affine(matrix, points)[0], points[0] @ expected[:, :2].T + expected[:, 2], rtol=1e-6, atol=1e-4
    )


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_inverse_undoes_and_is_mmposes_formula_without_rotation(seed):
    rng = np.random.default_rng(seed)
    center, scale = center_scale(rng.uniform(1, 400, (7, 4)), SIZE)
    turned = affine(center, scale, rng.uniform(-80, 80, 7), SIZE)
    points = rng.uniform(0, 400, (7, 5, 2))
    np.testing.assert_allclose(
        apply_affine(invert_affine(turned), apply_affine(turned, points)), points, atol=1e-8
    )
    upright = invert_affine(affine(center, scale, 0.0, SIZE))
    crop = rng.uniform(0, 192, (7, 5, 2))
    formula = crop / (192, 256) * scale[:, None] + center[:, None] - scale[:, None] / 2
    np.testing.assert_allclose(apply_affine(upright, crop), formula, atol=1e-8)


def test_a_positive_angle_turns_the_crop_clockwise():
    # Turned by 90 degrees, what was below the centre of the image region comes out at the right.
    matrix = affine([[50, 50]], [[192, 256]], 90.0, SIZE)
    np.testing.assert_allclose(apply_affine(matrix, [[[50, 60]]]), [[[106, 128]]], atol=1e-9)


def test_no_boxes():
    center, scale = center_scale(np.zeros((0, 4)), SIZE)
    assert affine(center, scale, 0.0, SIZE).shape == (0, 2, 3)


def test_padded_area_is_one_and_a_half_boxes():
    _, scale = center_scale([[0, 0, 75, 100]], SIZE)
    assert scale.prod() == pytest.approx(1.5625 * 7500)

"""Boxes, half bodies and mirror images: one matrix that keypoints and pixels both follow."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.data.augment import STAGE1, draw
from posesearch.data.geometry import augment_matrices, half_body_boxes
from posesearch.keypoints.boxes import apply_affine
from posesearch.keypoints.skeleton import COCO17
from posesearch.rng import generator

SIZE = (256, 192)


def labelled(upper=11, lower=6):
    """One person with the first so many joints of each half labelled, on a known grid."""
    keypoints = np.zeros((1, 17, 3))
    for index in (*range(upper), *range(11, 11 + lower)):
        keypoints[0, index] = (100 + 5 * index, 50 + 10 * index, 2)
    return keypoints


@pytest.fixture
def matrices(draws_of):
    return lambda **changes: _matrices(draws_of(**changes))


def _matrices(draws):
    boxes = np.array([[10.0, 20.0, 60.0, 80.0]])
    return augment_matrices(boxes, labelled(), COCO17, STAGE1, draws, SIZE)


def test_neutral_draws_give_the_evaluation_crop(matrices):
    # 60 x 80 padded by 1.25 is 75 x 100, already 3:4; 192 / 75 = 2.56 crop pixels an image pixel.
    matrix = matrices()
    assert np.allclose(matrix[0], [[2.56, 0, 96 - 2.56 * 40], [0, 2.56, 128 - 2.56 * 60]])


def test_each_draw_does_its_one_thing(matrices):
    center = np.array([[[40.0, 60.0]]])
    assert np.allclose(apply_affine(matrices(), center), [[[96, 128]]])
    # Shift by a tenth of the padded box moves the person the other way: 7.5 and -10 image pixels at 2.56.
    assert np.allclose(
        apply_affine(matrices(shift_B2=[[0.1, -0.1]]), center), [[[96 - 7.5 * 2.56, 128 + 10 * 2.56]]]
    )
    assert np.allclose(matrices(scale_B=[0.5])[0, 0, 0], 5.12)
    turned = matrices(rotation_B=[90.0])[0]
    assert np.allclose(turned[:, :2], [[0, 2.56], [-2.56, 0]])
    assert np.allclose(turned @ [40, 60, 1], [96, 128])
    # Mirrored about the middle of the pixel grid, columns 0 and 149 change places.
    mirrored = matrices(flip_B=[True])[0]
    assert np.allclose(mirrored @ [40, 60, 1], [96, 128])
    assert np.allclose(mirrored @ [45, 60, 1], [96 - 5 * 2.56, 128])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    center=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
    size=st.tuples(st.floats(1, 500), st.floats(1, 500)),
)
def test_a_mirrored_person_lands_where_the_mirrored_box_puts_it(seed, center, size):
    """Mirroring twice is the identity: the crop of a mirrored image, mirrored again, is the plain crop."""
    draws = draw(STAGE1, 6, SIZE, generator(seed, "test"))
    draws = draws._replace(half_body_B=np.zeros(6, dtype=bool))
    boxes = np.tile([center[0] - size[0] / 2, center[1] - size[1] / 2, *size], (6, 1))
    mirrored_boxes = boxes.copy()
    mirrored_boxes[:, 0] = 149 - boxes[:, 0] - boxes[:, 2]
    keypoints = np.tile(labelled(), (6, 1, 1))
    points = np.random.default_rng(seed).uniform(-300, 300, (6, 4, 2))
    mirrored_points = points * (-1, 1) + (149, 0)
    ours = augment_matrices(boxes, keypoints, COCO17, STAGE1, draws, SIZE)
    other = augment_matrices(
        mirrored_boxes, keypoints, COCO17, STAGE1, draws._replace(flip_B=~draws.flip_B), SIZE
    )
    scale = np.abs(ours[:, :, :2]).max() * 1000
    assert np.allclose(apply_affine(ours, points), apply_affine(other, mirrored_points), atol=1e-9 * scale)


def test_mirror_in_the_matrix_equals_a_mirrored_image(draws_of):
    image = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    image = cv2.GaussianBlur(image, (7, 7), 0)
    boxes = np.array([[12.0, 9.0, 40.0, 60.0]])
    draws = draws_of(flip_B=[True], rotation_B=[31.0], scale_B=[1.2], shift_B2=[[0.05, -0.02]])
    matrix = augment_matrices(boxes, labelled(), COCO17, STAGE1, draws, SIZE)
    mirrored_boxes = np.array([[69 - 12.0 - 40.0, 9.0, 40.0, 60.0]])
    plain = augment_matrices(
        mirrored_boxes, labelled(), COCO17, STAGE1, draws._replace(flip_B=np.array([False])), SIZE
    )
    ours = cv2.warpAffine(image, matrix[0], SIZE[::-1])
    theirs = cv2.warpAffine(np.ascontiguousarray(image[:, ::-1]), plain[0], SIZE[::-1])
    # OpenCV 4 rounds source positions to 1/32 pixel, so equality is within a few grey levels.
    assert np.abs(ours.astype(int) - theirs).max() <= 6
    assert np.abs(ours.astype(int) - theirs).mean() < 0.5


@pytest.mark.parametrize(
    ("upper", "lower", "prefer_upper", "wanted"),
    [
        (11, 6, True, "upper"),
        (11, 6, False, "lower"),
        (11, 2, False, "upper"),  # the lower half needs three joints
        (11, 0, False, "upper"),
        (6, 3, False, "lower"),
        (5, 3, True, None),  # eight labelled joints are too few
        (2, 7 - 1, True, None),
        (3, 6, True, "upper"),
    ],
)
def test_half_body_rules(draws_of, upper, lower, prefer_upper, wanted):
    keypoints = labelled(upper, lower)
    draws = draws_of(half_body_B=[True], upper_B=[prefer_upper])
    applies, center, size = half_body_boxes(keypoints, COCO17, STAGE1, draws)
    assert applies[0] == (wanted is not None)
    if wanted:
        rows = range(upper) if wanted == "upper" else range(11, 11 + lower)
        points = keypoints[0, list(rows), :2]
        assert np.allclose(center[0], points.mean(axis=0))
        assert np.allclose(size[0], np.ptp(points, axis=0) * 1.5)


def test_half_body_needs_its_draw_and_an_extent(draws_of):
    assert not half_body_boxes(labelled(), COCO17, STAGE1, draws_of())[0].any()
    on_one_spot = labelled()
    on_one_spot[..., :2] = 40
    with np.errstate(all="raise"):
        assert not half_body_boxes(on_one_spot, COCO17, STAGE1, draws_of(half_body_B=[True]))[0].any()


def test_only_lower_joints_too_few_for_both_halves(draws_of):
    config = replace(STAGE1, half_body_min_upper=10, half_body_min_lower=6)
    applies, _, _ = half_body_boxes(labelled(6, 5), COCO17, config, draws_of(half_body_B=[True]))
    assert not applies.any()


def test_unlabelled_persons_survive_the_whole_path():
    keypoints = np.zeros((50, 17, 3))
    draws = draw(STAGE1, 50, SIZE, generator(0, "test"))
    boxes = np.tile([[1.0, 1.0, 5.0, 9.0]], (50, 1))
    matrix = augment_matrices(boxes, keypoints, COCO17, STAGE1, draws, SIZE)
    assert np.isfinite(matrix).all()

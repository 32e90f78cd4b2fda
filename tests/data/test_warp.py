"""Crops cut through four channels are, to the last byte, what OpenCV cuts out of three."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.data.warp import MOST_SEEN, Cutter
from posesearch.keypoints.boxes import affine

CROP = (32, 24)


def cut(images, matrix_B23, crop=CROP) -> np.ndarray:
    cutter = Cutter(np.array([image.shape[:2] for image in images]), matrix_B23, crop)
    crops_BHWC = np.full((len(images), *crop, 3), 77, dtype=np.uint8)
    for row, image in enumerate(images):
        cutter(row, image, crops_BHWC[row])
    return crops_BHWC


def plain(images, matrix_B23, crop=CROP) -> np.ndarray:
    return np.stack(
        [
            cv2.warpAffine(image, matrix, crop[::-1], flags=cv2.INTER_LINEAR)
            for image, matrix in zip(images, matrix_B23, strict=True)
        ]
    )


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    center=st.tuples(st.floats(-1, 2), st.floats(-1, 2)),
    seen=st.floats(0.5, 400),
    rotation=st.floats(-180, 180),
    mirror=st.booleans(),
)
def test_equals_opencv(size, center, seen, rotation, mirror):
    image = noise(*size)
    center_12 = np.array([center]) * (size[1], size[0])
    matrix = affine(center_12, np.array([[seen * 0.75, seen]]), np.array([rotation]), CROP)
    matrix[:, :, 0] *= -1.0 if mirror else 1.0
    assert np.array_equal(cut([image], matrix), plain([image], matrix))


@pytest.mark.parametrize("shrink", [0.2, 1.0, 1.5, 4.0])
def test_equals_opencv_whichever_way_is_taken(shrink):
    # The largest shrinks to a crop that sees more than pays, and is cut out of three channels.
    image = noise(300, 260)
    seen = np.array([[CROP[1], CROP[0]]]) * shrink
    matrix = affine(np.array([[130.0, 150.0]]), seen, np.array([20.0]), CROP)
    assert (shrink**2 > MOST_SEEN) == (shrink == 4.0)
    assert np.array_equal(cut([image], matrix), plain([image], matrix))


def test_images_of_a_batch_share_a_buffer_and_do_not_mix():
    images = [noise(90, 40, 1), noise(40, 90, 2), noise(12, 10, 3), noise(90, 40, 1)]
    # The third person is far outside of the image: all of the crop is black.
    center = np.array([(20.0, 45.0), (45.0, 20.0), (-500.0, 4.0), (10.0, 30.0)])
    matrix = affine(center, np.full((4, 2), (36.0, 48.0)), np.array([0.0, 90.0, 0.0, 45.0]), CROP)
    crops_BHWC = cut(images, matrix)
    assert np.array_equal(crops_BHWC, plain(images, matrix))
    assert not crops_BHWC[2].any()
    assert crops_BHWC[[0, 1, 3]].any(axis=(1, 2, 3)).all()


def test_equals_opencv_at_the_published_size_on_a_large_photo():
    image = noise(480, 640)
    center, scale = np.array([(320.0, 240.0), (10.0, 400.0)]), np.array([(240.0, 320.0), (90.0, 120.0)])
    matrix = affine(center, scale, np.array([33.0, -71.0]), (256, 192))
    assert np.array_equal(cut([image, image], matrix, (256, 192)), plain([image, image], matrix, (256, 192)))


def test_a_read_only_image_stays_as_it_is():
    image = noise(50, 60)
    before = image.copy()
    image.setflags(write=False)
    matrix = affine(np.array([[30.0, 25.0]]), np.array([[30.0, 40.0]]), np.array([5.0]), CROP)
    assert np.array_equal(cut([image], matrix), plain([image], matrix))
    assert np.array_equal(image, before)

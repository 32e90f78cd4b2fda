"""Colours and blurs on a device against OpenCV's uint8 arithmetic."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.data.device_photometric import blur_chosen, box_blur, inside_holes, jitter_hsv, median_blur
from posesearch.data.device_warp import interleave
from posesearch.data.photometric import apply_photometric


def jittered(images_BHWC: np.ndarray, hsv_B3: np.ndarray) -> np.ndarray:
    red, green, blue = torch.from_numpy(images_BHWC).int().unbind(-1)
    return interleave(jitter_hsv((red, green, blue), torch.from_numpy(hsv_B3).int())).numpy()


def all_colours(step: int) -> np.ndarray:
    """One image of all colours whose values are multiples of `step`, black and white among them."""
    levels = np.arange(0, 256, step, dtype=np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(len(levels), -1, 3)


def noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    "amounts", [(1, 0, 0), (-5, 0, 0), (0, 30, 0), (0, 0, -30), (4, -29, 29), (-3, 29, -29), (90, -255, 255)]
)
def test_all_colours_are_opencvs_within_one_grey_level(amounts, draws_of):
    colours = all_colours(3)[None]
    hsv_B3 = np.array([amounts], dtype=np.int16)
    expected = colours.copy()
    apply_photometric(expected, draws_of(1, hsv_B3=hsv_B3))
    difference = np.abs(jittered(colours, hsv_B3).astype(int) - expected)
    assert difference.max() <= 1
    # Rounding instead of cutting off would differ in a third of the values.
    assert (difference > 0).mean() < 0.15


def test_dark_colours_are_opencvs(draws_of):
    # Where a hue hangs on one grey level.
    dark = np.stack(np.meshgrid(*[np.arange(12, dtype=np.uint8)] * 3), axis=-1).reshape(1, 12, -1, 3)
    hsv_B3 = np.array([(3, 20, 25)], dtype=np.int16)
    expected = dark.copy()
    apply_photometric(expected, draws_of(1, hsv_B3=hsv_B3))
    assert np.abs(jittered(dark, hsv_B3).astype(int) - expected).max() <= 1


def test_a_crop_without_changes_is_not_touched():
    images = noise((2, 32, 24, 3), 1)
    found = jittered(images, np.array([(0, 0, 0), (0, 0, 1)]))
    assert np.array_equal(found[0], images[0])
    assert not np.array_equal(found[1], images[1])


@settings(max_examples=30, deadline=None)
@given(
    kernel=st.sampled_from((3, 5, 7)),
    height=st.integers(8, 40),
    width=st.integers(8, 40),
    seed=st.integers(0, 2**32),
    levels=st.sampled_from((2, 4, 256)),
)
def test_blurs_are_opencvs(kernel, height, width, seed, levels):
    # Few levels: many equal neighbours.
    images = noise((2, height, width, 3), seed) // (256 // levels) * (256 // levels)
    box, median = (blur(torch.from_numpy(images), kernel).numpy() for blur in (box_blur, median_blur))
    for row in range(2):
        assert np.array_equal(box[row], cv2.blur(images[row], (kernel, kernel)))
        assert np.array_equal(median[row], cv2.medianBlur(images[row], kernel))


def test_only_the_chosen_are_blurred_and_the_box_comes_first(draws_of):
    images = noise((24, 20, 16, 3), 4)
    rng = np.random.default_rng(0)
    blur_B, median_B = (rng.choice((0, 0, 3, 5, 7), 24) for _ in range(2))
    assert ((blur_B > 0) & (median_B > 0)).any()
    assert (np.bincount(blur_B)[[3, 5, 7]] > 0).all()
    found = torch.from_numpy(images.copy())
    blur_chosen(found, blur_B, median_B)
    apply_photometric(images, draws_of(24, blur_B=blur_B, median_B=median_B))
    assert np.array_equal(found.numpy(), images)


def test_more_crops_of_one_kernel_than_are_blurred_at_once(draws_of):
    images = noise((20, 16, 16, 3), 5)
    found = torch.from_numpy(images.copy())
    blur_chosen(found, np.full(20, 5), np.zeros(20, dtype=np.int64))
    apply_photometric(images, draws_of(20, blur_B=np.full(20, 5)))
    assert np.array_equal(found.numpy(), images)


def test_holes(draws_of):
    holes = np.array([[5, 7, 10, 20], [0, 0, 0, 0], [0, 0, 24, 32], [23, 31, 1, 1]])
    white = np.full((4, 32, 24, 3), 255, dtype=np.uint8)
    apply_photometric(white, draws_of(4, hole_B4=holes))
    assert np.array_equal(inside_holes(torch.from_numpy(holes), (32, 24)).numpy(), white[..., 0] == 0)

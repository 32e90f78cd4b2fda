"""Colour and sharpness changes against plain, slow arithmetic."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from posesearch.data.photometric import HUE_STEPS, add_hsv, apply_photometric


@pytest.fixture
def image():
    return np.random.default_rng(3).integers(0, 256, (2, 64, 48, 3), dtype=np.uint8)


@pytest.mark.parametrize("amounts", [(4, 0, 0), (-4, 0, 0), (0, 29, -29), (4, -29, 29)])
def test_hsv_equals_int16_arithmetic(image, draws_of, amounts):
    expected = cv2.cvtColor(image[0], cv2.COLOR_RGB2HSV).astype(np.int16) + np.array(amounts, np.int16)
    expected[..., 0] %= 180
    expected = cv2.cvtColor(np.clip(expected, 0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB)
    untouched = image[1].copy()
    apply_photometric(image, draws_of(2, hsv_B3=np.array([amounts, (0, 0, 0)], dtype=np.int16)))
    assert np.array_equal(image[0], expected)
    assert np.array_equal(image[1], untouched)


def test_every_hue_turns_by_every_amount():
    amounts = np.arange(-HUE_STEPS, HUE_STEPS + 1)
    hues = np.arange(HUE_STEPS)
    for amount in amounts:
        hsv = np.repeat(hues.astype(np.uint8)[None, :, None], 3, axis=2)
        add_hsv(hsv, int(amount), 0, 0)
        assert hsv[0, :, 0].tolist() == ((hues + amount) % HUE_STEPS).tolist()
        assert hsv[0, :, 1].tolist() == hsv[0, :, 2].tolist() == hues.tolist()


@pytest.mark.parametrize("amounts", [(-3, 30, -30), (0, -255, 255), (90, 7, 7), (0, 0, -1), (-90, 0, 0)])
def test_saturation_and_value_stop_at_their_ends(amounts):
    levels = np.arange(256, dtype=np.uint8)
    hsv = np.stack((levels % HUE_STEPS, levels, levels[::-1]), axis=-1).reshape(16, 16, 3)
    expected = hsv.astype(np.int64) + amounts
    expected[..., 0] %= HUE_STEPS
    add_hsv(hsv, *amounts)
    assert np.array_equal(hsv, np.clip(expected, 0, 255))


def test_blurs(image, draws_of):
    expected = cv2.blur(image[0], (5, 5)), cv2.medianBlur(image[1], 3)
    apply_photometric(image, draws_of(2, blur_B=[5, 0], median_B=[0, 3]))
    assert np.array_equal(image[0], expected[0])
    assert np.array_equal(image[1], expected[1])


def test_rectangle_is_black_and_nothing_else_changes(image, draws_of):
    before = image.copy()
    apply_photometric(image, draws_of(2, hole_B4=[[5, 7, 10, 20], [0, 0, 0, 0]]))
    assert not image[0, 7:27, 5:15].any()
    before[0, 7:27, 5:15] = 0
    assert np.array_equal(image, before)


def test_rectangle_comes_last(image, draws_of):
    apply_photometric(
        image,
        draws_of(2, hole_B4=[[5, 7, 10, 20]] * 2, blur_B=[7, 7], hsv_B3=np.array([[0, 0, 29]] * 2, np.int16)),
    )
    assert not image[:, 7:27, 5:15].any()

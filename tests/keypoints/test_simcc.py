"""Labels and decoding against MMPose's SimCCLabel written out, and round trips."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.errors import DataError
from posesearch.keypoints import SimCCCodec

CODEC = SimCCCodec(input_size=(256, 192))


def plain_label(x, y, codec):
    """One joint: Gaussians over all bins around the rounded mean, or nothing if out of reach."""
    label, sizes = [], codec.num_bins
    for value, sigma, bins in zip((x, y), codec.sigma, sizes, strict=True):
        mean = round(value * codec.split_ratio)  # Python rounds halves to even
        if mean - 3 * sigma >= bins or mean + 3 * sigma + 1 < 0:
            return np.zeros(sizes[0]), np.zeros(sizes[1]), 0
        label.append([math.exp(-((position - mean) ** 2) / (2 * sigma**2)) for position in range(bins)])
    return np.array(label[0]), np.array(label[1]), 1


@settings(max_examples=40, deadline=None)
@given(x=st.floats(-30, 220), y=st.floats(-30, 290), size=st.sampled_from([(256, 192), (128, 96), (64, 48)]))
def test_labels_are_mmposes(x, y, size):
    codec = SimCCCodec.for_input(size)
    targets = codec.encode([[[x, y]]], [[2]])
    expected_x, expected_y, weight = plain_label(x, y, codec)
    assert targets.weight_NK.tolist() == [[weight]]
    np.testing.assert_allclose(targets.x_NKX[0, 0], expected_x, rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(targets.y_NKY[0, 0], expected_y, rtol=1e-6, atol=1e-30)
    assert targets.x_NKX.dtype == targets.y_NKY.dtype == targets.weight_NK.dtype == np.float32


def test_half_bins_go_to_the_even_one():
    points = [[[10.25, 10.75], [10.75, 10.25]]]  # bins 20.5 and 21.5
    targets = CODEC.encode(points, [[1, 1]])
    assert targets.x_NKX.argmax(-1).tolist() == [[20, 22]]
    assert targets.y_NKY.argmax(-1).tolist() == [[22, 20]]


def test_unlabelled_joints_are_rows_of_zeros():
    targets = CODEC.encode([[[50, 50], [50, 50]]], [[0, 1]])
    assert targets.weight_NK.tolist() == [[0, 1]]
    assert not targets.x_NKX[0, 0].any() and not targets.y_NKY[0, 0].any()
    assert targets.x_NKX[0, 1].max() == 1.0


def test_the_three_sigma_rule():
    # 3 sigma are 14.7 bins in x. Mean bin -15: its interval ends at -15 + 14.7 + 1 >= 0, so it stays.
    just_in, just_out = CODEC.encode([[[-7.5, 9]]], [[1]]), CODEC.encode([[[-8.0, 9]]], [[1]])
    assert just_in.weight_NK[0, 0] == 1 and just_in.x_NKX[0, 0, 0] == pytest.approx(
        math.exp(-(15**2) / 2 / 4.9**2)
    )
    assert just_out.weight_NK[0, 0] == 0 and not just_out.y_NKY.any()
    # On the far side 384 bins: 398 - 14.7 < 384 stays, 399 - 14.7 does not.
    assert CODEC.encode([[[199.0, 9], [199.5, 9]]], [[1, 1]]).weight_NK.tolist() == [[1, 0]]


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([(256, 192), (128, 96), (96, 96)]))
def test_decoding_labels_gives_the_point_to_a_quarter_pixel(seed, size):
    codec = SimCCCodec.for_input(size)
    points = np.random.default_rng(seed).uniform(0, 1, (3, 5, 2)) * (size[1] - 1, size[0] - 1)
    targets = codec.encode(points, np.ones((3, 5)))
    decoded, scores = codec.decode(targets.x_NKX, targets.y_NKY)
    assert np.abs(decoded - points).max() <= 0.25
    assert (scores == 1).all()


def test_score_is_the_smaller_raw_maximum_and_not_positive_means_no_position():
    x, y = np.zeros((1, 2, 384), dtype=np.float32), np.zeros((1, 2, 512), dtype=np.float32)
    x[0, 0, 40], y[0, 0, 91] = 7.0, 3.0
    x[0, 1, 40], y[0, 1] = 7.0, -1.0
    points, scores = CODEC.decode(x, y)
    assert points.tolist() == [[[20.0, 45.5], [-0.5, -0.5]]]
    assert scores.tolist() == [[3.0, -1.0]]
    assert points.dtype == np.float32


def test_maxima_taken_elsewhere_decode_alike():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(4, 17, 384)).astype(np.float16), rng.normal(size=(4, 17, 512)).astype(np.float16)
    taken = CODEC.decode_argmax(x.argmax(-1), y.argmax(-1), x.max(-1), y.max(-1))
    for one, other in zip(taken, CODEC.decode(x, y), strict=True):
        np.testing.assert_array_equal(one, other)
    assert taken[0].dtype == np.float32


def test_published_sigmas():
    assert SimCCCodec.for_input((256, 192)).sigma == (4.9, 5.66)
    assert SimCCCodec.for_input((384, 288)).sigma == pytest.approx((6.0, 6.93), abs=0.005)
    assert CODEC.num_bins == (384, 512)


def test_plain_form():
    codec = SimCCCodec.for_input((128, 96))
    assert SimCCCodec.from_plain(codec.to_plain()) == codec
    for broken in (
        {"kind": "heatmap"},
        codec.to_plain() | {"sigma": 3},
        codec.to_plain() | {"input_size": [1]},
    ):
        with pytest.raises(DataError, match=r"codec in this file cannot be read .* It needs kind 'simcc'"):
            SimCCCodec.from_plain(broken)

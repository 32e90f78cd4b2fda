"""OKS by hand, and suppression against the plain double loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.keypoints import COCO17, oks, oks_nms, rescore


def test_oks_by_hand():
    # One joint off by 3-4-5 pixels, area 100, sigma .05: exp(-25 / (2 * 100 * .01)); the other exact.
    value = oks([[[3, 4], [7, 7]]], [[[0, 0], [7, 7]]], [100.0], (0.05, 0.1))
    assert value[0] == pytest.approx((math.exp(-12.5) + 1) / 2, rel=1e-12)


def test_invisible_joints_do_not_count():
    far = [[[1e4, 0], [7, 7]]]
    exact = [[[0, 0], [7, 7]]]
    assert oks(far, exact, [100.0], (0.05, 0.1), [[0, 2]]) == 1.0
    assert oks(far, exact, [100.0], (0.05, 0.1)) == 0.5


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), zoom=st.floats(0.1, 10))
def test_oks_is_symmetric_in_range_and_free_of_scale(seed, zoom):
    rng = np.random.default_rng(seed)
    one, other = rng.random((2, 5, 17, 2)) * 50
    area = rng.random(5) * 1e4 + 1
    visible = rng.random((5, 17)) < 0.6
    visible[:, 0] = True
    value = oks(one, other, area, COCO17.sigmas, visible)
    assert ((value >= 0) & (value <= 1)).all()
    np.testing.assert_array_equal(value, oks(other, one, area, COCO17.sigmas, visible))
    zoomed = oks(one * zoom, other * zoom, area * zoom**2, COCO17.sigmas, visible)
    np.testing.assert_allclose(zoomed, value, rtol=1e-9, atol=1e-12)
    assert (oks(one, one, area, COCO17.sigmas, visible) == 1).all()


def test_rescoring_by_hand():
    scores = [[0.9, 0.5, 0.2], [0.1, 0.2, 0.0], [0.3, 0.1, 0.1]]
    np.testing.assert_allclose(rescore([1.0, 1.0, 0.5], scores), [0.7, 0.0, 0.15])


def plain_nms(points, scores, areas, threshold):
    """One image, one pair at a time; later first among equals."""
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], -index))
    kept = []
    for index in order:
        alike = (
            oks(
                points[index][None], points[better][None], [(areas[index] + areas[better]) / 2], COCO17.sigmas
            )[0]
            for better in kept
        )
        if all(value <= threshold for value in alike):
            kept.append(index)
    return kept


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 25),
    spread=st.sampled_from([0.5, 2.0, 6.0]),
    threshold=st.sampled_from([0.5, 0.8, 0.9, 0.97]),
)
def test_nms_is_the_plain_loop_image_by_image(seed, count, spread, threshold):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 4, count) * 10
    base = rng.random((4, 17, 2)) * 80
    points = base[rng.integers(0, 4, count)] + rng.normal(0, spread, (count, 17, 2))
    scores = rng.integers(0, 4, count) / 4
    areas = rng.random(count) * 5e3 + 1e3
    kept = oks_nms(points, scores, areas, COCO17.sigmas, threshold, images)
    expected = []
    for image in np.unique(images):
        mine = np.flatnonzero(images == image)
        expected += mine[plain_nms(points[mine], scores[mine], areas[mine], threshold)].tolist()
    assert kept.tolist() == expected


def test_nms_keeps_the_best_of_a_chain():
    """b repeats a, c repeats b but not a: with b gone, c stays."""
    points = np.zeros((3, 17, 2))
    points[1], points[2] = 2.0, 4.0
    areas = np.full(3, 3000.0)
    assert oks(points[:2], points[1:], areas[:2], COCO17.sigmas).min() > 0.8
    assert oks(points[:1], points[2:], areas[:1], COCO17.sigmas)[0] < 0.8
    assert oks_nms(points, [0.9, 0.8, 0.7], areas, COCO17.sigmas, 0.8).tolist() == [0, 2]
    assert oks_nms(points, [0.9, 0.8, 0.7], areas, COCO17.sigmas, 1.0).tolist() == [0, 1, 2]


def test_nms_puts_the_later_of_equals_first():
    points = np.arange(3 * 17 * 2, dtype=float).reshape(3, 17, 2) * 100
    assert oks_nms(points, [0.5, 0.5, 0.5], np.ones(3), COCO17.sigmas).tolist() == [2, 1, 0]

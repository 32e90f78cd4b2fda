"""The recipe's random numbers: golden probabilities and ranges, ranges refused, keys obeyed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from posesearch.data.augment import STAGE1, STAGE2, AugmentConfig, draw, truncated_normal
from posesearch.errors import ConfigError
from posesearch.rng import generator

COUNT = 40_000
SIZE = (256, 192)


def near(share, expected):
    """Within 4.5 standard errors: fails by chance once in 150,000 draws, and the key is fixed anyway."""
    return abs(share - expected) < 4.5 * np.sqrt(max(expected * (1 - expected), 1e-12) / COUNT) + 1e-12


@pytest.fixture(scope="module", params=[(STAGE1, 1), (STAGE2, 2)], ids=["stage 1", "stage 2"])
def stage(request):
    config, number = request.param
    return number, draw(config, COUNT, SIZE, generator(0, "test"))


def test_published_probabilities(stage):
    number, draws = stage
    assert near(draws.flip_B.mean(), 0.5)
    assert near(draws.half_body_B.mean(), 0.3)
    assert near(draws.upper_B.mean(), 0.7)
    assert near((draws.rotation_B != 0).mean(), 0.6)
    assert (draws.scale_B != 1).all()
    assert near((draws.shift_B2 != 0).all(axis=1).mean(), 0.3 if number == 1 else 0.0)
    assert near((draws.hole_B4[:, 2] > 0).mean(), 1.0 if number == 1 else 0.5)
    for kernels in (draws.blur_B, draws.median_B):
        assert near((kernels > 0).mean(), 0.1)
        for kernel in (3, 5, 7):
            assert near((kernels == kernel).mean(), 0.1 / 3)
    # A coin for each channel, then cutting to whole numbers: |x| < 1 becomes 0.
    for channel, largest in enumerate((5, 30, 30)):
        assert near((draws.hsv_B3[:, channel] != 0).mean(), 0.5 * (1 - 1 / largest))
        assert np.abs(draws.hsv_B3[:, channel]).max() == largest - 1


def test_published_ranges(stage):
    number, draws = stage
    shift, scale, rotation = (0.16, 0.4, 80) if number == 1 else (0.0, 0.25, 60)
    assert np.abs(draws.shift_B2).max() <= shift
    assert 1 - scale <= draws.scale_B.min() < 1 - 0.99 * scale
    assert 1 + 0.99 * scale < draws.scale_B.max() <= 1 + scale
    assert 0.99 * rotation < np.abs(draws.rotation_B).max() <= rotation
    left, top, width, height = draws.hole_B4[draws.hole_B4[:, 2] > 0].T
    assert (width.min(), width.max()) == (38, 76)
    assert (height.min(), height.max()) == (51, 102)
    assert left.min() == top.min() == 0
    assert (left + width).max() == 192
    assert (top + height).max() == 256


def test_truncated_normal_has_its_own_spread():
    values = truncated_normal(np.random.default_rng(0), (COUNT, 2))
    assert np.abs(values).max() <= 1
    # Standard deviation of N(0, 1) cut to [-1, 1]: sqrt(1 - 2 phi(1) / (2 Phi(1) - 1)) = 0.53957.
    assert values.std() == pytest.approx(0.53957, abs=0.004)


def test_draws_are_keyed():
    first, again, other = (draw(STAGE1, 16, SIZE, generator(5, "augment", step)) for step in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.scale_B, other.scale_B)


@pytest.mark.parametrize("name", [n for n in AugmentConfig.__slots__ if n.endswith("probability")])
def test_switching_one_off_leaves_the_others(name):
    """Training relies on it: the rectangles of some subnets are left out of the shared batch and drawn apart."""
    full = draw(STAGE1, 64, SIZE, generator(0, "test"))
    less = draw(replace(STAGE1, **{name: 0.0}), 64, SIZE, generator(0, "test"))
    same = [np.array_equal(a, b) for a, b in zip(full, less, strict=True)]
    assert same.count(False) == 1


def test_everything_off_leaves_nothing():
    off = {name: 0.0 for name in AugmentConfig.__slots__ if name.endswith("probability")}
    draws = draw(replace(STAGE1, **off, hue=0.0, saturation=0.0, value=0.0), 500, SIZE, generator(0, "test"))
    assert not draws.flip_B.any()
    assert not draws.half_body_B.any()
    assert not draws.shift_B2.any()
    assert (draws.scale_B == 1).all()
    for values in (draws.rotation_B, draws.hsv_B3, draws.blur_B, draws.median_B, draws.hole_B4):
        assert not values.any()


def test_all_wrong_values_at_once():
    with pytest.raises(ConfigError) as caught:
        AugmentConfig(
            flip_probability=1.5,
            half_body_prefer_upper=-1.0,
            scale=1.0,
            dropout_size=(0.5, 0.2),
            half_body_padding=0.0,
            half_body_min_upper=0,
        )
    assert caught.value.problems == (
        "flip_probability: got 1.5, expected a probability in [0, 1].",
        "half_body_prefer_upper: got -1.0, expected a probability in [0, 1].",
        "scale: got 1.0, expected a number in [0, 0.99].",
        "half_body_padding: got 0.0, expected a number above 0.",
        "half_body_min_upper: got 0, expected 1 or more.",
        "dropout_size: got (0.5, 0.2), expected 0 < smallest <= largest <= 1.",
    )
    with pytest.raises(ConfigError, match=r"flip_probability: got nan"):
        AugmentConfig(flip_probability=float("nan"))

"""SimCC labels from the table against the codec's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.data.device_labels import DeviceLabels
from posesearch.keypoints.simcc import SimCCCodec

CODECS = {
    "small": SimCCCodec.for_input((64, 48)),
    "published": SimCCCodec.for_input((256, 192)),
    "wide": SimCCCodec(input_size=(24, 40), sigma=(1.3, 7.9), split_ratio=3.0),
}
LABELS = {name: DeviceLabels.of(codec, "cpu") for name, codec in CODECS.items()}


def assert_equal(name: str, points: np.ndarray, visible: np.ndarray) -> None:
    expected = CODECS[name].encode(points, visible)
    found = LABELS[name].encode(torch.from_numpy(points), torch.from_numpy(visible))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert np.array_equal(one.numpy(), other)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(CODECS)), seed=st.integers(0, 2**32), spread=st.sampled_from((0.5, 1.0, 1.3))
)
def test_equal_to_the_codec(name, seed, spread):
    rng = np.random.default_rng(seed)
    side = np.array(CODECS[name].input_size[::-1])
    points = ((rng.uniform(-1, 1, (3, 17, 2)) * spread + 1) / 2 * side).astype(np.float32)
    # Quarters of a pixel: means that are halves of a bin.
    points[0] = np.round(points[0] * 4) / 4
    assert_equal(name, points, rng.choice((0, 1, 2), (3, 17)).astype(np.float32))


@pytest.mark.parametrize("name", sorted(CODECS))
def test_equal_on_and_beyond_every_edge(name):
    codec = CODECS[name]
    for axis in (0, 1):
        reach = codec.num_bins[axis] + 60
        points = np.full((1, 4 * reach, 2), min(codec.input_size) / 2, dtype=np.float32)
        points[0, :, axis] = np.arange(-2 * reach, 2 * reach) / codec.split_ratio / 2
        assert_equal(name, points, np.ones((1, 4 * reach), dtype=np.float32))


def test_joints_far_away_and_partly_visible_ones():
    points = np.array([[[1e30, 5], [-1e30, 5], [1e9, -1e9], [20, 20]]], dtype=np.float32)
    assert_equal("small", points, np.array([[1, 1, 1, 0.25]], dtype=np.float32))

"""The warp on a device against OpenCV's: any image size, any turn, mirrored or not, images that are only partly there."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.data import device_warp
from posesearch.data.device_warp import sample, warp_batch
from posesearch.data.staging import touched_rows

SIZE = (48, 36)


def packed(images: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pixels, offsets and sizes of images that lie one behind the other."""
    lengths = np.array([image.size for image in images])
    pixels = torch.from_numpy(np.concatenate([image.reshape(-1) for image in images]))
    sizes = torch.tensor([image.shape[:2] for image in images])
    return pixels, torch.from_numpy(np.cumsum(lengths) - lengths), sizes


def opencv(images: list[np.ndarray], matrix_B23: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.stack(
        [
            cv2.warpAffine(image, matrix, size[::-1], flags=cv2.INTER_LINEAR)
            for image, matrix in zip(images, matrix_B23, strict=True)
        ]
    )


def matrices(rng: np.random.Generator, images: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Mirrored or not, any rotation, scale .3 to 3, the middle somewhere in or near the image."""
    count = len(images)
    angle, zoom = rng.uniform(-np.pi, np.pi, count), np.exp(rng.uniform(np.log(0.3), np.log(3), count))
    mirror = rng.choice((-1, 1), count)
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    linear = np.stack((cos * mirror, sin, -sin * mirror, cos), axis=1).reshape(-1, 2, 2)
    middle = rng.uniform(-0.2, 1.2, (count, 2)) * [image.shape[1::-1] for image in images]
    moved = np.array(size[::-1]) / 2 - np.einsum("nij,nj->ni", linear, middle)
    return np.concatenate((linear, moved[..., None]), axis=2)


def batch(seed: int, sizes: list[tuple[int, int]]):
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    return images, matrices(rng, images, SIZE)


sizes = st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)), min_size=1, max_size=5)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), sizes=sizes)
def test_equal_to_opencv_within_one_grey_level(seed, sizes):
    images, matrix_B23 = batch(seed, sizes)
    found = warp_batch(*packed(images), torch.from_numpy(matrix_B23), SIZE)
    assert found.dtype == torch.uint8
    assert found.shape == (len(images), *SIZE, 3)
    difference = np.abs(found.numpy().astype(int) - opencv(images, matrix_B23, SIZE))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.005


def test_few_values_differ_at_all():
    images, matrix_B23 = batch(3, [(300, 400), (97, 211), (480, 640), (64, 48)] * 4)
    found = warp_batch(*packed(images), torch.from_numpy(matrix_B23), SIZE)
    expected = opencv(images, matrix_B23, SIZE)
    assert (found.numpy() != expected).mean() < 0.001
    assert expected.any(axis=(1, 2, 3)).sum() > 12


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), sizes=sizes)
def test_only_the_rows_that_are_touched_need_to_be_there(seed, sizes):
    images, matrix_B23 = batch(seed, sizes)
    whole = warp_batch(*packed(images), torch.from_numpy(matrix_B23), SIZE)
    first_B, end_B = touched_rows(matrix_B23, np.array([image.shape[0] for image in images]), SIZE)
    pixels, start_B, _ = packed([image[a:b] for image, a, b in zip(images, first_B, end_B, strict=True)])
    size_B2 = torch.tensor([image.shape[:2] for image in images])
    offset_B = start_B - torch.from_numpy(first_B) * size_B2[:, 1] * 3
    # The same bytes, not nearly the same: a training must not depend on where its images are kept.
    assert torch.equal(warp_batch(pixels, offset_B, size_B2, torch.from_numpy(matrix_B23), SIZE), whole)


def test_chunks_do_not_show(monkeypatch):
    images, matrix_B23 = batch(5, [(40, 50), (30, 20), (64, 64)])
    whole = warp_batch(*packed(images), torch.from_numpy(matrix_B23), SIZE)
    monkeypatch.setattr(device_warp, "CHUNK_PIXELS", 1)
    assert torch.equal(warp_batch(*packed(images), torch.from_numpy(matrix_B23), SIZE), whole)


@pytest.mark.parametrize("far", [1e6, 1e12, -1e12, 3e38])
def test_a_crop_far_from_its_image_is_black(far):
    images, _ = batch(1, [(40, 50)])
    pixels, offset_B, size_B2 = packed(images)
    inverse_B23 = torch.tensor([[[1.0, 0.0, far], [0.0, 1.0, 0.0]]], dtype=torch.float64)
    assert not any(plane.any() for plane in sample(pixels, offset_B, size_B2, inverse_B23, SIZE))


def test_a_whole_pixel_shift_is_exact():
    images, _ = batch(2, [(48, 36)])
    matrix_B23 = torch.tensor([[[1.0, 0.0, 5.0], [0.0, 1.0, -7.0]]], dtype=torch.float64)
    found = warp_batch(*packed(images), matrix_B23, SIZE)[0].numpy()
    assert np.array_equal(found[:41, 5:], images[0][7:, :31])
    assert not found[41:].any()
    assert not found[:, :5].any()

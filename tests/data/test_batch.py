"""Batches and crops: keypoints follow pixels, a batch is a function of its key, crops lead back to the image."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from plain_augment import GEOMETRY

from posesearch.data.augment import STAGE1, STAGE2
from posesearch.data.batch import IMAGE_MEAN, IMAGE_STD, crops, make_batch, normalise
from posesearch.data.store import ImageStore
from posesearch.errors import DataError
from posesearch.keypoints.boxes import apply_affine
from posesearch.keypoints.simcc import SimCCCodec

SIZE = (128, 96)


def with_dot(dataset, person: int, joint: int) -> ImageStore:
    """A store of black images with a bright spot at one joint of one person."""
    store = ImageStore.build(dataset)
    pixels = np.zeros_like(store.pixels)
    row = int(dataset.image_index_N[person])
    start = int(store.offset_I[row])
    image = pixels[start : start + 100 * 80 * 3].reshape(100, 80, 3)
    x, y, _ = dataset.keypoints_NK3[person, joint]
    ys, xs = np.mgrid[:100, :80]
    image[:] = (255 * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * 1.5**2)))[..., None].round()
    return ImageStore(pixels, store.offset_I, store.size_I2)


def spot(image) -> np.ndarray:
    weight = image[..., 0].astype(np.float64) ** 2
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weight * xs).sum(), (weight * ys).sum()]) / weight.sum()


@pytest.mark.parametrize("joint", [0, 5, 9, 16])
def test_keypoints_follow_the_pixels_through_every_augmentation(folder, joint):
    dataset = folder.read()
    person = 2
    store = with_dot(dataset, person, joint)
    partner = int(dataset.skeleton.flip_index[joint])
    checked = mirrored = 0
    for step in range(60):
        batch = make_batch(dataset, store, np.array([person]), SIZE, GEOMETRY, 0, step)
        image = batch.images_BHWC[0]
        candidates = {joint: batch.keypoints_BK2[0, joint], partner: batch.keypoints_BK2[0, partner]}
        inside = [
            k for k, p in candidates.items() if (p > 12).all() and p[0] < SIZE[1] - 12 and p[1] < SIZE[0] - 12
        ]
        if len(inside) < len(candidates) or image.max() < 60:
            continue
        error = {k: np.abs(spot(image) - p).max() for k, p in candidates.items()}
        best = min(error, key=error.get)
        assert error[best] < 0.7
        mirrored += best != joint
        checked += 1
    assert checked >= 12
    # A mirrored left shoulder is the right shoulder of the batch; joints without a partner keep their place.
    assert (mirrored > 3) == (partner != joint)
    assert mirrored < checked or partner == joint


def test_without_augmentation_the_dot_is_exact(folder):
    dataset = folder.read()
    store = with_dot(dataset, 0, 7)
    batch = make_batch(dataset, store, np.array([0]), SIZE, None, 0, 0)
    assert np.abs(spot(batch.images_BHWC[0]) - batch.keypoints_BK2[0, 7]).max() < 0.1


def test_a_batch_is_a_function_of_its_key(folder):
    dataset = folder.read()
    store = ImageStore.build(dataset)
    index = np.array([3, 1, 1, 6])
    first = make_batch(dataset, store, index, SIZE, STAGE1, 4, 9)
    again = make_batch(dataset, store, index, SIZE, STAGE1, 4, 9)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    for seed, step in ((5, 9), (4, 10)):
        other = make_batch(dataset, store, index, SIZE, STAGE1, seed, step)
        assert not np.array_equal(first.images_BHWC, other.images_BHWC)
    # The same person twice in a batch is augmented twice.
    assert not np.array_equal(first.images_BHWC[1], first.images_BHWC[2])
    assert first.person_index_B.tolist() == index.tolist()
    assert first.images_BHWC.dtype == np.uint8
    assert first.images_BHWC.shape == (4, *SIZE, 3)


def test_visibility_is_labelled_or_not(folder):
    annotation = folder.document["annotations"][0]
    annotation["keypoints"][5 * 3 : 5 * 3 + 3] = [0, 0, 0]
    annotation["keypoints"][8 * 3 + 2] = 1
    annotation["num_keypoints"] = 16
    dataset = folder.write_json().read()
    store = ImageStore.build(dataset)
    plain = make_batch(dataset, store, np.array([0]), SIZE, None, 0, 0)
    assert plain.visible_BK[0].tolist() == [0.0 if k == 5 else 1.0 for k in range(17)]
    assert not plain.keypoints_BK2[0, 5].any()
    always = replace(GEOMETRY, flip_probability=1.0)
    mirrored = make_batch(dataset, store, np.array([0]), SIZE, always, 0, 0)
    assert mirrored.visible_BK[0].tolist() == [0.0 if k == 6 else 1.0 for k in range(17)]


def test_joints_outside_the_crop_keep_their_weight_until_the_codec_drops_them(folder):
    dataset = folder.read()
    dataset.bbox_xywh_N4[0] = (30, 40, 6, 8)
    batch = make_batch(dataset, ImageStore.build(dataset), np.array([0]), SIZE, None, 0, 0)
    outside = ((batch.keypoints_BK2[0] < -20) | (batch.keypoints_BK2[0] > np.array(SIZE[::-1]) + 20)).any(
        axis=1
    )
    assert outside.sum() > 3
    assert (batch.visible_BK[0] == 1).all()
    weight = SimCCCodec.for_input(SIZE).encode(batch.keypoints_BK2, batch.visible_BK).weight_NK[0]
    assert not weight[outside].any()


def test_joints_under_the_rectangle_keep_their_weight(folder):
    dataset = folder.read()
    store = ImageStore.build(dataset)
    everywhere = replace(GEOMETRY, dropout_probability=1.0, dropout_size=(1.0, 1.0))
    batch = make_batch(dataset, store, np.array([0]), SIZE, everywhere, 0, 0)
    assert not batch.images_BHWC.any()
    assert (batch.visible_BK == 1).all()


def test_stage_two_covers_half_of_the_crops(folder):
    dataset = folder.read()
    store = ImageStore(np.full(4 * 24000, 200, np.uint8), np.arange(4) * 24000, np.full((4, 2), (100, 80)))
    flat = replace(
        GEOMETRY, scale=0.0, rotation_probability=0.0, shift_probability=0.0, half_body_probability=0.0
    )
    index = np.tile(np.arange(8), 50)
    for probability, low, high in (
        (STAGE1.dropout_probability, 1.0, 1.0),
        (STAGE2.dropout_probability, 0.4, 0.6),
    ):
        config = replace(flat, dropout_probability=probability, dropout_size=(0.4, 0.4))
        batch = make_batch(dataset, store, index, SIZE, config, 1, 0)
        clean = make_batch(dataset, store, index, SIZE, flat, 1, 0)
        covered = (batch.images_BHWC == 0).all(axis=3).sum(axis=(1, 2)) - (clean.images_BHWC == 0).all(
            axis=3
        ).sum(axis=(1, 2))
        assert low <= (covered > 0).mean() <= high


def test_crops_lead_back_to_the_image(folder):
    dataset = folder.read()
    store = ImageStore.build(dataset)
    found = crops(dataset, store, SIZE)
    plain = make_batch(dataset, store, np.arange(8), SIZE, None, 0, 0)
    assert np.array_equal(found.images_NHWC, plain.images_BHWC)
    back = apply_affine(found.inverse_affine_N23, plain.keypoints_BK2)
    assert np.allclose(back, dataset.keypoints_NK3[..., :2], atol=1e-4)
    # 48 x 80 padded by 1.25 is 60 x 100, widened to 75 x 100 for a 3:4 crop.
    assert np.allclose(found.box_area_N, 75 * 100)
    assert len(found) == 8
    assert found.input_size == SIZE


def test_no_person_to_crop(folder):
    dataset = folder.read()
    nobody = dataset.subset(np.array([], dtype=np.int64))
    with pytest.raises(
        DataError, match=r"no person to evaluate in .* \(train, boxes: gt\). Allowed: at least one"
    ):
        crops(nobody, ImageStore.build(dataset), SIZE)


def test_warp_is_opencvs(folder):
    dataset = folder.read()
    store = ImageStore.build(dataset)
    found = crops(dataset, store, SIZE)
    matrix = cv2.invertAffineTransform(found.inverse_affine_N23[5])
    expected = cv2.warpAffine(store.image(2), matrix, SIZE[::-1], flags=cv2.INTER_LINEAR)
    assert np.abs(expected.astype(int) - found.images_NHWC[5]).max() <= 1


@pytest.mark.parametrize("channels_last", [False, True])
def test_normalise(channels_last):
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 4, 3), dtype=np.uint8)
    result = normalise(torch.from_numpy(images), channels_last=channels_last)
    expected = (images.astype(np.float32) - np.float32(IMAGE_MEAN)) / np.float32(IMAGE_STD)
    assert result.shape == (2, 3, 6, 4)
    assert result.dtype == torch.float32
    assert np.allclose(result.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-6)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert result.is_contiguous(memory_format=layout)
    assert normalise(torch.from_numpy(images), dtype=torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 5, 7, 3), (3, 32, 24, 3)])
def test_the_memory_order_changes_no_bit(shape):
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    last = normalise(images, channels_last=True)
    assert torch.equal(last, normalise(images))
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, before)

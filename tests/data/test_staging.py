"""A batch's pixels on the device: whatever a crop can touch is there, byte for byte, and nothing is overwritten."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.data.staging import PinnedStage, PixelBatch, pixel_stage, touched_rows
from posesearch.data.store import DeviceStore, ImageStore, JpegStore
from posesearch.keypoints.boxes import affine

CROP = (32, 24)


def store_of(sizes: list[tuple[int, int]], seed: int = 0) -> ImageStore:
    """Noise of the given (height, width)."""
    size_I2 = np.array(sizes, dtype=np.int64)
    bytes_I = size_I2.prod(axis=1) * 3
    pixels = np.random.default_rng(seed).integers(0, 256, bytes_I.sum(), dtype=np.uint8)
    return ImageStore(pixels, np.cumsum(bytes_I) - bytes_I, size_I2)


def staged_image(batch: PixelBatch, person: int, first: int, end: int) -> np.ndarray:
    """The image a person's crop is cut from, with rows that were not staged filled with a sentinel."""
    height, width = batch.size_B2[person].tolist()
    image = np.full((height, width, 3), 171, dtype=np.uint8)
    start = int(batch.offset_B[person]) + first * width * 3
    stop = int(batch.offset_B[person]) + end * width * 3
    assert start >= 0
    assert stop <= len(batch.pixels)
    image[first:end] = batch.pixels[start:stop].numpy().reshape(end - first, width, 3)
    return image


def warp(image: np.ndarray, matrix_23: np.ndarray) -> np.ndarray:
    return cv2.warpAffine(image, matrix_23, CROP[::-1], flags=cv2.INTER_LINEAR)


PERSON = st.tuples(
    st.integers(1, 70),  # height
    st.integers(1, 70),  # width
    st.floats(-60, 130),  # centre x
    st.floats(-60, 130),  # centre y
    st.floats(2, 120),  # crop width in image pixels
    st.floats(-180, 180),  # degrees
    st.booleans(),  # mirrored
)


def matrices(persons) -> np.ndarray:
    _, _, x, y, width, degrees, mirrored = (np.array(values) for values in zip(*persons, strict=True))
    scale_N2 = np.stack((width, width * CROP[0] / CROP[1]), axis=1)
    matrix_B23 = affine(np.stack((x, y), axis=1), scale_N2, degrees, CROP)
    matrix_B23[mirrored, 0] *= -1
    matrix_B23[mirrored, 0, 2] += CROP[1] - 1
    return matrix_B23


@settings(max_examples=60, deadline=None)
@given(persons=st.lists(PERSON, min_size=1, max_size=5))
def test_warp_of_the_staged_rows_is_the_warp_of_the_image(persons):
    store = store_of([person[:2] for person in persons])
    matrix_B23 = matrices(persons)
    rows_B = np.arange(len(persons))
    first_B, end_B = touched_rows(matrix_B23, store.size_I2[:, 0], CROP)
    for images in (store, store.on("cpu")):
        batch = pixel_stage(images, "cpu")(rows_B, matrix_B23, CROP)
        batch.wait()
        assert np.array_equal(batch.size_B2.numpy(), store.size_I2)
        for person in rows_B:
            image = staged_image(batch, person, int(first_B[person]), int(end_B[person]))
            assert np.array_equal(
                warp(image, matrix_B23[person]), warp(store.image(person), matrix_B23[person])
            )


def test_only_touched_rows_travel():
    store = store_of([(400, 50)])
    matrix_B23 = affine([(25, 300)], [(24, 32)], 0.0, CROP)
    batch = pixel_stage(store, "cpu")(np.array([0]), matrix_B23, CROP)
    first, end = (int(value[0]) for value in touched_rows(matrix_B23, store.size_I2[:, 0], CROP))
    assert (first, end) == (283, 318)
    assert len(batch.pixels) == 35 * 50 * 3
    assert int(batch.offset_B[0]) == -first * 50 * 3


def test_store_on_the_device_is_used_in_place():
    store = store_of([(20, 30), (40, 10)]).on("cpu")
    batch = pixel_stage(store, "cpu")(np.array([1, 0, 1]), matrices([(1, 1, 5, 5, 9, 0, False)] * 3), CROP)
    assert batch.pixels is store.pixels
    assert batch.offset_B.tolist() == [1800, 0, 1800]
    assert batch.size_B2.tolist() == [[40, 10], [20, 30], [40, 10]]


def test_a_batch_is_not_overwritten_by_the_next():
    """Two buffers serve any number of batches, of any size and from any thread."""
    store = store_of([(60, 40)] * 8)
    stage = PinnedStage(store, store.on("cpu").pixels.device, buffers=2)
    rng = np.random.default_rng(1)
    asked = [rng.integers(0, 8, rng.integers(1, 12)) for _ in range(40)]
    whole = affine([(20, 30)], [(90, 120)], 0.0, CROP)  # touches every row
    with ThreadPoolExecutor(6) as pool:
        batches = list(pool.map(lambda rows: stage.stage(rows, np.repeat(whole, len(rows), 0), CROP), asked))
    for rows, batch in zip(asked, batches, strict=True):
        expected = np.concatenate([store.image(row).reshape(-1) for row in rows])
        assert np.array_equal(batch.pixels.numpy(), expected)


def test_a_failed_batch_gives_its_buffer_back():
    store = store_of([(20, 20)])
    stage = PinnedStage(store, store.on("cpu").pixels.device, buffers=1).stage
    one = matrices([(20, 20, 10, 10, 20, 0, False)])
    store.offset_I[0] = -1
    for _ in range(3):
        with pytest.raises(KeyError, match=r"image row 0"):
            stage(np.array([0]), one, CROP)
    store.offset_I[0] = 0
    assert len(stage(np.array([0]), one, CROP).pixels) > 0


def test_files_are_staged_like_decoded_images(folder):
    dataset = folder.read()
    matrix_B23 = affine([(40, 50)] * 4, [(60, 80)] * 4, 0.0, CROP)
    batches = [
        pixel_stage(images, "cpu")(np.arange(4), matrix_B23, CROP)
        for images in (ImageStore.build(dataset), JpegStore.build(dataset))
    ]
    assert np.array_equal(batches[0].pixels.numpy(), batches[1].pixels.numpy())
    whole = pixel_stage(DeviceStore.build(dataset, "cpu"), "cpu")(np.arange(4), matrix_B23, CROP)
    assert len(whole.pixels) == 4 * 24_000

"""The stores: exact pixels, the same from each, and safe to ask from several threads."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.data import store as store_module
from posesearch.data.augment import STAGE1
from posesearch.data.batch import crops, make_batch
from posesearch.data.dataset import ImageRecord, PoseDataset
from posesearch.data.source import DataSource
from posesearch.data.store import DeviceStore, ImageStore, JpegStore, expected_store_bytes
from posesearch.errors import DataError, EnvironmentFault

STORES = {
    "host": ImageStore.build,
    "host, then device": lambda dataset: ImageStore.build(dataset).on("cpu"),
    "device": lambda dataset: DeviceStore.build(dataset, "cpu"),
    "jpeg": JpegStore.build,
}


@pytest.fixture(params=list(STORES.values()), ids=list(STORES))
def build(request):
    """Each way to build a store, as a function of the data set."""
    return request.param


def test_pixels_are_the_decoded_file_in_rgb(folder, build):
    dataset = folder.read()
    store = build(dataset)
    for row, record in enumerate(dataset.images):
        expected = cv2.imread(str(record.path))[:, :, ::-1]
        assert np.array_equal(store.image(row), expected)
    with pytest.raises(ValueError, match=r"read-only"):
        store.image(0)[0, 0, 0] = 1


def test_only_images_with_persons_are_kept(folder, build):
    dataset = folder.read().subset(np.array([2, 3]))
    (folder.image_root / "0000.jpg").write_bytes(b"nobody looks")
    store = build(dataset)
    assert store.image(1).shape == (100, 80, 3)
    with pytest.raises(KeyError, match=r"image row 0 holds no person"):
        store.image(0)


def test_size_is_known_before_and_is_what_the_store_takes(folder):
    dataset = folder.read()
    for part in (dataset, dataset.subset(np.array([0, 1])), dataset.subset(np.array([], dtype=np.int64))):
        store = ImageStore.build(part)
        assert (
            expected_store_bytes(part) == store.pixels.nbytes == len(np.unique(part.image_index_N)) * 24_000
        )


def exif(data: bytes, orientation: int) -> bytes:
    """The JPEG with a rotation tag."""
    tag = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation]) + b"\0\0\0\0\0\0\0"
    block = b"Exif\0\0" + tag
    return data[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + data[2:]


KINDS = ("jpeg", "grey jpeg", "png", "grey png", "png with alpha", "turned", "annotated unturned")


def write_image(path: Path, kind: str, height: int, width: int, seed: int) -> tuple[int, int]:
    """Writes an image and returns the (height, width) that its annotation states."""
    channels = 1 if "grey" in kind else 4 if "alpha" in kind else 3
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    data = cv2.imencode(".png" if "png" in kind else ".jpg", pixels)[1].tobytes()
    path.write_bytes(exif(data, 6) if "turned" in kind else data)
    return (width, height) if kind == "turned" else (height, width)


def mixed_dataset(root: Path, images: list[tuple[str, int, int]], like: PoseDataset) -> PoseDataset:
    """One person on each of the images, with boxes that reach beyond them."""
    count = len(images)
    sizes = []
    for row, (kind, height, width) in enumerate(images):
        sizes.append(write_image(root / f"{row}.img", kind, height, width, seed=row))
    records = tuple(
        ImageRecord(id=row, path=root / f"{row}.img", height=size[0], width=size[1])
        for row, size in enumerate(sizes)
    )
    size_N2 = np.array(sizes, dtype=np.int64)
    rows = np.arange(count, dtype=np.int64)
    picked = np.zeros(count, dtype=np.int64)
    return replace(
        like,
        images=records,
        image_index_N=rows,
        image_id_N=rows,
        image_size_N2=size_N2,
        bbox_xywh_N4=np.concatenate((np.full((count, 2), -1.0), size_N2[:, ::-1] * 1.2), axis=1),
        keypoints_NK3=like.keypoints_NK3[picked],
        area_N=like.area_N[picked],
        annotation_id_N=rows,
        box_score_N=like.box_score_N[picked],
    )


SIDE = st.integers(3, 60)


@pytest.fixture(scope="module")
def any_dataset(tmp_path_factory, people_dir):
    """A data set whose images are to be replaced."""
    return DataSource(data=str(people_dir)).load("train")


@settings(max_examples=25, deadline=None)
@given(
    images=st.lists(st.tuples(st.sampled_from(KINDS), SIDE, SIDE), min_size=1, max_size=7),
    seed=st.integers(0, 99),
)
def test_every_store_gives_the_same_crops(any_dataset, images, seed):
    with tempfile.TemporaryDirectory() as root:
        dataset = mixed_dataset(Path(root), images, any_dataset)
        persons = np.arange(len(dataset))
        results = []
        for build_one in STORES.values():
            store = build_one(dataset)
            batch = make_batch(dataset, store, persons, (32, 24), STAGE1, seed, 0)
            results.append((batch.images_BHWC, crops(dataset, store, (32, 24)).images_NHWC))
        for batch_images, plain in results[1:]:
            assert np.array_equal(batch_images, results[0][0])
            assert np.array_equal(plain, results[0][1])
        assert expected_store_bytes(dataset) == sum(height * width * 3 for _, height, width in images)


def test_crops_of_real_images_are_the_same(data_root):
    for folder in ("coco17_mini", "mmpose_slices/coco"):
        source = (
            DataSource(data=str(data_root / folder))
            if folder == "coco17_mini"
            else DataSource(val_annotations=str(data_root / folder / "test_coco.json"))
        )
        dataset = source.load("val")
        part = dataset.subset(np.arange(min(40, len(dataset))))
        first, *others = (crops(part, build_one(part), (64, 48)).images_NHWC for build_one in STORES.values())
        assert first.std() > 20
        assert all(np.array_equal(first, other) for other in others)


def test_many_threads_at_once(folder, build):
    dataset = folder.read()
    store = build(dataset)
    expected = [store.image(row).copy() for row in range(4)]
    rows = np.random.default_rng(0).integers(0, 4, 400).tolist()
    with ThreadPoolExecutor(8) as pool:
        for row, image in zip(rows, pool.map(store.image, rows), strict=True):
            assert np.array_equal(image, expected[row])


def test_every_store_lists_the_same_faults(folder):
    dataset = folder.read()
    (folder.image_root / "0000.jpg").unlink()
    cut = (folder.image_root / "0001.jpg").read_bytes()
    (folder.image_root / "0001.jpg").write_bytes(cut[: len(cut) // 2])
    cv2.imwrite(str(folder.image_root / "0003.jpg"), np.zeros((50, 60, 3), np.uint8))
    messages = set()
    for build_one in STORES.values():
        with pytest.raises(
            DataError, match=r"(?s)3 faults.*image 10.*image 11.*image 13.*data check"
        ) as caught:
            build_one(dataset)
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_file_that_changes_while_it_is_used(folder):
    store = JpegStore.build(folder.read())
    (folder.image_root / "0002.jpg").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        store.image(2)
    message = str(caught.value)
    assert message.startswith("image 12: the file ")
    assert "0002.jpg is empty (0 bytes). Allowed: a JPEG or PNG image" in message
    assert "The file was whole when this command started" in message
    assert store.image(1).shape == (100, 80, 3)


def test_too_little_memory(folder, monkeypatch):
    monkeypatch.setattr(store_module, "free_host_bytes", lambda: 50_000)
    with pytest.raises(
        EnvironmentFault, match=r"decoded images take 0.096 MB, but only 0.05 MB of host memory is free"
    ):
        ImageStore.build(folder.read())
    assert JpegStore.build(folder.read()).image(0).shape == (100, 80, 3)

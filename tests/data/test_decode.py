"""From file to pixels: every broken file is named, every whole one is read as annotated."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from posesearch.data.decode import is_truncated
from posesearch.data.store import ImageStore
from posesearch.errors import DataError


def _cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def _wrong_size(path, _):
    cv2.imwrite(str(path), np.zeros((50, 60, 3), np.uint8))


@pytest.mark.parametrize(
    ("breaks", "argument", "text"),
    [
        (lambda path, _: path.unlink(), 0, "0001.jpg does not exist"),
        (
            lambda path, _: path.write_bytes(b""),
            0,
            "0001.jpg is empty (0 bytes). Allowed: a JPEG or PNG image",
        ),
        (_cut, 0.5, "0001.jpg is cut off after"),
        (_cut, 0.995, "0001.jpg is cut off after"),
        (lambda path, _: path.write_bytes(b"no picture"), 0, "0001.jpg cannot be decoded"),
        (
            _wrong_size,
            0,
            "0001.jpg has 50 x 60 pixels (height x width), but the annotation file says 100 x 80",
        ),
    ],
    ids=["missing", "empty", "half", "last bytes", "text", "size"],
)
def test_broken_file(folder, breaks, argument, text):
    dataset = folder.read()
    breaks(folder.image_root / "0001.jpg", argument)
    with pytest.raises(DataError) as caught:
        ImageStore.build(dataset)
    message = str(caught.value)
    assert text in message
    assert message.startswith(f"1 fault in the images of {folder.annotation_file}:\n  - image 11: ")
    assert message.endswith("`posesearch data check` lists every fault.")


def test_all_broken_files_are_named(folder):
    dataset = folder.read()
    for name in ("0000.jpg", "0002.jpg", "0003.jpg"):
        _cut(folder.image_root / name, 0.4)
    with pytest.raises(DataError, match=r"(?s)3 faults.*image 10.*image 12.*image 13"):
        ImageStore.build(dataset)


def test_cut_jpeg_with_a_whole_thumbnail():
    image = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    whole = cv2.imencode(".jpg", image)[1].tobytes()
    thumbnail = b"Exif\0\0" + whole
    with_thumbnail = whole[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + whole[2:]
    assert not is_truncated(with_thumbnail)
    assert is_truncated(with_thumbnail[: -len(whole) // 3])
    assert not is_truncated(whole + b"trailing bytes")


def test_every_cut_of_jpeg_and_png_is_seen():
    image = np.random.default_rng(0).integers(0, 255, (12, 9, 3), dtype=np.uint8)
    for suffix in (".jpg", ".png"):
        whole = cv2.imencode(suffix, image)[1].tobytes()
        assert not is_truncated(whole)
        # Shorter than its signature a file is no JPEG or PNG at all, and the decoder refuses it.
        assert all(is_truncated(whole[:length]) for length in range(8, len(whole) - 8))


def test_size_of_the_stored_pixels_behind_a_rotation_tag(folder):
    """A phone photo annotated without regard to its rotation tag is stored the way it was annotated."""
    path = folder.image_root / "0001.jpg"
    data = path.read_bytes()
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    assert cv2.imread(str(path)).shape == (80, 100, 3)
    store = ImageStore.build(folder.read())
    assert np.array_equal(store.image(1), cv2.imdecode(np.frombuffer(data, np.uint8), 1)[:, :, ::-1])


def test_overwritten_middle_of_a_png(folder):
    """Its checksum tells; that of a JPEG, which has none, is not found (`decode.py` says so)."""
    path = folder.image_root / "0001.jpg"
    image = np.random.default_rng(0).integers(0, 256, (100, 80, 3), dtype=np.uint8)
    data = bytearray(cv2.imencode(".png", image)[1].tobytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"0001.jpg cannot be decoded. Allowed: a JPEG or PNG image"):
        ImageStore.build(folder.read())

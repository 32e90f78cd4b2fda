"""From an image file to RGB pixels, or to what is wrong with it: one image, and all of a data set by threads.

Pixels are RGB uint8, the order the networks take, so that no batch has to swap channels. OpenCV lets go of the
interpreter lock while it decodes, so threads are enough.

What is not found: a JPEG whose middle was overwritten and whose end is whole. libjpeg fills the hole with grey and OpenCV
passes on nothing but a line on standard error. The checksums of a PNG give such a file away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from posesearch.data.dataset import ImageRecord, PoseDataset
from posesearch.data.faults import Fault, error, raise_errors
from posesearch.device import usable_cores
from posesearch.progress import Progress, SilentProgress

T = TypeVar("T")

JPEG_START, PNG_START = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"


def decode_all(
    dataset: PoseDataset,
    rows: Iterable[int],
    keep: Callable[[int, NDArray[np.uint8]], None],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Decodes images once and hands each to `keep`, in the thread that decoded it.

    Args:
        dataset: Its image rows are meant.
        rows: Which of them.
        keep: Gets (row, image_HWC); called from several threads at once.
        threads: Decoding threads; by default one for each usable core.
        progress: Where to report; by default nowhere.

    Raises:
        DataError: Missing, empty, truncated or unreadable files, or a size other than the annotation file's;
            the first five are named.
    """

    def one(row: int) -> Fault | None:
        image = decode_image(dataset.images[row])
        if isinstance(image, Fault):
            return image
        keep(row, image)
        return None

    wanted = [int(row) for row in rows]
    faults: list[Fault] = []
    with (progress or SilentProgress()).task(f"decoding {dataset.split} images", len(wanted)) as task:
        for fault in map_threads(one, wanted, threads):
            faults += [fault] if fault else []
            task.advance()
    raise_errors(
        faults,
        f"the images of {dataset.annotation_file}",
        "Fetch or copy these images again; `posesearch data check` lists every fault.",
    )


def map_threads(function: Callable[[int], T], rows: Iterable[int], threads: int | None) -> Iterator[T]:
    """Yields `function(row)` in order from a thread pool, with a bounded number of rows under way."""
    with ThreadPoolExecutor(threads or usable_cores()) as pool:
        iterator = iter(rows)
        while chunk := list(islice(iterator, 256)):
            yield from pool.map(function, chunk)


def decode_image(record: ImageRecord) -> NDArray[np.uint8] | Fault:
    """Reads and decodes one image to RGB, or says what is wrong with it.

    A cut JPEG decodes without complaint up to the cut in some builds of the decoder, so the end marker is looked for
    before decoding.
    """
    where = f"image {record.id}"
    try:
        data = record.path.read_bytes()
    except FileNotFoundError:
        return error(where, f"the file {record.path} does not exist")
    except OSError as fault:
        return error(where, f"the file {record.path} cannot be read: {fault.strerror or fault}")
    if not data:
        return error(where, f"the file {record.path} is empty (0 bytes). Allowed: a JPEG or PNG image")
    if is_truncated(data):
        return error(
            where, f"the file {record.path} is cut off after {len(data)} bytes. Allowed: a whole image"
        )
    image = _decode(data, cv2.IMREAD_COLOR_RGB)
    if image is None:
        return error(where, f"the file {record.path} cannot be decoded. Allowed: a JPEG or PNG image")
    expected = (record.height, record.width)
    if image.shape[:2] != expected:
        # Annotations made on the stored pixels of a photo that carries a rotation tag.
        unrotated = _decode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        if unrotated is not None and unrotated.shape[:2] == expected:
            return unrotated
        return error(
            where,
            f"the file {record.path} has {image.shape[0]} x {image.shape[1]} pixels (height x width), but the "
            f"annotation file says {record.height} x {record.width}. Allowed: the same size in both",
        )
    return image


def _decode(data: bytes, flags: int) -> NDArray[np.uint8] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)  # type: ignore[return-value]
    except cv2.error:
        return None


def is_truncated(data: bytes) -> bool:
    """Returns whether a JPEG or PNG ends before its end marker; other formats are left to the decoder.

    JPEG: the marker is looked for behind the start of the scan, because an embedded thumbnail brings its own.
    """
    if data.startswith(PNG_START):
        return b"IEND" not in data[-64:]
    if not data.startswith(JPEG_START):
        return False
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return True
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1  # fill byte
            continue
        if marker == 0xDA:
            # From the end, where it is: from the front the search takes 5 % of the time of decoding.
            return data.rfind(b"\xff\xd9", position) < 0
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return True

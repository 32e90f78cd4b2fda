"""All images of a data set, decoded once into one flat block of bytes.

A full COCO decode costs 1.6 ms an image on one core and each image is used by 2.65 persons an epoch, so decoding at
start-up pays for itself within the first epoch; batches then read views and nothing is pickled or copied. Pixels
are RGB uint8, the order the networks take, so that no batch has to swap channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from posesearch.data.dataset import ImageRecord, PoseDataset
from posesearch.data.faults import Fault, error, raise_errors
from posesearch.device import usable_cores
from posesearch.errors import EnvironmentFault
from posesearch.progress import Progress, SilentProgress

T = TypeVar("T")

JPEG_START, PNG_START = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"


class ImageStore:
    """Decoded images by row of `PoseDataset.images`; parts of the same data set share it.

    Args:
        pixels: One flat uint8 block.
        offset_I: First byte of each image, -1 for an image no person is on.
        size_I2: (height, width) of each image.
    """

    def __init__(
        self, pixels: NDArray[np.uint8], offset_I: NDArray[np.int64], size_I2: NDArray[np.int64]
    ) -> None:
        self.pixels, self.offset_I, self.size_I2 = pixels, offset_I, size_I2
        self.pixels.setflags(write=False)

    @classmethod
    def build(
        cls, dataset: PoseDataset, *, threads: int | None = None, progress: Progress | None = None
    ) -> ImageStore:
        """Decodes every image a person of `dataset` is on.

        Args:
            dataset: Its image rows become the store's.
            threads: Decoding threads; by default one for each usable core.
            progress: Where to report; by default nowhere.

        Raises:
            DataError: Missing, empty, truncated or unreadable files, or a size other than the annotation file's;
                the first five are named.
            EnvironmentFault: The decoded images do not fit into memory.
        """
        used = np.unique(dataset.image_index_N)
        size_I2 = np.array([(image.height, image.width) for image in dataset.images], dtype=np.int64)
        bytes_U = size_I2[used].prod(axis=1) * 3
        _require_memory(int(bytes_U.sum()), len(used), dataset.annotation_file)
        offset_I = np.full(len(dataset.images), -1, dtype=np.int64)
        offset_I[used] = np.cumsum(bytes_U) - bytes_U
        pixels = np.empty(int(bytes_U.sum()), dtype=np.uint8)

        def fill(row: int) -> Fault | None:
            record = dataset.images[row]
            image = decode_image(record)
            if isinstance(image, Fault):
                return image
            pixels[offset_I[row] : offset_I[row] + image.size] = image.reshape(-1)
            return None

        faults: list[Fault] = []
        name = f"decoding {dataset.split} images"
        with (progress or SilentProgress()).task(name, len(used)) as task:
            for fault in map_threads(fill, [int(row) for row in used], threads):
                faults += [fault] if fault else []
                task.advance()
        raise_errors(
            faults,
            f"the images of {dataset.annotation_file}",
            "Fetch or copy these images again; `posesearch data check` lists every fault.",
        )
        return cls(pixels, offset_I, size_I2)

    def image(self, row: int) -> NDArray[np.uint8]:
        """Returns a read-only view, image_HWC in RGB.

        Args:
            row: Row of `PoseDataset.images`; one with a person on it.
        """
        start = int(self.offset_I[row])
        if start < 0:
            raise KeyError(f"image row {row} holds no person and was not decoded")
        height, width = (int(side) for side in self.size_I2[row])
        return self.pixels[start : start + height * width * 3].reshape(height, width, 3)


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
            return data.find(b"\xff\xd9", position) < 0
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return True


def available_memory_bytes() -> int | None:
    """Returns the memory that can still be taken, or None where the system does not say (only Linux does)."""
    free: list[int] = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free.append(int(line.split()[1]) * 1024)
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        if limit.isdigit():
            free.append(int(limit) - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    return min(free) if free else None


def _require_memory(needed: int, count: int, annotation_file: Path) -> None:
    free = available_memory_bytes()
    if free is not None and needed > free:
        raise EnvironmentFault(
            f"the {count} images of {annotation_file} take {needed / 1e9:.1f} GB decoded, but only "
            f"{free / 1e9:.1f} GB of memory is free. Allowed: images that fit. Use an annotation file with fewer "
            "images, smaller images, or a machine with more memory."
        )

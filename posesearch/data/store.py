"""The images of a data set by row, held in one of three places: host memory, a GPU, or the files themselves.

A full COCO decode costs 1.6 ms an image on one core and each image is used by 2.65 persons an epoch, so decoding at
start-up pays for itself within the first epoch; batches then read views and nothing is pickled or copied. Where the
decoded images have no room, each use decodes the file again: slower, but never out of memory. `tiers.py` chooses.

Every store is read-only once built and may be used from several threads at once. Shape suffixes: I images, H and W
pixels, C colour channels (RGB).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posesearch.data.dataset import PoseDataset
from posesearch.data.decode import decode_all, decode_image
from posesearch.data.faults import Fault
from posesearch.data.memory import free_host_bytes
from posesearch.data.tiers import Tier, choose_tier
from posesearch.errors import DataError
from posesearch.progress import Progress


class Images(Protocol):
    """Whatever gives decoded images by row of `PoseDataset.images`; parts of the same data set share it."""

    size_I2: NDArray[np.int64]
    """(height, width) of each image."""

    def image(self, row: int) -> NDArray[np.uint8]:
        """Returns image_HWC in RGB; the same bytes from every store."""


class Layout(NamedTuple):
    """Where each image lies in one flat block of bytes.

    Attributes:
        used_U: Rows of the images a person is on.
        offset_I: First byte of each image, -1 for an image no person is on.
        size_I2: (height, width) of each image.
        total_bytes: Length of the block.
    """

    used_U: NDArray[np.int64]
    offset_I: NDArray[np.int64]
    size_I2: NDArray[np.int64]
    total_bytes: int

    @classmethod
    def of(cls, dataset: PoseDataset) -> Layout:
        """Lays out the images a person of `dataset` is on, by the sizes in its annotation file."""
        used_U = np.unique(dataset.image_index_N)
        size_I2 = np.array([(image.height, image.width) for image in dataset.images], dtype=np.int64)
        bytes_U = size_I2[used_U].prod(axis=1) * 3
        offset_I = np.full(len(dataset.images), -1, dtype=np.int64)
        offset_I[used_U] = np.cumsum(bytes_U) - bytes_U
        return cls(used_U, offset_I, size_I2, int(bytes_U.sum()))


def expected_store_bytes(dataset: PoseDataset) -> int:
    """Returns the size of a data set's decoded images, from its annotation file alone: no image is opened."""
    return Layout.of(dataset).total_bytes


class ImageStore:
    """Images decoded once into one flat block of host memory.

    Args:
        pixels: One flat uint8 block.
        offset_I: First byte of each image, -1 for an image no person is on.
        size_I2: (height, width) of each image.
    """

    def __init__(
        self, pixels: NDArray[np.uint8], offset_I: NDArray[np.int64], size_I2: NDArray[np.int64]
    ) -> None:
        self._block = pixels
        self.pixels, self.offset_I, self.size_I2 = pixels.view(), offset_I, size_I2
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
            DataError: Files that `decode_all` refuses.
            EnvironmentFault: The decoded images do not fit into memory.
        """
        layout = Layout.of(dataset)
        # Asked before the block is taken: a process that outgrows its memory is killed without a word.
        choose_tier(
            layout.total_bytes, "cpu", forced=Tier.HOST, free_host=free_host_bytes(), free_device=None
        )
        pixels = np.empty(layout.total_bytes, dtype=np.uint8)

        def keep(row: int, image: NDArray[np.uint8]) -> None:
            start = layout.offset_I[row]
            pixels[start : start + image.size] = image.reshape(-1)

        decode_all(dataset, layout.used_U, keep, threads=threads, progress=progress)
        return cls(pixels, layout.offset_I, layout.size_I2)

    def image(self, row: int) -> NDArray[np.uint8]:
        """Returns a read-only view, image_HWC in RGB.

        Args:
            row: Row of `PoseDataset.images`; one with a person on it.
        """
        start, height, width = _place(self.offset_I, self.size_I2, row)
        return self.pixels[start : start + height * width * 3].reshape(height, width, 3)

    def on(self, device: torch.device | str) -> DeviceStore:
        """Returns the same images on `device`; on the CPU they share this store's memory."""
        return DeviceStore(torch.from_numpy(self._block).to(device), self.offset_I, self.size_I2)


class DeviceStore:
    """Images decoded once into one flat block on a device. Untried on a GPU: tested with the CPU as the device.

    Args:
        pixels: One flat uint8 block.
        offset_I: First byte of each image, -1 for an image no person is on; on the host.
        size_I2: (height, width) of each image; on the host.
    """

    def __init__(self, pixels: Tensor, offset_I: NDArray[np.int64], size_I2: NDArray[np.int64]) -> None:
        self.pixels, self.offset_I, self.size_I2 = pixels, offset_I, size_I2

    @classmethod
    def build(
        cls,
        dataset: PoseDataset,
        device: torch.device | str,
        *,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> DeviceStore:
        """Decodes every image a person of `dataset` is on, each straight to the device: the host never holds them all.

        Args:
            dataset: Its image rows become the store's.
            device: Where the block is; must have room, which `choose_tier` asks.
            threads: Decoding threads; by default one for each usable core.
            progress: Where to report; by default nowhere.

        Raises:
            DataError: Files that `decode_all` refuses.
        """
        layout = Layout.of(dataset)
        pixels = torch.empty(layout.total_bytes, dtype=torch.uint8, device=device)

        def keep(row: int, image: NDArray[np.uint8]) -> None:
            start = int(layout.offset_I[row])
            pixels[start : start + image.size].copy_(torch.from_numpy(image.reshape(-1)))

        decode_all(dataset, layout.used_U, keep, threads=threads, progress=progress)
        return cls(pixels, layout.offset_I, layout.size_I2)

    def image(self, row: int) -> NDArray[np.uint8]:
        """Returns one image on the host, read-only: for the few crops that are warped once, by OpenCV.

        A copy from a GPU waits for what it computes; training batches are cut on the device instead.

        Args:
            row: Row of `PoseDataset.images`; one with a person on it.
        """
        start, height, width = _place(self.offset_I, self.size_I2, row)
        image_HWC: NDArray[np.uint8] = self.pixels[start : start + height * width * 3].cpu().numpy()
        image_HWC.setflags(write=False)
        return image_HWC.reshape(height, width, 3)


class JpegStore:
    """Images decoded from their files at each use; the system's page cache keeps the files in whatever memory is free.

    Threads that make batches decode side by side; the store itself holds no pixels.

    Args:
        dataset: Its image rows become the store's.
        layout: Which of them a person is on, and their sizes.
    """

    def __init__(self, dataset: PoseDataset, layout: Layout) -> None:
        self._records, self._offset_I, self.size_I2 = dataset.images, layout.offset_I, layout.size_I2

    @classmethod
    def build(
        cls, dataset: PoseDataset, *, threads: int | None = None, progress: Progress | None = None
    ) -> JpegStore:
        """Decodes every image once and drops it, so that faults are told before the training and not in it.

        Reading the headers would be cheaper, but would pass files that no decoder takes. The whole pass is what one use
        of each image costs: with COCO's 2.65 persons an image, less than half an epoch's decoding.

        Args:
            dataset: Its image rows become the store's.
            threads: Decoding threads; by default one for each usable core.
            progress: Where to report; by default nowhere.

        Raises:
            DataError: Files that `decode_all` refuses: the same as for the other stores.
        """
        layout = Layout.of(dataset)
        decode_all(dataset, layout.used_U, lambda _row, _image: None, threads=threads, progress=progress)
        return cls(dataset, layout)

    def image(self, row: int) -> NDArray[np.uint8]:
        """Decodes one image, image_HWC in RGB, read-only.

        Args:
            row: Row of `PoseDataset.images`; one with a person on it.

        Raises:
            DataError: The file has changed since the store was built.
        """
        _place(self._offset_I, self.size_I2, row)
        image_HWC = decode_image(self._records[row])
        if isinstance(image_HWC, Fault):
            raise DataError(
                f"{image_HWC}\nThe file was whole when this command started. Images are read at each use and must stay as "
                "they are until it ends. Restore the file and run the command again."
            )
        image_HWC.setflags(write=False)
        return image_HWC


def _place(offset_I: NDArray[np.int64], size_I2: NDArray[np.int64], row: int) -> tuple[int, int, int]:
    """Returns (first byte, height, width) of an image that is in the store."""
    start = int(offset_I[row])
    if start < 0:
        raise KeyError(f"image row {row} holds no person and was not decoded")
    height, width = (int(side) for side in size_I2[row])
    return start, height, width

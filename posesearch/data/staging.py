"""The pixels that one batch needs, on the device that warps it.

From a store on the device that is a view of everything. From the host, each image's rows between the highest and the
lowest pixel the crop can touch are copied through a page-locked buffer, so that the GPU fetches them by itself. There are
at least two buffers: one is filled while the other is fetched. Whole rows are copied, not rectangles: a row of pixels
keeps its place relative to the image's first one, so neither matrix nor image size changes and the warp gives the same
bytes whichever store the pixels came from.

Untried on a GPU: the same code is tested with the CPU as the device, where buffers are plain memory and nothing overlaps.

Shape suffixes: B persons of a batch. Points are (x, y), sizes (height, width), in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posesearch.data.store import DeviceStore, Images
from posesearch.keypoints.boxes import apply_affine, invert_affine

GROWTH = 1.25
"""A buffer that must grow takes this much more than asked, because page-locking memory is slow and batches differ."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PixelBatch:
    """Where a batch's images lie on the device.

    Attributes:
        pixels: Flat uint8. The pixel (row, column, colour) of person b's image is at
            `offset_B[b] + (row * width + column) * 3 + colour`, if the crop can touch its row. Other rows need not be
            there, and the offset may be negative: no other pixel may be read, not even to be masked out later.
        offset_B: int64.
        size_B2: (height, width) of the images; int64.
        copied: Set once the copy to a GPU is done; None where there is nothing to wait for.
    """

    pixels: Tensor
    offset_B: Tensor
    size_B2: Tensor
    copied: torch.cuda.Event | None = None

    def wait(self) -> None:
        """Makes the current stream wait for the copy; call it in the thread that warps, before it does."""
        if self.copied is not None:
            stream = torch.cuda.current_stream(self.pixels.device)
            stream.wait_event(self.copied)
            for tensor in (self.pixels, self.offset_B, self.size_B2):
                tensor.record_stream(stream)  # made on the copying stream, used and freed on this one


StagePixels = Callable[[NDArray[np.integer], NDArray[np.float64], tuple[int, int]], PixelBatch]
"""From (image row of each person, matrix_B23 from image to crop, crop's (height, width)) to their pixels."""


def pixel_stage(images: Images, device: torch.device | str, *, buffers: int = 2) -> StagePixels:
    """Returns the function that puts a batch's pixels on `device`; safe to call from several threads.

    Args:
        images: Any store; one on the device is used in place.
        device: Where crops are warped.
        buffers: Batches under way between host and device: two overlap filling and copying, more let as many threads
            fill (and, from files, decode) side by side.
    """
    if isinstance(images, DeviceStore):
        return _InPlace(images).stage
    return PinnedStage(images, torch.device(device), buffers=buffers).stage


def touched_rows(
    matrix_B23: NDArray[np.float64], height_B: NDArray[np.integer], input_size: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns (first, one past last) image row that bilinear sampling of each crop can touch; at least one row.

    Args:
        matrix_B23: Image pixels to crop pixels.
        height_B: Heights of the images.
        input_size: (height, width) of the crops.
    """
    bottom, right = input_size[0] - 1, input_size[1] - 1
    corners_42 = np.array([(0, 0), (right, 0), (0, bottom), (right, bottom)], dtype=np.float64)
    corners_B42 = np.broadcast_to(corners_42, (len(matrix_B23), 4, 2))
    y_B4 = apply_affine(invert_affine(matrix_B23), corners_B42)[..., 1]
    # One row of margin: a warp in float32 may round a coordinate to the other side of a pixel.
    first_B = np.floor(y_B4.min(axis=1)) - 1
    last_B = np.floor(y_B4.max(axis=1)) + 2
    return (
        np.clip(first_B, 0, height_B - 1).astype(np.int64),
        np.clip(last_B, 0, height_B - 1).astype(np.int64) + 1,
    )


class _InPlace:
    """Batches that only say where in the store's own block their images are."""

    def __init__(self, store: DeviceStore) -> None:
        self._pixels = store.pixels
        # On the device once: two small lookups a batch instead of two copies.
        self._offset_I, self._size_I2 = (
            torch.from_numpy(array).to(store.pixels.device) for array in (store.offset_I, store.size_I2)
        )

    def stage(
        self, rows_B: NDArray[np.integer], matrix_B23: NDArray[np.float64], input_size: tuple[int, int]
    ) -> PixelBatch:
        index_B = torch.from_numpy(np.asarray(rows_B, dtype=np.int64)).to(self._pixels.device)
        return PixelBatch(
            pixels=self._pixels, offset_B=self._offset_I[index_B], size_B2=self._size_I2[index_B]
        )


class _Buffer:
    """Page-locked memory that grows, and the event after which it may be filled again."""

    def __init__(self, *, pinned: bool) -> None:
        self._pinned = pinned
        self._memory = torch.empty(0, dtype=torch.uint8)
        self.fetched: torch.cuda.Event | None = None

    def room(self, size_bytes: int) -> Tensor:
        """Returns that much memory, once the last copy out of it is done."""
        if self.fetched is not None:
            self.fetched.synchronize()
            self.fetched = None
        if len(self._memory) < size_bytes:
            grown = int(size_bytes * GROWTH)
            self._memory = torch.empty(grown, dtype=torch.uint8, pin_memory=self._pinned)
        return self._memory[:size_bytes]


class PinnedStage:
    """Copies the touched rows of a batch's images to a device.

    Args:
        images: A store on the host, or one that decodes files.
        device: Where crops are warped.
        buffers: Batches under way at once, at least 1.
    """

    def __init__(self, images: Images, device: torch.device, *, buffers: int = 2) -> None:
        self._images, self._device = images, device
        on_gpu = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if on_gpu else None
        self._free: SimpleQueue[_Buffer] = SimpleQueue()
        for _ in range(buffers):
            self._free.put(_Buffer(pinned=on_gpu))

    def stage(
        self, rows_B: NDArray[np.integer], matrix_B23: NDArray[np.float64], input_size: tuple[int, int]
    ) -> PixelBatch:
        """Returns the pixels of one batch on the device; on a GPU their copy may still be under way.

        Args:
            rows_B: Image row of each person.
            matrix_B23: Image pixels to crop pixels.
            input_size: (height, width) of the crops.
        """
        size_B2 = self._images.size_I2[rows_B]
        first_B, end_B = touched_rows(matrix_B23, size_B2[:, 0], input_size)
        row_bytes_B = size_B2[:, 1] * 3
        bytes_B = (end_B - first_B) * row_bytes_B
        start_B = np.cumsum(bytes_B) - bytes_B
        buffer = self._free.get()
        try:
            memory = buffer.room(int(bytes_B.sum()))
            filled = memory.numpy()
            for row, first, end, start, size in zip(rows_B, first_B, end_B, start_B, bytes_B, strict=True):
                filled[start : start + size] = self._images.image(int(row))[first:end].reshape(-1)
            batch = self._send(memory, start_B - first_B * row_bytes_B, size_B2)
            buffer.fetched = batch.copied
        finally:
            self._free.put(buffer)
        return batch

    def _send(self, memory: Tensor, offset_B: NDArray[np.int64], size_B2: NDArray[np.int64]) -> PixelBatch:
        with torch.cuda.stream(self._stream):
            return PixelBatch(
                # Not `.to`: on the CPU that would hand out the buffer, which the next batch overwrites.
                pixels=torch.empty(len(memory), dtype=torch.uint8, device=self._device).copy_(
                    memory, non_blocking=True
                ),
                offset_B=torch.from_numpy(offset_B).to(self._device),
                size_B2=torch.from_numpy(size_B2).to(self._device),
                copied=None if self._stream is None else self._stream.record_event(),
            )

"""From the plan of a batch to network input, all on the device: warp, colours, blurs, black rectangle, normalisation.

On a GPU two functions are compiled: everything up to the jittered crop (6 loops in Inductor's code for a CPU), and from there
to the network's input (1 loop). Blurs lie between them, on the few crops that have one. Where compiling fails, the same
functions run uncompiled and one message says so. Untried on a GPU; on a CPU, compiled and uncompiled gave the same bytes.

Shape suffixes: B persons of a batch, H and W crop height and width, C colours.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from posesearch.data.batch import BatchPlan, pixel_statistics, standardise
from posesearch.data.device_photometric import blur_chosen, inside_holes, jitter_hsv, to_device
from posesearch.data.device_warp import in_chunks, interleave, sample
from posesearch.data.staging import StagePixels
from posesearch.errors import compile_reason
from posesearch.keypoints.boxes import invert_affine

MakeImages = Callable[..., Tensor]
Backend = str | Callable[..., Any]


class DeviceImages:
    """Makes the images of planned batches; safe to call from several threads.

    Args:
        stage: Puts the pixels a batch needs on the device.
        input_size: (height, width) of the crops.
        device: Where the network is.
        dtype: Type of the images; under bfloat16 autocast, bfloat16 saves the first layer's conversion.
        channels_last: Memory order of the images.
        compiled: Whether to compile; by default on a GPU.
        backend: Of `torch.compile`.
        report: Told once, in one sentence, when compiling failed.
    """

    def __init__(
        self,
        stage: StagePixels,
        input_size: tuple[int, int],
        device: torch.device,
        *,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = True,
        compiled: bool | None = None,
        backend: Backend = "inductor",
        report: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._stage, self._input_size, self._device = stage, input_size, device
        self._dtype, self._channels_last = dtype, channels_last
        if compiled is None:
            compiled = device.type == "cuda"
        self._cut: MakeImages = Fused(cut, cut_in_chunks, backend, report) if compiled else cut_in_chunks
        self._finish: MakeImages = Fused(finish, finish, backend, report) if compiled else finish
        self._compiled = compiled

    def __call__(self, plan: BatchPlan, *, holes: bool = True) -> Tensor:
        """Returns images_BCHW, normalised.

        Args:
            plan: Who is in the batch, the matrices and the random numbers.
            holes: Whether to blacken the rectangles.
        """
        count = len(plan.matrix_B23)
        hsv_B3, hole_B4 = np.zeros((count, 3), dtype=np.int32), np.zeros((count, 4), dtype=np.int64)
        if plan.draws is not None:
            hsv_B3 = plan.draws.hsv_B3.astype(np.int32)
            hole_B4 = plan.draws.hole_B4 if holes else hole_B4
        staged = self._stage(plan.image_row_B, plan.matrix_B23, self._input_size)
        if self._compiled:
            # Staged blocks differ in length: compiled once for all lengths, not anew at the second one.
            torch._dynamo.maybe_mark_dynamic(staged.pixels, 0)
        staged.wait()
        images_BHWC = self._cut(
            staged.pixels,
            staged.offset_B,
            staged.size_B2,
            to_device(invert_affine(plan.matrix_B23), self._device),
            to_device(hsv_B3, self._device),
            self._input_size,
        )
        if plan.draws is not None:
            blur_chosen(images_BHWC, plan.draws.blur_B, plan.draws.median_B)
        return self._finish(
            images_BHWC,
            to_device(hole_B4, self._device),
            *pixel_statistics(images_BHWC.device),
            self._dtype,
            self._channels_last,
        )


def cut(
    pixels: Tensor,
    offset_B: Tensor,
    size_B2: Tensor,
    inverse_B23: Tensor,
    hsv_B3: Tensor,
    input_size: tuple[int, int],
) -> Tensor:
    """Warps and jitters all crops of a batch at once, which is for a compiler; returns images_BHWC, uint8."""
    return interleave(jitter_hsv(sample(pixels, offset_B, size_B2, inverse_B23, input_size), hsv_B3))


def cut_in_chunks(
    pixels: Tensor,
    offset_B: Tensor,
    size_B2: Tensor,
    inverse_B23: Tensor,
    hsv_B3: Tensor,
    input_size: tuple[int, int],
) -> Tensor:
    """The same a few crops at a time."""

    def some(*parts: Tensor) -> Tensor:
        offset_B, size_B2, inverse_B23, hsv_B3 = parts
        return cut(pixels, offset_B, size_B2, inverse_B23, hsv_B3, input_size)

    return in_chunks(some, input_size, offset_B, size_B2, inverse_B23, hsv_B3)


def finish(
    images_BHWC: Tensor,
    hole_B4: Tensor,
    mean_1C11: Tensor,
    std_1C11: Tensor,
    dtype: torch.dtype,
    channels_last: bool,
) -> Tensor:
    """Blackens each crop's rectangle and normalises; returns images_BCHW."""
    hole_BHW1 = inside_holes(hole_B4, (images_BHWC.shape[1], images_BHWC.shape[2])).unsqueeze(-1)
    return standardise(images_BHWC.masked_fill(hole_BHW1, 0), mean_1C11, std_1C11, dtype, channels_last)


class Fused:
    """A function on tensors, compiled where that works, and otherwise its uncompiled twin.

    Args:
        function: The function to compile.
        uncompiled: Same arguments, same result.
        backend: Of `torch.compile`.
        report: Told once when compiling failed.
    """

    def __init__(
        self, function: MakeImages, uncompiled: MakeImages, backend: Backend, report: Callable[[str], None]
    ) -> None:
        def call(*arguments: Any) -> Tensor:
            return function(*arguments)

        # Torch keeps compiled graphs by code object and gives up after 8 (`recompile_limit`): each user gets one of its own.
        call.__code__ = call.__code__.replace()
        self._compiled: MakeImages | None = torch.compile(call, fullgraph=True, backend=backend)
        self._uncompiled, self._report, self._lock = uncompiled, report, Lock()

    def __call__(self, *arguments: Any) -> Tensor:
        """Returns the function's result."""
        compiled = self._compiled
        if compiled is None:
            return self._uncompiled(*arguments)
        try:
            return compiled(*arguments)
        except (torch._dynamo.exc.TorchDynamoException, torch._dynamo.exc.FailOnRecompileLimitHit) as error:
            self._give_up(compile_reason(error))
        except RuntimeError as error:
            # Torch notes in one place for all threads that it traces: while another thread compiles the network, it may
            # take this call for a part of that, and refuse it. The next call is welcome again.
            if "FX to symbolically trace" not in str(error):
                raise
        return self._uncompiled(*arguments)

    def _give_up(self, reason: str) -> None:
        with self._lock:
            first, self._compiled = self._compiled is not None, None
        if first:
            self._report(f"batch preparation runs uncompiled, because torch.compile failed: {reason}")

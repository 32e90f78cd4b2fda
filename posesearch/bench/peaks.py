"""How much memory something takes at its worst moment: on a GPU by the allocator, on a CPU by following every tensor."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from posesearch.models.live import LiveTensors

__all__ = ["LiveTensors", "peak_bytes"]


def peak_bytes(function: Callable[[], object], device: torch.device) -> int:
    """Returns the most memory `function` held at one moment, beyond what was held before it was called.

    On a GPU from the counters of torch's allocator (untried: no GPU was at hand), on a CPU by `LiveTensors`.

    Args:
        function: What is measured; call it once before, so that lasting memory is there already.
        device: Where it computes.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with LiveTensors() as tensors:
        function()
    return tensors.peak_bytes

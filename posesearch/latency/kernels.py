"""Kernels per forward: what batch-1 latency follows on a GPU, counted on the device or from the operators."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from posesearch.latency.runtimes import DTYPES, converted, prepare
from posesearch.latency.types import Conditions
from posesearch.models.counting import OperatorCounter

PROFILE_WARM_UP_CALLS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelCount:
    """How many pieces of work one forward is.

    Attributes:
        count: How many.
        unit: "kernels" where a GPU ran them; "ATen calls" where operators that launch work were counted instead. The
            calls are a lower bound of the kernels: cuDNN adds the bias of a convolution in a kernel of its own.
    """

    count: int
    unit: Literal["kernels", "ATen calls"]

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dict."""
        return {"count": self.count, "unit": self.unit}


def kernels_per_forward(model: nn.Module, input_size: tuple[int, int], conditions: Conditions) -> KernelCount:
    """Counts what one forward launches.

    On a GPU the kernels of one call in the runtime of `conditions`, by torch.profiler (untried: no GPU was at hand). On
    a CPU the ATen operators of the eager forward, views apart, whatever the runtime.

    Args:
        model: In deploy form; left as it is.
        input_size: (height, width) in pixels.
        conditions: Device, runtime, precision, batch, memory format.

    Raises:
        EnvironmentFault: The runtime does not run on the GPU.
    """
    network = copy.deepcopy(model)
    if torch.device(conditions.device).type == "cuda":
        return KernelCount(count=_profiled_kernels(network, input_size, conditions), unit="kernels")
    network, images_BCHW = converted(
        network.to("cpu").eval(),
        torch.zeros(conditions.batch, 3, *input_size),
        DTYPES[conditions.precision],
        conditions.memory_format,
    )
    counter = OperatorCounter()
    with torch.no_grad(), counter:
        network(images_BCHW)
    return KernelCount(count=counter.operators, unit="ATen calls")


def _profiled_kernels(model: nn.Module, input_size: tuple[int, int], conditions: Conditions) -> int:
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    call = prepare(model, input_size, conditions)
    with torch.inference_mode():
        for _ in range(PROFILE_WARM_UP_CALLS):
            call()
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            call()
    return count_kernels(
        [event.name for event in profiler.events() or () if event.device_type == DeviceType.CUDA]
    )


def count_kernels(names: list[str]) -> int:
    """Counts the kernels among the GPU's events: copies, fills and the profiler's own marks are none."""
    others = ("Memcpy", "Memset", "ProfilerStep", "Activity Buffer", "Context Sync")
    return sum(not name.startswith(others) for name in names)

"""One network ready to be timed, and what a runtime is: how to make it ready, and when to refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from posesearch.errors import DataError
from posesearch.latency.types import Conditions


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A network on its device with one random batch; calling it returns when the result is there.

    It belongs inside `torch.inference_mode()`, as it was prepared.

    Attributes:
        launch: Starts one forward and returns its outputs; on a CPU they are there, on a GPU they may be under way.
        device: Where it runs.
        stream: The CUDA stream it runs on; None on a CPU, and where the runtime keeps a stream of its own.
        keeps: What the call reads and writes and nothing else refers to.
        first_call_ms: From the network to its first result, milliseconds; set by `runtimes.prepare`.
    """

    launch: Callable[[], tuple[Tensor, ...]]
    device: torch.device
    stream: torch.cuda.Stream | None = None
    keeps: Any = None
    first_call_ms: float | None = None

    def __call__(self) -> None:
        """Runs one forward to its end."""
        self.launch()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def device_ms(self) -> float | None:
        """Runs one forward and returns its time on the GPU's own clock (CUDA events), milliseconds.

        The events cost the host time of their own, so a call timed here is never one timed by the wall clock. Untried:
        no GPU was at hand.
        """
        if self.stream is None:
            return None
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record(self.stream)
        self.launch()
        end.record(self.stream)
        torch.cuda.synchronize(self.device)
        return float(start.elapsed_time(end))

    def started(self, first_call_ms: float) -> Call:
        """Returns the call with its `first_call_ms`."""
        return replace(self, first_call_ms=first_call_ms)


Prepare = Callable[[nn.Module, Tensor, Conditions], Call]


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """A way to run a network.

    Attributes:
        prepare: Makes the call from a network in evaluation mode and a batch, both on the device.
        check: Refuses conditions that the runtime cannot fulfil here.
        lowers_precision: Whether it wants the network in float32 and lowers the precision itself.
    """

    prepare: Prepare
    check: Callable[[Conditions], None]
    lowers_precision: bool = False


def as_tensors(outputs: Any) -> tuple[Tensor, ...]:
    """Returns a network's output, one tensor or a tuple of them, as a tuple."""
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def tolerance(conditions: Conditions) -> float:
    """Returns the largest allowed difference to eager float32, relative to the largest output where that exceeds 1.

    Float32 gets 1e-4 (the folded networks stay near 1e-6). TF32 keeps 10 bits of a number as float16 does, bfloat16
    keeps 7; both get 30 roundings' worth, which a wrong network exceeds at once.
    """
    on_gpu = torch.device(conditions.device).type == "cuda"
    if conditions.precision == "bf16":
        return 30 * 2.0**-8
    if conditions.precision == "fp16" or (on_gpu and torch.backends.cudnn.allow_tf32):
        return 30 * 2.0**-11
    return 1e-4


def check_same(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], conditions: Conditions) -> None:
    """Refuses a runtime that computes something else than eager float32.

    Raises:
        DataError: The outputs differ in number or shape, or by more than `tolerance`, or are not finite.
    """
    shapes = [[tuple(tensor.shape) for tensor in tensors] for tensors in (found, expected)]
    if shapes[0] != shapes[1]:
        raise DataError(
            f"--runtime {conditions.runtime} gives outputs of shapes {shapes[0]}, eager gives {shapes[1]}. "
            "Use --runtime eager, and report the architecture."
        )
    allowed = tolerance(conditions)
    for ours, eager in zip(found, expected, strict=True):
        reference = eager.float()
        peak = max(1.0, float(reference.abs().max()))
        difference = float((ours.float() - reference).abs().max())
        if not difference <= allowed * peak:
            raise DataError(
                f"--runtime {conditions.runtime} in {conditions.precision} differs from eager float32 by "
                f"{difference:.3g}, allowed is {allowed * peak:.3g}. Use --runtime eager or --precision fp32."
            )

"""Ways to run a network once, each turned into a call that returns when the result is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from posesearch.errors import EnvironmentFault, UsageError, did_you_mean
from posesearch.latency.types import Conditions

Call = Callable[[], None]
Prepare = Callable[[nn.Module, Tensor], Call]

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

# Calls on the capturing stream before a graph is recorded: cuDNN chooses algorithms and allocates on the first ones.
GRAPH_WARM_UP_CALLS = 3


def prepare_eager(model: nn.Module, images_BCHW: Tensor) -> Call:
    """Plain PyTorch, one launch an operator; the protocol behind the published StarNet-Pose figures."""
    device = images_BCHW.device
    if device.type == "cuda":

        def call_on_gpu() -> None:
            model(images_BCHW)
            torch.cuda.synchronize(device)

        return call_on_gpu

    def call() -> None:
        model(images_BCHW)

    return call


def prepare_cudagraph(model: nn.Module, images_BCHW: Tensor) -> Call:
    """The whole forward captured once as a CUDA graph and replayed: no launch cost an operator.

    The graph is captured with the images' device as the current one, since `torch.cuda.graph` captures on a stream of
    the current device. On `cuda:1` and beyond this has never run: no machine with two GPUs was at hand.

    Raises:
        EnvironmentFault: The device is not a CUDA GPU.
    """
    device = images_BCHW.device
    check_runtime("cudagraph", device)
    with torch.cuda.device(device):
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(GRAPH_WARM_UP_CALLS):
                model(images_BCHW)
        torch.cuda.current_stream(device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            kept_output = model(images_BCHW)

    def call() -> None:
        graph.replay()
        torch.cuda.synchronize(device)

    # The graph writes to this output and reads these weights and images for as long as it is replayed.
    call.kept = (kept_output, model, images_BCHW)  # type: ignore[attr-defined]
    return call


RUNTIMES: dict[str, Prepare] = {"eager": prepare_eager, "cudagraph": prepare_cudagraph}
GPU_RUNTIMES = ("cudagraph",)


def counterpart(conditions: Conditions) -> Conditions | None:
    """Returns the same conditions in the other runtime of a CUDA GPU, eager or CUDA graph; None on other devices."""
    if torch.device(conditions.device).type != "cuda":
        return None
    return dataclasses.replace(conditions, runtime="cudagraph" if conditions.runtime == "eager" else "eager")


def check_runtime(name: str, device: torch.device) -> None:
    """Refuses a runtime that is not known, or does not run on the device.

    Raises:
        UsageError: It is not known; with the names that are.
        EnvironmentFault: It needs another device.
    """
    if name not in RUNTIMES:
        raise UsageError(
            f"--runtime '{name}' is not known.{did_you_mean(name, RUNTIMES)} Allowed: {', '.join(RUNTIMES)}."
        )
    if name in GPU_RUNTIMES and device.type != "cuda":
        raise EnvironmentFault(
            f"--runtime {name} needs a CUDA GPU, the device is '{device}'. "
            "Use --runtime eager, or choose a GPU with --device cuda."
        )


def prepare(model: nn.Module, input_size: tuple[int, int], conditions: Conditions) -> Call:
    """Puts `model` and one random batch on the device and returns the call to be timed.

    The batch is random, not zero: zeros would let CPUs and power-limited GPUs run faster than real images do.

    Args:
        model: In deploy form; it is moved to the device and converted in place.
        input_size: (height, width) in pixels.
        conditions: Device, runtime, precision, batch.

    Raises:
        UsageError: Unknown runtime.
        EnvironmentFault: The runtime needs another device, or the device is out of memory.
    """
    device, dtype = torch.device(conditions.device), DTYPES[conditions.precision]
    check_runtime(conditions.runtime, device)
    try:
        with torch.inference_mode():
            images_BCHW = torch.randn(
                conditions.batch, 3, *input_size, generator=torch.Generator().manual_seed(0)
            ).to(device, dtype)
            return RUNTIMES[conditions.runtime](model.to(device, dtype).eval(), images_BCHW)
    except torch.cuda.OutOfMemoryError as error:
        raise EnvironmentFault(
            f"out of memory on {conditions.device} while preparing a network of batch {conditions.batch}. "
            "Close other programs on the device or use a smaller --batch."
        ) from error

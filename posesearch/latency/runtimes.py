"""The runtimes by name: which there are, which run here, and a network made ready to be timed in one."""

from __future__ import annotations

import dataclasses
import time

import torch
from torch import Tensor, nn

from posesearch.errors import EnvironmentFault, UsageError, did_you_mean
from posesearch.latency.call import Call, Runtime, as_tensors, check_same
from posesearch.latency.runtime_onnx import check_onnxruntime, prepare_onnxruntime
from posesearch.latency.runtime_onnx import installed as onnxruntime_installed
from posesearch.latency.runtime_tensorrt import check_tensorrt, prepare_tensorrt
from posesearch.latency.runtime_torch import (
    check_compile,
    check_cudagraph,
    check_eager,
    prepare_compile,
    prepare_cudagraph,
    prepare_eager,
)
from posesearch.latency.types import Conditions

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

RUNTIMES: dict[str, Runtime] = {
    "eager": Runtime(prepare=prepare_eager, check=check_eager),
    "cudagraph": Runtime(prepare=prepare_cudagraph, check=check_cudagraph),
    "compile": Runtime(prepare=prepare_compile, check=check_compile),
    "onnxruntime": Runtime(prepare=prepare_onnxruntime, check=check_onnxruntime),
    "tensorrt": Runtime(prepare=prepare_tensorrt, check=check_tensorrt, lowers_precision=True),
}


def check_conditions(conditions: Conditions) -> None:
    """Refuses conditions under which nothing can be measured here, before any work is done.

    Raises:
        UsageError: The runtime is not known, or cannot do the precision or memory format.
        EnvironmentFault: The runtime needs another device, or a package that is not there.
    """
    if conditions.runtime not in RUNTIMES:
        raise UsageError(
            f"--runtime '{conditions.runtime}' is not known.{did_you_mean(conditions.runtime, RUNTIMES)} "
            f"Allowed: {', '.join(RUNTIMES)}."
        )
    RUNTIMES[conditions.runtime].check(conditions)


def check_runtime(name: str, device: torch.device) -> None:
    """Refuses a runtime that is not known, or does not run on the device; in float32, see `check_conditions`.

    Raises:
        UsageError: It is not known; with the names that are.
        EnvironmentFault: It needs another device, or a package that is not there.
    """
    check_conditions(Conditions(device=str(device), runtime=name))


def counterpart(conditions: Conditions) -> Conditions | None:
    """Returns the same conditions in the runtime whose latency is shown beside.

    On a GPU that is the CUDA graph (for a CUDA graph: eager), on a CPU ONNX Runtime (for ONNX Runtime: eager). None where
    ONNX Runtime is not installed or cannot do the precision or memory format.
    """
    name = "cudagraph" if torch.device(conditions.device).type == "cuda" else "onnxruntime"
    if conditions.runtime == name:
        return dataclasses.replace(conditions, runtime="eager")
    other = dataclasses.replace(conditions, runtime=name)
    if name == "onnxruntime":
        float32_in_order = (conditions.precision, conditions.memory_format) == ("fp32", "contiguous")
        return other if onnxruntime_installed() and float32_in_order else None
    return other


def converted(
    model: nn.Module, images_BCHW: Tensor, dtype: torch.dtype, memory_format: str
) -> tuple[nn.Module, Tensor]:
    """Returns the network, converted in place, and the images in a number format and a memory format."""
    layout = LAYOUTS[memory_format]
    # torch documents `memory_format` for modules; its type annotations do not know it.
    model = model.to(dtype).to(memory_format=layout)  # type: ignore[call-overload]
    return model, images_BCHW.to(dtype, memory_format=layout)


def prepare(model: nn.Module, input_size: tuple[int, int], conditions: Conditions) -> Call:
    """Puts `model` and one random batch on the device and returns the call to be timed, already called once.

    The batch is random, not zero: zeros would let CPUs and power-limited GPUs run faster than real images do. Except in
    eager, the first result is compared with that of eager in float32.

    Args:
        model: In deploy form; it is moved to the device and converted in place.
        input_size: (height, width) in pixels.
        conditions: Device, runtime, precision, threads, batch, memory format.

    Raises:
        UsageError: Unknown runtime, or one that cannot do the precision or memory format.
        EnvironmentFault: The runtime needs another device or a missing package, or the device is out of memory.
        DataError: The runtime computes something else than eager.
    """
    check_conditions(conditions)
    device = torch.device(conditions.device)
    runtime = RUNTIMES[conditions.runtime]
    dtype = torch.float32 if runtime.lowers_precision else DTYPES[conditions.precision]
    try:
        with torch.inference_mode():
            images_BCHW = torch.randn(
                conditions.batch, 3, *input_size, generator=torch.Generator().manual_seed(0)
            ).to(device)
            model = model.to(device).eval()
            expected = None if conditions.runtime == "eager" else as_tensors(model(images_BCHW))
            model, images_BCHW = converted(model, images_BCHW, dtype, conditions.memory_format)
            start_ns = time.perf_counter_ns()
            call = runtime.prepare(model, images_BCHW, conditions)
            call()
            call = call.started((time.perf_counter_ns() - start_ns) / 1e6)
            if expected is not None:
                check_same(call.launch(), expected, conditions)
            return call
    except torch.cuda.OutOfMemoryError as error:
        raise EnvironmentFault(
            f"out of memory on {conditions.device} while preparing a network of batch {conditions.batch}. "
            "Close other programs on the device or use a smaller --batch."
        ) from error

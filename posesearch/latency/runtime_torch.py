"""The runtimes that are PyTorch itself: eager, CUDA graph, torch.compile."""

from __future__ import annotations

import importlib.util
import os
import shutil

import torch
from torch import Tensor, nn

from posesearch.errors import EnvironmentFault
from posesearch.latency.call import Call, as_tensors
from posesearch.latency.types import Conditions

# Calls on the capturing stream before a graph is recorded: cuDNN chooses algorithms and allocates on the first ones.
GRAPH_WARM_UP_CALLS = 3


def current_stream(device: torch.device) -> torch.cuda.Stream | None:
    """Returns the stream torch launches on, or None on a CPU."""
    return torch.cuda.current_stream(device) if device.type == "cuda" else None


def check_eager(conditions: Conditions) -> None:
    """Eager runs everything torch runs."""


def prepare_eager(model: nn.Module, images_BCHW: Tensor, _conditions: Conditions) -> Call:
    """Plain PyTorch, one launch an operator; the protocol behind the published StarNet-Pose figures."""

    def launch() -> tuple[Tensor, ...]:
        return as_tensors(model(images_BCHW))

    return Call(launch=launch, device=images_BCHW.device, stream=current_stream(images_BCHW.device))


def check_cudagraph(conditions: Conditions) -> None:
    """Refuses a device without CUDA graphs.

    Raises:
        EnvironmentFault: The device is not a CUDA GPU.
    """
    if torch.device(conditions.device).type != "cuda":
        raise EnvironmentFault(
            f"--runtime cudagraph needs a CUDA GPU, the device is '{conditions.device}'. "
            "Use --runtime eager, or choose a GPU with --device cuda."
        )


def prepare_cudagraph(model: nn.Module, images_BCHW: Tensor, _conditions: Conditions) -> Call:
    """The whole forward captured once as a CUDA graph and replayed: no launch cost an operator.

    The graph is captured with the images' device as the current one, since `torch.cuda.graph` captures on a stream of
    the current device. On `cuda:1` and beyond this has never run: no machine with two GPUs was at hand.
    """
    device = images_BCHW.device
    with torch.cuda.device(device):
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(GRAPH_WARM_UP_CALLS):
                model(images_BCHW)
        torch.cuda.current_stream(device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            kept_output = as_tensors(model(images_BCHW))

    def launch() -> tuple[Tensor, ...]:
        graph.replay()
        return kept_output

    # The graph reads these weights and images for as long as it is replayed.
    return Call(launch=launch, device=device, stream=current_stream(device), keeps=(model, images_BCHW))


def check_compile(conditions: Conditions) -> None:
    """Refuses a machine without what Inductor generates code with.

    Raises:
        EnvironmentFault: No C++ compiler (CPU), or no Triton (GPU).
    """
    if torch.device(conditions.device).type == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise EnvironmentFault(
                "--runtime compile on a GPU needs the package triton, which is not installed. "
                "pip install triton (Linux), or use --runtime cudagraph."
            )
    elif compiler() is None:
        raise EnvironmentFault(
            "--runtime compile on a CPU needs a C++ compiler, none was found (looked for CXX, g++, clang++). "
            "Install one (Debian: apt-get install g++), or use --runtime eager."
        )


def compiler() -> str | None:
    """Returns the C++ compiler that `torch.compile` would find on a CPU."""
    return next(
        filter(None, map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++")))), None
    )


def prepare_compile(model: nn.Module, images_BCHW: Tensor, _conditions: Conditions) -> Call:
    """`torch.compile` by Inductor at one fixed shape, the whole forward in one graph (`fullgraph`, not `dynamic`).

    The mode is "default" on a CPU and "reduce-overhead" on a GPU: fused kernels inside torch's own CUDA graph, the mode
    for small batches ("max-autotune" would time kernels for minutes a network). The GPU side is untried: no GPU was at
    hand.

    Raises:
        EnvironmentFault: Inductor fails.
    """
    device = images_BCHW.device

    def forward(images: Tensor) -> tuple[Tensor, ...]:
        return as_tensors(model(images))

    # Torch keeps compiled graphs by code object and gives up after 8 (`recompile_limit`), with nets that live side by
    # side; each gets a code object of its own.
    forward.__code__ = forward.__code__.replace()
    compiled = torch.compile(
        forward, fullgraph=True, dynamic=False, mode="reduce-overhead" if device.type == "cuda" else None
    )

    def launch() -> tuple[Tensor, ...]:
        return compiled(images_BCHW)

    try:
        launch()
    except torch._dynamo.exc.TorchDynamoException as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise EnvironmentFault(
            f"--runtime compile: torch.compile failed: {reason}. "
            "Check the compiler with 'posesearch doctor', or use --runtime eager."
        ) from error
    return Call(launch=launch, device=device, stream=current_stream(device))

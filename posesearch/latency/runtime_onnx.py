"""ONNX Runtime: the exported network in a session whose provider, threads and buffers are fixed and checked."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor, nn

from posesearch.errors import EnvironmentFault, UsageError
from posesearch.latency.call import Call, as_tensors
from posesearch.latency.onnx_bytes import INPUT, onnx_bytes, output_names
from posesearch.latency.types import Conditions

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
PACKAGES = {"cpu": "pip install 'posesearch[onnx]'", "cuda": "pip install onnxruntime-gpu"}


def installed() -> bool:
    """Says whether the package is there, without loading it."""
    return importlib.util.find_spec("onnxruntime") is not None


def check_onnxruntime(conditions: Conditions) -> None:
    """Refuses what ONNX Runtime cannot do here.

    Raises:
        UsageError: A precision or memory format it does not run.
        EnvironmentFault: The package, or its provider for the device, is missing.
    """
    device = torch.device(conditions.device)
    allowed = ("fp32",) if device.type == "cpu" else ("fp32", "fp16")
    if conditions.precision not in allowed:
        # Its CPU kernels are float32, so float16 would be float32 with casts around; Conv has no bfloat16 at opset 17.
        raise UsageError(
            f"--precision {conditions.precision} cannot be run by --runtime onnxruntime on '{device}'. "
            f"Allowed: {', '.join(allowed)}. Use --precision fp32, or --runtime eager."
        )
    if conditions.memory_format != "contiguous":
        raise UsageError(
            f"--memory-format {conditions.memory_format} has no meaning for --runtime onnxruntime, which orders memory "
            "itself. Allowed: contiguous. Leave --memory-format out, or use --runtime eager."
        )
    if not installed():
        raise EnvironmentFault(
            "--runtime onnxruntime needs the package onnxruntime, which is not installed. "
            f"{PACKAGES[device.type]}, or use --runtime eager."
        )
    import onnxruntime

    found = onnxruntime.get_available_providers()
    if PROVIDERS[device.type] not in found:
        raise provider_fault(PROVIDERS[device.type], found)


def provider_fault(wanted: str, found: list[str]) -> EnvironmentFault:
    """Returns the refusal of a session that would run elsewhere than asked."""
    kind = next((kind for kind, provider in PROVIDERS.items() if provider == wanted), "cuda")
    return EnvironmentFault(
        f"--runtime onnxruntime: wanted {wanted}, found {', '.join(found) or 'none'}. A latency of another provider "
        f"would be passed off as this one. {PACKAGES[kind]} (and its CUDA and cuDNN libraries), or choose another "
        "--device or --runtime."
    )


def make_session(model: bytes, wanted: str, threads: int, options: dict[str, str]) -> Any:
    """Opens a session on one provider.

    Args:
        model: The ONNX file.
        wanted: The provider, e.g. "CPUExecutionProvider".
        threads: Threads within an operator; operators run one after the other.
        options: Of the provider.

    Raises:
        EnvironmentFault: The provider did not come up, and ONNX Runtime took another one (which it does in silence).
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    settings.log_severity_level = 3  # errors; a fallback is found by looking, below
    # Threads that wait for the next call would take the cores of the network that is timed next.
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    if wanted != PROVIDERS["cpu"]:
        # Refuses a session in which the provider leaves single operators to the CPU.
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = onnxruntime.InferenceSession(
            model, settings, providers=[(wanted, options)], enable_fallback=0
        )
    except Exception as error:  # onnxruntime's exceptions share no base below Exception
        raise provider_fault(wanted, [f"an error ({' '.join(str(error).split())[:200]})"]) from error
    found = session.get_providers()
    if found[0] != wanted:
        raise provider_fault(wanted, found)
    return session


def cuda_options(device: torch.device) -> dict[str, str]:
    """Returns the CUDA provider's options: the GPU's number, and TF32 as torch has it, which allows it by default."""
    return {"device_id": str(device.index or 0), "use_tf32": str(int(torch.backends.cudnn.allow_tf32))}


def prepare_onnxruntime(model: nn.Module, images_BCHW: Tensor, conditions: Conditions) -> Call:
    """Exports, opens a session and binds torch's own memory as input and outputs, so that no call copies anything.

    The session runs its kernels on a stream of its own, so there is no device clock. The CUDA side is untried: no GPU
    was at hand.
    """
    import numpy as np

    device = images_BCHW.device
    with torch.inference_mode():
        outputs = tuple(torch.empty_like(output).contiguous() for output in as_tensors(model(images_BCHW)))
    names = output_names(len(outputs))
    session = make_session(
        onnx_bytes(model, images_BCHW, names),
        PROVIDERS[device.type],
        conditions.threads,
        cuda_options(device) if device.type == "cuda" else {},
    )
    binding = session.io_binding()
    number = np.float16 if conditions.precision == "fp16" else np.float32
    place = (device.type, device.index or 0, number)
    binding.bind_input(INPUT, *place, tuple(images_BCHW.shape), images_BCHW.data_ptr())
    for name, output in zip(names, outputs, strict=True):
        binding.bind_output(name, *place, tuple(output.shape), output.data_ptr())

    def launch() -> tuple[Tensor, ...]:
        session.run_with_iobinding(binding)
        return outputs

    return Call(launch=launch, device=device, keeps=images_BCHW)

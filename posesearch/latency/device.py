"""The fingerprint: everything a latency depends on besides the network."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from posesearch.config import to_plain
from posesearch.latency.types import PROTOCOL, Conditions
from posesearch.spaces.arch import canonical_id


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """Identity of a measuring set-up; figures of different fingerprints are never mixed.

    Attributes:
        device: Name of the GPU or CPU the network runs on.
        cpu: Model name of the host's CPU, which launches the kernels of an eager GPU run.
        cuda: CUDA version torch was built for, or "none".
        cudnn: cuDNN version, or "none".
        torch: Torch version.
        python: Python version, major.minor.
        driver: Version of the GPU's driver, "none" on a CPU, "unknown" where it does not say.
        gpu_memory_mib: Memory of the GPU, 0 on a CPU.
        sm_count: Streaming multiprocessors of the GPU, 0 on a CPU.
        compute_capability: "major.minor" of the GPU, or "none".
        input_shape: (batch, channels, height, width) of the images; empty when it is not fixed.
        memory_format: Order of images and weights in memory.
        tf32: Whether float32 convolutions may use TF32.
        cudnn_benchmark: Whether cuDNN picks its algorithms by timing.
        conditions: Runtime, precision, threads, batch.
        protocol: The measuring protocol.
    """

    device: str
    cpu: str
    cuda: str
    cudnn: str
    torch: str
    python: str
    tf32: bool
    cudnn_benchmark: bool
    conditions: Conditions
    driver: str = "none"
    gpu_memory_mib: int = 0
    sm_count: int = 0
    compute_capability: str = "none"
    input_shape: tuple[int, ...] = ()
    memory_format: str = "contiguous"
    protocol: str = PROTOCOL

    @property
    def id(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical JSON."""
        return canonical_id(self.to_plain())

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dicts."""
        plain: dict[str, Any] = to_plain(self)
        return plain


def cpu_name() -> str:
    """Returns the CPU's model name, or what the platform module knows where there is no /proc/cpuinfo."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown CPU"


def device_name(device: torch.device) -> str:
    """Returns the name of the GPU, or of the CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


def driver_version() -> str:
    """Returns the version of NVIDIA's kernel driver, or "unknown" where Linux does not show it."""
    try:
        first = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return "unknown"
    found = re.search(r"\b\d+\.\d+(\.\d+)?\b", first)
    return found.group() if found else "unknown"


def gpu_facts(device: torch.device) -> dict[str, Any]:
    """Returns what tells apart GPUs of one name (memory sizes, power-limited or partitioned ones) and their driver."""
    if device.type != "cuda":
        return {}
    properties = torch.cuda.get_device_properties(device)
    return {
        "driver": driver_version(),
        "gpu_memory_mib": int(properties.total_memory) >> 20,
        "sm_count": int(properties.multi_processor_count),
        "compute_capability": f"{properties.major}.{properties.minor}",
    }


def fingerprint(conditions: Conditions, input_size: tuple[int, int] | None = None) -> Fingerprint:
    """Returns the fingerprint of this machine under `conditions`.

    Args:
        conditions: Device, runtime, precision, threads, batch.
        input_size: (height, width) in pixels of all that is measured; None when it varies.
    """
    on_gpu = torch.device(conditions.device).type == "cuda"
    cudnn = torch.backends.cudnn.version() if on_gpu and torch.backends.cudnn.is_available() else None
    return Fingerprint(
        device=device_name(torch.device(conditions.device)),
        cpu=cpu_name(),
        cuda=str(torch.version.cuda) if on_gpu else "none",
        cudnn=str(cudnn) if cudnn else "none",
        torch=str(torch.__version__),
        python=".".join(platform.python_version_tuple()[:2]),
        tf32=bool(on_gpu and torch.backends.cudnn.allow_tf32),
        cudnn_benchmark=bool(on_gpu and torch.backends.cudnn.benchmark),
        conditions=conditions,
        input_shape=(conditions.batch, 3, *input_size) if input_size else (),
        **gpu_facts(torch.device(conditions.device)),
    )

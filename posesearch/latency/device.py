"""The fingerprint: everything a latency depends on besides the network, and the facts in which two of them differ."""

from __future__ import annotations

import ast
import hashlib
import importlib
import os
import platform
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from posesearch.config import to_plain
from posesearch.latency import nvidia
from posesearch.latency.deploy import timed_form
from posesearch.latency.types import PROTOCOL, Conditions
from posesearch.models.deploy import DeployForm
from posesearch.spaces.arch import canonical_id

# What decides the operators of a network; a table built from other code is a table of other networks.
BLOCK_SOURCES = ("pose", "blocks", "starnet", "heads", "layers", "deploy")

# Their host launches every operator: its CPU and, where Python does, its Python decide the latency.
LAUNCHED_BY_HOST = ("eager", "compile", "onnxruntime")
LAUNCHED_BY_PYTHON = ("eager", "compile")

ISA_LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")
"""Variables of the environment that keep torch and oneDNN from using all instructions of a CPU."""

# nvidia-smi may time out between two runs on one machine: that must not look like another machine.
NOT_IDENTIFYING = ("MIG mode", "power limit, W")

DEPLOY_FORMS: dict[DeployForm, str] = {
    "published": "as published",
    "folded": "norms folded",
    "merged": "norms folded, f1|f2 merged",
}
"""The forms in which networks are timed, in words; which one, says `deploy.timed_form`."""


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
        mig_mode: Whether the GPU is partitioned, as nvidia-smi says; "none" on a CPU, "unknown" without the tool.
        power_limit_w: The GPU's power limit, likewise.
        engine: Name and version of the runtime's own package (Triton's for compile on a GPU), "none" where it is torch.
        input_shape: (batch, channels, height, width) of the images; empty when it is not fixed.
        tf32: Whether float32 convolutions may use TF32.
        cudnn_benchmark: Whether cuDNN picks its algorithms by timing.
        conditions: Runtime, precision, threads, batch, memory format.
        deploy_form: What was folded before timing.
        block_source: Digest of the code the networks are built by.
        cpu_capability: Instruction set torch uses on the CPU and the environment's limits to it; "none" on a GPU.
        tf32_matmul: Whether float32 matrix products may use TF32.
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
    mig_mode: str = "none"
    power_limit_w: str = "none"
    engine: str = "none"
    input_shape: tuple[int, ...] = ()
    deploy_form: str = DEPLOY_FORMS["merged"]
    block_source: str = ""
    cpu_capability: str = nvidia.UNKNOWN
    tf32_matmul: bool = False
    protocol: str = PROTOCOL

    @property
    def id(self) -> str:
        """First 12 hex digits of the SHA-256 of the facts that refuse a table, as canonical JSON.

        What `differing` passes over (the driver's minor version, the GPU's number) does not change it.
        """
        return canonical_id({name: fact for name, fact in _hard(self).items() if name not in NOT_IDENTIFYING})

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
        **nvidia.facts(device),
    }


def cpu_capability() -> str:
    """Returns the instruction set torch uses here, with the environment's limits to it."""
    limits = [f"{name}={os.environ[name]}" for name in ISA_LIMITS if os.environ.get(name)]
    return ", ".join([torch.backends.cpu.get_cpu_capability(), *limits])


def engine_version(runtime: str, *, on_gpu: bool = False) -> str:
    """Returns name and version of the package behind a runtime, "none" where that is torch itself."""
    packages = {"onnxruntime": "onnxruntime", "tensorrt": "tensorrt"} | (
        {"compile": "triton"} if on_gpu else {}
    )
    package = packages.get(runtime)
    if package is None:
        return "none"
    try:
        module = importlib.import_module(package)
    except ImportError:
        return f"{package} is not installed"
    return f"{package} {module.__version__}"


@cache
def block_source() -> str:
    """Returns the first 12 hex digits of the SHA-256 over the code that blocks, backbone, head and deploy form are."""
    digest = hashlib.sha256()
    for name in BLOCK_SOURCES:
        source = resources.files("posesearch.models").joinpath(f"{name}.py").read_text(encoding="utf-8")
        digest.update(code_of(source).encode())
    return digest.hexdigest()[:12]


def code_of(source: str) -> str:
    """Returns what a source does, as text: its syntax tree without comments, layout and docstrings.

    Not `ast.dump`: that writes the empty fields that only some Python versions have.
    """
    return repr(_tree(ast.parse(source)))


def _tree(node: Any) -> Any:
    if isinstance(node, list):
        return [_tree(child) for child in node if not _is_text(child)]
    if not isinstance(node, ast.AST):
        return node
    fields = [(name, _tree(value)) for name, value in ast.iter_fields(node)]
    return type(node).__name__, [(name, value) for name, value in fields if value is not None and value != []]


def _is_text(node: Any) -> bool:
    """Says whether a node is a string alone, which does nothing: a docstring."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def fingerprint(conditions: Conditions, input_size: tuple[int, int] | None = None) -> Fingerprint:
    """Returns the fingerprint of this machine under `conditions`.

    Args:
        conditions: Device, runtime, precision, threads, batch, memory format.
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
        tf32_matmul=bool(on_gpu and torch.backends.cuda.matmul.allow_tf32),
        cpu_capability="none" if on_gpu else cpu_capability(),
        engine=engine_version(conditions.runtime, on_gpu=on_gpu),
        input_shape=(conditions.batch, 3, *input_size) if input_size else (),
        block_source=block_source(),
        deploy_form=DEPLOY_FORMS[timed_form(conditions)],
        **gpu_facts(torch.device(conditions.device)),
    )


def differing(stored: Fingerprint, present: Fingerprint) -> tuple[str, ...]:
    """Returns the facts for which figures of `stored` must be refused under `present`, each with both values.

    Facts that either side does not know ("unknown") are left to the live check; where the GPU is plugged in (cuda:0 or
    cuda:1) does not matter.

    Example:
        >>> from dataclasses import replace
        >>> from posesearch.latency.types import Conditions
        >>> here = fingerprint(Conditions())
        >>> differing(replace(here, python="3.9"), replace(here, python="3.12"))
        ('Python: 3.9 stored, 3.12 here',)
    """
    found = []
    facts = _hard(present)
    for name, value in _hard(stored).items():
        here = facts.get(name, nvidia.UNKNOWN)
        if value != here and nvidia.UNKNOWN not in (value, here):
            found.append(f"{name}: {value} stored, {here} here")
    return tuple(found)


def _hard(of: Fingerprint) -> dict[str, str]:
    conditions = of.conditions
    facts = {
        "protocol": of.protocol,
        "runtime": conditions.runtime,
        "precision": conditions.precision,
        "TF32": _on(of.tf32),
        "TF32 of matrix products": _on(of.tf32_matmul),
        "memory format": conditions.memory_format,
        "threads": str(conditions.threads),
        "batch": str(conditions.batch),
        "input shape": "x".join(map(str, of.input_shape)) or nvidia.UNKNOWN,
        "deploy form": of.deploy_form,
        "block code": of.block_source or nvidia.UNKNOWN,
        "device": of.device,
        "CPU capability": of.cpu_capability,
        "compute capability": of.compute_capability,
        "SM count": str(of.sm_count),
        "GPU memory, MiB": str(of.gpu_memory_mib),
        "MIG mode": of.mig_mode,
        "power limit, W": of.power_limit_w,
        "driver, major": of.driver.partition(".")[0],
        "CUDA": of.cuda,
        "cuDNN": of.cudnn,
        "cudnn.benchmark": _on(of.cudnn_benchmark),
        "torch": of.torch,
        "runtime version": of.engine,
    }
    if conditions.runtime in LAUNCHED_BY_HOST:
        facts["host CPU"] = of.cpu
    if conditions.runtime in LAUNCHED_BY_PYTHON:
        facts["Python"] = of.python
    return facts


def _on(value: bool) -> str:
    return "on" if value else "off"

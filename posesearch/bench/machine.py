"""The machine and the versions a benchmark's figures hold for."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

import posesearch
from posesearch.device import usable_cores
from posesearch.latency.device import cpu_capability, cpu_name, device_name


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Returns processor, cores, GPU if one is used, versions and the date (UTC), JSON-ready.

    Args:
        device: Where the benchmark computes.
    """
    gpu = {"gpu": device_name(device), "cuda": str(torch.version.cuda)} if device.type == "cuda" else {}
    return {
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "cpu_capability": cpu_capability(),
        **gpu,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "posesearch": posesearch.__version__,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def machine_line(machine: dict[str, Any]) -> str:
    """Returns the machine as one line for people."""
    gpu = f"{machine['gpu']} (CUDA {machine['cuda']}), " if "gpu" in machine else ""
    return (
        f"{gpu}{machine['cpu']}, {machine['cores']} cores usable, {machine['threads']} torch threads, "
        f"Python {machine['python']}, torch {machine['torch']}, numpy {machine['numpy']}, {machine['date']}"
    )

"""Choosing the device by name and saying clearly when it is not there; how many cores this process may use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from posesearch.errors import EnvironmentFault, UsageError

if TYPE_CHECKING:
    import torch


def resolve_device(name: str = "auto") -> torch.device:
    """Returns the torch device for "auto" (the first GPU, else the CPU), "cpu", "cuda" or "cuda:N".

    Raises:
        UsageError: The name is none of these.
        EnvironmentFault: The named GPU is not there.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UsageError(
            f"--device '{name}' is not known. Allowed: auto, cpu, cuda, cuda:N. Try --device auto."
        )
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise EnvironmentFault(
                f"--device '{name}' is not there: torch {torch.__version__} sees {count} CUDA devices. "
                "Use --device cpu, or install a CUDA build of torch and check nvidia-smi."
            )
    return device


def usable_cores() -> int:
    """Returns the number of cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

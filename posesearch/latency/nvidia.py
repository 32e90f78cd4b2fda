"""What `nvidia-smi` tells of a GPU: limits, clocks, temperature, throttling, who else computes on it.

Only ever read, never set. Without the tool, or where it fails, nothing is known and nothing breaks. Untried on a GPU:
none was at hand; the fields are those of `nvidia-smi --help-query-gpu`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import torch

UNKNOWN = "unknown"
TIMEOUT_S = 10.0

STATE = {
    "SM MHz": "clocks.sm",
    "memory MHz": "clocks.mem",
    "C": "temperature.gpu",
    "W": "power.draw",
}
# In the order of their names below; each is "Active" or "Not Active".
THROTTLING = {
    "power cap": "clocks_throttle_reasons.sw_power_cap",
    "hardware slowdown": "clocks_throttle_reasons.hw_slowdown",
    "thermal slowdown": "clocks_throttle_reasons.sw_thermal_slowdown",
}


def ask(*arguments: str) -> list[list[str]]:
    """Returns the rows `nvidia-smi` answers with, split at commas; nothing where it is missing or fails."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        ended = subprocess.run(
            [tool, *arguments, "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return []
    if ended.returncode != 0:
        return []
    return [[cell.strip() for cell in line.split(",")] for line in ended.stdout.splitlines() if line.strip()]


def selector(device: torch.device) -> str:
    """Returns how `nvidia-smi` calls the GPU: its UUID, because torch's numbers follow CUDA_VISIBLE_DEVICES."""
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return f"--id=GPU-{uuid}" if uuid else f"--id={device.index or 0}"


def facts(device: torch.device) -> dict[str, str]:
    """Returns `mig_mode` and `power_limit_w` of a GPU, "unknown" where the tool does not tell."""
    rows = ask("--query-gpu=mig.mode.current,power.limit", selector(device))
    if len(rows) != 1 or len(rows[0]) != 2:
        return {"mig_mode": UNKNOWN, "power_limit_w": UNKNOWN}
    return {"mig_mode": rows[0][0], "power_limit_w": rows[0][1]}


def state(device: torch.device) -> tuple[str, tuple[str, ...]]:
    """Returns the GPU's clocks, temperature and power in words, and why it throttles; empty where unknown.

    Only reasons that make a run slower than the next one count: a locked or idle clock is none.
    """
    fields = (*STATE.values(), *THROTTLING.values())
    rows = ask(f"--query-gpu={','.join(fields)}", selector(device))
    if len(rows) != 1 or len(rows[0]) != len(fields):
        return "", ()
    values = rows[0]
    words = ", ".join(f"{value} {unit}" for unit, value in zip(STATE, values, strict=False))
    active = (name for name, value in zip(THROTTLING, values[len(STATE) :], strict=True) if value == "Active")
    return words, tuple(active)


def other_processes(device: torch.device) -> tuple[int, ...]:
    """Returns the ids of foreign processes that compute on the GPU.

    Our own, our parent (a search waits with its context open while a fresh process measures) and ids that this
    container cannot see are left out: the tool counts in the host's numbers, and one of those may be ourselves.
    """
    rows = ask("--query-compute-apps=pid", selector(device))
    ids = (int(row[0]) for row in rows if row[0].isdigit())
    return tuple(
        pid for pid in ids if pid not in (os.getpid(), os.getppid()) and Path(f"/proc/{pid}").exists()
    )

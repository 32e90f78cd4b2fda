"""Is this machine quiet enough to claim a latency? What speaks against it, in words.

A busy machine can still be measured; the figures then call themselves noisy, and a noisy figure meets a budget "within
noise" at best. Nothing is refused; `latency check` says how precise a claim the machine allows.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

from posesearch.latency import nvidia
from posesearch.latency.noise import BUSY_SHARE, is_busy, machine_load
from posesearch.latency.types import Conditions

LOOK_S = 0.3


def busy_reasons(conditions: Conditions) -> tuple[str, ...]:
    """Returns what disturbs measurements on this machine now; empty when nothing is seen.

    A load average remembers a minute, and a search measures right after its own training: a high load counts only
    while others still compute. On a GPU other processes that compute on it count as well.
    """
    reasons = []
    load, cores = machine_load()
    if is_busy(load, cores) and cores_in_use() > BUSY_SHARE * cores:
        reasons.append(f"busy: load {load:.1f} over the last minute on {cores} cores")
    device = torch.device(conditions.device)
    if device.type == "cuda" and (others := nvidia.other_processes(device)):
        ids = ", ".join(map(str, others))
        reasons.append(f"busy: {len(others)} other processes compute on the GPU (process ids {ids})")
    return tuple(reasons)


def cores_in_use() -> float:
    """Returns how many cores others use while this process sleeps for a moment; all of them where nothing tells."""
    before = _ticks()
    time.sleep(LOOK_S)
    after = _ticks()
    cores = float(os.cpu_count() or 1)
    if before is None or after is None or after[1] <= before[1]:
        return cores
    return cores * (1.0 - (after[0] - before[0]) / (after[1] - before[1]))


def _ticks() -> tuple[int, int] | None:
    """Returns the idle and all clock ticks of the machine since it started, from the first line of /proc/stat."""
    try:
        first = Path("/proc/stat").read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return None
    # user nice system idle iowait irq softirq steal; guest time is within user.
    ticks = [int(word) for word in first.split()[1:9]]
    return sum(ticks[3:5]), sum(ticks)


def gpu_notes(conditions: Conditions) -> tuple[tuple[str, ...], bool]:
    """Returns what the GPU says of its clocks, in words, and whether it throttles; nothing on a CPU."""
    device = torch.device(conditions.device)
    if device.type != "cuda":
        return (), False
    words, throttling = nvidia.state(device)
    if not words:
        return (), False
    return (f"GPU: {words}, throttling: {', '.join(throttling) or 'none'}",), bool(throttling)

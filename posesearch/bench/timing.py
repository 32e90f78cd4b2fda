"""Timing for ratios: interleaved, in shuffled order, the smallest of n.

On a CPU the process's CPU time is taken, over all its threads: other programs on the machine slow the clock on the wall,
and the ratio of two CPU times hardly. On a GPU, wall-clock time between two synchronisations (untried on a GPU).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping

import torch

from posesearch.rng import generator


def cpu_seconds(
    function: Callable[[], object], repeats: int = 1, *, device: torch.device | None = None
) -> float:
    """Returns the smallest time of `repeats` calls, in seconds.

    Args:
        function: What is timed.
        repeats: Calls, 1 or more.
        device: A CUDA device whose work is waited for and timed by the wall clock; by default, and on the CPU, the
            CPU time of this process.
    """
    return compare({"": function}, repeats, device=device)[""]


def compare(
    functions: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    device: torch.device | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Returns the smallest time of each function, in seconds, all measured in turns.

    Every round calls each function once, in a fresh order, so that a slow minute of the machine meets all of them.

    Args:
        functions: What is compared, by name.
        repeats: Rounds, 1 or more.
        device: As for `cpu_seconds`.
        seed: Key of the orders.
    """
    names = list(functions)
    smallest_s = dict.fromkeys(names, float("inf"))
    for turn in range(repeats):
        for index in generator(seed, "bench-order", turn).permutation(len(names)):
            name = names[int(index)]
            smallest_s[name] = min(smallest_s[name], _once(functions[name], device))
    return smallest_s


def _once(function: Callable[[], object], device: torch.device | None) -> float:
    gc.collect()  # nobody pays for what another one left behind
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
        start_s = time.perf_counter()
        function()
        torch.cuda.synchronize(device)
        return time.perf_counter() - start_s
    start_s = time.process_time()
    function()
    return time.process_time() - start_s

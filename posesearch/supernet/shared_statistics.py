"""One set of BatchNorm statistics for all subnets, as running statistics of a supernet would be: the uncalibrated case.

A supernet here keeps no running statistics. What it would have kept is the average over the subnets of its training steps,
each channel over those that have it; a subnet takes its leading entries. That is what recalibration is compared with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from posesearch.spaces.arch import Architecture
from posesearch.supernet.recalibrate import recalibrate
from posesearch.supernet.slicing import CutPlan
from posesearch.supernet.supernet import Supernet

STATISTICS = ("running_mean", "running_var")


def shared_statistics(
    supernet: Supernet, archs: Iterable[Architecture], image_batches: Iterable[Tensor]
) -> dict[str, Tensor]:
    """Averages the statistics of subnets, each channel over the subnets that have it.

    Args:
        supernet: The shared weights; left as they are.
        archs: Subnets as training steps draw them, the largest among them; one that is drawn twice counts twice.
        image_batches: As for `recalibrate`; iterated once for each different subnet.

    Returns:
        Buffers of the largest subnet, by name.
    """
    sums: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}
    largest = supernet.template(supernet.space.largest(), running=True)
    sizes = {name: len(buffer) for name, buffer in largest.model.named_buffers() if _is_statistic(name)}
    for arch, times in Counter(archs).items():
        places = _kept_channels(supernet.template(arch, running=True).plan, sizes)
        for name, value in recalibrate(supernet, arch, image_batches).items():
            if not _is_statistic(name):
                continue
            total = sums.setdefault(name, value.new_zeros(sizes[name], dtype=torch.float64))
            count = counts.setdefault(name, torch.zeros_like(total))
            index = places[name].to(value.device)
            total[index] += times * value.double()
            count[index] += times
    return {name: (total / counts[name]).float() for name, total in sums.items()}


def uncalibrated_buffers(
    supernet: Supernet, arch: Architecture, shared: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Returns the entries of shared statistics that a subnet takes, ready for `supernet(images, arch, buffers=...)`.

    Args:
        supernet: The shared weights.
        arch: The subnet.
        shared: From `shared_statistics`.
    """
    template = supernet.template(arch, running=True)
    places = _kept_channels(template.plan, {name: len(value) for name, value in shared.items()})
    device = next(supernet.parameters()).device
    return {
        name: shared[name][places[name].to(device)]
        if _is_statistic(name)
        else torch.zeros((), dtype=torch.long, device=device)
        for name, _ in template.model.named_buffers()
    }


def _is_statistic(name: str) -> bool:
    return name.rpartition(".")[2] in STATISTICS


def _kept_channels(plan: CutPlan, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """Returns which channels of the largest subnet's statistics a subnet has: those its norm's weight is cut to."""
    cuts = {cut.name: cut for cut in plan}
    found = {}
    for name, size in sizes.items():
        weight = f"{name.rpartition('.')[0]}.weight"
        if weight in cuts:
            found[name] = cuts[weight](torch.arange(size))
    return found

"""Where the images of a training are kept: on the GPU, in host memory, or as files that are decoded at each use.

All three give the same pixels; they differ in how long a batch waits for them. The choice follows free memory, so it
may differ between two runs on one machine, and nothing but time may depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch

from posesearch.errors import EnvironmentFault, UsageError, did_you_mean

AUTO = "auto"

DEVICE_SHARE = 0.6
"""Largest share of the free GPU memory for images: the rest is for weights, activations and the batches under way."""

HOST_SHARE = 0.7
"""Largest share of the available host memory for images: the rest is for crops and the batches under way."""


class Tier(StrEnum):
    """A place for images; the values are what a user writes."""

    DEVICE = "gpu"
    HOST = "host"
    JPEG = "jpeg"


@dataclass(frozen=True, kw_only=True, slots=True)
class TierChoice:
    """Where the images go.

    Attributes:
        tier: The place.
        reason: The place in words, with the figures that decided.
    """

    tier: Tier
    reason: str


def check_tier(name: str, device: torch.device | str | None = None) -> str:
    """Returns `name`.

    Args:
        name: What the user asked for.
        device: Where the training is; None if that is not known.

    Raises:
        UsageError: It is neither a tier nor "auto", or "gpu" where `device` is none.
    """
    allowed = (AUTO, *Tier)
    if name not in allowed:
        raise UsageError(
            f"--store '{name}' is not known.{did_you_mean(name, allowed)} Allowed: {', '.join(allowed)}. "
            f"Use --store {AUTO} to have it chosen by free memory."
        )
    if name == Tier.DEVICE and device is not None and torch.device(device).type != "cuda":
        raise _no_gpu(device)
    return name


def _no_gpu(device: torch.device | str) -> UsageError:
    return UsageError(
        f"--store gpu needs a GPU, but the device is '{device}'. Allowed here: auto, host, jpeg. "
        "Use one of these, or --device cuda."
    )


def choose_tier(
    needed_bytes: int,
    device: torch.device | str,
    *,
    forced: str | None = None,
    free_host: int | None,
    free_device: int | None,
) -> TierChoice:
    """Returns the fastest place that has room.

    Without being forced, images take at most `DEVICE_SHARE` of a GPU and `HOST_SHARE` of the host. Whoever forces a
    place says that the rest of the training fits beside them: only images larger than all free memory are refused.

    Args:
        needed_bytes: Size of the decoded images.
        device: Where the network is.
        forced: A tier, or "auto" or None for a choice.
        free_host: Available host memory in bytes; None where the system does not say, which counts as enough.
        free_device: Free memory of `device` in bytes; None if it is no GPU.

    Raises:
        UsageError: The tier is unknown, or "gpu" without a GPU.
        EnvironmentFault: The forced tier has no room.
    """
    wanted = check_tier(forced or AUTO)
    if wanted == AUTO:
        return _by_room(needed_bytes, free_host, free_device)
    tier = Tier(wanted)
    if tier is Tier.JPEG:
        return TierChoice(tier=tier, reason="kept as files and decoded at each use, as asked")
    if tier is Tier.DEVICE and free_device is None:
        raise _no_gpu(device)
    free, place = (free_device, "GPU") if tier is Tier.DEVICE else (free_host, "host")
    if free is not None and needed_bytes > free:
        raise EnvironmentFault(
            f"the decoded images take {size_text(needed_bytes)}, but only {size_text(free)} of {place} memory is free. "
            "Allowed: images that fit. Use --store auto, which finds a place for any number of images, or "
            "--store jpeg, which needs no room."
        )
    return TierChoice(tier=tier, reason=f"{place} memory{_free_text(free)}, as asked")


def _by_room(needed_bytes: int, free_host: int | None, free_device: int | None) -> TierChoice:
    if free_device is not None and needed_bytes <= DEVICE_SHARE * free_device:
        return TierChoice(tier=Tier.DEVICE, reason=f"GPU memory{_free_text(free_device)}")
    if free_host is None or needed_bytes <= HOST_SHARE * free_host:
        return TierChoice(tier=Tier.HOST, reason=f"host memory{_free_text(free_host)}")
    return TierChoice(
        tier=Tier.JPEG,
        reason=f"kept as files and decoded at each use, because {size_text(needed_bytes)} decoded is more than "
        f"{HOST_SHARE:.0%} of the {size_text(free_host)} of free host memory",
    )


def _free_text(free_bytes: int | None) -> str:
    return "" if free_bytes is None else f" ({size_text(free_bytes)} free)"


def size_text(size_bytes: int) -> str:
    """Returns "24 MB", "0.21 GB", "4.7 GB" or "47 GB": a size with about two digits."""
    size = size_bytes / 1e9
    if size < 0.1:
        return f"{size * 1e3:.2g} MB"
    return f"{size:.{2 if size < 1 else 1 if size < 10 else 0}f} GB"

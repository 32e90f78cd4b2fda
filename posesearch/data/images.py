"""Opening the images of a data set in the place that has room for them, and saying which that is."""

from __future__ import annotations

import torch

from posesearch.data.dataset import PoseDataset
from posesearch.data.memory import free_device_bytes, free_host_bytes
from posesearch.data.store import DeviceStore, Images, ImageStore, JpegStore, Layout
from posesearch.data.tiers import AUTO, Tier, choose_tier, size_text
from posesearch.progress import Progress, SilentProgress


def open_images(
    dataset: PoseDataset,
    device: torch.device | str | None = None,
    *,
    tier: str = AUTO,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Images:
    """Decodes or checks every image a person of `dataset` is on, and says in one sentence where they are kept.

    Args:
        dataset: Its image rows become the store's.
        device: Where training batches are wanted; a GPU is then the first choice for the images. None if each image is
            only warped once, by OpenCV: a GPU is no use for that, and the tier "gpu" counts as "auto".
        tier: "auto" for a choice by free memory, or "gpu", "host", "jpeg".
        threads: Decoding threads; by default one for each usable core.
        progress: Where to report; by default nowhere.

    Raises:
        UsageError: The tier is unknown, or "gpu" where `device` is none.
        EnvironmentFault: The forced tier has no room.
        DataError: Missing, empty, truncated or unreadable files, or a size other than the annotation file's.
    """
    reports = progress or SilentProgress()
    place = torch.device(device or "cpu")
    layout = Layout.of(dataset)
    choice = choose_tier(
        layout.total_bytes,
        place,
        forced=AUTO if device is None and tier == Tier.DEVICE else tier,
        free_host=free_host_bytes(),
        free_device=free_device_bytes(place),
    )
    images: Images
    if choice.tier is Tier.DEVICE:
        images = DeviceStore.build(dataset, place, threads=threads, progress=reports)
    elif choice.tier is Tier.HOST:
        images = ImageStore.build(dataset, threads=threads, progress=reports)
    else:
        images = JpegStore.build(dataset, threads=threads, progress=reports)
    decoded = f"decoded, {size_text(layout.total_bytes)}" if choice.tier is not Tier.JPEG else "checked"
    reports.message(f"images: {len(layout.used_U):,} {decoded}, {choice.reason}")
    return images

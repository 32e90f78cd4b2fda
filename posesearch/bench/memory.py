"""Bytes: the image store against decoded originals, a training process, a sandwich step against a plain one.

The size of a store for full COCO is a calculation, and says so: 56,599 images of the mean size of COCO's.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from posesearch.bench.memory_training import train_in_child
from posesearch.bench.registry import BenchContext
from posesearch.bench.result import BenchResult, Goal
from posesearch.bench.sandwich import check_losses, make_pair, peaks
from posesearch.bench.workload import people
from posesearch.data.source import DataSource
from posesearch.data.store import ImageStore, expected_store_bytes

COCO_IMAGES, COCO_PERSONS = 56_599, 149_813
"""COCO train2017: images with a labelled person, and those persons."""

COCO_IMAGE_BYTES = 833_000
"""Mean size of a decoded COCO image, from 42 of them."""

FEW_PERSONS = 2000
CROP_BYTES = 256 * 192 * 3
START_UP = Goal(key="coco_start_up_core_s", target=110.0, at_most=True)
GOALS = (
    Goal(key="store", target=1.0, at_most=True),
    Goal(key="sandwich", target=1.05, at_most=True),
)


def run(context: BenchContext) -> BenchResult:
    """Measures the store, a training in a process of its own, and two training steps."""
    assert context.data is not None, "registered as a benchmark that needs people"
    store = store_figures(context)
    space, batch_size = ("demo", 8) if context.quick else ("starnet", 16)
    pair = make_pair(context, space, batch_size, people(context, "train", batch_size))
    check_losses(pair)
    sandwich_bytes, plain_bytes = peaks(pair)
    # The batch of 32 decides the peak, not the number of steps.
    persons, epochs = (40, 1) if context.quick else (1500, 1)
    training = train_in_child(context.data, space="demo", persons=persons, epochs=epochs, seed=context.seed)
    return BenchResult(
        name="memory",
        ratios={
            "store": store["store_bytes"] / store["decoded_bytes"],
            "expected_over_store": store["expected_bytes"] / store["store_bytes"],
            "sandwich": sandwich_bytes / plain_bytes,
        },
        figures={
            "store": store,
            "coco": coco_figures(),
            "coco_start_up_core_s": store["coco_start_up_core_s"],
            "training": training,
            "sandwich_step": {
                "space": space,
                "batch_size": len(pair.plain_batch.annotation_id_B),
                "sandwich_peak_bytes": sandwich_bytes,
                "plain_peak_bytes": plain_bytes,
            },
        },
        goals=(*GOALS, START_UP),
        notes=(
            f"coco: calculated, not measured, from {COCO_IMAGES:,} images of {COCO_IMAGE_BYTES:,} bytes in the mean.",
            "coco_start_up_core_s: calculated from the CPU time a byte of the images of this run. Generated people decode "
            "faster than photos: give --data a folder of photos for a claim.",
            "training: resident memory of a process that trains space demo for an epoch, Python and torch included.",
        ),
    )


def store_figures(context: BenchContext) -> dict[str, Any]:
    """Builds a host store and returns its size, that of the decoded originals, and what building cost."""
    dataset = DataSource(data=str(context.data)).load("train")
    built: list[tuple[float, float]] = []
    # A few images are decoded three times, so that a moment of the machine is not taken for their cost.
    for _ in range(3 if len(dataset) <= FEW_PERSONS else 1):
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        store = ImageStore.build(dataset, progress=context.progress)
        built.append((time.process_time() - start_cpu_s, time.perf_counter() - start_s))
    build_cpu_s, build_s = min(built)
    rows = np.unique(dataset.image_index_N)
    images = [store.image(int(row)) for row in rows]
    decoded_bytes = sum(image.nbytes for image in images)
    return {
        "images": len(images),
        "persons": len(dataset),
        "store_bytes": int(store.pixels.nbytes),
        "decoded_bytes": decoded_bytes,
        "expected_bytes": expected_store_bytes(dataset),
        "file_bytes": sum(dataset.images[row].path.stat().st_size for row in rows),
        "build_s": build_s,
        "build_core_s": build_cpu_s,
        "coco_start_up_core_s": build_cpu_s * COCO_IMAGES * COCO_IMAGE_BYTES / decoded_bytes,
    }


def coco_figures() -> dict[str, Any]:
    """Returns the sizes of stores for COCO train2017, by calculation."""
    return {
        "images": COCO_IMAGES,
        "persons": COCO_PERSONS,
        "full_images_bytes": COCO_IMAGES * COCO_IMAGE_BYTES,
        "crop_for_each_person_bytes": COCO_PERSONS * CROP_BYTES,
    }

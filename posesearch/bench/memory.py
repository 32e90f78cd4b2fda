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

FEW_PERSONS, BUILDS = 2000, 7
"""Up to so many persons of both splits are decoded several times: the fastest time is the images', the others the machine's."""

CROP_BYTES = 256 * 192 * 3
START_UP = Goal(key="coco_start_up_core_s", target=110.0, at_most=True)
GOALS = (
    Goal(key="store", target=1.0, at_most=True),
    Goal(key="sandwich", target=1.05, at_most=True),
)


def run(context: BenchContext) -> BenchResult:
    """Measures the store, a training in a process of its own, and two training steps."""
    assert context.data is not None, "registered as a benchmark that needs people"
    store, start_up = store_figures(context), start_up_figures(context)
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
            "coco_start_up_core_s": start_up["coco_core_s"],
            "start_up": start_up,
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
            "coco_start_up_core_s: calculated from the CPU time a byte of the images of this run, both splits, the fastest of "
            f"{BUILDS} builds of each (slowest: start_up.coco_core_s_slowest). Generated people decode faster than photos: "
            "give --data a folder of photos for a claim.",
            "training: resident memory of a process that trains space demo for an epoch, Python and torch included.",
        ),
    )


def store_figures(context: BenchContext) -> dict[str, Any]:
    """Builds a host store and returns its size, that of the decoded originals, and how long building took."""
    dataset = DataSource(data=str(context.data)).load("train")
    start_s = time.perf_counter()
    store = ImageStore.build(dataset, progress=context.progress)
    build_s = time.perf_counter() - start_s
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
    }


def start_up_figures(context: BenchContext) -> dict[str, Any]:
    """Decodes the images of both splits again and again; returns core seconds, theirs and COCO's by calculation."""
    fastest_s = slowest_s = 0.0
    images = decoded_bytes = 0
    for split in ("train", "val"):
        dataset = DataSource(data=str(context.data)).load(split)
        built_s = []
        for _ in range(BUILDS if len(dataset) <= FEW_PERSONS and not context.quick else 1):
            start_s = time.process_time()
            # One thread: two on one core would only disturb each other.
            ImageStore.build(dataset, threads=1)
            built_s.append(time.process_time() - start_s)
        fastest_s, slowest_s = fastest_s + min(built_s), slowest_s + max(built_s)
        images += len(np.unique(dataset.image_index_N))
        decoded_bytes += expected_store_bytes(dataset)
    coco = COCO_IMAGES * COCO_IMAGE_BYTES / decoded_bytes
    return {
        "images": images,
        "decoded_bytes": decoded_bytes,
        "core_s": fastest_s,
        "coco_core_s": fastest_s * coco,
        "coco_core_s_slowest": slowest_s * coco,
    }


def coco_figures() -> dict[str, Any]:
    """Returns the sizes of stores for COCO train2017, by calculation."""
    return {
        "images": COCO_IMAGES,
        "persons": COCO_PERSONS,
        "full_images_bytes": COCO_IMAGES * COCO_IMAGE_BYTES,
        "crop_for_each_person_bytes": COCO_PERSONS * CROP_BYTES,
    }

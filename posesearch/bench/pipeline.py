"""`bench pipeline`: images a second on one core, from the store to a training batch, against per-sample objects.

Both sides make the same batch of the same persons: flip, half body, shift, scale, rotation, HSV, blurs, rectangle, SimCC
labels. Times are CPU times of this process, so they are seconds of a core.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from posesearch.bench.baseline_pipeline import SampleDataset
from posesearch.bench.baseline_samples import OwnDraws, list_collate
from posesearch.bench.hand_over import receive_seconds, take_seconds
from posesearch.bench.registry import BenchContext
from posesearch.bench.result import BenchResult, Goal
from posesearch.bench.timing import compare
from posesearch.data.dataset import PoseDataset
from posesearch.data.order import BatchOrder
from posesearch.data.source import DataSource
from posesearch.data.store import ImageStore
from posesearch.rng import generator
from posesearch.train.batches import TrainBatch, batch_maker, label_codec
from posesearch.train.recipe import load_recipe

INPUT_SIZE = (256, 192)
RECIPE = "starnet-pose"
BATCH_SIZE, BATCH_SIZE_QUICK = 256, 16
# The published goals: loader at least 8 times, hand-over at least 15 times.
GOALS = (Goal(key="loader", target=8.0), Goal(key="hand_over", target=15.0))
NOTES = (
    "loader: a training batch from the decoded store (each image decoded once, at start-up: decode_once_s) against the "
    "baseline, which reads and decodes the image of every person; loader_without_decode: the same work on both sides, "
    "the baseline's images in memory.",
    "hand_over: CPU time of the training process for a ready batch from one worker process, the baseline's as dicts of "
    "tensors and objects, ours as one uint8 tensor with the joints of all persons (ours_with_labels_ms: with the SimCC "
    "labels as well). In training our batches come from threads and no process hands anything over: taking one costs "
    "ours_from_threads_ms.",
    "The baseline was written for this comparison after MMPose's structure and leaves out its registry, Albumentations and "
    "the segmentation of each annotation.",
)


def run(context: BenchContext) -> BenchResult:
    """Measures loader and hand-over.

    Args:
        context: Its data are used up to one batch of training persons.
    """
    size = BATCH_SIZE_QUICK if context.quick else BATCH_SIZE
    repeats = 1 if context.quick else 5
    people = some_people(DataSource(data=str(context.data)).load("train"), size, context.seed)
    start_s = time.process_time()
    store = ImageStore.build(people, threads=1, progress=context.progress)
    decode_s = time.process_time() - start_s
    ours = our_loader(people, store, context.seed)
    from_files = baseline_loader(people, context.seed)
    from_memory = baseline_loader(people, context.seed, store)
    with context.progress.task("timing loaders", 1) as task:
        seconds = compare(
            {
                "ours": lambda: ours(0),
                "baseline": lambda: _batch(from_files),
                "baseline_without_decode": lambda: _batch(from_memory),
            },
            repeats,
            seed=context.seed,
        )
        task.advance()
    handed = _hand_over(ours(0), from_memory, 2 if context.quick else 12)
    return BenchResult(
        name="pipeline",
        ratios={
            "loader": seconds["baseline"] / seconds["ours"],
            "loader_without_decode": seconds["baseline_without_decode"] / seconds["ours"],
            "hand_over": handed["baseline_ms"] / handed["ours_ms"],
        },
        figures={
            "images_per_s_per_core": {name: size / value for name, value in seconds.items()},
            "ms_per_image": {name: value / size * 1000 for name, value in seconds.items()},
            "hand_over": {
                **handed,
                "baseline_images_per_s_at_most": size / handed["baseline_ms"] * 1000,
            },
            "decode_once_s": decode_s,
            "sizes": _sizes(people, size, repeats),
        },
        goals=GOALS,
        notes=NOTES,
    )


def some_people(dataset: PoseDataset, count: int, seed: int) -> PoseDataset:
    """Returns `count` persons of a data set in random order, again from the first where it has fewer."""
    order_N = generator(seed, "bench-people").permutation(len(dataset))
    return dataset.subset(np.resize(order_N, count))


def our_loader(people: PoseDataset, store: ImageStore, seed: int) -> Callable[[int], TrainBatch]:
    """Returns what training calls for a batch, a step's number to a batch; all of `people` are one batch."""
    recipe = load_recipe(RECIPE)
    codec = label_codec(INPUT_SIZE, 2.0, recipe.loss)
    order = BatchOrder(num_persons=len(people), batch_size=len(people), seed=seed)
    return batch_maker(people, store, recipe, order, codec, holes_apart=False)


def baseline_loader(people: PoseDataset, seed: int, store: ImageStore | None = None) -> SampleDataset:
    """Returns the baseline on the same persons.

    Args:
        people: The persons.
        seed: Start of its own random numbers.
        store: Read the images from here; by default from their files.
    """
    recipe = load_recipe(RECIPE)
    codec = label_codec(INPUT_SIZE, 2.0, recipe.loss)
    draws = OwnDraws(recipe.augment_at(0), seed)
    # The store's order of colours is the other one; a view costs nothing until OpenCV copies the image, so turn it now.
    turned = {} if store is None else {row: store.image(row)[..., ::-1].copy() for row in _rows(people)}
    return SampleDataset(
        people, recipe.augment_at(0), codec, lambda _: draws, turned.__getitem__ if turned else None
    )


def _rows(people: PoseDataset) -> list[int]:
    return [int(row) for row in np.unique(people.image_index_N)]


def _batch(samples: SampleDataset) -> dict[str, list[Any]]:
    """One batch as a worker process makes it, in this process so that its CPU time counts."""
    return list_collate([samples[row] for row in range(len(samples))])


def _hand_over(batch: TrainBatch, samples: SampleDataset, batches: int) -> dict[str, float]:
    size = len(samples)
    theirs_s = receive_seconds(
        [samples[row] for row in range(size)], batches, batch_size=size, collate=list_collate
    )
    joints = torch.zeros(*batch.weight_BK.shape, 3)
    tensors = (batch.images, joints)
    labels = (batch.x_BKX, batch.y_BKY, batch.weight_BK)
    return {
        "baseline_ms": theirs_s * 1000,
        "ours_ms": receive_seconds([tensors], batches, batch_size=None) * 1000,
        "ours_with_labels_ms": receive_seconds([(*tensors, *labels)], batches, batch_size=None) * 1000,
        "ours_from_threads_ms": take_seconds(batch, batches) * 1000,
    }


def _sizes(people: PoseDataset, batch_size: int, repeats: int) -> dict[str, Any]:
    used = [people.images[row] for row in _rows(people)]
    megapixels = [image.height * image.width / 1e6 for image in used]
    return {
        "batch": batch_size,
        "input_size": list(INPUT_SIZE),
        "images": len(used),
        "mean_image_megapixels": float(np.mean(megapixels)),
        "mean_file_bytes": float(np.mean([image.path.stat().st_size for image in used])),
        "repeats": repeats,
    }

"""The usual training loop as a baseline on a GPU: worker processes, per-sample objects, stacked in the training process.

Untried with worker processes beside a GPU; in one process it is tested on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from posesearch.bench import step
from posesearch.bench.baseline_pipeline import SampleDataset
from posesearch.bench.baseline_samples import OwnDraws, list_collate
from posesearch.bench.registry import BenchContext
from posesearch.bench.result import BenchResult, Goal
from posesearch.bench.timing import compare
from posesearch.bench.workload import people
from posesearch.device import usable_cores
from posesearch.train.batches import TrainBatch


def usual_loop(context: BenchContext) -> BenchResult:
    """Whole training steps on persons from worker processes, per-sample objects and all, against ours."""
    size = 4 if context.quick else 256
    workers = 0 if context.quick else min(16, usable_cores())
    # As many steps first as there are workers, each of which begins with a batch: then the rate is a steady one.
    untimed, steps = max(1, workers), 3 * max(1, workers)
    on = people(context, "train", size)
    trainer = step.plain_steps(context, on, size)
    draws = OwnDraws(trainer.recipe.augment_at(0), context.seed)
    rows = np.resize(np.arange(len(on.dataset)), (untimed + steps) * size)
    samples = SampleDataset(
        on.dataset.subset(rows), trainer.recipe.augment_at(0), trainer.codec, lambda _: draws
    )
    with _sharing_by_files():
        received = iter(
            DataLoader(
                samples,  # type: ignore[arg-type]
                batch_size=size,
                collate_fn=list_collate,
                num_workers=workers,
                prefetch_factor=1 if workers else None,
            )
        )

        def train(count: int) -> None:
            for number in range(count):
                trainer.step(stacked(next(received)), number)

        train(untimed)
        usual_s = compare({"": partial(train, steps)}, 1, device=context.device)[""]
    ours = step.real_over_synthetic(context, on, batch_size=size, steps=steps)[1]["real_images_per_s"]
    return BenchResult(
        name="usual loop",
        ratios={"ours_over_usual": ours * usual_s / (steps * size)},
        figures={
            "ours_images_per_s": ours,
            "usual_images_per_s": steps * size / usual_s,
            "workers": workers,
            "batch_size": size,
        },
        goals=(Goal(key="ours_over_usual", target=5.0),),
    )


@contextmanager
def _sharing_by_files() -> Iterator[None]:
    """Lets workers share tensors by name for a while: by open file, a batch of 256 samples holds a thousand of them."""
    before = torch.multiprocessing.get_sharing_strategy()
    torch.multiprocessing.set_sharing_strategy("file_system")
    try:
        yield
    finally:
        torch.multiprocessing.set_sharing_strategy(before)


def stacked(received: Mapping[str, list[Any]]) -> TrainBatch:
    """Returns what the usual loader hands over as a batch: images stacked and turned to RGB, labels stacked."""
    samples = received["data_samples"]
    labels = [sample.gt_instance_labels for sample in samples]
    images_BCHW = torch.stack(received["inputs"]).flip(1)
    return TrainBatch(
        images=images_BCHW.permute(0, 2, 3, 1).contiguous(),
        x_BKX=torch.cat([label.keypoint_x_labels for label in labels]),
        y_BKY=torch.cat([label.keypoint_y_labels for label in labels]),
        weight_BK=torch.cat([label.keypoint_weights for label in labels]).float(),
        hole_B4=None,
        annotation_id_B=np.array([sample.id for sample in samples]),
    )

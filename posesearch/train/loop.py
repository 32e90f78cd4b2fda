"""The training loop: one for supernets, for networks from scratch and for fine-tuning.

Each step: prepare a batch (in the background), set the learning rate, collect gradients from the task, clip, step,
average. Each epoch: one row in the log, a checkpoint, now and then an evaluation of the averaged weights. On a CPU a
training that was stopped and resumed ends in the same weights, bit for bit, as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from posesearch.config import to_plain
from posesearch.data.dataset import PoseDataset
from posesearch.data.prefetch import prefetch
from posesearch.data.store import Images
from posesearch.errors import DataError, EnvironmentFault, Interrupted
from posesearch.heap import memory_kept
from posesearch.progress import Progress, SilentProgress
from posesearch.train.batches import TrainBatch, batch_order, label_codec, make_batches, preparing_threads
from posesearch.train.calibrate import CalibrationImages
from posesearch.train.optim import WeightAverage, build_optimizer, lr_at
from posesearch.train.recipe import Recipe
from posesearch.train.state import Position, TrainingState
from posesearch.train.tasks import Task, check_joints

SKIP_LIMIT = 20
"""Steps with a non-finite loss or gradient in a row after which training is beyond repair."""

Evaluate = Callable[[], Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class FitResult:
    """What a finished training was.

    Attributes:
        steps: Optimiser steps asked for.
        epochs: Passes over the data.
        skipped_steps: Steps left out because of non-finite numbers.
        elapsed_s: Seconds spent training, over all resumptions.
        resumed_at: The step it was resumed at in this call; 0 when it was not.
    """

    steps: int
    epochs: int
    skipped_steps: int
    elapsed_s: float
    resumed_at: int


def fit(
    task: Task,
    dataset: PoseDataset,
    store: Images,
    recipe: Recipe,
    *,
    folder: Path,
    seed: int,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
    fingerprint: Mapping[str, Any] | None = None,
    resume: bool = True,
    evaluate: Evaluate | None = None,
    checkpoint_every_s: float = 60.0,
    workers: int | None = None,
) -> FitResult:
    """Trains a task to the end of its recipe; afterwards its module holds the averaged weights, ready for evaluation.

    Args:
        task: A network or a supernet, on `device`.
        dataset: Training persons.
        store: Their images.
        recipe: How to train.
        folder: Gets checkpoint.pt and metrics.jsonl.
        seed: Key of order, augmentation and subnet draws.
        device: Where to train.
        progress: Where to report; by default nowhere.
        stop: Asked after each step; True saves and raises `Interrupted`.
        fingerprint: Further values a checkpoint must agree on to be resumed, e.g. the data source.
        resume: Go on from the folder's checkpoint; False starts anew and removes it.
        evaluate: Called with the averaged weights in the module every `recipe.evaluate_every` epochs and at the end;
            returns rows for the log, by what was evaluated.
        checkpoint_every_s: Seconds between checkpoints within an epoch.
        workers: Threads that prepare batches; by default 1 on a CPU, up to 8 beside a GPU.

    Raises:
        Interrupted: `stop` said so; everything is saved.
        DataError: The checkpoint is damaged or of another training, the data set is too small or of another joint set, or
            20 steps in a row gave numbers that are not finite.
        EnvironmentFault: Disk full, or not enough memory on the device.
    """
    device, bars = torch.device(device), progress or SilentProgress()
    check_joints(task, dataset)
    order = batch_order(dataset, recipe, seed)
    total_steps = recipe.epochs * order.steps_per_epoch
    # Images and weights are channels-last throughout: a supernet step of the demo space, batch 32, one CPU thread, took
    # 0.56-0.62 s against 1.1-1.4 s with planes.
    task.module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    training = TrainingState(
        folder=Path(folder),
        fingerprint={
            **task.identity(),
            "seed": seed,
            "recipe": to_plain(recipe),
            "data": {"name": dataset.name, "split": dataset.split, "persons": len(dataset)},
            **(fingerprint or {}),
        },
        module=task.module,
        optimizer=build_optimizer(task.module, recipe.optimizer, decay_depthwise=task.kind != "supernet"),
        average=WeightAverage(task.module, recipe.ema, total_steps),
        position=Position(),
    )
    if not resume:
        training.clear()
    resumed_at = training.position.step if training.load() else 0
    position = training.position
    # A supernet keeps no statistics; each subnet that is evaluated brings its own.
    calibration = (
        CalibrationImages(
            dataset, store, task.arch.input_size, persons=recipe.calibration_persons, seed=seed, device=device
        )
        if task.kind == "model"
        else ()
    )
    workers = workers or preparing_threads(device, store)
    make = make_batches(
        dataset,
        store,
        recipe,
        order,
        label_codec(task.arch.input_size, task.arch.head.split_ratio, recipe.loss),
        device,
        holes_apart=task.holes_apart,
        workers=workers,
        dtype=torch.bfloat16 if recipe.in_bf16(device.type) else torch.float32,
        progress=bars,
    )
    if recipe.compile_blocks and device.type == "cuda":
        task.compile_blocks()
    elif recipe.compile_blocks:
        bars.message(f"training: compile_blocks is for GPUs; on {device} the blocks run as they are.")
    steps = range(position.step, total_steps)

    def evaluate_if_due() -> None:
        epoch, inside = divmod(position.step, order.steps_per_epoch)
        due = epoch == recipe.epochs or (recipe.evaluate_every and epoch % recipe.evaluate_every == 0)
        if evaluate is None or inside or not epoch or not due or position.evaluated_step == position.step:
            return
        with training.average.applied():
            task.recalibrate(calibration)
            for name, figures in evaluate().items():
                row = {"epoch": epoch, "step": position.step, "evaluated": name, "evaluation": dict(figures)}
                training.log(row)
        position.evaluated_step = position.step
        training.save()

    with (
        device_settings(task, device),
        memory_kept(device.type),
        closing(_batches(make, steps, workers)) as batches,
        bars.task("training", total_steps, done=position.step) as bar,
    ):
        evaluate_if_due()  # killed between an epoch's checkpoint and its evaluation
        task.module.train()
        saved_s = began_s = time.monotonic()
        for batch in batches:
            figures = train_step(task, training, recipe, batch, total_steps, device)
            position.epoch_images += len(batch.annotation_id_B)
            now_s = time.monotonic()
            position.epoch_s += now_s - began_s
            position.elapsed_s += now_s - began_s
            epoch, inside = divmod(position.step, order.steps_per_epoch)
            bar.advance(1, epoch=f"{epoch + bool(inside)}/{recipe.epochs}", loss=figures["loss"])
            if not inside:
                training.log(_epoch_row(position, epoch, recipe, total_steps))
                position.begin_epoch()
            stopping = stop()
            if stopping or not inside or now_s - saved_s > checkpoint_every_s:
                training.save()
                saved_s = time.monotonic()
            if stopping:
                raise Interrupted(
                    f"training stopped after step {position.step} of {total_steps}; everything is saved in {folder}."
                )
            if not inside:
                evaluate_if_due()
                task.module.train()
            began_s = time.monotonic()
    training.average.install()
    task.recalibrate(calibration)
    return FitResult(
        steps=total_steps,
        epochs=recipe.epochs,
        skipped_steps=position.skipped_steps,
        elapsed_s=position.elapsed_s,
        resumed_at=resumed_at,
    )


def _batches(
    make: Callable[[int], TrainBatch], steps: range, workers: int
) -> Generator[TrainBatch, None, None]:
    # A generator, so that `closing` ends the threads at once when training stops in the middle.
    yield from prefetch(make, steps, depth=workers + 1, workers=workers)


def train_step(
    task: Task,
    training: TrainingState,
    recipe: Recipe,
    batch: TrainBatch,
    total_steps: int,
    device: torch.device,
) -> dict[str, float]:
    """Makes one optimiser step, or skips it when a number is not finite; returns its losses and "grad_norm".

    Raises:
        DataError: This was the twentieth skipped step in a row.
    """
    position, optimizer = training.position, training.optimizer
    step = position.step
    for group in optimizer.param_groups:
        group["lr"] = lr_at(step, total_steps, recipe.optimizer.lr, recipe.schedule)
    optimizer.zero_grad(set_to_none=True)
    losses = task.backward(
        batch.to(device, channels_last=True),
        step=step,
        total_steps=total_steps,
        bf16=recipe.in_bf16(device.type),
    )
    parameters = [parameter for parameter in task.module.parameters() if parameter.grad is not None]
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    # The only wait for the device in a step: whether to step at all has to be known here.
    values = torch.stack([*losses.values(), norm]).tolist()
    figures = dict(zip([*losses, "grad_norm"], values, strict=True))
    position.step += 1
    if not all(isfinite(value) for value in values):
        position.skipped_in_row += 1
        position.skipped_steps += 1
        position.epoch_skipped += 1
        _check_skips(position, training.folder, batch)
        return figures
    position.skipped_in_row = 0
    position.add(figures)
    if recipe.optimizer.clip_norm:
        clip_grads_with_norm_(parameters, recipe.optimizer.clip_norm, norm)
    optimizer.step()
    training.average.update(step)
    return figures


def _epoch_row(position: Position, epoch: int, recipe: Recipe, total_steps: int) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "step": position.step,
        "lr": lr_at(position.step - 1, total_steps, recipe.optimizer.lr, recipe.schedule),
        **position.means(),
        "skipped_steps": position.epoch_skipped,
        "images_per_s": position.epoch_images / max(position.epoch_s, 1e-9),
        "elapsed_s": position.elapsed_s,
    }


def _check_skips(position: Position, folder: Path, batch: TrainBatch) -> None:
    if position.skipped_in_row < SKIP_LIMIT:
        return
    persons = ", ".join(map(str, batch.annotation_id_B.tolist()))
    raise DataError(
        f"loss or gradient was not finite in {SKIP_LIMIT} steps in a row, up to step {position.step}. The last good "
        f"checkpoint is in {folder}. The last batch held the annotations {persons}. Check these with `posesearch data "
        "check`, or train with a lower learning rate (--set optimizer.lr=...) in a new run."
    )


@contextmanager
def device_settings(task: Task, device: torch.device) -> Iterator[None]:
    """In the `with` block cuDNN times its algorithms where shapes repeat; out of memory is an EnvironmentFault's advice."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = device.type == "cuda" and task.fixed_shapes
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EnvironmentFault(
            f"not enough memory on {device} for this batch ({str(error).partition(chr(10))[0]}). Use a smaller batch: "
            "--set batch_size=..."
        ) from error
    finally:
        torch.backends.cudnn.benchmark = before

"""What the benchmarks of training work on: decoded people, weights in which every part matters, one step at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from posesearch.bench.registry import BenchContext
from posesearch.data.dataset import PoseDataset
from posesearch.data.images import open_images
from posesearch.data.source import DataSource
from posesearch.data.store import Images
from posesearch.models.blocks import CoordinateAttention
from posesearch.rng import torch_generator
from posesearch.spaces.arch import Architecture
from posesearch.train.batches import TrainBatch, batch_order, label_codec, make_batches, preparing_threads
from posesearch.train.loop import device_settings, train_step
from posesearch.train.optim import WeightAverage, build_optimizer
from posesearch.train.recipe import Recipe, load_recipe
from posesearch.train.state import Position, TrainingState
from posesearch.train.tasks import Task

TOTAL_STEPS = 100_000
"""Length of the pretended training: its warm-up keeps the weights where they are for the few steps of a benchmark."""

RECIPES = {"demo": "demo", "starnet": "starnet-pose"}
"""The recipe each space is usually trained with."""

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class People:
    """Persons of one split and their images."""

    dataset: PoseDataset
    store: Images


def people(context: BenchContext, split: str, persons: int) -> People:
    """Reads a split and opens the images of its first persons where a training would keep them.

    Args:
        context: Whose data.
        split: "train" or "val".
        persons: How many, at most.
    """
    assert context.data is not None, "registered as a benchmark that needs people"
    dataset = DataSource(data=str(context.data)).load(split)
    dataset = dataset.subset(np.arange(min(persons, len(dataset))))
    return People(dataset=dataset, store=open_images(dataset, context.device, progress=context.progress))


def recipe_for(space: str, *, batch_size: int) -> Recipe:
    """Returns the recipe a space is trained with, two random subnets a step, no drop path.

    Drop path would give the two sides of a comparison different work and different losses.

    Args:
        space: A key of `RECIPES`.
        batch_size: Persons a step.
    """
    recipe = load_recipe(RECIPES[space])
    config = replace(recipe.supernet, random_subnets=2, drop_path=0.0)
    return replace(recipe, batch_size=batch_size, supernet=config)


@torch.no_grad()
def stirred(module: Module, seed: int) -> Module:
    """Gives norms and attention gates weights as after a training, in place, and returns the module.

    At their start all branches are the identity: any shortcut would compute the same.
    """
    generator = torch_generator(seed, "bench weights")
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.uniform_(0.5, 1.5, generator=generator)
            part.bias.normal_(0.0, 0.2, generator=generator)
        elif isinstance(part, CoordinateAttention):
            for gate in (part.conv_h, part.conv_w):
                gate.weight.normal_(0.0, 0.1, generator=generator)
    return module


def batches(
    arch: Architecture,
    recipe: Recipe,
    people: People,
    *,
    device: torch.device,
    seed: int,
    holes_apart: bool = False,
) -> Callable[[int], TrainBatch]:
    """Returns the training loop's function from a step to its batch.

    Args:
        arch: The network, or the largest one: its input size and head shape the batches.
        recipe: Batch size, augmentation and labels.
        people: Whom to train on.
        device: Where the network is.
        seed: Key of order and augmentation.
        holes_apart: Leave the black rectangles to the task.
    """
    return make_batches(
        people.dataset,
        people.store,
        recipe,
        batch_order(people.dataset, recipe, seed),
        label_codec(arch.input_size, arch.head.split_ratio, recipe.loss),
        device,
        holes_apart=holes_apart,
        workers=preparing_threads(device, people.store),
        dtype=torch.bfloat16 if recipe.in_bf16(device.type) else torch.float32,
    )


class Steps:
    """A task with its optimiser and its average, stepped by hand; nothing is written to disk.

    Args:
        task: What is trained; its module is moved to `device`, channels-last as the training loop does.
        recipe: How.
        people: On whom.
        device: Where.
        seed: Key of order and augmentation.
    """

    def __init__(
        self, task: Task, recipe: Recipe, people: People, *, device: torch.device, seed: int
    ) -> None:
        self.task, self.recipe, self.device = task, recipe, device
        task.module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        task.module.train()
        self.training = TrainingState(
            folder=Path(),
            fingerprint={},
            module=task.module,
            optimizer=build_optimizer(task.module, recipe.optimizer, decay_depthwise=task.kind != "supernet"),
            average=WeightAverage(task.module, recipe.ema, TOTAL_STEPS),
            position=Position(),
        )
        self.order = batch_order(people.dataset, recipe, seed)
        self.codec = label_codec(task.arch.input_size, task.arch.head.split_ratio, recipe.loss)
        self.make = batches(task.arch, recipe, people, holes_apart=task.holes_apart, device=device, seed=seed)

    def step(self, batch: TrainBatch, number: int) -> dict[str, float]:
        """Makes the training loop's step of this number, which decides the subnets, and returns its losses."""
        self.training.position.step = number
        with device_settings(self.task, self.device):
            return train_step(self.task, self.training, self.recipe, batch, TOTAL_STEPS, self.device)

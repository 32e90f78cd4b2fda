"""Searching by gradients: distributions over every gene, learnt together with a copy of the supernet's weights.

The supernet of a run is never written to: its copy learns to work as a mixture, is what the distributions are judged by,
and is thrown away. What stays are architectures, which the search then evaluates with the run's own weights, like any other
proposal. Everything is a function of (seed, step): a search that was stopped ends in the same distributions as one that was
not, on a CPU bit for bit.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from posesearch.config import to_plain
from posesearch.data.dataset import PoseDataset
from posesearch.data.prefetch import prefetch
from posesearch.data.store import Images
from posesearch.errors import Interrupted
from posesearch.files import write_json_atomic
from posesearch.progress import Progress
from posesearch.search.bilevel import Bilevel, DifferentiableConfig, Limit
from posesearch.search.derive import derive
from posesearch.search.differentiable_state import DifferentiableResult, SearchState, stored_result
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace
from posesearch.supernet.supernet import Supernet
from posesearch.train.batches import (
    TrainBatch,
    batch_order,
    label_codec,
    make_batches,
    preparing_threads,
)
from posesearch.train.recipe import Recipe

CHECKPOINT = "checkpoint.pt"
RESULT = "differentiable.json"
CHECKPOINT_EVERY_S = 60.0

COLLAPSED_FROM = 0.95
"""Probability of the smallest depth, in every stage that has a choice, from which the search has collapsed."""

Batches = tuple[TrainBatch, TrainBatch | None]
"""For the weights, and, after the warm-up, for the choices."""


def search_by_gradient(
    supernet: Supernet,
    dataset: PoseDataset,
    store: Images,
    recipe: Recipe,
    limits: tuple[Limit, ...],
    fits: Callable[[Architecture], bool],
    *,
    config: DifferentiableConfig,
    folder: Path,
    seed: int,
    progress: Progress,
    stop: Callable[[], bool] = lambda: False,
    fingerprint: Mapping[str, Any] | None = None,
) -> DifferentiableResult:
    """Learns distributions and derives architectures; the same call again continues, or returns at once when all is done.

    Args:
        supernet: The trained supernet, on its device; it is copied and left as it is.
        dataset: Its training persons, split here once more, by image.
        store: Their images.
        recipe: The recipe it was trained by.
        limits: What the expectations of the distributions are to keep to.
        fits: Says whether an architecture is within the budget, as far as is known without measuring it.
        config: How to search.
        folder: Gets checkpoint.pt while it runs and differentiable.json when it is done.
        seed: Key of all draws.
        progress: Where to report.
        stop: Asked after each step; True saves and raises `Interrupted`.
        fingerprint: Further values that a stored state must agree on, e.g. the identity of the weights.

    Raises:
        Interrupted: `stop` said so; everything is saved.
        DataError: Too few images, a damaged checkpoint or result, or a loss that is not finite.
        EnvironmentFault: The folder cannot be written.
    """
    space, device = supernet.space, next(supernet.parameters()).device
    identity = {
        **(fingerprint or {}),
        "space": space.id,
        "seed": seed,
        "recipe": to_plain(recipe),
        "config": asdict(config),
        "limits": {limit.name: limit.at_most for limit in limits},
        "persons": len(dataset),
    }
    done = folder / RESULT
    if done.is_file():
        return stored_result(done, identity, space)
    weights_part, choices_part = dataset.split_by_image(config.held_out, seed)
    recipe = replace(recipe.for_supernet(), epochs=config.epochs)
    order = batch_order(weights_part, recipe, seed)
    total_steps = config.epochs * order.steps_per_epoch
    bilevel = Bilevel(copy.deepcopy(supernet), recipe, config, limits, seed=seed, total_steps=total_steps)
    state = SearchState(folder / CHECKPOINT, identity, bilevel)
    state.load()
    make = _maker(weights_part, choices_part, store, recipe, supernet, seed, bilevel.first_logit_step)
    saved_s = time.monotonic()
    with (
        closing(_batches(make, range(state.step, total_steps), preparing_threads(device, store))) as batches,
        progress.task("differentiable search", total_steps, done=state.step) as bar,
    ):
        for for_weights, for_choices in () if state.collapsed else batches:
            state.add("loss", bilevel.weight_step(for_weights.to(device, channels_last=True), state.step))
            if for_choices is not None:
                batch = for_choices.to(device, channels_last=True)
                state.add("choices_loss", bilevel.logit_step(batch, state.step))
            state.step += 1
            epoch, inside = divmod(state.step, order.steps_per_epoch)
            if not inside:
                state.end_epoch(epoch)
                if for_choices is not None and collapsed(space, bilevel):
                    state.collapsed = epoch
            bar.advance(1, epoch=f"{epoch + bool(inside)}/{config.epochs}", **state.means())
            stopping = stop()
            if stopping or not inside or time.monotonic() - saved_s > CHECKPOINT_EVERY_S:
                state.save()
                saved_s = time.monotonic()
            if stopping and state.step < total_steps:
                raise Interrupted(
                    f"differentiable search stopped after step {state.step} of {total_steps}; everything is saved in "
                    f"{folder}."
                )
            if state.collapsed:
                break
    if state.collapsed:
        progress.message(
            f"differentiable search: ended after epoch {state.collapsed} of {config.epochs}: every stage is at its "
            f"smallest depth with a probability of {COLLAPSED_FROM:.0%} or more though the budget leaves room, which is how "
            "such searches collapse. Architectures are drawn from what it had learnt."
        )
    distributions = {name: share.double().cpu().tolist() for name, share in bilevel.distributions().items()}
    result = DifferentiableResult(
        archs=derive(space, distributions, fits, samples=config.samples, seed=seed),
        distributions=distributions,
        history=tuple(state.history),
        collapsed=state.collapsed,
        steps=state.step,
    )
    write_json_atomic(done, {"identity": identity, **result.to_plain()})
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return result


def collapsed(space: SearchSpace, bilevel: Bilevel) -> bool:
    """Says whether all depths are at their smallest although the expectations are within their limits.

    Depth is the one choice between a block and nothing, which gradients favour early on (DARTS's skip connections); where
    a limit is still exceeded, it is the limit that makes networks shallow.
    """
    shares = bilevel.distributions()
    smallest = [
        shares[f"stage{index}.depth"][0].item()
        for index, stage in enumerate(space.stages)
        if len(stage.depth) > 1
    ]
    return bool(smallest) and min(smallest) >= COLLAPSED_FROM and bilevel.within_limits()


def _maker(
    weights_part: PoseDataset,
    choices_part: PoseDataset,
    store: Images,
    recipe: Recipe,
    supernet: Supernet,
    seed: int,
    first_logit_step: int,
) -> Callable[[int], Batches]:
    """Returns the function from a step to its batches.

    The choices learn on crops of the second, milder stage of augmentation, which are closest to those that the search
    ranks on; neither sees black rectangles, which are for the largest network.
    """
    space, device = supernet.space, next(supernet.parameters()).device
    codec = label_codec(space.input_size, space.head.split_ratio, recipe.loss)
    workers = preparing_threads(device, store)

    def batches_of(part: PoseDataset, by: Recipe) -> Callable[[int], TrainBatch]:
        return make_batches(
            part, store, by, batch_order(part, by, seed), codec, device, holes_apart=True, workers=workers,
            dtype=torch.bfloat16 if recipe.in_bf16(device.type) else torch.float32,
        )  # fmt: skip

    for_weights = batches_of(weights_part, recipe)
    for_choices = batches_of(choices_part, replace(recipe, augment=recipe.final_augment))

    def make(step: int) -> Batches:
        chosen = for_choices(step - first_logit_step) if step >= first_logit_step else None
        return for_weights(step), chosen

    return make


def _batches(make: Callable[[int], Batches], steps: range, workers: int) -> Generator[Batches, None, None]:
    # A generator, so that `closing` ends the threads at once when the search stops in the middle.
    yield from prefetch(make, steps, depth=workers + 1, workers=workers)

"""One training step: a sliced subnet against its static twin, real persons against a fixed batch, compiled against eager.

The twin is the same network with its own weights: what slicing costs is the ratio. The fixed batch costs nothing to
prepare: what the data path costs is the ratio.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from posesearch.bench.registry import BenchContext
from posesearch.bench.result import BenchResult, Goal
from posesearch.bench.timing import compare
from posesearch.bench.workload import People, Steps, batches, people, recipe_for, stirred
from posesearch.data.prefetch import prefetch
from posesearch.models.heads import PoseOutput
from posesearch.models.pose import PoseModel
from posesearch.spaces import load_preset, load_space
from posesearch.spaces.arch import Architecture
from posesearch.supernet.sampling import sandwich
from posesearch.supernet.supernet import Supernet
from posesearch.train.batches import TrainBatch, preparing_threads
from posesearch.train.losses import simcc_loss
from posesearch.train.recipe import LossConfig
from posesearch.train.tasks import ModelTask

SLICED = Goal(key="sliced_over_static", target=1.05, at_most=True)
REAL = Goal(key="real_over_synthetic", target=0.97)
TWIN_TOLERANCE = {"cpu": 1e-4, "cuda": 0.02}
"""Relative, on the loss; a GPU computes in bfloat16."""

Forward = Callable[[Tensor], PoseOutput]


def run(context: BenchContext) -> BenchResult:
    """Measures both ratios; the compiled step belongs to `bench gpu`."""
    on_gpu = context.device.type == "cuda"
    batch_size = 8 if context.quick else 256 if on_gpu else 16
    space = "demo" if context.quick else "starnet"
    on = people(context, "train", 4 * batch_size)
    sliced, sliced_figures = sliced_over_static(
        context, on, space, batch_size=batch_size, repeats=2 if context.quick else 5
    )
    real, real_figures = real_over_synthetic(
        context, on, batch_size=batch_size, steps=2 if context.quick else 40 if on_gpu else 4
    )
    notes = [
        f"sliced_over_static: forward and backward of four subnets of space {space}, largest and smallest among them, "
        "all calls together; the loss of each is that of its twin.",
        "real_over_synthetic: images a second of whole training steps on batches made in the background, over those "
        "on one batch made before.",
    ]
    if not on_gpu:
        notes.append(
            "On a CPU the network and the batches share the cores, so real_over_synthetic has no goal: it is the share "
            "of the CPU time that the network gets."
        )
    return BenchResult(
        name="step",
        ratios={"sliced_over_static": sliced, "real_over_synthetic": real},
        figures={"batch_size": batch_size, "sliced": sliced_figures, "real": real_figures},
        goals=(SLICED, REAL) if on_gpu else (SLICED,),
        notes=tuple(notes),
    )


def sliced_over_static(
    context: BenchContext, on: People, space_name: str, *, batch_size: int, repeats: int
) -> tuple[float, dict[str, Any]]:
    """Times subnets of a supernet against static networks with the same weights, gradients included.

    Args:
        context: Device and seed.
        on: Whom to train on.
        space_name: A key of `workload.RECIPES`.
        batch_size: Persons a step.
        repeats: Times each is timed.

    Returns:
        The ratio, and per subnet the milliseconds of both.
    """
    space = load_space(space_name).with_joints(on.dataset.skeleton.num_joints)
    recipe = recipe_for(space_name, batch_size=batch_size)
    supernet = stirred(Supernet(space, seed=context.seed), context.seed).train()
    draws = sandwich(space, context.seed, 0, recipe.supernet.random_subnets)
    # Made before the move, so that both sides are moved alike.
    twins = [static_twin(supernet, draw.arch) for draw in draws]
    for module in (supernet, *twins):
        module.to(device=context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    make = batches(draws[0].arch, recipe, on, device=context.device, seed=context.seed)
    batch = make(0).to(context.device, channels_last=True)
    functions: dict[str, Callable[[], float]] = {}
    for index, (draw, twin) in enumerate(zip(draws, twins, strict=True)):
        name = f"{index} {draw.kind}"
        sides: dict[str, tuple[nn.Module, Forward]] = {
            "sliced": (supernet, partial(supernet, arch=draw.arch)),
            "static": (twin, twin),
        }
        losses = {}
        for side, (module, forward) in sides.items():
            functions[f"{side} {name}"] = partial(gradients, module, forward, batch, recipe.loss)
            losses[side] = functions[f"{side} {name}"]()
        tolerance = TWIN_TOLERANCE[context.device.type] * abs(losses["static"])
        assert abs(losses["sliced"] - losses["static"]) <= tolerance, f"{name}: {losses}"
    seconds = compare(functions, repeats, device=context.device, seed=context.seed)
    total = {
        side: sum(value for name, value in seconds.items() if name.startswith(side))
        for side in ("sliced", "static")
    }
    return total["sliced"] / total["static"], {
        f"{name.replace(' ', '_')}_ms": 1e3 * value for name, value in sorted(seconds.items())
    }


def static_twin(supernet: Supernet, arch: Architecture) -> PoseModel:
    """Returns the plain network of `arch` in training form, norms without running statistics, as a subnet's are."""
    twin = PoseModel(arch, statistics="batch")
    twin.load_state_dict({name: value.detach() for name, value in supernet.subnet_parameters(arch).items()})
    return twin.train()


def gradients(module: nn.Module, forward: Forward, batch: TrainBatch, loss: LossConfig) -> float:
    """Computes the gradients of one batch from none, as a step does, and returns the loss."""
    module.zero_grad(set_to_none=True)
    device = batch.images.device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        output = forward(batch.images)
    value = simcc_loss(output, batch.labels(loss.beta), loss.beta)
    value.backward()
    return value.item()


def real_over_synthetic(
    context: BenchContext, on: People, *, batch_size: int, steps: int
) -> tuple[float, dict[str, Any]]:
    """Times training steps on real persons, prepared in the background as by the training loop, and on one fixed batch.

    Args:
        context: Device, seed and quickness.
        on: Whom to train on.
        batch_size: Persons a step.
        steps: Steps timed at a time.

    Returns:
        Images a second on real persons over those on the fixed batch, and both.
    """
    trainer = plain_steps(context, on, batch_size)
    device = context.device
    workers = preparing_threads(device, on.store)
    fixed = trainer.make(0)

    def real() -> None:
        for number, batch in enumerate(
            prefetch(trainer.make, range(steps), depth=workers + 1, workers=workers)
        ):
            trainer.step(batch, number)

    def synthetic() -> None:
        for number in range(steps):
            trainer.step(fixed, number)

    synthetic()
    seconds = compare(
        {"real": real, "synthetic": synthetic},
        1 if context.quick else 3,
        device=device,
        seed=context.seed,
    )
    images = steps * len(fixed.annotation_id_B)
    return seconds["synthetic"] / seconds["real"], {
        "network": "demo, largest" if context.quick else "starnet-pose-t",
        "real_images_per_s": images / seconds["real"],
        "synthetic_images_per_s": images / seconds["synthetic"],
        "steps": steps,
        "workers": workers,
    }


def plain_steps(context: BenchContext, on: People, batch_size: int) -> Steps:
    """Returns the training of one network: StarNet-Pose-T, or quickly the largest of space `demo`."""
    joints = on.dataset.skeleton.num_joints
    quick = load_space("demo").with_joints(joints).largest()
    arch = quick if context.quick else load_preset("starnet-pose-t", num_joints=joints)
    recipe = recipe_for("demo" if context.quick else "starnet", batch_size=batch_size)
    return Steps(
        ModelTask(stirred(PoseModel(arch, seed=context.seed), context.seed), recipe.loss),
        recipe,
        on,
        device=context.device,
        seed=context.seed,
    )

"""A supernet's step of four subnets against a plain step of the largest network: time by arithmetic, and peak memory.

Both sides are the training loop's own step (batch to the device, losses, backward, clipping, optimiser, average) on the
same persons with the same weights; before anything is timed their losses are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import isclose
from typing import Any

from posesearch.bench.peaks import peak_bytes
from posesearch.bench.registry import BenchContext
from posesearch.bench.result import BenchResult, Goal
from posesearch.bench.timing import compare
from posesearch.bench.workload import People, Steps, people, recipe_for, stirred
from posesearch.models.cost import macs_of
from posesearch.spaces import load_space
from posesearch.supernet.sampling import sandwich
from posesearch.supernet.supernet import Supernet, extract_subnet
from posesearch.train.batches import TrainBatch
from posesearch.train.tasks import ModelTask, SupernetTask

GOALS = (
    Goal(key="time_over_macs", target=1.1, at_most=True),
    Goal(key="peak_memory", target=1.05, at_most=True),
)
LOSS_TOLERANCE = {"cpu": 1e-4, "cuda": 0.02}
"""Relative; a GPU computes in bfloat16, and slices may go to other kernels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How large the comparison is.

    Attributes:
        space: Name of the space.
        batch_size: Persons a step.
        draws: Steps, each with its own random subnets, whose mean is taken.
        repeats: Times each is timed; the smallest counts.
    """

    space: str
    batch_size: int
    draws: int
    repeats: int


# On a CPU, 16 persons at 256x192 and 32 at 128x96 are steps of seconds.
CPU = (
    Sizes(space="starnet", batch_size=16, draws=3, repeats=4),
    Sizes(space="demo", batch_size=32, draws=4, repeats=5),
)
GPU = (Sizes(space="starnet", batch_size=256, draws=6, repeats=5),)
QUICK = (Sizes(space="demo", batch_size=8, draws=1, repeats=1),)


def run(context: BenchContext) -> BenchResult:
    """Compares the steps in the published space and, on a CPU, in the demo's."""
    on_gpu = context.device.type == "cuda"
    chosen = QUICK if context.quick else GPU if on_gpu else CPU
    found = {sizes.space: measure(context, sizes) for sizes in chosen}
    ratios = dict(found[chosen[0].space]["ratios"])
    for space, values in found.items():
        if space != chosen[0].space:
            ratios |= {f"{space}_{key}": value for key, value in values["ratios"].items()}
    memory = "torch's allocator" if on_gpu else "every tensor an operator made, its own buffers apart"
    return BenchResult(
        name="sandwich",
        ratios=ratios,
        figures={space: values["figures"] for space, values in found.items()},
        goals=GOALS,
        notes=(
            f"time_over_macs is time_ratio / macs_ratio, in space {chosen[0].space}: 1 means that small subnets use the "
            "device as well as the largest does.",
            f"Peak memory by {memory}, beyond weights, optimiser and average.",
        ),
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pair:
    """The two sides with their batches, which hold the same persons.

    Attributes:
        plain: The largest network by itself.
        supernet: The sandwich.
        plain_batch: A batch as a single network takes it.
        supernet_batch: The same, with the black rectangles apart where only the largest is to see them.
    """

    plain: Steps
    supernet: Steps
    plain_batch: TrainBatch
    supernet_batch: TrainBatch

    def plain_step(self, number: int) -> dict[str, float]:
        """Makes a step of the largest network."""
        return self.plain.step(self.plain_batch, number)

    def supernet_step(self, number: int) -> dict[str, float]:
        """Makes a step of four subnets."""
        return self.supernet.step(self.supernet_batch, number)


def make_pair(context: BenchContext, space_name: str, batch_size: int, on: People) -> Pair:
    """Builds both sides with equal weights.

    Args:
        context: Device and seed.
        space_name: A space with a recipe in `workload.RECIPES`.
        batch_size: Persons a step.
        on: Whom to train on.
    """
    space = load_space(space_name).with_joints(on.dataset.skeleton.num_joints)
    recipe = recipe_for(space_name, batch_size=batch_size).for_supernet()
    supernet = stirred(Supernet(space, seed=context.seed), context.seed)
    largest = extract_subnet(supernet, space.largest())
    task = SupernetTask(supernet, recipe.supernet, recipe.loss, seed=context.seed)
    plain, sandwiched = (
        Steps(side, recipe, on, device=context.device, seed=context.seed)
        for side in (ModelTask(largest, recipe.loss), task)
    )
    return Pair(
        plain=plain, supernet=sandwiched, plain_batch=plain.make(0), supernet_batch=sandwiched.make(0)
    )


def check_losses(pair: Pair) -> dict[str, float]:
    """Makes one step of each side, which must find the same loss for the largest network, and returns both losses."""
    plain, largest = pair.plain_step(0)["loss"], pair.supernet_step(0)["largest"]
    tolerance = LOSS_TOLERANCE[pair.plain.device.type]
    assert isclose(plain, largest, rel_tol=tolerance), f"the sides differ: loss {plain} against {largest}"
    return {"plain_loss": plain, "largest_loss": largest}


def peaks(pair: Pair) -> tuple[int, int]:
    """Returns the peak memory of a sandwich step and of a plain step, in bytes."""
    found = []
    for steps, step in ((pair.supernet, pair.supernet_step), (pair.plain, pair.plain_step)):
        step(0)
        # Gradients count in both; those of the step before are not there when a step begins.
        steps.task.module.zero_grad(set_to_none=True)
        found.append(peak_bytes(partial(step, 0), steps.device))
    return found[0], found[1]


def measure(context: BenchContext, sizes: Sizes) -> dict[str, dict[str, Any]]:
    """Returns the ratios of one space and the figures behind them."""
    on = people(context, "train", sizes.batch_size)
    pair = make_pair(context, sizes.space, sizes.batch_size, on)
    losses = check_losses(pair)
    space, draws = pair.supernet.task.arch, range(sizes.draws)
    sandwich_bytes, plain_bytes = peaks(pair)
    functions = {f"sandwich {number}": partial(pair.supernet_step, number) for number in draws}
    for function in functions.values():
        function()
    seconds = compare(
        {"plain": partial(pair.plain_step, 0), **functions},
        sizes.repeats,
        device=context.device,
        seed=context.seed,
    )
    macs = [macs_of_step(pair, context.seed, number) for number in draws]
    sandwich_s = sum(seconds[name] for name in functions) / sizes.draws
    time_ratio = sandwich_s / seconds["plain"]
    macs_ratio = sum(macs) / sizes.draws / macs_of(space)
    return {
        "ratios": {
            "time_ratio": time_ratio,
            "macs_ratio": macs_ratio,
            "time_over_macs": time_ratio / macs_ratio,
            "peak_memory": sandwich_bytes / plain_bytes,
        },
        "figures": {
            "batch_size": len(pair.plain_batch.annotation_id_B),
            "sandwich_ms": 1e3 * sandwich_s,
            "plain_ms": 1e3 * seconds["plain"],
            "plain_gmacs": macs_of(space) / 1e9,
            "sandwich_gmacs": sum(macs) / sizes.draws / 1e9,
            "sandwich_peak_bytes": sandwich_bytes,
            "plain_peak_bytes": plain_bytes,
            "draws": sizes.draws,
            "repeats": sizes.repeats,
            **losses,
        },
    }


def macs_of_step(pair: Pair, seed: int, number: int) -> int:
    """Returns the multiply-accumulates of one image through all subnets of a step."""
    task = pair.supernet.task
    assert isinstance(task, SupernetTask)
    draws = sandwich(
        task.supernet.space,
        seed,
        number,
        task.config.random_subnets,
        correlation=task.config.size_correlation,
    )
    return sum(macs_of(draw.arch) for draw in draws)

"""`search --strategy differentiable`: what the run, its table and its budgets give to a search by gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from posesearch.checkpoint import weights_id
from posesearch.errors import UsageError
from posesearch.flows.material import Material
from posesearch.flows.tables import TableChoice
from posesearch.latency.expected import expected_cost, expected_latency_ms
from posesearch.latency.types import Conditions
from posesearch.models.cost import cost
from posesearch.progress import Progress
from posesearch.run import Run
from posesearch.search.bilevel import DifferentiableConfig, Limit
from posesearch.search.differentiable import search_by_gradient
from posesearch.search.judge import SLOW_TO_BUILD
from posesearch.search.objectives import Budgets
from posesearch.spaces import Architecture, SearchSpace
from posesearch.spaces.arch import canonical_id
from posesearch.supernet import Supernet
from posesearch.train.recipe import Recipe

ORIGIN = "differentiable"
LEAST_EPOCHS = 2
EPOCHS_SHARE = 5
"""A differentiable search takes a fifth of the epochs the supernet took, two at least."""

ADDITIVE = ("params", "macs")
"""Counted figures that are sums over stages; calculated memory is a maximum, and only draws are held to it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Strategy:
    """How architectures are found before the sampler takes over.

    Attributes:
        name: "sample" (the sampler alone), or "differentiable".
        epochs: Passes over the training images of a differentiable search; None derives them from the recipe.

    Raises:
        UsageError: Epochs without a differentiable search, or fewer than one.
    """

    name: Literal["sample", "differentiable"] = "sample"
    epochs: int | None = None

    def __post_init__(self) -> None:
        if self.epochs is None:
            return
        if self.name != ORIGIN:
            raise UsageError(
                f"--theta-epochs {self.epochs} is for a differentiable search. Add --strategy {ORIGIN}, or leave it out."
            )
        if self.epochs < 1:
            raise UsageError(
                f"--theta-epochs {self.epochs}: expected at least 1 pass over the training images. Leave it out for a "
                "fifth of the recipe's epochs."
            )

    def to_plain(self) -> dict[str, Any]:
        """Returns the keys `strategy` and `theta_epochs` of the plan."""
        return {"strategy": self.name, "theta_epochs": self.epochs}

    def config(self, recipe: Recipe, evaluations: int) -> DifferentiableConfig:
        """Returns how to search: epochs by the recipe, and no more draws than half of the evaluations."""
        epochs = self.epochs or max(LEAST_EPOCHS, round(recipe.epochs / EPOCHS_SHARE))
        whole = DifferentiableConfig(epochs=epochs)
        return DifferentiableConfig(epochs=epochs, samples=max(0, min(whole.samples, evaluations // 2 - 1)))


SAMPLE = Strategy()


def check_table(
    strategy: Strategy,
    budgets: Budgets,
    chosen: TableChoice | None,
    conditions: Conditions,
    space: SearchSpace,
) -> None:
    """Refuses a differentiable search within milliseconds that no table of block prices stands for.

    The fit on measured candidates by which a search without a table aims its proposals is no way out: it would first need
    candidates, measured in number, and knows nothing of blocks.

    Raises:
        UsageError: There is a latency budget and no table.
    """
    if strategy.name != ORIGIN or budgets.latency is None or chosen is not None:
        return
    options = [f"--space {space.name}"]
    plain = Conditions()
    for name in ("runtime", "precision", "threads", "batch", "memory_format"):
        value = getattr(conditions, name)
        if value != getattr(plain, name):
            options.append(f"--{name.replace('_', '-')} {value}")
    raise UsageError(
        f"--strategy {ORIGIN} needs the price of every block, so that the expected latency has a gradient, and goes by no "
        f"latency table here. Build one with: posesearch latency build {' '.join(options)}. Or leave --strategy out: the "
        "sampler does without."
    )


def differentiable_starts(
    strategy: Strategy,
    supernet: Supernet,
    material: Material,
    recipe: Recipe,
    *,
    budgets: Budgets,
    chosen: TableChoice | None,
    evaluations: int,
    opened: Run,
    seed: int,
    progress: Progress,
    stop: Callable[[], bool],
) -> tuple[tuple[Architecture, str], ...]:
    """Returns what a differentiable search found, to be asked first; nothing for another strategy.

    Args:
        strategy: What was asked for.
        supernet: The trained supernet, left as it is.
        material: The run's images.
        recipe: The recipe it was trained by.
        budgets: What architectures keep to.
        chosen: The latency table, where there is a latency budget.
        evaluations: Evaluations of the whole search.
        opened: The run, locked.
        seed: Key of all draws.
        progress: Where to report.
        stop: Asked after each step.

    Raises:
        Interrupted: `stop` said so; everything is saved.
        DataError: Too few images, or a damaged state.
    """
    if strategy.name != ORIGIN:
        return ()
    config = strategy.config(recipe, evaluations)
    identity = {"weights": weights_id(supernet.state_dict()), "table": chosen.build_id if chosen else ""}
    limits = limits_of(budgets, chosen, supernet.space)
    key = canonical_id(
        {**identity, "epochs": config.epochs, "samples": config.samples, "seed": seed}
        | {limit.name: limit.at_most for limit in limits}
    )
    result = search_by_gradient(
        supernet,
        material.fit_part,
        material.store,
        recipe,
        limits,
        fitting(budgets, chosen),
        config=config,
        folder=opened.path("search", f"{ORIGIN}-{key}"),
        seed=seed,
        progress=progress,
        stop=stop,
        fingerprint=identity,
    )
    if not result.archs:
        progress.message(
            "differentiable search: nothing that was drawn fits the budget by prediction; the sampler goes on without it."
        )
    else:
        last = result.history[-1]
        progress.message(
            f"differentiable search: {len(result.archs)} architectures, the most probable {result.archs[0]} "
            f"(entropy {last['entropy']:.2f} of 1); they are asked first."
        )
    return tuple((arch, ORIGIN) for arch in result.archs)


def limits_of(budgets: Budgets, chosen: TableChoice | None, space: SearchSpace) -> tuple[Limit, ...]:
    """Returns the limits that have an expectation: latency by a table, parameters and multiply-accumulates."""
    limits = [
        Limit(name=name, expected=expected_cost(space, name), at_most=float(limit))
        for name, limit in budgets.counted.items()
        if name in ADDITIVE
    ]
    if budgets.latency is not None and chosen is not None:
        expected = expected_latency_ms(chosen.predictor.table)
        limits.append(Limit(name="latency_ms", expected=expected, at_most=budgets.latency.latency_ms))
    return tuple(limits)


def fitting(budgets: Budgets, chosen: TableChoice | None) -> Callable[[Architecture], bool]:
    """Returns what says whether an architecture fits without measuring it: as a search will decide about it.

    That is the predicted median where doubt is settled by measuring, else the prediction's upper bound.
    """

    def fits(arch: Architecture) -> bool:
        if not budgets.allows_cost(cost(arch).to_plain()):
            return False
        if budgets.latency is None or chosen is None:
            return True
        predicted = chosen.predictor.predict(arch)
        settled = not chosen.absent and budgets.latency.runtime not in SLOW_TO_BUILD
        return (predicted.latency_ms if settled else predicted.high_ms) <= budgets.latency.latency_ms

    return fits

"""The two steps of a differentiable search: weights learn from some images, the choices between them from others.

First order, as DARTS has it (Liu et al., ICLR 2019): a step of the weights on their images, with the distributions as they
are, then a step of the distributions on theirs, with the weights as they are. What the distributions minimise is

    L + budget_weight * sum over limits of max(0, E[figure] / limit - 1) + entropy_weight * H,

with L the loss of one Gumbel draw, E the exact expectation of a cost (`latency.expected`) and H the mean entropy of the
distributions, whose weight grows from 0 to its full value, so that they end decided.

Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from posesearch.errors import DataError
from posesearch.latency.expected import Expectation
from posesearch.rng import torch_generator
from posesearch.supernet.relaxed import largest_network, relaxed_forward
from posesearch.supernet.relaxed_shares import (
    Shares,
    entropy,
    gumbel_shares,
    probabilities,
    temperature,
)
from posesearch.supernet.supernet import Supernet
from posesearch.train.batches import TrainBatch
from posesearch.train.losses import joint_maps, map_loss, simcc_loss
from posesearch.train.optim import build_optimizer, lr_at
from posesearch.train.recipe import Recipe

TRAVEL = 5.0
"""How far a logit that is always pushed one way can move in the whole search: a choice against another 5 lower has 99 %.
Adam moves a logit by its rate a step at most, whatever the gradient, so few steps need a higher rate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DifferentiableConfig:
    """How a differentiable search trains.

    Attributes:
        epochs: Passes of the weights over their images.
        held_out: Share of the training images on which the distributions learn.
        warmup: Share of the steps in which only weights learn.
        weight_rate: Learning rate of the weights over the recipe's: they are trained already.
        rate: Adam's least learning rate for the logits (FBNet), see `TRAVEL`.
        decay: Its weight decay, which pulls towards uniform distributions.
        betas: Its betas.
        budget_weight: What being over the budget by its whole size costs, in units of the loss.
        entropy_weight: What uniform distributions cost at the end, likewise.
        straight_through: Run one choice a gene, drawn, instead of a mixture.
        samples: Architectures drawn beside the most probable one.
    """

    epochs: int
    held_out: float = 0.2
    warmup: float = 0.2
    weight_rate: float = 0.1
    rate: float = 1e-2
    decay: float = 5e-4
    betas: tuple[float, float] = (0.5, 0.999)
    budget_weight: float = 10.0
    entropy_weight: float = 0.05
    straight_through: bool = False
    samples: int = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """What the distributions are to keep to.

    Attributes:
        name: Of the figure, e.g. "latency_ms".
        expected: Its expectation.
        at_most: The limit, in its unit.
    """

    name: str
    expected: Expectation
    at_most: float

    def overrun(self, shares: Shares) -> Tensor:
        """Returns by how much of the limit the expectation lies above it; 0 within."""
        return (self.expected(shares) / self.at_most - 1.0).clamp(min=0.0)


class Bilevel:
    """Weights, distributions, and the step of each.

    Args:
        supernet: The weights that learn; the caller's copy.
        recipe: How they learn: optimizer and loss, its schedule over `total_steps`.
        config: How the distributions learn.
        limits: What they keep to.
        seed: Key of the draws.
        total_steps: Steps of the whole search.
    """

    def __init__(
        self,
        supernet: Supernet,
        recipe: Recipe,
        config: DifferentiableConfig,
        limits: tuple[Limit, ...],
        *,
        seed: int,
        total_steps: int,
    ) -> None:
        self.supernet, self.recipe, self.config, self.limits = supernet, recipe, config, limits
        self._seed, self._total_steps = seed, total_steps
        self.first_logit_step = round(config.warmup * total_steps)
        self._device = next(supernet.parameters()).device
        self._bf16 = recipe.in_bf16(self._device.type)
        self.logits = {
            name: torch.zeros(len(choices), device=self._device, requires_grad=True)
            for name, choices in supernet.space.genes().items()
        }
        self._weight_optimizer = build_optimizer(supernet, recipe.optimizer, decay_depthwise=False)
        steps = max(1, total_steps - self.first_logit_step)
        self._logit_optimizer = torch.optim.Adam(
            list(self.logits.values()),
            lr=max(config.rate, TRAVEL / steps),
            betas=config.betas,
            weight_decay=config.decay,
        )

    def distributions(self) -> dict[str, Tensor]:
        """Returns the distribution of each gene, without gradients."""
        return {name: share.detach() for name, share in probabilities(self.logits).items()}

    def figures(self) -> dict[str, float]:
        """Returns entropy and the expectation of every limited figure."""
        shares = self.distributions()
        expected = {f"expected_{limit.name}": limit.expected(shares).item() for limit in self.limits}
        return {"entropy": entropy(shares).item(), **expected}

    def within_limits(self) -> bool:
        """Says whether every expectation is within its limit."""
        shares = self.distributions()
        return all(limit.overrun(shares).item() == 0.0 for limit in self.limits)

    def weight_step(self, batch: TrainBatch, step: int) -> float:
        """Makes one step of the weights and returns its loss.

        Raises:
            DataError: The loss is not finite.
        """
        config = self.recipe.optimizer
        for group in self._weight_optimizer.param_groups:
            group["lr"] = lr_at(
                step, self._total_steps, config.lr * self.config.weight_rate, self.recipe.schedule
            )
        fixed = {name: values.detach() for name, values in self.logits.items()}
        loss, maps = self._loss(batch, self._drawn("weights", step, fixed))
        total = loss
        if self.recipe.loss.map_weight:
            total = total + self.recipe.loss.map_weight * map_loss(
                maps, batch.x_BKX, batch.y_BKY, batch.weight_BK
            )
        self._weight_optimizer.zero_grad(set_to_none=True)
        total.backward()
        if config.clip_norm:
            clip_grad_norm_(self.supernet.parameters(), config.clip_norm)
        self._weight_optimizer.step()
        return _finite(loss, "weights", step)

    def logit_step(self, batch: TrainBatch, step: int) -> float:
        """Makes one step of the distributions and returns the loss L of its draw.

        Raises:
            DataError: The loss is not finite.
        """
        loss, _ = self._loss(batch, self._drawn("choices", step, self.logits))
        shares = probabilities(self.logits)
        progress = (step - self.first_logit_step) / max(1, self._total_steps - self.first_logit_step)
        total = loss + self.config.entropy_weight * progress * entropy(shares)
        for limit in self.limits:
            total = total + self.config.budget_weight * limit.overrun(shares)
        values = list(self.logits.values())
        for logit, gradient in zip(values, torch.autograd.grad(total, values), strict=True):
            logit.grad = gradient
        self._logit_optimizer.step()
        return _finite(loss, "choices", step)

    def state(self) -> dict[str, Any]:
        """Returns everything that steps change."""
        return {
            "module": dict(self.supernet.state_dict()),
            "weight_optimizer": self._weight_optimizer.state_dict(),
            "logits": {name: values.detach() for name, values in self.logits.items()},
            "logit_optimizer": self._logit_optimizer.state_dict(),
        }

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes over what `state` gave."""
        self.supernet.load_state_dict(state["module"])
        self._weight_optimizer.load_state_dict(state["weight_optimizer"])
        for name, values in self.logits.items():
            values.copy_(state["logits"][name])
        self._logit_optimizer.load_state_dict(state["logit_optimizer"])

    def _drawn(self, purpose: str, step: int, logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return gumbel_shares(
            logits,
            temperature(step, self._total_steps),
            torch_generator(self._seed, f"gumbel {purpose}", step),
            straight_through=self.config.straight_through,
        )

    def _loss(self, batch: TrainBatch, shares: Shares) -> tuple[Tensor, Tensor]:
        """Returns the loss of a mixture and the maps of its head."""
        with (
            torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._bf16),
            joint_maps(largest_network(self.supernet)) as maps,
        ):
            output = relaxed_forward(self.supernet, batch.images, shares)
        beta = self.recipe.loss.beta
        return simcc_loss(output, batch.labels(beta), beta), maps[-1]


def _finite(loss: Tensor, what: str, step: int) -> float:
    value = loss.item()
    if not torch.isfinite(loss):
        raise DataError(
            f"differentiable search: the loss of the {what} was {value} at step {step}. The supernet has hardly been "
            "trained, or its images are damaged: look at its training log, and check the images with `posesearch data "
            "check`. --strategy sample goes without."
        )
    return value

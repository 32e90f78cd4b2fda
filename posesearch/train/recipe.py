"""How a network or a supernet is trained: one frozen value, read from YAML, overridden key by key.

The published StarNet-Pose recipe (its configuration `starnetca-s3`, evaluated) is `recipes/starnet-pose.yaml`; every
default below is its value. Two lengths are given in optimizer steps of a COCO run (1,000 warm-up steps, an EMA that
looks back 5,000); on a small data set they would cover the whole run, so both are capped to a share of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from posesearch.config import apply_overrides, parse
from posesearch.configfile import load_file
from posesearch.data.augment import AugmentConfig
from posesearch.errors import ConfigError
from posesearch.spaces.files import PACKAGE, find_file, names_in


class Range(NamedTuple):
    """Which numbers a key may have; NaN and infinities never."""

    low: float
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def holds(self, value: float) -> bool:
        """Says whether `value` is allowed."""
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below and math.isfinite(value)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"more than {self.low:g}" if self.low_open else f"at least {self.low:g}"
        high = f"less than {self.high:g}" if self.high_open else f"at most {self.high:g}"
        return f"more than {self.low:g} and {high}" if self.low_open else f"at least {self.low:g} and {high}"


def check_ranges(config: Any, **ranges: Range) -> None:
    """Refuses values outside their ranges.

    Args:
        config: A dataclass.
        ranges: By name of the field, a number or a tuple of numbers.

    Raises:
        ConfigError: Lists every one of them.
    """
    problems = []
    for name, allowed in ranges.items():
        value = getattr(config, name)
        if not all(allowed.holds(number) for number in (value if isinstance(value, tuple) else (value,))):
            problems.append(f"{name}: got {value}, expected {allowed}.")
    if problems:
        raise ConfigError("recipe", problems)


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """AdamW.

    Attributes:
        lr: Peak learning rate.
        weight_decay: Decay of all weights but norms and biases.
        betas: AdamW's betas.
        clip_norm: Largest global gradient norm; 0 switches clipping off, as in the published recipe.
    """

    lr: float = 4e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 0.0

    def __post_init__(self) -> None:
        momentum = Range(0, 1, high_open=True)
        check_ranges(
            self,
            lr=Range(0, 1, low_open=True, high_open=True),
            weight_decay=Range(0),
            betas=momentum,
            clip_norm=Range(0),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleConfig:
    """Linear warm-up by step, then flat, then cosine.

    Attributes:
        warmup_steps: Steps of the warm-up.
        warmup_limit: Largest share of the run that the warm-up may take, for small data.
        warmup_factor: Learning rate at step 0 over the peak.
        flat_fraction: Share of the run after which the cosine starts.
        final_factor: Learning rate at the end over the peak.
    """

    warmup_steps: int = 1000
    warmup_limit: float = 0.05
    warmup_factor: float = 1e-5
    flat_fraction: float = 0.5
    final_factor: float = 0.05

    def __post_init__(self) -> None:
        shares = ("warmup_limit", "warmup_factor", "flat_fraction", "final_factor")
        check_ranges(self, warmup_steps=Range(0), **dict.fromkeys(shares, Range(0, 1)))


@dataclass(frozen=True, kw_only=True, slots=True)
class EmaConfig:
    """Exponential moving average with a fast start: rate(t) = (1 - momentum) exp(-(1 + t) / gamma) + momentum.

    Attributes:
        enabled: Evaluate and save the average instead of the last weights.
        momentum: Rate in the long run; 1 / momentum steps are averaged.
        horizon_limit: Largest share of the run that the average may look back, for small data.
        gamma: Steps over which the fast start fades; capped at `horizon_limit` of the run as well.
    """

    enabled: bool = True
    momentum: float = 2e-4
    horizon_limit: float = 0.1
    gamma: float = 2000.0

    def __post_init__(self) -> None:
        share = Range(0, 1, low_open=True)
        check_ranges(self, momentum=share, horizon_limit=share, gamma=Range(0, low_open=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class LossConfig:
    """SimCC classification.

    Attributes:
        beta: Factor on logits and labels before the softmax.
        sigma: Standard deviation of the label in bins for (x, y) at 256x192; scaled to other input sizes.
        map_weight: Weight of `losses.map_loss`, which asks the head's map of each joint to light up where the joint is.
            0, as published, leaves it out. A help for small data and short runs, gone when the network is trained.
    """

    beta: float = 10.0
    sigma: tuple[float, float] = (4.9, 5.66)
    map_weight: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(self, beta=Range(0, low_open=True), sigma=Range(0, low_open=True), map_weight=Range(0))


@dataclass(frozen=True, kw_only=True, slots=True)
class SupernetConfig:
    """What a supernet's step adds to that of a single network.

    Attributes:
        random_subnets: Random subnets a step, beside the largest and the smallest.
        size_correlation: How strongly the genes of a random subnet grow and shrink together (0 to 1): uniform,
            independent genes concentrate around the mean size.
        distil_start: Weight of the distillation loss of the smaller subnets in the first half of the run; the hard
            loss has the rest. A teacher that knows nothing yet is not worth copying alone.
        distil_end: The same in the second half.
        drop_path: Stochastic depth of the largest subnet at its last block, rising linearly from 0 at its first.
        occlusion: Who sees CoarseDropout's rectangles: only the "largest" subnet, or "all". Small nets underfit, so
            regularising them costs accuracy.
        weight_decay: Takes the place of the optimizer's: shared weights are regularised by being shared.
        clip_norm: Takes the place of the optimizer's: the gradients of four subnets add up.
    """

    random_subnets: int = 2
    size_correlation: float = 0.6
    distil_start: float = 0.5
    distil_end: float = 1.0
    drop_path: float = 0.0
    occlusion: Literal["largest", "all"] = "largest"
    weight_decay: float = 1e-5
    clip_norm: float = 5.0

    def __post_init__(self) -> None:
        shares = ("size_correlation", "distil_start", "distil_end")
        check_ranges(
            self,
            random_subnets=Range(0),
            drop_path=Range(0, 1, high_open=True),
            weight_decay=Range(0),
            clip_norm=Range(0),
            **dict.fromkeys(shares, Range(0, 1)),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A complete training recipe.

    Attributes:
        name: The recipe's name.
        description: One line for listings.
        epochs: Passes over the training data.
        batch_size: Persons a step, over all devices.
        optimizer: See `OptimizerConfig`.
        schedule: See `ScheduleConfig`.
        ema: See `EmaConfig`.
        loss: See `LossConfig`.
        augment: Augmentation of the first stage.
        final_epochs: Epochs at the end that use `final_augment`; at most half of them.
        final_augment: Augmentation of the second stage: milder, less occlusion.
        supernet: Used by `supernet-train` only.
        precision: "fp32", "bf16" (autocast), or "auto": bf16 on a GPU, fp32 on a CPU.
        compile_blocks: Compile a training's blocks on a GPU (`supernet.compiled`); left out on a CPU. The numbers differ in
            rounding from those without.
        search_fraction: Share of the training images kept out of supernet training, on which the search ranks.
        calibration_persons: Training persons whose crops give the BN statistics of an evaluated network.
        evaluate_every: Epochs between evaluations during training; 0 evaluates at the end only.
    """

    name: str
    description: str = ""
    epochs: int = 210
    batch_size: int = 128
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    final_epochs: int = 15
    final_augment: AugmentConfig = field(default_factory=AugmentConfig)
    supernet: SupernetConfig = field(default_factory=SupernetConfig)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile_blocks: bool = False
    search_fraction: float = 0.1
    calibration_persons: int = 1024
    evaluate_every: int = 10

    def __post_init__(self) -> None:
        check_ranges(
            self,
            epochs=Range(1),
            batch_size=Range(2),  # batch normalisation needs two persons
            final_epochs=Range(0),
            search_fraction=Range(0, 0.5, low_open=True),
            calibration_persons=Range(2),
            evaluate_every=Range(0),
        )

    def for_supernet(self) -> Recipe:
        """Returns the recipe with the optimizer settings that a supernet needs."""
        optimizer = replace(
            self.optimizer, weight_decay=self.supernet.weight_decay, clip_norm=self.supernet.clip_norm
        )
        return replace(self, optimizer=optimizer)

    def in_bf16(self, device_type: str) -> bool:
        """Says whether forwards run under bfloat16 autocast."""
        return self.precision == "bf16" or (self.precision == "auto" and device_type == "cuda")

    def augment_at(self, epoch: int) -> AugmentConfig:
        """Returns the augmentation of an epoch (counted from 0)."""
        final_epochs = min(self.final_epochs, self.epochs // 2)
        return self.final_augment if epoch >= self.epochs - final_epochs else self.augment


def recipe_folders() -> tuple[Path, ...]:
    """Returns where recipes are looked for by name."""
    return (PACKAGE / "recipes",)


def list_recipes() -> tuple[str, ...]:
    """Returns the names of the recipes that come with posesearch."""
    return names_in(recipe_folders())


def load_recipe(name: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """Loads a recipe by name (`demo`, `starnet-pose`) or path, then applies `key=value` overrides.

    Raises:
        UsageError: No such recipe, or an override is malformed.
        ConfigError: Unknown keys, wrong types or values out of range; all of them are listed.
    """
    path = find_file(name, recipe_folders(), "recipe")
    return apply_overrides(parse(Recipe, load_file(path), str(path)), overrides)

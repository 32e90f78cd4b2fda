"""The search space: which choices each stage has, as a frozen value with an identity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from posesearch.config import parse_stored, to_plain
from posesearch.errors import ConfigError, UsageError, did_you_mean
from posesearch.rng import Randomness, as_generator
from posesearch.spaces.arch import (
    Architecture,
    HeadArch,
    StageArch,
    canonical_id,
    frame_problems,
    stages_from_code,
)

Choice = int | bool
GENE_KINDS = ("width", "depth", "kernel", "ratio", "attention")


@dataclass(frozen=True, kw_only=True, slots=True)
class StageSpace:
    """The choices of one stage, each a list in ascending order.

    Attributes:
        width: Channels; multiples of 8 run fastest on GPUs.
        depth: Numbers of star blocks.
        kernel: Sides of the depthwise kernels, odd.
        ratio: Expansion ratios.
        attention: Coordinate attention off (false) and/or on (true).
    """

    width: tuple[int, ...]
    depth: tuple[int, ...]
    kernel: tuple[int, ...] = (3, 5, 7)
    ratio: tuple[int, ...] = (2, 3, 4)
    attention: tuple[bool, ...] = (False, True)

    def __post_init__(self) -> None:
        problems = []
        for name in GENE_KINDS:
            choices = getattr(self, name)
            if not choices:
                problems.append(f"{name}: the list is empty; give at least one choice.")
            elif len(set(choices)) != len(choices):
                problems.append(f"{name}: {list(choices)} holds a choice twice.")
            elif list(choices) != sorted(choices):
                problems.append(
                    f"{name}: {list(choices)} is not in ascending order; write {sorted(choices)}."
                )
        if not problems:
            for name in GENE_KINDS[:4]:
                for choice in getattr(self, name):
                    problems += _choice_problems(name, choice)
        if problems:
            raise ConfigError("stage", problems)


def _choice_problems(name: str, choice: int) -> list[str]:
    values: dict[str, Any] = {"width": 8, "depth": 1, "kernel": 3, "ratio": 2, name: choice}
    try:
        StageArch(**values)
    except ConfigError as error:
        return list(error.problems)
    return []


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchSpace:
    """A set of architectures that share the weights of one supernet.

    Attributes:
        name: The space's name.
        description: One line for listings.
        family: Which model family the members belong to.
        input_size: (height, width) of the crop in pixels.
        num_joints: Joints predicted; data with another joint set uses `with_joints`.
        stem_width: Channels of the stem, the same for all members.
        attention_reduction: See `Architecture`.
        head: The head, the same for all members.
        stages: One to four stages.
    """

    name: str
    description: str = ""
    family: Literal["starnet"] = "starnet"
    input_size: tuple[int, int]
    num_joints: int = 17
    stem_width: int = 32
    attention_reduction: int = 32
    head: HeadArch = field(default_factory=HeadArch)
    stages: tuple[StageSpace, ...]

    def __post_init__(self) -> None:
        problems = frame_problems(
            self.input_size,
            len(self.stages),
            num_joints=self.num_joints,
            stem_width=self.stem_width,
            attention_reduction=self.attention_reduction,
        )
        if problems:
            raise ConfigError("space", problems)

    @property
    def id(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical JSON, the description left out."""
        plain = self.to_plain()
        del plain["description"]
        return canonical_id(plain)

    def genes(self) -> dict[str, tuple[Choice, ...]]:
        """Returns every decision with its choices, e.g. `{"stage0.width": (16, 24), ...}`, in a fixed order."""
        return {
            f"stage{index}.{name}": getattr(stage, name)
            for index, stage in enumerate(self.stages)
            for name in GENE_KINDS
        }

    @property
    def cardinality(self) -> int:
        """Number of architectures in the space."""
        return math.prod(len(choices) for choices in self.genes().values())

    def decode(self, genes: Mapping[str, Choice]) -> Architecture:
        """Returns the architecture with these choices.

        Raises:
            UsageError: A gene is missing or unknown, or its value is not a choice of the space.
        """
        allowed = self.genes()
        for name in genes:
            if name not in allowed:
                raise UsageError(f"gene '{name}' is not in space '{self.name}'.{did_you_mean(name, allowed)}")
        for name, choices in allowed.items():
            if name not in genes:
                raise UsageError(
                    f"gene '{name}' of space '{self.name}' is missing. Choices: {list(choices)}."
                )
            if genes[name] not in choices:
                raise UsageError(
                    f"gene '{name}' = {genes[name]!r} is not in space '{self.name}'. Choices: {list(choices)}."
                )
        stages = tuple(
            StageArch(**{name: _typed(name, genes[f"stage{index}.{name}"]) for name in GENE_KINDS})  # type: ignore[arg-type]
            for index in range(len(self.stages))
        )
        return self._member(stages)

    def encode(self, arch: Architecture) -> dict[str, Choice]:
        """Returns the choices of a member, the inverse of `decode`.

        Raises:
            UsageError: The architecture is not a member; the message names the gene.
        """
        problems = self.problems(arch)
        if problems:
            raise UsageError(f"{arch} is not in space '{self.name}': {' '.join(problems)}")
        return {
            f"stage{i}.{name}": getattr(stage, name)
            for i, stage in enumerate(arch.stages)
            for name in GENE_KINDS
        }

    def problems(self, arch: Architecture) -> tuple[str, ...]:
        """Returns why `arch` is not a member, one sentence a fault; empty for a member."""
        found = [
            f"{name} is {getattr(arch, name)}, the space has {getattr(self, name)}."
            for name in ("family", "input_size", "num_joints", "stem_width", "attention_reduction", "head")
            if getattr(arch, name) != getattr(self, name)
        ]
        if len(arch.stages) != len(self.stages):
            return (*found, f"it has {len(arch.stages)} stages, the space has {len(self.stages)}.")
        for index, (stage, choices) in enumerate(zip(arch.stages, self.stages, strict=True)):
            for name in GENE_KINDS:
                if getattr(stage, name) not in getattr(choices, name):
                    found.append(
                        f"stage{index}.{name} = {getattr(stage, name)}; choices: {list(getattr(choices, name))}."
                    )
        return tuple(found)

    def contains(self, arch: Architecture) -> bool:
        """Says whether `arch` is a member."""
        return not self.problems(arch)

    def largest(self) -> Architecture:
        """Returns the member with the largest choice everywhere; its weights contain those of every member."""
        return self.decode({name: choices[-1] for name, choices in self.genes().items()})

    def smallest(self) -> Architecture:
        """Returns the member with the smallest choice everywhere."""
        return self.decode({name: choices[0] for name, choices in self.genes().items()})

    def sample(self, rng: Randomness) -> Architecture:
        """Returns a member with every gene drawn uniformly and independently.

        Args:
            rng: A NumPy generator; a seed, `random.Random` or `RandomState` is turned into one.

        Raises:
            UsageError: It is none of these.
        """
        rng = as_generator(rng)
        return self.decode(
            {name: choices[int(rng.integers(len(choices)))] for name, choices in self.genes().items()}
        )

    def nearest(self, arch: Architecture) -> Architecture:
        """Returns the member closest to `arch` gene by gene (widths and depths by ratio), for reference points.

        Stages beyond those of the space are dropped; missing ones repeat the last stage of `arch`.
        """
        genes: dict[str, Choice] = {}
        for name, choices in self.genes().items():
            index, kind = int(name[5 : name.index(".")]), name.split(".")[1]
            wanted = getattr(arch.stages[min(index, len(arch.stages) - 1)], kind)
            distances = [(abs(math.log((choice + 1) / (wanted + 1))), choice) for choice in choices]
            genes[name] = min(distances)[1]
        return self.decode(genes)

    def with_joints(self, num_joints: int) -> SearchSpace:
        """Returns the same space for another joint set; its id differs, because its weights do not fit."""
        return self if num_joints == self.num_joints else replace(self, num_joints=num_joints)

    def arch_from_code(self, code: str) -> Architecture:
        """Returns the member described by an architecture code such as `w16-32_d1-2_k3-7_r2-4_a01`.

        Raises:
            UsageError: The code is malformed or describes no member.
        """
        stages = stages_from_code(code)
        if len(stages) != len(self.stages):
            raise UsageError(
                f"{code} is not in space '{self.name}': it has {len(stages)} stages, the space has {len(self.stages)}."
            )
        arch = self._member(stages)
        self.encode(arch)
        return arch

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dicts and lists."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_plain(cls, values: Any, source: str = "search space") -> SearchSpace:
        """Rebuilds the value `to_plain` gave.

        Raises:
            DataError: The values are not those of a space.
        """
        return parse_stored(cls, values, source)

    def _member(self, stages: tuple[StageArch, ...]) -> Architecture:
        return Architecture(
            family=self.family,
            input_size=self.input_size,
            num_joints=self.num_joints,
            stem_width=self.stem_width,
            stages=stages,
            attention_reduction=self.attention_reduction,
            head=self.head,
        )


def _typed(name: str, value: Choice) -> Choice:
    # Optuna and JSON may hand back numpy integers or 0/1; an architecture's identity must not depend on that.
    return bool(value) if name == "attention" else int(value)

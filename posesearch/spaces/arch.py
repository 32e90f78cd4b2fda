"""One architecture: a frozen value that says everything needed to build a network, and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from posesearch.config import parse_stored, to_plain
from posesearch.errors import ConfigError, UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class StageArch:
    """One stage: a stride-2 downsampling convolution followed by `depth` star blocks.

    Attributes:
        width: Channels of the stage, a positive multiple of 2.
        depth: Number of star blocks, at least 1.
        kernel: Side of both depthwise kernels, odd.
        ratio: Expansion of the two branches that are multiplied, at least 1.
        attention: Coordinate attention in every block of the stage.
    """

    width: int
    depth: int
    kernel: int
    ratio: int
    attention: bool = False

    def __post_init__(self) -> None:
        problems = []
        if self.width < 2 or self.width % 2:
            problems.append(f"width: got {self.width}, expected a positive multiple of 2.")
        if self.depth < 1:
            problems.append(f"depth: got {self.depth}, expected at least 1.")
        if self.kernel < 1 or self.kernel % 2 == 0:
            problems.append(f"kernel: got {self.kernel}, expected an odd number such as 3, 5 or 7.")
        if self.ratio < 1:
            problems.append(f"ratio: got {self.ratio}, expected at least 1.")
        if problems:
            raise ConfigError("stage", problems)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadArch:
    """The RTMCC head of RTMPose: 7x7 convolution, ScaleNorm + linear, gated attention unit, two SimCC classifiers.

    Attributes:
        kind: "rtmcc".
        kernel: Side of the convolution that makes one map per joint, odd.
        hidden: Width of a joint's token.
        attention_dim: Width of query and key in the gated attention unit.
        expansion: Width of the gated values over `hidden`.
        split_ratio: SimCC bins per pixel.
    """

    kind: Literal["rtmcc"] = "rtmcc"
    kernel: int = 7
    hidden: int = 256
    attention_dim: int = 128
    expansion: int = 2
    split_ratio: float = 2.0

    def __post_init__(self) -> None:
        problems = []
        if self.kernel < 1 or self.kernel % 2 == 0:
            problems.append(f"kernel: got {self.kernel}, expected an odd number such as 7.")
        for name in ("hidden", "attention_dim", "expansion"):
            if getattr(self, name) < 1:
                problems.append(f"{name}: got {getattr(self, name)}, expected at least 1.")
        if not 1.0 <= self.split_ratio <= 8.0:
            problems.append(f"split_ratio: got {self.split_ratio}, expected 1 to 8 bins per pixel.")
        if problems:
            raise ConfigError("head", problems)


def frame_problems(input_size: tuple[int, int], num_stages: int, **counts: int) -> list[str]:
    """Returns what is wrong with what an architecture and a space have in common.

    Args:
        input_size: (height, width) in pixels, multiples of the network's stride.
        num_stages: Stride-2 stages, one to four.
        counts: By name, whole numbers of at least 1.
    """
    if not 1 <= num_stages <= 4:
        problems = [f"stages: got {num_stages}, expected 1 to 4."]
    else:
        problems = _input_size_problems(input_size, num_stages)
    return problems + [
        f"{name}: got {count}, expected at least 1." for name, count in counts.items() if count < 1
    ]


def _input_size_problems(input_size: tuple[int, int], num_stages: int) -> list[str]:
    stride = 2 ** (num_stages + 1)
    return [
        f"input_size: {name} {size} is not a positive multiple of {stride}, the stride of a network with {num_stages} stages."
        for name, size in zip(("height", "width"), input_size, strict=True)
        if size <= 0 or size % stride
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """One point of a search space, or a preset.

    Attributes:
        family: Which model family builds it.
        input_size: (height, width) of the crop in pixels.
        num_joints: Joints predicted.
        stem_width: Channels of the stride-2 stem.
        stages: One to four stages, each halving the resolution.
        attention_reduction: Coordinate attention squeezes C channels to max(8, C // attention_reduction).
        head: The head.
    """

    family: Literal["starnet"] = "starnet"
    input_size: tuple[int, int]
    num_joints: int
    stem_width: int = 32
    stages: tuple[StageArch, ...]
    attention_reduction: int = 32
    head: HeadArch = field(default_factory=HeadArch)

    def __post_init__(self) -> None:
        problems = frame_problems(
            self.input_size,
            len(self.stages),
            num_joints=self.num_joints,
            stem_width=self.stem_width,
            attention_reduction=self.attention_reduction,
        )
        if problems:
            raise ConfigError("architecture", problems)

    @property
    def id(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical JSON; equal architectures have equal ids."""
        return canonical_id(self.to_plain())

    @property
    def code(self) -> str:
        """The choices in one word, e.g. `w24-48-96-192_d2-2-8-3_k7-7-7-7_r4-4-4-4_a0011`; see `with_code`."""
        stages = self.stages
        return (
            f"w{'-'.join(str(s.width) for s in stages)}_d{'-'.join(str(s.depth) for s in stages)}"
            f"_k{'-'.join(str(s.kernel) for s in stages)}_r{'-'.join(str(s.ratio) for s in stages)}"
            f"_a{''.join(str(int(s.attention)) for s in stages)}"
        )

    def __str__(self) -> str:
        return self.code

    def with_code(self, code: str) -> Architecture:
        """Returns this architecture with the stages that `code` describes.

        Raises:
            UsageError: The word is not of the form that `code` gives.
        """
        return replace(self, stages=stages_from_code(code))

    def with_joints(self, num_joints: int) -> Architecture:
        """Returns the same network for another joint set."""
        return replace(self, num_joints=num_joints)

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dicts and lists."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_plain(cls, values: Any, source: str = "architecture") -> Architecture:
        """Rebuilds the value `to_plain` gave.

        Raises:
            DataError: The values are not those of an architecture.
        """
        return parse_stored(cls, values, source)


CODE_FORM = "w24-48-96-192_d2-2-8-3_k7-7-7-7_r4-4-4-4_a0011"


def stages_from_code(code: str) -> tuple[StageArch, ...]:
    """Parses the word that `Architecture.code` gives into stages.

    Raises:
        UsageError: The word has another form, or its parts name different numbers of stages.
    """
    match = re.fullmatch(r"w([\d-]+)_d([\d-]+)_k([\d-]+)_r([\d-]+)_a([01]+)", code.strip())
    if match is None:
        raise UsageError(
            f"'{code}' is not an architecture code. The form is {CODE_FORM}: widths, depths, kernels, ratios, attention (one entry a stage)."
        )
    parts = [[int(word) for word in part.split("-") if word] for part in match.groups()[:4]]
    flags = [letter == "1" for letter in match.group(5)]
    if {len(part) for part in parts} != {len(flags)}:
        counts = ", ".join(
            f"{letter}: {len(part)}" for letter, part in zip("wdkra", [*parts, flags], strict=True)
        )
        raise UsageError(
            f"'{code}' names different numbers of stages ({counts}). Give one entry a stage in each part."
        )
    try:
        return tuple(
            StageArch(width=w, depth=d, kernel=k, ratio=r, attention=a)
            for w, d, k, r, a in zip(*parts, flags, strict=True)
        )
    except ConfigError as error:
        raise UsageError(f"'{code}': {' '.join(error.problems)}") from error


def canonical_id(plain: Any) -> str:
    """Returns the first 12 hex digits of the SHA-256 of `plain` as JSON with sorted keys and no spaces."""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]

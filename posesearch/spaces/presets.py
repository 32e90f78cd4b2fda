"""Published architectures by name.

StarNet sizes: "Rewrite the Stars" (CVPR 2024) and its published code. StarNet-Pose-T is StarNet-S1 without attention,
StarNet-Pose-S is StarNet-S3 with coordinate attention (reduction 32) in its last two stages: the only combinations
that give the published 3.504 M and 6.428 M parameters.
"""

from __future__ import annotations

from posesearch.errors import UsageError, did_you_mean
from posesearch.spaces.arch import Architecture, StageArch

# name: (width of the first stage, doubled in each further one; depths; expansion ratio; stages with attention)
PRESETS: dict[str, tuple[int, tuple[int, int, int, int], int, tuple[int, ...]]] = {
    "starnet-pose-t": (24, (2, 2, 8, 3), 4, ()),
    "starnet-pose-s": (32, (2, 2, 8, 4), 4, (2, 3)),
    "starnet-s1": (24, (2, 2, 8, 3), 4, ()),
    "starnet-s2": (32, (1, 2, 6, 2), 4, ()),
    "starnet-s3": (32, (2, 2, 8, 4), 4, ()),
    "starnet-s4": (32, (3, 3, 12, 5), 4, ()),
    "starnet-s050": (16, (1, 1, 3, 1), 3, ()),
    "starnet-s100": (20, (1, 2, 4, 1), 4, ()),
    "starnet-s150": (24, (1, 2, 4, 2), 3, ()),
}

# The small StarNets are also known by their bare names.
ALIASES = {"s050": "starnet-s050", "s100": "starnet-s100", "s150": "starnet-s150"}


def preset_names() -> tuple[str, ...]:
    """Returns the names `load_preset` knows."""
    return (*PRESETS, *ALIASES)


def load_preset(name: str, *, num_joints: int = 17, input_size: tuple[int, int] = (256, 192)) -> Architecture:
    """Returns a published architecture.

    Args:
        name: One of `preset_names()`.
        num_joints: Joints predicted; 17 for COCO.
        input_size: (height, width) in pixels; published figures are for (256, 192).

    Raises:
        UsageError: The name is not known.
    """
    key = ALIASES.get(name, name)
    if key not in PRESETS:
        known = preset_names()
        raise UsageError(
            f"preset '{name}' is not known.{did_you_mean(name, known)} Known: {', '.join(known)}."
        )
    base, depths, ratio, attention = PRESETS[key]
    stages = tuple(
        StageArch(width=base * 2**index, depth=depth, kernel=7, ratio=ratio, attention=index in attention)
        for index, depth in enumerate(depths)
    )
    return Architecture(input_size=input_size, num_joints=num_joints, stages=stages)

"""What an architecture does, in the numbers that the correction of a table's sum and the trivial predictors look at."""

from __future__ import annotations

import math

from posesearch.models.cost import cost
from posesearch.models.starnet import feature_info
from posesearch.spaces.arch import Architecture

FEATURES = (
    "operators",
    "attention blocks",
    "log pointwise MACs",
    "log depthwise MACs",
    "log activation bytes",
    "log parameters",
)
"""Names of the first features; the depth of every stage follows."""


def features(arch: Architecture) -> tuple[float, ...]:
    """Returns `FEATURES`, then the depth of each stage.

    Sizes enter by their logarithm, since the correction is one of log latency; MACs of everything that is not
    depthwise count as pointwise.
    """
    counted = cost(arch)
    depthwise = depthwise_macs(arch)
    return (
        float(counted.operators),
        float(sum(stage.depth for stage in arch.stages if stage.attention)),
        math.log(counted.macs - depthwise),
        math.log(depthwise),
        math.log(counted.activation_bytes),
        math.log(counted.params),
        *(float(stage.depth) for stage in arch.stages),
    )


def depthwise_macs(arch: Architecture) -> int:
    """Returns multiply-accumulates of the depthwise convolutions, two a star block."""
    return sum(
        2 * stage.depth * stage.width * stage.kernel**2 * feature.size[0] * feature.size[1]
        for stage, feature in zip(arch.stages, feature_info(arch), strict=True)
    )


def total_depth(arch: Architecture) -> int:
    """Returns the number of star blocks; alone it predicts batch-1 latency on some GPUs within 2 %."""
    return sum(stage.depth for stage in arch.stages)

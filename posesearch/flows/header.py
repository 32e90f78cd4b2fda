"""The header every weight file gets: what the network is, what it was trained on, and how good it was when written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from posesearch.checkpoint import ModelInfo
from posesearch.keypoints.skeleton import Skeleton
from posesearch.run import versions
from posesearch.spaces import Architecture, SearchSpace


def model_header(
    arch: Architecture,
    *,
    name: str,
    skeleton: Skeleton,
    space: SearchSpace | None,
    metrics: Sequence[Mapping[str, Any]] = (),
    latency: Sequence[Mapping[str, Any]] = (),
    provenance: Mapping[str, Any],
) -> ModelInfo:
    """Returns the header of one network.

    Args:
        arch: The network.
        name: Its name.
        skeleton: The joints it predicts.
        space: The search space it came from, or None for one trained alone.
        metrics: Evaluations of exactly these weights.
        latency: Measured latencies.
        provenance: Run, recipe, data, seed, and what the weights started from.
    """
    return ModelInfo(
        kind="model",
        name=name,
        arch=arch.to_plain(),
        space=space.to_plain() if space else None,
        space_id=space.id if space else None,
        input_size=arch.input_size,
        skeleton=skeleton.to_plain(),
        codec={"kind": "simcc", "split_ratio": arch.head.split_ratio},
        metrics=tuple(dict(row) for row in metrics),
        latency=tuple(dict(row) for row in latency),
        provenance={**provenance, "versions": versions()},
    )


def supernet_header(
    space: SearchSpace,
    *,
    name: str,
    skeleton: Skeleton,
    metrics: Sequence[Mapping[str, Any]],
    provenance: Mapping[str, Any],
) -> ModelInfo:
    """Returns the header of the shared weights of a space."""
    return ModelInfo(
        kind="supernet",
        name=name,
        space=space.to_plain(),
        space_id=space.id,
        input_size=space.input_size,
        skeleton=skeleton.to_plain(),
        codec={"kind": "simcc", "split_ratio": space.head.split_ratio},
        metrics=tuple(dict(row) for row in metrics),
        provenance={**provenance, "versions": versions()},
    )

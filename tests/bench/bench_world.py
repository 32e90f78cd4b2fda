"""Contexts for benchmarks: generated people, the CPU, quick sizes, and what every result has to keep."""

from __future__ import annotations

import json
import math

import torch

from posesearch.bench.registry import BenchContext
from posesearch.progress import SilentProgress

CPU = torch.device("cpu")


def quick_context(people_dir, *, seed=0, progress=None):
    return BenchContext(
        device=CPU, seed=seed, data=people_dir, quick=True, progress=progress or SilentProgress()
    )


def check_result(result, name, *, ratios, goals):
    """Finite positive ratios under the expected keys, the expected goals, JSON-ready, and notes for a reader."""
    assert result.name == name
    assert set(result.ratios) == set(ratios)
    for key, value in result.ratios.items():
        assert math.isfinite(value), key
        assert value > 0 or key == "non_forward_share", key
    assert {(goal.key, goal.target, goal.at_most) for goal in result.goals} == set(goals)
    plain = result.to_plain()
    assert json.loads(json.dumps(plain, allow_nan=False)) == json.loads(json.dumps(plain))
    assert all(note.endswith((".", ")")) for note in result.notes)
    return plain

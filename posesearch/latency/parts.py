"""A prediction taken apart: what stem, stages, downsampling, attention and head of a network add by its latency table."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from posesearch.config import to_plain
from posesearch.latency.blocks import blocks_of
from posesearch.latency.estimate import prices_ms
from posesearch.latency.predictor import LatencyPredictor
from posesearch.spaces.arch import Architecture

THE_CALL = "the call"
"""The part that no block pays for: the calibration's constant, e.g. a graph's launch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LatencyPart:
    """What one part adds, milliseconds."""

    name: str
    latency_ms: float

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dict."""
        plain: dict[str, Any] = to_plain(self)
        return plain


def latency_parts(arch: Architecture, predictor: LatencyPredictor) -> tuple[LatencyPart, ...]:
    """Returns the parts of a prediction, which add up to it: "stem", "downsampling", "stage0" ..., "attention", "head".

    Attention is what star blocks cost more than the same blocks without it; a stage is its star blocks less that. Where
    the table has no such block, attention stays in its stage. The calibration's slope and correction scale all blocks
    alike. Its constant is a part of its own (`THE_CALL`) where it is above 0, else the blocks take it among them.

    Raises:
        UsageError: The architecture has a block that is not in the table.
    """
    predicted_ms = predictor.predict(arch).latency_ms
    table, calibration = predictor.table, predictor.table.calibration
    costs_ms = prices_ms(table.costs_ms(), calibration, table.space)
    stages_ms: list[float] = []
    parts_ms = {"stem": 0.0, "downsampling": 0.0, "attention": 0.0, "head": 0.0}
    for block, count in blocks_of(arch).items():
        block_ms = costs_ms[block] * count
        if block.kind == "star":
            plain = dataclasses.replace(block, attention=False)
            extra_ms = max(0.0, block_ms - costs_ms.get(plain, costs_ms[block]) * count)
            parts_ms["attention"] += extra_ms
            stages_ms.append(block_ms - extra_ms)
        else:
            parts_ms[{"down": "downsampling"}.get(block.kind, block.kind)] += block_ms
    table_ms = sum(parts_ms.values()) + sum(stages_ms)
    line_ms = calibration.constant_ms + calibration.slope * table_ms
    call_ms = predicted_ms * max(0.0, calibration.constant_ms) / line_ms
    scale = (predicted_ms - call_ms) / table_ms if table_ms > 0 else 0.0
    named = [
        ("stem", parts_ms["stem"]),
        ("downsampling", parts_ms["downsampling"]),
        *((f"stage{index}", stage_ms) for index, stage_ms in enumerate(stages_ms)),
        ("attention", parts_ms["attention"]),
        ("head", parts_ms["head"]),
    ]
    parts = [LatencyPart(name=name, latency_ms=part_ms * scale) for name, part_ms in named if part_ms > 0]
    if call_ms > 0:
        parts.append(LatencyPart(name=THE_CALL, latency_ms=call_ms))
    return tuple(parts)

"""How long to measure: three efforts, each fit for another claim, as values of one protocol (see `measure`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EffortName = Literal["full", "brief", "fast"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """How long to measure.

    Attributes:
        warm_up_s: Least time of unrecorded calls per network.
        max_warm_up_s: Most time, for a network that does not settle.
        settle_calls: Calls whose median is compared with that of the next as many; equal within 1 % ends the warm-up.
        warm_up_calls: Least unrecorded calls per network.
        unrecorded: Calls before the recorded ones, each time a network is visited.
        recorded: Recorded calls a visit.
        min_rounds: Rounds at least.
        max_rounds: Rounds at most.
        half_width: Stop when every network's interval is this narrow, relative to its median.
        sentinel_band: A round whose sentinel lies further from the run's median is done again.
        max_s: After this many seconds a network every round is kept, and none is begun once there are `min_rounds`.
    """

    warm_up_s: float
    max_warm_up_s: float
    settle_calls: int
    warm_up_calls: int = 0
    unrecorded: int
    recorded: int
    min_rounds: int
    max_rounds: int
    half_width: float
    sentinel_band: float = 0.03
    max_s: float


# Section 3 of protocol v1: what a printed claim rests on. On a busy machine the limits in seconds end it: about 3 s a
# network and process, 50 calls and 20 rounds of a slow one.
FULL = Effort(
    warm_up_s=0.5, max_warm_up_s=1.0, settle_calls=20, warm_up_calls=50, unrecorded=2, recorded=5,
    min_rounds=20, max_rounds=100, half_width=0.01, max_s=2.0,
)  # fmt: skip

# The same in about a third of the time, for the minutes-long demo.
BRIEF = Effort(
    warm_up_s=0.15, max_warm_up_s=0.3, settle_calls=10, unrecorded=2, recorded=5,
    min_rounds=12, max_rounds=40, half_width=0.01, max_s=0.6,
)  # fmt: skip

# While searching: it ranks candidates, it makes no claim. At least 35 calls and as many of the sentinel: 0.5 s for a
# network of 5 ms, 2.6 s for the largest of space `starnet` (59 ms) on two busy cores.
FAST = Effort(
    warm_up_s=0.03, max_warm_up_s=0.08, settle_calls=5, unrecorded=1, recorded=5,
    min_rounds=5, max_rounds=20, half_width=0.02, max_s=0.15,
)  # fmt: skip

EFFORTS: dict[EffortName, Effort] = {"full": FULL, "brief": BRIEF, "fast": FAST}

"""Is this still the device that was measured? Three networks of the table are timed again, for about three seconds.

Two machines can agree in every name and version and differ in cooling, partitioning or power; and the same machine can
be busy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from posesearch.errors import EnvironmentFault
from posesearch.latency.deploy import deploy
from posesearch.latency.measure import Effort, measure_many
from posesearch.latency.noise import QUIET
from posesearch.latency.quiet import busy_reasons
from posesearch.latency.table import LatencyTable
from posesearch.latency.types import Conditions, Measured
from posesearch.models.pose import PoseModel
from posesearch.spaces.arch import Architecture

LIVE = Effort(
    warm_up_s=0.1, max_warm_up_s=0.2, settle_calls=5, unrecorded=1, recorded=5,
    min_rounds=6, max_rounds=40, half_width=0.01, max_s=0.7,
)  # fmt: skip

TimeNets = Callable[[Sequence[Architecture], Conditions], Mapping[str, Measured]]
"""Times architectures side by side and gives the latencies by `Architecture.id`."""


def time_here(archs: Sequence[Architecture], conditions: Conditions) -> dict[str, Measured]:
    """Times architectures in this process, about a second each."""
    return measure_many(
        {arch.id: deploy(PoseModel(arch)) for arch in archs},
        input_size=archs[0].input_size,
        conditions=conditions,
        effort=LIVE,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveCheck:
    """What three networks take now over what the table says.

    Attributes:
        ratios: Now over then, by architecture code; the sentinel first.
        tolerance: Largest allowed difference: 3 %, or on a noisy table what its own two runs differed by.
        busy: What disturbs measurements on this machine now; empty when nothing is seen.
    """

    ratios: dict[str, float]
    tolerance: float
    busy: tuple[str, ...] = ()

    @property
    def common(self) -> float:
        """The factor that all three share."""
        return float(np.median(list(self.ratios.values())))

    @property
    def off(self) -> float:
        """The largest difference: of the common factor from 1, or of one network from the common factor."""
        return max(
            abs(self.common - 1.0), *(abs(ratio / self.common - 1.0) for ratio in self.ratios.values())
        )

    @property
    def passed(self) -> bool:
        """Whether the table still tells the truth."""
        return self.off <= self.tolerance


def live_check(
    table: LatencyTable,
    conditions: Conditions,
    *,
    time_nets: TimeNets = time_here,
    busy: Callable[[Conditions], tuple[str, ...]] = busy_reasons,
) -> LiveCheck:
    """Times the sentinel, and a fast and a slow network of the table, again.

    Args:
        table: A table of this device.
        conditions: The device by its present name.
        time_nets: Times them.
        busy: Says what disturbs measurements now.
    """
    before_ms = {table.sentinel: table.sentinel_ms, **_fast_and_slow(table)}
    disturbed_by = busy(conditions)
    archs = {code: table.space.arch_from_code(code) for code in before_ms}
    now = time_nets(list(archs.values()), conditions)
    return LiveCheck(
        ratios={code: now[arch.id].p50_ms / before_ms[code] for code, arch in archs.items()},
        # Of a noisy table nothing finer can be asked: its own second run would fail.
        tolerance=max(QUIET, table.noise.p95, abs(table.noise.scale - 1.0)),
        busy=disturbed_by,
    )


def refuse_unless_live(check: LiveCheck, where: str, rebuild: str) -> None:
    """Refuses a table whose networks take another time now.

    Args:
        check: What was found.
        where: The table, for the message.
        rebuild: The sentence that says how to build it again.

    Raises:
        EnvironmentFault: With the figures, and whether the machine is busy.
    """
    if check.passed:
        return
    found = ", ".join(f"{code} {ratio:.2f}x" for code, ratio in check.ratios.items())
    text = (
        f"{where} does not fit what this device does now: its networks take {found} of the time in the table, allowed "
        f"is {1 - check.tolerance:.2f}x to {1 + check.tolerance:.2f}x."
    )
    if check.busy:
        raise EnvironmentFault(
            f"{text} The machine is disturbed ({'; '.join(check.busy)}). Stop the other work and run the same command "
            "again."
        )
    raise EnvironmentFault(
        f"{text} Nothing else uses the machine, so clocks, cooling or power have changed. See 'posesearch latency "
        f"check'. {rebuild}"
    )


def _fast_and_slow(table: LatencyTable) -> dict[str, float]:
    """Returns two fitted networks well apart, neither the very fastest nor the very slowest, with their latencies."""
    fitted = sorted(table.with_role("fit"), key=lambda net: net.runs_ms[0])
    chosen = (fitted[len(fitted) // 10], fitted[-1 - len(fitted) // 10])
    return {net.code: net.runs_ms[0] for net in chosen}

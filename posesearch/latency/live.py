"""Is this still the device that was measured, and how fast is it now? Three networks are timed again, for three seconds.

Two machines can agree in every name and version and differ in cooling, partitioning or power; and the same machine can
be busy. What all three have in common beyond the table's own noise, and within what is allowed, is how fast the machine
is now: predictions are multiplied by it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from posesearch.errors import EnvironmentFault
from posesearch.latency.deploy import deploy
from posesearch.latency.effort import Effort
from posesearch.latency.measure import measure_many
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

CHANCE = 0.98
"""Share of trials in which an unchanged device is to pass at the first attempt."""

CAP = 0.15
"""Largest tolerance: a table whose runs differ by more cannot tell a changed device from its own noise."""

TimeNets = Callable[[Sequence[Architecture], Conditions], Mapping[str, Measured]]
"""Times architectures side by side and gives the latencies by `Architecture.id`."""


def time_here(archs: Sequence[Architecture], conditions: Conditions) -> dict[str, Measured]:
    """Times architectures in this process, about a second each."""
    return measure_many(
        {arch.id: deploy(PoseModel(arch), conditions) for arch in archs},
        input_size=archs[0].input_size,
        conditions=conditions,
        effort=LIVE,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveCheck:
    """What three networks take now over what the table says.

    Attributes:
        ratios: Now over then, by architecture code; the sentinel first.
        common_tolerance: Largest allowed difference of the common factor from 1: 3 %, or on a noisy table more, but no
            more than `CAP`.
        tolerance: Largest allowed difference of one network from the common factor, likewise.
        too_noisy: Whether the table's own noise asks for more than `CAP`.
        busy: What disturbs measurements on this machine now; empty when nothing is seen.
        unclear: A common factor that differs from 1 by no more than this may be noise.
        factor: What predictions are to be multiplied by: the common factor of two attempts where it was clear in both
            and nothing disturbed them, else 1.
    """

    ratios: dict[str, float]
    common_tolerance: float
    tolerance: float
    too_noisy: bool = False
    busy: tuple[str, ...] = ()
    unclear: float = 0.0
    factor: float = 1.0

    @property
    def common(self) -> float:
        """The factor that all three share."""
        return float(np.median(list(self.ratios.values())))

    @property
    def off(self) -> float:
        """The largest difference of one network from the common factor."""
        return max(abs(ratio / self.common - 1.0) for ratio in self.ratios.values())

    @property
    def passed(self) -> bool:
        """Whether the table still tells the truth."""
        return abs(self.common - 1.0) <= self.common_tolerance and self.off <= self.tolerance

    @property
    def clear(self) -> bool:
        """Whether the machine is slower or faster now by more than noise."""
        return self.passed and abs(self.common - 1.0) > self.unclear


def live_check(
    table: LatencyTable,
    conditions: Conditions,
    *,
    time_nets: TimeNets = time_here,
    busy: Callable[[Conditions], tuple[str, ...]] = busy_reasons,
) -> LiveCheck:
    """Times the sentinel, and a fast and a slow network of the table, again; a second time before it fails or scales.

    On simulated unchanged machines (68 + 40 networks, noise of 0.5 to 5 %) fewer than 1 in 100 were refused.

    How fast the machine is counts as clear beyond three things: what one network in twenty differed by between the runs of
    the table (the bound holds that), how much faster one of the runs was, and the interval of what was timed now. On the
    same machines fewer than 1 in 100 were scaled, and with 0.5 % of noise a machine 2.5 % slower was told to a quarter of
    that in most cases.

    Args:
        table: A table of this device.
        conditions: The device by its present name.
        time_nets: Times them.
        busy: Says what disturbs measurements now.
    """
    before_ms = {table.sentinel: table.sentinel_ms, **_fast_and_slow(table)}
    disturbed_by = busy(conditions)
    archs = {code: table.space.arch_from_code(code) for code in before_ms}
    differences_N = _differences(table)
    # Of three networks the largest difference is judged, so each has the third root of the chance.
    noise = float(np.quantile(differences_N, CHANCE ** (1 / len(archs))))
    common = max(noise, abs(table.noise.scale - 1.0))

    def attempt() -> LiveCheck:
        now = time_nets(list(archs.values()), conditions)
        sentinel_ms = now[archs[table.sentinel].id].p50_ms
        half_width = max((net.ci_high_ms - net.ci_low_ms) / 2.0 / net.p50_ms for net in now.values())
        return LiveCheck(
            ratios={code: now[arch.id].beside(sentinel_ms) / before_ms[code] for code, arch in archs.items()},
            common_tolerance=min(CAP, max(QUIET, common)),
            tolerance=min(CAP, max(QUIET, noise)),
            too_noisy=common > CAP,
            busy=disturbed_by,
            unclear=max(table.noise.p95, abs(table.noise.scale - 1.0), half_width),
        )

    first = attempt()
    if first.passed and (disturbed_by or not first.clear):
        return first
    second = attempt()
    if not first.passed:
        return second
    # One slow moment must not scale a whole search.
    both = dataclasses.replace(second, factor=math.sqrt(first.common * second.common))
    return both if second.clear and abs(both.factor - 1.0) > both.unclear else first


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
        f"{where} does not fit what this device does now: its networks take {found} of the time in the table, twice "
        f"measured; allowed is {1 - check.common_tolerance:.2f}x to {1 + check.common_tolerance:.2f}x for what they have "
        f"in common, here {check.common:.2f}x, and {check.tolerance:.0%} off that for one of them."
    )
    if check.busy:
        raise EnvironmentFault(
            f"{text} The machine is disturbed ({'; '.join(check.busy)}). Stop the other work and run the same command "
            "again."
        )
    if check.too_noisy:
        raise EnvironmentFault(
            f"{text} The table's own two runs differ by more than {CAP:.0%}: it is too noisy to tell whether the device "
            f"has changed. Close other programs (see 'posesearch latency check'). {rebuild}"
        )
    raise EnvironmentFault(
        f"{text} No other work is seen on the machine; its clocks, cooling or power may have changed. Run the same "
        f"command again; see 'posesearch latency check'. {rebuild}"
    )


def _fast_and_slow(table: LatencyTable) -> dict[str, float]:
    """Returns two fitted networks well apart, neither the very fastest nor the very slowest, with their latencies.

    Either latency is the mean of both runs on the scale of the first, which halves its share of the noise.
    """
    fitted = sorted(table.with_role("fit"), key=lambda net: net.runs_ms[0])
    chosen = (fitted[len(fitted) // 10], fitted[-1 - len(fitted) // 10])
    return {net.code: (net.runs_ms[0] + net.runs_ms[-1] / table.noise.scale) / 2 for net in chosen}


def _differences(table: LatencyTable) -> np.ndarray:
    """Returns how far the second run of every network was from the first, the common factor taken out."""
    runs_N2 = np.array([net.runs_ms for net in table.nets if net.role != "selected"])
    differences_N: np.ndarray = np.abs(runs_N2[:, -1] / (table.noise.scale * runs_N2[:, 0]) - 1.0)
    return differences_N

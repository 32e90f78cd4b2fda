"""`latency check`: is this machine quiet enough to measure latency, and for which precision of claim?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from posesearch.device import resolve_device
from posesearch.latency.choose import middle
from posesearch.latency.live import TimeNets, time_here
from posesearch.latency.noise import Steadiness, machine_load
from posesearch.latency.process import measure_fresh
from posesearch.latency.quiet import busy_reasons
from posesearch.latency.runtimes import check_conditions
from posesearch.latency.types import Conditions, Measured
from posesearch.progress import Progress
from posesearch.spaces import Architecture, load_space

HERE, FRESH = 6, 2
"""Short measurements in this process, about a second each; then fresh processes."""

SPACE = "demo"
"""Its middle network takes a few milliseconds on one core: neither a launch alone nor a long computation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """How steady this machine is.

    Attributes:
        arch: The network that was timed.
        conditions: Device, runtime, precision, threads.
        steadiness: What was found; None for a dry run.
    """

    arch: Architecture
    conditions: Conditions
    steadiness: Steadiness | None = None

    @property
    def verdict(self) -> str:
        """What the machine can claim now, in one or two sentences."""
        found = self.steadiness
        if found is None:
            return ""
        load = f"load {found.load:.1f} on {found.cores} cores"
        if found.claim is None:
            text = f"not quiet enough for any claim: the same network differs by {found.uncertainty:.0%} ({load})."
        else:
            text = f"quiet enough for claims of {found.claim:.0%} ({load})."
        if found.busy:
            return f"{text} Something else uses it ({'; '.join(found.busy)}): stop that and check again."
        return text

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as a JSON-ready dict; shares are fractions, 0.01 is one per cent."""
        return {
            "architecture": self.arch.code,
            "space": SPACE,
            "conditions": self.conditions.to_plain(),
            **(self.steadiness.to_plain() if self.steadiness else {}),
            "verdict": self.verdict,
        }


def fresh_process(archs: Sequence[Architecture], conditions: Conditions) -> Mapping[str, Measured]:
    """Times architectures in one fresh process."""
    return measure_fresh(archs, conditions, processes=1, effort="brief")


def check(
    *,
    runtime: str = "eager",
    precision: str = "fp32",
    threads: int = 1,
    device: str = "auto",
    dry_run: bool = False,
    progress: Progress,
    time_nets: TimeNets = time_here,
    time_fresh: TimeNets = fresh_process,
    busy: Callable[[Conditions], tuple[str, ...]] = busy_reasons,
) -> CheckResult:
    """Times one network for some seconds, here and in fresh processes.

    Args:
        runtime: How it is run.
        precision: In which number format.
        threads: CPU threads.
        device: "auto", "cpu", "cuda" or "cuda:N".
        dry_run: Resolve everything, time nothing.
        progress: Where to report.
        time_nets: Times in this process.
        time_fresh: Times in a fresh process.
        busy: Says what disturbs measurements now.

    Raises:
        UsageError: No such runtime or precision.
        EnvironmentFault: The runtime does not run here, or the process died.
    """
    conditions = Conditions(
        device=str(resolve_device(device)), runtime=runtime, precision=precision, threads=threads
    )
    check_conditions(conditions)
    arch = middle(load_space(SPACE))
    if dry_run:
        return CheckResult(arch=arch, conditions=conditions)
    load, cores = machine_load()  # before this check is itself a part of it
    disturbed_by = busy(conditions)
    here, fresh = [], []
    with progress.task("latency: check", HERE + FRESH) as task:
        for _ in range(HERE):
            here.append(time_nets([arch], conditions)[arch.id])
            task.advance(ms=here[-1].p50_ms)
        for _ in range(FRESH):
            fresh.append(time_fresh([arch], conditions)[arch.id])
            task.advance(ms=fresh[-1].p50_ms)
    steadiness = Steadiness(
        here_ms=tuple(each.p50_ms for each in here),
        fresh_ms=tuple(each.p50_ms for each in fresh),
        half_width=max((each.ci_high_ms - each.ci_low_ms) / 2.0 / each.p50_ms for each in fresh),
        load=load,
        cores=cores,
        busy=disturbed_by,
    )
    return CheckResult(arch=arch, conditions=conditions, steadiness=steadiness)

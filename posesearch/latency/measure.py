"""The measuring protocol: warm-up until stable, then rounds that visit every network in a fresh shuffled order.

Timed is the host's wall clock from the call to its result; a GPU's own clock is read beside it, in calls of their own.
Networks measured one after the other drift apart with the machine (a public data set has stretches 20 % too slow).
Interleaved rounds put all into the same weather, and a sentinel, a fixed network in every round, tells when it was bad.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from posesearch import rng
from posesearch.latency.call import Call
from posesearch.latency.device import device_name
from posesearch.latency.effort import FULL, Effort
from posesearch.latency.quiet import busy_reasons, gpu_notes
from posesearch.latency.runtimes import prepare
from posesearch.latency.statistics import QUIET, Timing, summarise
from posesearch.latency.types import Conditions, Measured

SENTINEL = "sentinel"

SENTINEL_EVERY = 10
"""In a round of many networks the sentinel is visited once more after each this many."""

DEVICE_CLOCK_CALLS = 20
DISTURBED_ALLOWED = 0.1
"""Above this share of disturbed rounds the run has failed: its figures call themselves noisy."""

NEW_STATE_ROUNDS = 5
"""Disturbed rounds in a row that are no disturbance any more but a new state of the machine: measuring starts again."""


@contextmanager
def pinned_threads(threads: int) -> Iterator[None]:
    """Sets torch's CPU threads for the block and restores them afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure_many(
    models: Mapping[str, nn.Module],
    *,
    input_size: tuple[int, int],
    conditions: Conditions,
    effort: Effort = FULL,
    sentinel: nn.Module | None = None,
    seed: int = 0,
) -> dict[str, Measured]:
    """Measures networks side by side.

    A busy machine is measured all the same: the figures then say "noisy", and why in their `notes`.

    Args:
        models: Networks in deploy form by key; they are moved to the device.
        input_size: (height, width) in pixels, the same for all.
        conditions: Device, runtime, precision, threads, batch, memory format.
        effort: How long to measure.
        sentinel: The network that stands in every round; without one, the first of `models`.
        seed: Key of the visiting order.

    Raises:
        UsageError: The runtime is not known, or cannot do the precision or memory format.
        EnvironmentFault: The device or package is missing, the device is out of memory or not the kind the runtime needs.
    """
    busy = busy_reasons(conditions)
    with pinned_threads(conditions.threads):
        calls = {key: prepare(model, input_size, conditions) for key, model in models.items()}
        if sentinel is not None:
            calls[SENTINEL] = prepare(sentinel, input_size, conditions)
        sentinel_key = SENTINEL if sentinel is not None else next(iter(calls))
        before, throttled_before = gpu_notes(conditions)
        timings, off = time_calls(calls, sentinel_key, effort, seed=seed)
        after, throttled_after = gpu_notes(conditions)
        on_device_ms = {key: device_clock_ms(calls[key]) for key in models}
    name = device_name(torch.device(conditions.device))
    disturbed = bool(busy) or throttled_before or throttled_after
    return {
        key: dataclasses.replace(
            to_measured(timings[key], conditions, name, noisy=disturbed or failed(off, timings[key])),
            device_ms=on_device_ms[key],
            first_call_ms=calls[key].first_call_ms,
            notes=(*busy, *before, *after),
        )
        for key in models
    }


def device_clock_ms(call: Call) -> float | None:
    """Returns the median of the GPU's own clock over a few warm calls, None where there is none to read."""
    if call.stream is None:
        return None
    with torch.inference_mode():
        call()
        return float(np.median([call.device_ms() for _ in range(DEVICE_CLOCK_CALLS)]))


def failed(disturbed: int, timing: Timing) -> bool:
    """Says whether too many rounds were disturbed for the figures to stand."""
    return disturbed > DISTURBED_ALLOWED * timing.rounds


def to_measured(
    timing: Timing,
    conditions: Conditions,
    device: str,
    *,
    noisy: bool,
    drift: float = 1.0,
    yardstick_ms: float = 0.0,
) -> Measured:
    """Puts figures and circumstances together; `drift` divides the figures (see `meter`)."""
    return Measured(
        p50_ms=timing.p50_ms / drift,
        p90_ms=timing.p90_ms / drift,
        ci_low_ms=timing.ci_low_ms / drift,
        ci_high_ms=timing.ci_high_ms / drift,
        runtime=conditions.runtime,
        precision=conditions.precision,
        device=device,
        threads=conditions.threads,
        batch=conditions.batch,
        memory_format=conditions.memory_format,
        rounds=timing.rounds,
        processes=0,
        noise="noisy" if noisy or timing.half_width > QUIET else "quiet",
        drift=drift,
        yardstick_ms=yardstick_ms,
        over_sentinel=timing.over_sentinel,
    )


def time_calls(
    calls: Mapping[str, Callable[[], None]],
    sentinel: str,
    effort: Effort,
    *,
    warm: frozenset[str] = frozenset(),
    seed: int = 0,
) -> tuple[dict[str, Timing], int]:
    """Runs the protocol on prepared calls.

    A round in which a visit of the sentinel is off is done again, or kept and counted where time is up. After
    `NEW_STATE_ROUNDS` of them in a row the machine has changed for good: what was recorded before is dropped.

    Args:
        calls: What to time, by key.
        sentinel: The key that stands for the machine's state.
        effort: How long to measure.
        warm: Keys that need no warm-up, because they were called a moment ago.
        seed: Key of the visiting order.

    Returns:
        Figures by key, each of `effort.min_rounds` rounds at least, and how many rounds were disturbed.
    """
    keys = list(calls)
    with torch.inference_mode():
        for key, call in calls.items():
            if key not in warm:
                warm_up(call, effort)
        rounds: dict[str, list[np.ndarray]] = {key: [] for key in keys}
        disturbed = in_a_row = 0
        end_s = time.perf_counter() + effort.max_s * len(keys)
        for number in itertools.count():
            visits: dict[str, list[np.ndarray]] = {key: [] for key in keys}
            for key in round_order(keys, sentinel, number, seed):
                visits[key].append(_visit(calls[key], effort))
            # From here on every round is kept, so that it ends, and with enough rounds.
            late = number + 1 >= 2 * effort.max_rounds or time.perf_counter() >= end_s
            off = _disturbed(visits[sentinel], rounds[sentinel], effort)
            disturbed += off
            in_a_row = in_a_row + 1 if off and not late else 0
            if 0 < in_a_row < NEW_STATE_ROUNDS:
                continue
            if in_a_row:
                disturbed += len(rounds[sentinel]) - 1  # this one counts after all
                rounds, in_a_row = {key: [] for key in keys}, 0
            for key, visits_ms_VC in visits.items():
                rounds[key].append(np.concatenate(visits_ms_VC))
            done = len(rounds[sentinel])
            if done >= effort.max_rounds or (done >= effort.min_rounds and late):
                break
            # The interval costs milliseconds a network to compute: look at it every fifth round only.
            if done >= effort.min_rounds and done % 5 == 0 and _precise(rounds, effort):
                break
    stacked = {key: np.stack(values) for key, values in rounds.items()}
    timings = {key: summarise(stacked[key], sentinel_ms_RC=stacked[sentinel], seed=seed) for key in keys}
    return timings, disturbed


def round_order(keys: Sequence[str], sentinel: str, number: int, seed: int) -> list[str]:
    """Returns whom a round visits: everyone in a fresh order, and the sentinel again after every tenth."""
    order = [keys[index] for index in rng.generator(seed, "latency order", number).permutation(len(keys))]
    for place in range(len(order) // SENTINEL_EVERY * SENTINEL_EVERY, 0, -SENTINEL_EVERY):
        order.insert(place, sentinel)
    return order


def warm_up(call: Callable[[], None], effort: Effort) -> None:
    """Calls until two successive medians agree, within the limits of `effort`."""
    start_s = time.perf_counter()
    before_ms = float("inf")
    for done in itertools.count(effort.settle_calls, effort.settle_calls):
        now_ms = float(np.median([_timed_ms(call) for _ in range(effort.settle_calls)]))
        spent_s = time.perf_counter() - start_s
        settled = abs(now_ms - before_ms) <= 0.01 * now_ms
        enough = spent_s >= effort.max_warm_up_s or (settled and spent_s >= effort.warm_up_s)
        if enough and done >= effort.warm_up_calls:
            return
        before_ms = now_ms


def _timed_ms(call: Callable[[], None]) -> float:
    start_ns = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start_ns) / 1e6


def _visit(call: Callable[[], None], effort: Effort) -> np.ndarray:
    for _ in range(effort.unrecorded):
        call()
    return np.array([_timed_ms(call) for _ in range(effort.recorded)])


def _disturbed(visits_ms_VC: Sequence[np.ndarray], earlier: list[np.ndarray], effort: Effort) -> bool:
    # Three rounds are needed before their median means anything.
    if len(earlier) < 3:
        return False
    usual_ms = float(np.median(np.stack(earlier)))
    return any(abs(float(np.median(ms_C)) / usual_ms - 1.0) > effort.sentinel_band for ms_C in visits_ms_VC)


def _precise(rounds: Mapping[str, list[np.ndarray]], effort: Effort) -> bool:
    return all(summarise(np.stack(values)).half_width <= effort.half_width for values in rounds.values())

"""A device by formula: a bench, a meter and fresh processes that agree, so that latency tables can be built and used."""

from __future__ import annotations

import dataclasses
import functools
from types import SimpleNamespace
from typing import Any

import pytest

from posesearch.flows.latency import build
from posesearch.latency.blocks import blocks_of
from posesearch.latency.chain import BlockTimes
from posesearch.latency.device import Fingerprint, fingerprint
from posesearch.latency.predictor import load_predictor
from posesearch.latency.types import Conditions, Measured
from posesearch.models.cost import cost
from posesearch.progress import SilentProgress
from posesearch.spaces import Architecture


class Messages(SilentProgress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)


class Device:
    """Every block costs a tenth of a millisecond, a tenth more for each kernel size and attention; 1 % more when asked
    for the second time, as two runs differ.

    Args:
        conditions: The conditions of all figures.
        changes: What the fingerprint has other than this machine's.
        factor: How much slower than the formula it runs.
    """

    def __init__(self, conditions: Conditions | None = None, *, factor: float = 1.0, **changes: Any) -> None:
        here = fingerprint(Conditions(), (64, 48))
        conditions = conditions or here.conditions
        self.fingerprint: Fingerprint = dataclasses.replace(here, conditions=conditions, **changes)
        self.factor = factor
        self.asked: list[Any] = []

    def true_ms(self, arch: Any) -> float:
        return self.factor * (0.3 + sum(price_ms(block) * count for block, count in blocks_of(arch).items()))

    def figures(self, archs: Any, conditions: Any = None, **options: Any) -> dict[str, Measured]:
        """Stands in for `measure_fresh` and for the live check."""
        return {arch.id: self.measured(arch, conditions) for arch in archs}

    def measured(self, arch: Any, conditions: Any = None, run: int = 0) -> Measured:
        asked = conditions or self.fingerprint.conditions
        ms = self.true_ms(arch) * (1.0 + 0.01 * run)
        return Measured(
            p50_ms=ms, p90_ms=1.1 * ms, ci_low_ms=0.999 * ms, ci_high_ms=1.001 * ms, runtime=asked.runtime,
            precision=asked.precision, device=self.fingerprint.device, threads=1, batch=1, rounds=20, processes=2,
            noise="quiet",
        )  # fmt: skip

    def time_blocks(self, blocks: Any, seed: int) -> BlockTimes:
        return BlockTimes(cost_ms={block: price_ms(block) for block in blocks}, sentinel_ms=1.0)

    def time_nets(self, archs: Any, seed: int) -> dict[str, Measured]:
        return {
            arch.id: self.measured(arch, run=0 if number == 0 else seed % 2)
            for number, arch in enumerate(archs)
        }

    def meter(self, *arguments: Any) -> Device:
        """Stands in for `LatencyMeter`."""
        return self

    def measure(self, arch: Any) -> Measured:
        self.asked.append(arch)
        return self.measured(arch)

    def anchor(self, known: Any) -> None:
        """Every figure is on one scale."""


def price_ms(block: Any) -> float:
    return 0.1 + (0.01 * block.kernel + 0.1 * block.attention if block.kind == "star" else 0.0)


def make_table(device: Device, out: str | None = None, space: str = "tiny.json") -> Any:
    """Builds the table of a device, with few networks."""
    return build(
        space=space, bench=device, nets=20, held_out=10, device="cpu", out=out, progress=SilentProgress()
    )


class SmallLoss:
    """A loss on the search split by formula: watching an architecture computes nothing."""

    def __init__(self, *arguments: object, **options: object) -> None:
        pass

    def watching(self, arch: Architecture) -> SimpleNamespace:
        return SimpleNamespace(arch=arch, value=lambda: 1.0 / (1.0 + cost(arch).macs / 1e6))


def larger_is_better(watched: SimpleNamespace, *rest: object, **options: object) -> SimpleNamespace:
    """An accuracy that needs no training, so that the front has members everywhere."""
    return SimpleNamespace(to_plain=lambda: {"AP": 1.0 - watched.value()})


def be_this_machine(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes searches take their latencies from `device` and their accuracies from a formula."""
    time_like(device, monkeypatch)
    monkeypatch.setattr("posesearch.flows.search.calibrated", lambda weights, arch, material: arch)
    monkeypatch.setattr("posesearch.flows.search.SplitLoss", SmallLoss)
    monkeypatch.setattr("posesearch.flows.search.evaluate_forward", larger_is_better)


def time_like(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes searches take their latencies from `device`."""
    monkeypatch.setattr("posesearch.flows.search.LatencyMeter", device.meter)
    monkeypatch.setattr("posesearch.flows.search.measure_fresh", device.figures)
    timed = functools.partial(load_predictor, time_nets=device.figures)
    monkeypatch.setattr("posesearch.latency.quiet.machine_load", lambda: (0.2, 2))  # nothing else runs
    monkeypatch.setattr("posesearch.flows.tables.load_predictor", timed)

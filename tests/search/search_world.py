"""A synthetic world for searches: accuracy and latency by formula, so that every test takes milliseconds."""

from __future__ import annotations

import math

from posesearch.latency.device import Fingerprint
from posesearch.latency.types import Conditions, Measured


def measured(
    p50_ms,
    *,
    p90_ms=None,
    half_width=0.0,
    runtime="eager",
    precision="fp32",
    processes=0,
    noise="quiet",
    yardstick_ms=0.0,
):
    return Measured(
        p50_ms=p50_ms,
        p90_ms=p50_ms * 1.1 if p90_ms is None else p90_ms,
        ci_low_ms=p50_ms * (1 - half_width),
        ci_high_ms=p50_ms * (1 + half_width),
        runtime=runtime,
        precision=precision,
        device="a device",
        threads=1,
        batch=1,
        rounds=20,
        processes=processes,
        noise=noise,
        yardstick_ms=yardstick_ms,
    )


def latency_of(arch):
    """Additive in the stages, from about 1.1 ms (smallest of tiny_space) to 4 ms (largest)."""
    blocks = sum(
        s.depth * (0.18 + 0.002 * s.width + 0.01 * s.kernel + 0.02 * s.ratio + 0.15 * s.attention)
        for s in arch.stages
    )
    return 0.3 + blocks


def ap_of(arch):
    """Saturating in every choice; attention pays in the last stage only."""
    gain = sum(
        math.log1p(s.depth * s.ratio) * 0.4
        + 0.3 * math.log(s.width)
        + 0.05 * s.kernel
        + (0.3 if s.attention and s is arch.stages[-1] else 0.0)
        for s in arch.stages
    )
    return 1.0 / (1.0 + math.exp(-(gain - 5.5)))


class FakeMeter:
    def __init__(self, latency=latency_of, **conditions):
        self.fingerprint = Fingerprint(
            device="a device",
            cpu="a cpu",
            cuda="none",
            cudnn="none",
            torch="2",
            python="3.11",
            tf32=False,
            cudnn_benchmark=False,
            conditions=Conditions(**conditions),
        )
        self.asked = []
        self.anchored = []
        self._latency = latency

    def anchor(self, known):
        self.anchored.append(dict(known))

    def measure(self, arch):
        self.asked.append(arch)
        return measured(self._latency(arch), runtime=self.fingerprint.conditions.runtime)


class FakeCost:
    def __init__(self, arch):
        self.operators = sum(s.depth * (8 + 11 * s.attention) for s in arch.stages)
        self.params = sum(s.depth * s.width * s.width * s.ratio * 3 for s in arch.stages)
        self.macs = self.params * 100
        self.activation_bytes = sum(s.depth * s.width * 400 for s in arch.stages)

    def to_plain(self):
        return {"params": self.params, "macs": self.macs, "operators": self.operators}


class Evaluator:
    """Counts what it is asked; raises on the `fails_at`-th call, like a kill in the middle of an evaluation."""

    def __init__(self, ap=ap_of, fails_at=None):
        self.asked = []
        self._ap, self._fails_at = ap, fails_at

    def __call__(self, arch):
        if self._fails_at is not None and len(self.asked) == self._fails_at:
            raise KeyboardInterrupt
        self.asked.append(arch)
        return {"AP": self._ap(arch), "split": "search"}

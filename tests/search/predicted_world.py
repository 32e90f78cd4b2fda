"""A synthetic world with a latency table: a predictor that errs as it is told, and a device that is noisy."""

from __future__ import annotations

import dataclasses

import numpy as np
from search_world import FakeMeter, latency_of, measured

from posesearch import rng
from posesearch.latency.types import Predicted


class FakePredictor:
    """Predicts `truth(arch) * factor`; learns a common factor, and a bound that covers what it got wrong."""

    def __init__(
        self,
        truth=latency_of,
        *,
        bound=0.05,
        table_id="t1",
        factor=1.0,
        device="a GPU",
        runtime="eager",
        known=(),
    ):
        self.fingerprint = dataclasses.replace(FakeMeter(runtime=runtime).fingerprint, device=device)
        self._runtime = runtime
        self.table_id, self.known = table_id, frozenset(known)
        self._truth, self._bound, self._factor, self._device = truth, bound, factor, device

    def predict(self, arch):
        ms = self._truth(arch) * self._factor
        return Predicted(
            latency_ms=ms, low_ms=ms * (1 - self._bound), high_ms=ms * (1 + self._bound), source=self.table_id
        )

    def refit(self, seen):
        new = {arch: latency for arch, latency in seen.items() if arch not in self.known}
        if not new:
            return self
        ratios = [latency.p50_ms / self.predict(arch).latency_ms for arch, latency in new.items()]
        factor = float(np.median(ratios))
        return FakePredictor(
            self._truth,
            # As a conformal bound does: no smaller than the errors on what the last predictor selected.
            bound=max(self._bound, *(abs(ratio - 1) for ratio in ratios)),
            table_id=self.table_id,
            factor=self._factor * factor,
            device=self._device,
            runtime=self._runtime,
            known=self.known | new.keys(),
        )


class NoisyDevice:
    """Latencies that differ from `latency_of` by a bias and by a quirk of each architecture, measured with noise."""

    def __init__(self, seed, *, bias=1.0, quirk=0.0, noise=0.01, runtime="eager"):
        self._seed, self._bias, self._quirk, self._noise = seed, bias, quirk, noise
        self._runtime, self._processes = runtime, 0

    def true_ms(self, arch):
        own = rng.generator(self._seed, "quirk", int(arch.id, 16)).standard_normal()
        return latency_of(arch) * self._bias * float(np.exp(self._quirk * own))

    def meter(self):
        return FakeMeter(lambda arch: self.true_ms(arch) * self._draw("meter", arch), runtime=self._runtime)

    def fresh(self, archs):
        """Measures as two fresh processes do: noise of its own each time, an interval of twice that."""
        self._processes += 1
        place = f"fresh process {self._processes}"
        return {
            arch.id: measured(
                self.true_ms(arch) * self._draw(place, arch),
                half_width=2 * self._noise,
                processes=2,
                runtime=self._runtime,
            )
            for arch in archs
        }

    def _draw(self, place, arch):
        value = rng.generator(self._seed, place, int(arch.id, 16)).standard_normal()
        return float(np.exp(self._noise * np.clip(value, -2.5, 2.5)))

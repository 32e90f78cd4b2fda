"""How noisy a machine is: how much two runs disagree, and how steady one network is for some seconds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from posesearch.config import to_plain
from posesearch.device import usable_cores
from posesearch.latency.scores import common_factor, rank_correlations

QUIET = 0.03
"""Disagreement of two runs above which a table is noisy; protocol v1, point 10."""

CLAIMS = (0.01, 0.03, 0.10)
"""Precisions that `posesearch latency check` speaks of, finest first."""

BUSY_SHARE = 0.5
"""Share of the cores that others may use before a machine counts as busy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Noise:
    """Disagreement of two runs on the same networks: no predictor can be judged more finely.

    Attributes:
        nets: Networks in both runs.
        mape: Mean absolute relative difference after one common factor is taken out.
        p95: 95th percentile of the same.
        scale: The common factor, second run over first.
        spearman: Rank correlation between the runs.
        kendall: Kendall's tau-b between the runs.
    """

    nets: int
    mape: float
    p95: float
    scale: float
    spearman: float
    kendall: float

    @property
    def verdict(self) -> Literal["quiet", "noisy"]:
        """Noisy where the runs disagree by more than 3 %."""
        return "quiet" if self.mape <= QUIET else "noisy"


def run_noise(first_ms_N: np.ndarray, second_ms_N: np.ndarray) -> Noise:
    """Compares two runs over the same networks, two at least."""
    scale = common_factor(first_ms_N, second_ms_N)
    differences_N = np.abs(second_ms_N / (scale * first_ms_N) - 1.0)
    spearman, kendall = rank_correlations(first_ms_N, second_ms_N)
    return Noise(
        nets=len(first_ms_N),
        mape=float(differences_N.mean()),
        p95=float(np.percentile(differences_N, 95)),
        scale=scale,
        spearman=spearman,
        kendall=kendall,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Steadiness:
    """One network timed again and again: how fine a claim this machine supports now.

    Attributes:
        here_ms: Medians of short measurements one after the other in this process.
        fresh_ms: Medians of fresh processes.
        half_width: Widest interval of any of them, relative: what one measurement cannot resolve.
        load: Processes that wanted to run, mean over the last minute.
        cores: Cores this process may use.
        busy: What disturbed the measurements, in words (see `quiet.busy_reasons`); empty when nothing was seen.
    """

    here_ms: tuple[float, ...]
    fresh_ms: tuple[float, ...]
    half_width: float
    load: float
    cores: int
    busy: tuple[str, ...] = ()

    @property
    def drift(self) -> float:
        """Last third of the short measurements over the first third, minus 1."""
        third = max(1, len(self.here_ms) // 3)
        return float(np.median(self.here_ms[-third:]) / np.median(self.here_ms[:third])) - 1.0

    @property
    def spread(self) -> float:
        """(slowest - fastest) / median, over this process and the fresh ones."""
        medians = (float(np.median(self.here_ms)), *self.fresh_ms)
        return (max(medians) - min(medians)) / float(np.median(medians))

    @property
    def uncertainty(self) -> float:
        """The largest of drift, spread and half-width."""
        return max(abs(self.drift), self.spread, self.half_width)

    @property
    def claim(self) -> float | None:
        """The finest of `CLAIMS` that holds; None where not even the coarsest does."""
        return finest_claim(self.uncertainty)

    def to_plain(self) -> dict[str, Any]:
        """Returns the value with its verdicts as JSON-ready dict."""
        derived = {name: getattr(self, name) for name in ("drift", "spread", "uncertainty", "claim")}
        return {**to_plain(self), **derived}


def finest_claim(uncertainty: float, claims: Sequence[float] = CLAIMS) -> float | None:
    """Returns the finest precision that is not finer than `uncertainty`; None where all are."""
    return next((claim for claim in sorted(claims) if uncertainty <= claim), None)


def is_busy(load: float, cores: int) -> bool:
    """Says whether a load average means that a measurement, itself one of the load, has company."""
    return load - 1.0 > BUSY_SHARE * cores


def machine_load() -> tuple[float, int]:
    """Returns the load average of the last minute and the cores this process may use."""
    return os.getloadavg()[0], usable_cores()

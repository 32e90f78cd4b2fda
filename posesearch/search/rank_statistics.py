"""How alike two scores order the same networks: Kendall's tau-b and Spearman's rho, whole and within bins, with intervals.

Everything is computed for many resamples at once: a resample of N networks is N counts, and a statistic is a function of
counts. Counts of 1 give the statistic itself, equal to `scipy.stats.kendalltau` and `spearmanr`.

Sources: Kendall, "The treatment of ties in ranking problems" (Biometrika 33, 1945) for tau-b; Spearman, "The proof and
measurement of association between two things" (1904), as Pearson's correlation of average ranks; Efron & Tibshirani, "An
Introduction to the Bootstrap" (1993), chapter 13, for the percentile interval.

Shape letters: N networks, R resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posesearch.rng import generator

RESAMPLES = 2000
"""Bootstrap resamples; the ends of a 95 % interval then move by about 0.005 from one seed to another."""

CONFIDENCE = 0.95

Floats = NDArray[np.float64]
Counts = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A statistic with its 95 % bootstrap interval; NaN where it is not defined.

    Attributes:
        value: The statistic.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def to_plain(self) -> dict[str, float | None]:
        """Returns the value as a JSON-ready dict; None where a number is not defined."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        return {name: number if math.isfinite(number) else None for name, number in numbers.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How a score orders networks, compared with the AP they reach when they are trained alone.

    Attributes:
        score: What is compared, e.g. "supernet_ap".
        tau: Kendall's tau-b, -1 to 1.
        spearman: Spearman's rho, -1 to 1.
        within_bins: Mean of tau-b within each bin of like MACs: what is left when size alone tells nothing.
    """

    score: str
    tau: Interval
    spearman: Interval
    within_bins: Interval

    def to_plain(self) -> dict[str, dict[str, float | None]]:
        """Returns the three intervals as JSON-ready dicts."""
        return {
            "tau": self.tau.to_plain(),
            "spearman": self.spearman.to_plain(),
            "within_bins": self.within_bins.to_plain(),
        }


def kendall_tau_b(first_N: ArrayLike, second_N: ArrayLike) -> float:
    """Returns (concordant - discordant) / sqrt(pairs not tied in first * pairs not tied in second), -1 to 1.

    NaN for fewer than two networks, or where all values of one score are equal.
    """
    return float(_tau(_floats(first_N), _floats(second_N), _once(first_N))[0])


def spearman_rho(first_N: ArrayLike, second_N: ArrayLike) -> float:
    """Returns Pearson's correlation of the average ranks, -1 to 1; NaN where `kendall_tau_b` is."""
    return float(_rho(_floats(first_N), _floats(second_N), _once(first_N))[0])


def tau_within_bins(first_N: ArrayLike, second_N: ArrayLike, bin_N: ArrayLike) -> float:
    """Returns the mean of tau-b over the bins in which it is defined; NaN where it is in none."""
    bins_N = np.asarray(bin_N)
    return float(_within(_floats(first_N), _floats(second_N), bins_N, _once(first_N))[0])


def tau_interval(first_N: ArrayLike, second_N: ArrayLike, seed: int, resamples: int = RESAMPLES) -> Interval:
    """Returns tau-b with its interval over resampled networks.

    Args:
        first_N: One score of each network.
        second_N: Another.
        seed: Key of the resamples.
        resamples: How many.
    """
    first, second = _floats(first_N), _floats(second_N)
    return _interval(
        kendall_tau_b(first, second), _tau(first, second, _resampled(len(first), seed, resamples))
    )


def agreement(
    score: str, first_N: ArrayLike, ap_N: ArrayLike, bin_N: ArrayLike, seed: int, resamples: int = RESAMPLES
) -> Agreement:
    """Compares a score with stand-alone AP.

    Resamples of whole and of binned statistics differ: networks are drawn from all, or within their bin.

    Args:
        score: What it is called.
        first_N: The score, larger for networks it takes to be better.
        ap_N: AP of each network trained alone.
        bin_N: Bin of each network.
        seed: Key of the resamples; the same for all scores, so that their differences are paired.
        resamples: How many.
    """
    first, ap, bins = _floats(first_N), _floats(ap_N), np.asarray(bin_N)
    counts_RN = _resampled(len(first), seed, resamples)
    binned_RN = _resampled_in_bins(bins, seed, resamples)
    return Agreement(
        score=score,
        tau=_interval(kendall_tau_b(first, ap), _tau(first, ap, counts_RN)),
        spearman=_interval(spearman_rho(first, ap), _rho(first, ap, counts_RN)),
        within_bins=_interval(tau_within_bins(first, ap, bins), _within(first, ap, bins, binned_RN)),
    )


def tau_lead(
    first_N: ArrayLike, other_N: ArrayLike, ap_N: ArrayLike, seed: int, resamples: int = RESAMPLES
) -> Interval:
    """Returns by how much the tau-b of one score exceeds that of another, over the same resamples.

    Args:
        first_N: One score.
        other_N: The other.
        ap_N: AP of each network trained alone.
        seed: Key of the resamples.
        resamples: How many.
    """
    first, other, ap = _floats(first_N), _floats(other_N), _floats(ap_N)
    counts_RN = _resampled(len(first), seed, resamples)
    return _interval(
        kendall_tau_b(first, ap) - kendall_tau_b(other, ap),
        _tau(first, ap, counts_RN) - _tau(other, ap, counts_RN),
    )


def regret(score_N: ArrayLike, ap_N: ArrayLike, top: int) -> float:
    """Returns the AP lost by choosing by a score: the best AP, less the best among the `top` networks of the score.

    Args:
        score_N: The score, larger is better; of equal ones the first counts as better.
        ap_N: AP of each network trained alone.
        top: How many networks are tried out, 1 or more.
    """
    ap = _floats(ap_N)
    chosen = np.argsort(-_floats(score_N), kind="stable")[:top]
    return float(ap.max() - ap[chosen].max())


def _tau(first_N: Floats, second_N: Floats, counts_RN: Counts) -> Floats:
    sign_first_NN = np.sign(first_N[:, None] - first_N[None, :])
    sign_second_NN = np.sign(second_N[:, None] - second_N[None, :])

    def pairs_R(value_NN: Floats) -> Floats:
        # Each pair twice, which cancels; copies of one network are tied in both scores and count nowhere.
        total_R: Floats = ((counts_RN @ value_NN) * counts_RN).sum(axis=1)
        return total_R

    untied_R = pairs_R(np.abs(sign_first_NN)) * pairs_R(np.abs(sign_second_NN))
    return _ratio(pairs_R(sign_first_NN * sign_second_NN), np.sqrt(untied_R))


def _rho(first_N: Floats, second_N: Floats, counts_RN: Counts) -> Floats:
    total_R1 = counts_RN.sum(axis=1, keepdims=True)

    def centred_ranks_RN(values_N: Floats) -> Floats:
        below_NN = np.sign(values_N[:, None] - values_N[None, :]) / 2  # average rank, less a constant
        rank_RN = counts_RN @ below_NN.T
        centred: Floats = rank_RN - (counts_RN * rank_RN).sum(axis=1, keepdims=True) / total_R1
        return centred

    first_RN, second_RN = centred_ranks_RN(first_N), centred_ranks_RN(second_N)
    squares_R = (counts_RN * first_RN**2).sum(axis=1) * (counts_RN * second_RN**2).sum(axis=1)
    return _ratio((counts_RN * first_RN * second_RN).sum(axis=1), np.sqrt(squares_R))


def _within(first_N: Floats, second_N: Floats, bin_N: NDArray[np.generic], counts_RN: Counts) -> Floats:
    members = [bin_N == name for name in np.unique(bin_N)]
    tau_BR = np.stack([_tau(first_N[own], second_N[own], counts_RN[:, own]) for own in members])
    defined_R = np.isfinite(tau_BR).sum(axis=0).astype(np.float64)
    return _ratio(np.nansum(tau_BR, axis=0), defined_R)


def _resampled(networks: int, seed: int, resamples: int) -> Counts:
    rng = generator(seed, "rank bootstrap")
    return rng.multinomial(networks, np.full(networks, 1.0 / networks), size=resamples).astype(np.float64)


def _resampled_in_bins(bin_N: NDArray[np.generic], seed: int, resamples: int) -> Counts:
    rng = generator(seed, "rank bootstrap in bins")
    counts_RN = np.zeros((resamples, len(bin_N)))
    for name in np.unique(bin_N):
        own = np.flatnonzero(bin_N == name)
        counts_RN[:, own] = rng.multinomial(len(own), np.full(len(own), 1.0 / len(own)), size=resamples)
    return counts_RN


def _interval(value: float, resampled_R: Floats) -> Interval:
    defined = resampled_R[np.isfinite(resampled_R)]
    if not math.isfinite(value) or not len(defined):
        return Interval(value=value, low=math.nan, high=math.nan)
    tail = (1.0 - CONFIDENCE) / 2
    low, high = np.quantile(defined, (tail, 1.0 - tail))
    return Interval(value=value, low=float(low), high=float(high))


def _ratio(above_R: Floats, below_R: Floats) -> Floats:
    return np.divide(above_R, below_R, out=np.full_like(above_R, np.nan), where=below_R > 1e-12)


def _floats(values_N: ArrayLike) -> Floats:
    return np.asarray(values_N, dtype=np.float64)


def _once(values_N: ArrayLike) -> Counts:
    return np.ones((1, len(np.asarray(values_N))))

"""How well a supernet ranks: its AP and loss against the AP of the same networks trained alone, and what may be concluded.

MACs alone rank networks of very different size nearly as well as any supernet, and two seeds of one training do not agree
with each other fully: a tau is told beside both. Networks whose APs differ by little more than seeds do cannot be ranked by
anything, so the spread of the stand-alone APs is told in units of the seeds' noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from posesearch.search.rank_statistics import (
    Agreement,
    Interval,
    agreement,
    regret,
    tau_interval,
    tau_lead,
)

LEAST_TAU = 0.4
"""Where the lower end of tau's interval has to lie above before a search result may be gone by."""
LEAST_SPREAD = 4.0
"""Standard deviations of the seeds' noise; at 2, 4 and 8 two seeds of all networks agree to tau 0.59, 0.78 and 0.89."""
SHARES = (0.25, 0.5, 0.75, 1.0)
"""Budgets that regrets are told for: the share of the networks that fit."""

VerdictName = Literal["established", "not established", "too noisy to tell"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedNet:
    """One network with everything that is compared.

    Attributes:
        arch_id: Identity of the architecture.
        code: Its code.
        bin: Its bin of like MACs.
        macs: Multiply-accumulates of one image.
        params: Parameters.
        alone: AP trained alone, 0 to 1, by seed: one or two.
        supernet_ap: AP with the supernet's weights, recalibrated.
        uncalibrated_ap: The same with one set of BatchNorm statistics for all networks.
        supernet_loss: Loss with the supernet's weights, recalibrated; lower is better.
        latency_ms: Predicted by a latency table; None without one.
    """

    arch_id: str
    code: str
    bin: int
    macs: int
    params: int
    alone: tuple[float, ...]
    supernet_ap: float
    uncalibrated_ap: float
    supernet_loss: float
    latency_ms: float | None = None

    @property
    def alone_ap(self) -> float:
        """Mean AP over the seeds."""
        return sum(self.alone) / len(self.alone)


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedNoise:
    """What the second seeds say: how far training again moves an AP, and what that leaves to be ranked.

    Attributes:
        pairs: Networks trained with two seeds.
        tau: Kendall's tau-b between the two seeds; NaN for fewer than two pairs.
        sd: Standard deviation of an AP over seeds, sqrt(mean of squared differences / 2); NaN without a pair.
        spread: Standard deviation of the networks' APs, the seeds' part taken out.
        ratio: Spread over sd; infinite where two seeds gave the same.
        expected_ceiling: tau-b that a score which knew every true AP would reach against these APs, 2/pi asin(ratio /
            sqrt(1 + ratio^2)); for normal APs (Kendall's tau of a bivariate normal, Greiner 1909).
    """

    pairs: int
    tau: Interval
    sd: float
    spread: float
    ratio: float
    expected_ceiling: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Regret:
    """AP lost by choosing with the supernet among the networks within a budget.

    Attributes:
        kind: "macs" or "latency_ms".
        limit: The budget.
        nets: Networks within it.
        top1: Best stand-alone AP of them, less that of the network the supernet puts first.
        top3: The same with the best of the supernet's first three.
    """

    kind: Literal["macs", "latency_ms"]
    limit: float
    nets: int
    top1: float
    top3: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RankQuality:
    """Everything the networks say about the ranking.

    Attributes:
        nets: Networks compared.
        agreements: By score: "supernet_ap", "uncalibrated_ap", "supernet_loss" (its sign turned), "macs", "params".
        lead: By how much the tau-b of supernet AP exceeds that of MACs.
        noise: What the second seeds say.
        regrets: Under budgets of MACs, and of latency where it is known.
        verdict: Whether the order can be gone by.
        reasons: What speaks against it; empty when nothing does.
    """

    nets: int
    agreements: tuple[Agreement, ...]
    lead: Interval
    noise: SeedNoise
    regrets: tuple[Regret, ...]
    verdict: VerdictName
    reasons: tuple[str, ...]

    def of(self, score: str) -> Agreement:
        """Returns the agreement of one score."""
        return next(found for found in self.agreements if found.score == score)

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as a JSON-ready dict."""
        noise = {key: value for key, value in asdict(self.noise).items() if key != "tau"}
        return {
            "nets": self.nets,
            "agreements": {found.score: found.to_plain() for found in self.agreements},
            "lead": self.lead.to_plain(),
            "noise": {
                **{key: value if math.isfinite(value) else None for key, value in noise.items()},
                "tau": self.noise.tau.to_plain(),
            },
            "regrets": [asdict(one) for one in self.regrets],
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "sentence": sentence(self),
        }


def rank_quality(nets: Sequence[RankedNet], *, seed: int) -> RankQuality:
    """Compares every score with stand-alone AP.

    Args:
        nets: Two networks or more.
        seed: Key of the bootstrap.
    """
    alone_N = [net.alone_ap for net in nets]
    bin_N = [net.bin for net in nets]
    scores = {
        "supernet_ap": [net.supernet_ap for net in nets],
        "uncalibrated_ap": [net.uncalibrated_ap for net in nets],
        "supernet_loss": [-net.supernet_loss for net in nets],
        "macs": [float(net.macs) for net in nets],
        "params": [float(net.params) for net in nets],
    }
    found = {name: agreement(name, values, alone_N, bin_N, seed) for name, values in scores.items()}
    noise = seed_noise(nets, seed)
    verdict, reasons = judge(found["supernet_ap"], found["macs"], noise)
    return RankQuality(
        nets=len(nets),
        agreements=tuple(found.values()),
        lead=tau_lead(scores["supernet_ap"], scores["macs"], alone_N, seed),
        noise=noise,
        regrets=regrets(nets),
        verdict=verdict,
        reasons=reasons,
    )


def seed_noise(nets: Sequence[RankedNet], seed: int) -> SeedNoise:
    """Returns how far a second seed moves an AP, and the spread of the networks beside it."""
    pairs = [(net.alone[0], net.alone[1]) for net in nets if len(net.alone) > 1]
    first, second = (np.array([pair[place] for pair in pairs]) for place in (0, 1))
    sd = math.sqrt(float(np.mean((first - second) ** 2)) / 2) if pairs else math.nan
    # Of one seed each: means over two seeds have less noise than the others.
    one_seed = np.array([net.alone[0] for net in nets])
    spread = math.sqrt(max(0.0, float(one_seed.var(ddof=1)) - sd**2)) if pairs else math.nan
    ratio = (spread / sd if sd > 0 else math.inf) if pairs else math.nan
    known = math.atan(ratio) if not math.isnan(ratio) else math.nan  # asin(r / sqrt(1 + r^2))
    return SeedNoise(
        pairs=len(pairs),
        tau=tau_interval(first, second, seed)
        if len(pairs) > 1
        else Interval(value=math.nan, low=math.nan, high=math.nan),
        sd=sd,
        spread=spread,
        ratio=ratio,
        expected_ceiling=2 / math.pi * known,
    )


def regrets(nets: Sequence[RankedNet]) -> tuple[Regret, ...]:
    """Returns what choosing by supernet AP loses among the smallest quarter, half, three quarters, and all networks."""
    found = []
    kinds: tuple[Literal["macs", "latency_ms"], ...] = ("macs", "latency_ms")
    for kind in kinds:
        costs = [getattr(net, kind) for net in nets]
        if None in costs:
            continue
        for share in SHARES:
            limit = sorted(costs)[max(1, math.ceil(share * len(nets))) - 1]
            within = [net for net, value in zip(nets, costs, strict=True) if value <= limit]
            supernet, alone = [net.supernet_ap for net in within], [net.alone_ap for net in within]
            found.append(
                Regret(
                    kind=kind,
                    limit=float(limit),
                    nets=len(within),
                    top1=regret(supernet, alone, 1),
                    top3=regret(supernet, alone, 3),
                )
            )
    return tuple(found)


def judge(supernet: Agreement, macs: Agreement, noise: SeedNoise) -> tuple[VerdictName, tuple[str, ...]]:
    """Returns whether the order can be gone by, and what speaks against it.

    The gate: tau's lower end above 0.4, and within bins of like size a higher tau than MACs have. A gate that is passed in
    spite of noise is passed; one that is missed where noise drowns the networks says nothing about the supernet.
    """
    reasons = []
    if not supernet.tau.low > LEAST_TAU:
        reasons.append(f"the lower end of tau's interval, {_two(supernet.tau.low)}, is not above {LEAST_TAU}")
    if not supernet.within_bins.value > macs.within_bins.value:
        reasons.append(
            f"among networks of like size its tau, {_two(supernet.within_bins.value)}, is not above that of MACs, "
            f"{_two(macs.within_bins.value)}"
        )
    if not reasons:
        return "established", ()
    if noise.ratio >= LEAST_SPREAD:
        return "not established", tuple(reasons)
    if math.isnan(noise.ratio):
        reasons.append("no network was trained with a second seed, so the noise is not known")
    else:
        reasons.append(
            f"stand-alone APs spread only {noise.ratio:.1f} times the seeds' noise ({LEAST_SPREAD:g} needed)"
        )
    return "too noisy to tell", tuple(reasons)


ADVICE = {
    "established": "The supernet's order can be gone by.",
    "not established": "Retrain the best few before choosing one.",
    "too noisy to tell": "Train the networks longer (--epochs) or on more data, with second seeds.",
}


def sentence(quality: RankQuality) -> str:
    """Returns tau with interval, that of MACs and the ceiling, the verdict and what to do, in plain words."""
    supernet, macs, noise = quality.of("supernet_ap"), quality.of("macs"), quality.noise
    told = (
        f"Ranking quality {quality.verdict}: supernet AP orders {quality.nets} networks like training each alone to "
        f"Kendall's tau-b {_with_interval(supernet.tau)}; MACs alone {_two(macs.tau.value)}, "
        f"two seeds of one training {_with_interval(noise.tau)}"
    )
    if not math.isnan(noise.ratio):
        told += f"; APs spread {noise.ratio:.1f} times the seeds' noise"
    told += f"; among networks of like size {_two(supernet.within_bins.value)}, MACs {_two(macs.within_bins.value)}"
    because = f" Because {', and '.join(quality.reasons)}." if quality.reasons else ""
    return f"{told}.{because} {ADVICE[quality.verdict]}"


def _with_interval(interval: Interval) -> str:
    if math.isnan(interval.value):
        return "(not measured)"
    return f"{_two(interval.value)} ({_two(interval.low)} to {_two(interval.high)})"


def _two(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.2f}"

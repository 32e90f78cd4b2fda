"""How far the supernet's order can be trusted: what `posesearch rank` left in the run folder, and one sentence about it.

The sentence stands beside every search result, also where nothing was measured or where it was measured of other weights.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posesearch.files import read_json, read_jsonl
from posesearch.report.fields import integer, mapping, number, rows_of, text


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How one score orders the networks: tau-b with the ends of its interval, and its mean within bins of like size."""

    score: str
    tau: float | None
    tau_low: float | None
    tau_high: float | None
    within_bins: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedNet:
    """One network that was trained alone.

    Attributes:
        bin: Its bin of like MACs, 0 for the smallest.
        alone: AP trained alone, by seed.
        supernet_ap: AP with the supernet's weights.
    """

    code: str
    bin: int
    macs: int | None
    alone: tuple[float, ...]
    supernet_ap: float

    @property
    def alone_ap(self) -> float:
        """Mean AP over the seeds."""
        return sum(self.alone) / len(self.alone)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """A finished comparison.

    Attributes:
        weights_id: Identity of the supernet's weights.
        current: They are those the search evaluated; also where nothing has been searched.
        verdict: "established", "not established" or "too noisy to tell".
        sentence: Everything in one sentence, as the command said it.
        seed_sd: Standard deviation of an AP over seeds; None where it is not known.
        start: What each training began with.
        epochs: How long each was.
    """

    weights_id: str
    current: bool
    verdict: str
    sentence: str
    agreements: tuple[Agreement, ...]
    nets: tuple[RankedNet, ...]
    seed_sd: float | None
    start: str = ""
    epochs: int | None = None


def read_ranking(run_folder: Path) -> Ranking | None:
    """Returns what `rank` found of a run; None where it has not ended.

    Raises:
        DataError: A file is broken.
    """
    file = run_folder / "rank" / "result.json"
    if not file.is_file():
        return None
    where = str(file)
    plain = mapping(read_json(file, "rank result", "Rank again: no training is lost."), where)
    quality = mapping(plain.get("quality") or {}, f"{where}: quality")
    told = mapping(quality.get("agreements") or {}, f"{where}: agreements")
    noise = mapping(quality.get("noise") or {}, f"{where}: noise")
    plan = mapping(plain.get("plan") or {}, f"{where}: plan")
    searched = read_jsonl(run_folder / "search" / "evaluations.jsonl")
    used = text(searched[-1], "weights_id") if searched else ""
    weights = text(plain, "weights_id")
    return Ranking(
        weights_id=weights,
        current=used in ("", weights),
        verdict=text(quality, "verdict"),
        sentence=text(quality, "sentence"),
        agreements=tuple(
            _agreement(score, mapping(one, f"{where}: {score}"), where) for score, one in told.items()
        ),
        nets=tuple(net for row in rows_of(plain, "nets", where) if (net := _net(row, where)).alone),
        seed_sd=number(noise, "sd", where),
        start=text(plan, "start"),
        epochs=integer(plan, "epochs", where),
    )


def ranking_sentence(run: str, ranking: Ranking | None) -> str:
    """Returns what is known about the order a search went by.

    Args:
        run: Name of the run, for the command.
        ranking: What was found, if anything was.
    """
    command = f"posesearch rank --run {shlex.quote(run)}"
    if ranking is None:
        return (
            "Ranking quality is not established in this run: how well supernet APs order the architectures was not "
            "measured against training each alone. Trust retrained APs, and treat close supernet APs as ties. To "
            f"measure it: {command}"
        )
    if not ranking.current:
        return (
            "Ranking quality is not established for this search: it was measured with other weights of the supernet "
            f"({ranking.weights_id}) than the search evaluated. Measure it again, no training is repeated: {command}"
        )
    return ranking.sentence


def ranking_phrase(run: str, ranking: Ranking | None) -> str:
    """Returns the same in one line, to stand beside a result."""
    if ranking is None or not ranking.current:
        why = "not measured" if ranking is None else "measured with other weights"
        return f"Ranking quality: not established ({why}; posesearch rank --run {shlex.quote(run)})."
    told = next((one for one in ranking.agreements if one.score == "supernet_ap"), None)
    tau = f", Kendall's tau-b {told.tau:.2f}" if told is not None and told.tau is not None else ""
    ends = (
        f" ({told.tau_low:.2f} to {told.tau_high:.2f})" if told and tau and told.tau_low is not None else ""
    )
    return f"Ranking quality: {ranking.verdict}{tau}{ends}."


def _agreement(score: str, plain: Mapping[str, Any], where: str) -> Agreement:
    tau, within = (
        mapping(plain.get(key) or {}, f"{where}: {score}: {key}") for key in ("tau", "within_bins")
    )
    return Agreement(
        score=score,
        tau=number(tau, "value", where),
        tau_low=number(tau, "low", where),
        tau_high=number(tau, "high", where),
        within_bins=number(within, "value", where),
    )


def _net(row: Mapping[str, Any], where: str) -> RankedNet:
    aps = row.get("alone") or []
    return RankedNet(
        code=text(row, "code"),
        bin=integer(row, "bin", where) or 0,
        macs=integer(row, "macs", where),
        alone=tuple(number({"alone": ap}, "alone", where) or 0.0 for ap in aps),
        supernet_ap=number(row, "supernet_ap", where) or 0.0,
    )

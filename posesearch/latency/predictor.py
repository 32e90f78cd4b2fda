"""Predicting latency with a bound: from a table that was checked against this device, and from what is then measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from posesearch.errors import EnvironmentFault, UsageError, listed
from posesearch.latency.bound import conformal_bound
from posesearch.latency.device import Fingerprint, differing, fingerprint
from posesearch.latency.learn import estimator_of, with_selected
from posesearch.latency.live import TimeNets, refuse_unless_live, time_here
from posesearch.latency.live import live_check as check_live
from posesearch.latency.noise import QUIET
from posesearch.latency.quiet import busy_reasons
from posesearch.latency.table import REBUILD, LatencyTable, StoredNet, read_table
from posesearch.latency.types import Conditions, Measured, Predicted
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace


class LatencyPredictor:
    """Predicts by a table.

    Args:
        table: Prices, calibration and bound.
        doubtful: By architecture code, measured / predicted - 1 of networks whose figure is noisy: they widen the bound
            of this predictor, and are neither fitted nor kept in the table.
        factor: How much slower the machine is now than when the table was built (`live.LiveCheck.factor`).

    Attributes:
        table: The same; `table.write_table` keeps it.
        table_id: Its identity, the `source` of every prediction.
        factor: What its figures are multiplied by; what is measured is divided by it before it joins the table.
    """

    def __init__(
        self, table: LatencyTable, *, doubtful: Mapping[str, float] | None = None, factor: float = 1.0
    ) -> None:
        self.table, self.factor = table, factor
        self.table_id = table.id
        self._estimator = estimator_of(table)
        self._doubtful = dict(doubtful or {})
        self._bound = table.bound
        if self._doubtful:
            self._bound = table.bound.widened(conformal_bound(list(self._doubtful.values())))

    @property
    def fingerprint(self) -> Fingerprint:
        """The device and conditions the predictions are for."""
        return self.table.fingerprint

    def predict(self, arch: Architecture) -> Predicted:
        """Returns the predicted median latency with the bound's interval.

        Raises:
            UsageError: The architecture has a block that is not in the table.
        """
        latency_ms = self.factor * self._estimator.latency_ms(arch)
        bound = self._bound
        return Predicted(
            latency_ms=latency_ms,
            low_ms=max(0.0, latency_ms * (1.0 + bound.low)),
            high_ms=latency_ms * (1.0 + bound.high),
            source=self.table_id,
            factor=self.factor,
        )

    def refit(self, measured: Mapping[Architecture, Measured]) -> LatencyPredictor:
        """Returns a predictor that has learnt from networks measured after this one selected them.

        Each is scored by this predictor's own prediction before it joins the fit: the error on a network that was
        selected by its prediction says what the next selection has to expect, and the bound covers it.

        Args:
            measured: Latencies by architecture; those that are in the table already are not taken again. Noisy ones,
                and those divided by more drift than a quiet machine has, only widen the bound of what is returned.

        Raises:
            UsageError: A latency was measured on another device or under other conditions, or an architecture is of another space.
        """
        known = {net.code for net in self.table.nets}
        new, doubtful = [], {}
        for arch, latency in measured.items():
            self._check_comparable(arch, latency)
            if arch.code not in known:
                predicted_ms, measured_ms = self._estimator.latency_ms(arch), latency.p50_ms / self.factor
                if latency.noise == "noisy" or latency.drift > 1.0 + QUIET:
                    if arch.code not in self._doubtful:
                        doubtful[arch.code] = measured_ms / predicted_ms - 1.0
                    continue
                new.append(
                    StoredNet(
                        code=arch.code, role="selected", runs_ms=(measured_ms,), predicted_ms=predicted_ms
                    )
                )
        if not (new or doubtful):
            return self
        table = with_selected(self.table, tuple(new)) if new else self.table
        trusted = {net.code for net in new}
        kept = {code: error for code, error in self._doubtful.items() if code not in trusted}
        return LatencyPredictor(table, doubtful={**kept, **doubtful}, factor=self.factor)

    def _check_comparable(self, arch: Architecture, latency: Measured) -> None:
        if latency.device != self.fingerprint.device:
            raise UsageError(
                f"the latency table is of device '{self.fingerprint.device}', {arch} was measured on "
                f"'{latency.device}'. Measure on the device of the table."
            )
        for name in ("runtime", "precision", "threads", "batch", "memory_format"):
            ours, theirs = getattr(self.fingerprint.conditions, name), getattr(latency, name)
            if ours != theirs:
                raise UsageError(
                    f"the latency table is for {name} '{ours}', {arch} was measured with '{theirs}'. "
                    f"Measure with the {name} of the table."
                )


def read_predictor(path: Path, *, space: SearchSpace) -> LatencyPredictor:
    """Reads a table for predictions alone, of whatever device it was built on.

    What it predicts is unverified wherever that device is not present; see `load_predictor`.

    Raises:
        DataError: The table is missing, cut off or changed.
        UsageError: It is of another space.
    """
    table = read_table(path)
    if table.space.id != space.id:
        raise UsageError(
            f"latency table {path} is of space '{table.space.name}' (id {table.space.id}), wanted is '{space.name}' (id "
            f"{space.id}). Their blocks differ. Build one with: posesearch latency build --space {space.name}"
        )
    return LatencyPredictor(table)


def load_predictor(
    path: Path,
    *,
    space: SearchSpace,
    conditions: Conditions,
    live_check: bool = True,
    time_nets: TimeNets = time_here,
    busy: Callable[[Conditions], tuple[str, ...]] = busy_reasons,
) -> LatencyPredictor:
    """Reads a table of this device; how fast the device is now goes into the predictions where that is clear.

    Args:
        path: The table.
        space: The space whose members are to be predicted.
        conditions: Device, runtime, precision, threads, batch and memory format that are wanted.
        live_check: Time three networks of the table again, for about three seconds.
        time_nets: Times them.
        busy: Says what disturbs measurements now.

    Raises:
        DataError: The table is missing, cut off or changed.
        UsageError: It is of another space.
        EnvironmentFault: It is of another device or other conditions; the fields that differ are named with both values.
            Or its networks take another time now.
    """
    predictor = read_predictor(path, space=space)
    table = predictor.table
    found = differing(table.fingerprint, fingerprint(conditions, table.space.input_size))
    if found:
        raise EnvironmentFault(
            f"latency table {path} was built on another device or under other conditions:\n"
            f"{listed(found, limit=len(found))}\n"
            "Its figures do not hold here. Choose the table of this device and these conditions, or build one with: "
            "posesearch latency build"
        )
    if not live_check:
        return predictor
    check = check_live(table, conditions, time_nets=time_nets, busy=busy)
    refuse_unless_live(check, f"latency table {path}", REBUILD)
    return LatencyPredictor(table, factor=check.factor)


def same_device(path: Path) -> bool:
    """Says whether the device a table was built on is this one, under the conditions of the table.

    Raises:
        DataError: The table is missing, cut off or changed.
    """
    table = read_table(path)
    stored = table.fingerprint.conditions
    kind = torch.device(stored.device).type
    if kind == "cuda" and not torch.cuda.is_available():
        return False
    conditions = dataclasses.replace(stored, device=kind)  # which slot a GPU is in does not matter
    return not differing(table.fingerprint, fingerprint(conditions, table.space.input_size))

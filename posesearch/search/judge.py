"""How fast a proposal is: by measurement, or by prediction where there is a latency table of the device.

With a predictor no proposal is measured but the doubtful ones: those whose interval contains the budget. The bound would
refuse them all, and with them the best of the front: accuracy grows with latency, so a search crowds just below its
budget, and a bound of 5 % would turn 3.5 ms into 3.3. Measuring one takes half a second in eager mode, its evaluation
seconds, and at the very worst every proposal is doubtful, which is what a search without a table pays. Only where a
network must be compiled first (`SLOW_TO_BUILD`: tens of seconds and more) does the bound alone decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from posesearch.errors import UsageError
from posesearch.latency.device import Fingerprint
from posesearch.latency.meter import Meter
from posesearch.latency.types import Latency, LatencyBudget, Measured, Predicted
from posesearch.search.limit import fits, may_fit
from posesearch.spaces.arch import Architecture

SLOW_TO_BUILD = ("compile", "tensorrt")


class Predictor(Protocol):
    """What a search asks of a latency table (`latency.predictor.LatencyPredictor`)."""

    @property
    def table_id(self) -> str:
        """Identity of the table."""

    @property
    def fingerprint(self) -> Fingerprint:
        """The device and the conditions it holds for."""

    def predict(self, arch: Architecture) -> Predicted:
        """Returns the predicted median and its interval."""

    def refit(self, measured: Mapping[Architecture, Measured]) -> Predictor:
        """Returns a predictor that knows these measurements as well."""


class LatencyJudge:
    """Gives the latency a search decides by; what it gave for an architecture, it gives again.

    Args:
        budget: The latency budget, if there is one.
        meter: Measures in this process; None when the device is not here.
        predictor: Predicts; None measures everything.
        known: Latencies of an earlier call.

    Raises:
        UsageError: Neither meter nor predictor, or one of them holds for other conditions than the budget.
    """

    def __init__(
        self,
        budget: LatencyBudget | None,
        *,
        meter: Meter | None,
        predictor: Predictor | None,
        known: Mapping[Architecture, Latency],
    ) -> None:
        check_sources(budget, meter, predictor)
        self._budget, self._meter, self._predictor = budget, meter, predictor
        self._known = dict(known)
        self._predictions: dict[Architecture, Predicted] = {}
        self._settles_doubt = meter is not None and meter.fingerprint.conditions.runtime not in SLOW_TO_BUILD
        if meter is not None:
            # A search that is resumed, perhaps in a busier moment, must not mix two scales.
            meter.anchor({arch: value for arch, value in known.items() if isinstance(value, Measured)})

    @property
    def can_measure(self) -> bool:
        """Whether the device is here."""
        return self._meter is not None

    @property
    def predicts(self) -> bool:
        """Whether there is a table."""
        return self._predictor is not None

    def latency(self, arch: Architecture) -> Latency:
        """Returns what decides about `arch`: a measurement, or a prediction that leaves no doubt."""
        if arch not in self._known:
            predicted = self.prediction(arch)
            if predicted is None or (self._settles_doubt and self._doubtful(predicted)):
                return self.measured(arch)
            self._known[arch] = predicted
        return self._known[arch]

    def measured(self, arch: Architecture) -> Measured:
        """Returns the measurement of `arch`, made now if there is none yet."""
        known = self._known.get(arch)
        if not isinstance(known, Measured):
            assert self._meter is not None
            known = self._known[arch] = self._meter.measure(arch)
        return known

    def prediction(self, arch: Architecture) -> Predicted | None:
        """Returns what the table says of `arch`; None without a table."""
        if self._predictor is None:
            return None
        if arch not in self._predictions:
            self._predictions[arch] = self._predictor.predict(arch)
        return self._predictions[arch]

    def learn(self, arch: Architecture, latency: Measured) -> None:
        """Takes a better answer, of fresh processes, and puts the meter on its scale."""
        self._known[arch] = latency
        if self._meter is not None:
            self._meter.anchor({arch: latency})

    def hear(self, known: Mapping[Architecture, Latency]) -> None:
        """Takes what other workers of the search decided by, where it has no answer of its own."""
        self._known = {**known, **self._known}
        if self._meter is not None:
            self._meter.anchor({arch: value for arch, value in known.items() if isinstance(value, Measured)})

    def aim_ms(self, arch: Architecture) -> float:
        """Returns the predicted figure that should lie below the budget for `arch` to be worth an ask.

        Where doubt is settled by measuring, that is the median; else it is the upper bound, which will decide.
        """
        predicted = self.prediction(arch)
        assert predicted is not None
        return predicted.latency_ms if self._settles_doubt else predicted.high_ms

    def _doubtful(self, predicted: Predicted) -> bool:
        return may_fit(predicted, self._budget) and not fits(predicted, self._budget)


def check_sources(budget: LatencyBudget | None, meter: Meter | None, predictor: Predictor | None) -> None:
    """Refuses a meter or table that cannot stand against the budget.

    Raises:
        UsageError: Another runtime or precision, a percentile no table knows, or neither meter nor table.
    """
    sources: list[tuple[str, Fingerprint]] = []
    if meter is not None:
        sources.append(("meter measures", meter.fingerprint))
    if predictor is not None:
        sources.append((f"latency table {predictor.table_id} predicts", predictor.fingerprint))
        if budget is not None and budget.percentile != "p50":
            raise UsageError(
                f"--percentile {budget.percentile}: a latency table predicts the median (p50) alone. "
                "Use --percentile p50, or --table none to measure every candidate."
            )
    if not sources:
        raise UsageError("there is neither a meter nor a latency table. Give one of them.")
    if budget is None:
        return
    for told, found in sources:
        conditions = found.conditions
        if (budget.runtime, budget.precision) != (conditions.runtime, conditions.precision):
            raise UsageError(
                f"the budget is for {budget.runtime}, {budget.precision}; the {told} {conditions.runtime}, "
                f"{conditions.precision}. Use the same --runtime and --precision for both."
            )

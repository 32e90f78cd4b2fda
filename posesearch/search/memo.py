"""Accuracy that is asked once: a log of evaluations by (architecture, weights), shared by all budgets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from posesearch.errors import DataError
from posesearch.files import append_jsonl, read_jsonl
from posesearch.search.candidate import CostLike
from posesearch.search.objectives import METRICS
from posesearch.spaces.arch import Architecture


class AccuracyMemo:
    """`evaluations.jsonl`: an evaluation is written before it is used, so a killed search never repeats one.

    Args:
        path: The log.
        weights_id: Identity of the supernet's weights; evaluations of other weights are left alone.
        evaluate: Gives the evaluation of an architecture, a mapping with at least `AP` (0 to 1).
        cost: Gives its cost.
        needs: Keys an evaluation must have; one of an earlier version that lacks some is made again.
    """

    def __init__(
        self,
        path: Path,
        weights_id: str,
        evaluate: Callable[[Architecture], Mapping[str, Any]],
        cost: Callable[[Architecture], CostLike],
        needs: Sequence[str] = ("AP",),
    ) -> None:
        self._path, self._weights_id, self._evaluate, self._cost = path, weights_id, evaluate, cost
        self._needs = tuple(needs)
        self._known: dict[str, Mapping[str, Any]] = {}
        self._bytes_read = 0
        self._read()

    def _read(self) -> None:
        """Reads the log where it has grown: other workers of a search may write it as well."""
        size = self._path.stat().st_size if self._path.exists() else 0
        if size == self._bytes_read:
            return
        self._bytes_read = size
        for number, row in enumerate(read_jsonl(self._path), start=1):
            if not {"arch_id", "weights_id", "evaluation"} <= row.keys():
                raise DataError(
                    f"{self._path}, line {number}: arch_id, weights_id or evaluation is missing. "
                    "Delete that line and search again."
                )
            if row["weights_id"] == self._weights_id:
                self._known[row["arch_id"]] = row["evaluation"]

    def __contains__(self, arch: Architecture) -> bool:
        return arch.id in self._known

    def __len__(self) -> int:
        return len(self._known)

    def evaluation(self, arch: Architecture) -> Mapping[str, Any] | None:
        """Returns the evaluation of `arch`; None where there is none yet."""
        return self._known.get(arch.id)

    def hear(self, evaluations: Mapping[str, Mapping[str, Any]]) -> None:
        """Takes evaluations by other workers, by architecture id; they are in the storage and join no log."""
        self._known = {**evaluations, **self._known}

    def ap(self, arch: Architecture) -> float:
        """Returns the AP of `arch` on the search split, evaluating it when it is not known yet.

        Raises:
            DataError: The evaluation gave no finite AP, or not what else is needed.
        """
        if not self._answers(arch):
            self._read()
        if not self._answers(arch):
            start_s = time.perf_counter()
            evaluation = dict(self._evaluate(arch))
            for name in self._needs:
                _figure(evaluation, name, arch)
            self._known[arch.id] = evaluation
            self._bytes_read += append_jsonl(
                self._path,
                {
                    "arch_id": arch.id,
                    "weights_id": self._weights_id,
                    "code": arch.code,
                    "arch": arch.to_plain(),
                    "cost": self._cost(arch).to_plain(),
                    "evaluation": evaluation,
                    "seconds": round(time.perf_counter() - start_s, 3),
                },
            )
        return _figure(self._known[arch.id], "AP", arch)

    def metrics(self, arch: Architecture) -> dict[str, float]:
        """Returns what else objectives may ask of an evaluated architecture, as far as its evaluation has it."""
        evaluation = self._known[arch.id]
        figures = {name: evaluation.get(name) for name in METRICS}
        return {
            name: float(value)
            for name, value in figures.items()
            if isinstance(value, (int, float)) and math.isfinite(value)
        }

    def _answers(self, arch: Architecture) -> bool:
        evaluation = self._known.get(arch.id)
        return evaluation is not None and all(evaluation.get(name) is not None for name in self._needs)


def _figure(evaluation: Mapping[str, Any], name: str, arch: Architecture) -> float:
    value = evaluation.get(name)
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        expected = "a number from 0 to 1" if name == "AP" else "a finite number"
        raise DataError(
            f"evaluating {arch} gave {name} {value!r}, expected {expected}. "
            "The supernet's weights or the search split are damaged: check the training log of the run."
        )
    return float(value)

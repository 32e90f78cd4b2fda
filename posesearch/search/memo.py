"""Accuracy that is asked once: a log of evaluations by (architecture, weights), shared by all budgets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from posesearch.errors import DataError
from posesearch.files import append_jsonl, read_jsonl
from posesearch.search.candidate import CostLike
from posesearch.spaces.arch import Architecture


class AccuracyMemo:
    """`evaluations.jsonl`: an evaluation is written before it is used, so a killed search never repeats one.

    Args:
        path: The log.
        weights_id: Identity of the supernet's weights; evaluations of other weights are left alone.
        evaluate: Gives the evaluation of an architecture, a mapping with at least `AP` (0 to 1).
        cost: Gives its cost.
    """

    def __init__(
        self,
        path: Path,
        weights_id: str,
        evaluate: Callable[[Architecture], Mapping[str, Any]],
        cost: Callable[[Architecture], CostLike],
    ) -> None:
        self._path, self._weights_id, self._evaluate, self._cost = path, weights_id, evaluate, cost
        self._known: dict[str, Mapping[str, Any]] = {}
        for number, row in enumerate(read_jsonl(path), start=1):
            if not {"arch_id", "weights_id", "evaluation"} <= row.keys():
                raise DataError(
                    f"{path}, line {number}: arch_id, weights_id or evaluation is missing. "
                    "Delete that line and search again."
                )
            if row["weights_id"] == weights_id:
                self._known[row["arch_id"]] = row["evaluation"]

    def __contains__(self, arch: Architecture) -> bool:
        return arch.id in self._known

    def __len__(self) -> int:
        return len(self._known)

    def ap(self, arch: Architecture) -> float:
        """Returns the AP of `arch` on the search split, evaluating it when it is not known yet.

        Raises:
            DataError: The evaluation gave no finite AP.
        """
        if arch.id not in self._known:
            start_s = time.perf_counter()
            evaluation = dict(self._evaluate(arch))
            self._known[arch.id] = evaluation
            _ap_of(evaluation, arch)
            append_jsonl(
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
        return _ap_of(self._known[arch.id], arch)


def _ap_of(evaluation: Mapping[str, Any], arch: Architecture) -> float:
    ap = evaluation.get("AP")
    if not isinstance(ap, (int, float)) or not math.isfinite(ap):
        raise DataError(
            f"evaluating {arch} gave AP {ap!r}, expected a number from 0 to 1. "
            "The supernet's weights or the search split are damaged: check the training log of the run."
        )
    return float(ap)

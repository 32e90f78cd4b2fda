"""What a supernet and a latency table say about networks, before any of them is trained alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from posesearch.checkpoint import weights_id
from posesearch.errors import DataError
from posesearch.files import append_jsonl, read_jsonl, to_json
from posesearch.flows.material import Material
from posesearch.flows.supernet import calibrated
from posesearch.flows.tablefiles import TABLES
from posesearch.latency.predictor import LatencyPredictor
from posesearch.latency.table import read_table
from posesearch.progress import Progress
from posesearch.spaces import Architecture, SearchSpace
from posesearch.supernet import Supernet
from posesearch.supernet.sampling import sandwich
from posesearch.supernet.shared_statistics import shared_statistics, uncalibrated_buffers
from posesearch.train.evaluate import Forward, evaluate_forward
from posesearch.train.recipe import Recipe
from posesearch.train.split_loss import SplitLoss

JOURNAL = "supernet.jsonl"
SHARED_STEPS = 8
"""Sandwiches whose subnets the shared statistics are averaged over."""


class SupernetScores:
    """AP and loss of subnets with and without their own BatchNorm statistics, each asked once for these weights.

    Args:
        supernet: The weights, on `device`.
        material: Persons to evaluate on and to take statistics from.
        loss: Labels of the persons to evaluate on.
        device: Where to evaluate.
        recipe: How the supernet was trained: what a step's subnets are.
        seed: The run's seed.
        folder: Gets `supernet.jsonl`.
    """

    def __init__(
        self,
        supernet: Supernet,
        material: Material,
        loss: SplitLoss,
        device: torch.device,
        *,
        recipe: Recipe,
        seed: int,
        folder: Path,
    ) -> None:
        self.supernet, self.material, self.loss, self.device = supernet, material, loss, device
        self._recipe, self._seed, self._file = recipe, seed, folder / JOURNAL
        self._shared: dict[str, torch.Tensor] = {}
        self._id = {
            "weights_id": weights_id(supernet.state_dict()),
            "split": f"{material.held.dataset.annotation_file.name}, {len(material.held.dataset)}",
        }
        self.conditions: dict[str, Any] = {}
        self._known: dict[str, dict[str, Any]] = {}
        for number, row in enumerate(read_jsonl(self._file), start=1):
            if not {"arch_id", "calibrated", "uncalibrated", *self._id} <= row.keys():
                raise DataError(
                    f"{self._file}, line {number}: arch_id, weights_id, split or an evaluation is missing. Delete that "
                    "line and rank again."
                )
            if self._id.items() <= row.items():
                self._known[row["arch_id"]] = row

    def of(self, arch: Architecture, progress: Progress) -> dict[str, Any]:
        """Returns the row of a subnet: its evaluations "calibrated" and "uncalibrated", each with "AP" and "loss"."""
        if arch.id not in self._known:
            if not self._shared:
                progress.message("rank: evaluating the networks with the supernet's weights.")
            buffers = uncalibrated_buffers(self.supernet, arch, self._shared_statistics())
            row: dict[str, Any] = {
                **self._id,
                "arch_id": arch.id,
                "code": arch.code,
                "calibrated": self._evaluated(calibrated(self.supernet, arch, self.material)),
                "uncalibrated": self._evaluated(partial(self.supernet, arch=arch, buffers=buffers)),
            }
            append_jsonl(self._file, row)
            self._known[arch.id] = to_json(row)
        row = self._known[arch.id]
        wanted = ("boxes", "flip", "input_size", "persons", "split")
        self.conditions = {key: row["calibrated"].get(key) for key in wanted}
        return row

    def _evaluated(self, forward: Forward) -> dict[str, Any]:
        watched = self.loss.watching(forward)
        held = self.material.held
        evaluation = evaluate_forward(watched, held.crops, held.dataset, device=self.device)
        return {**evaluation.to_plain(), "loss": watched.value()}

    def _shared_statistics(self) -> dict[str, torch.Tensor]:
        if not self._shared:
            config = self._recipe.supernet
            draws = [
                draw.arch
                for step in range(SHARED_STEPS)
                for draw in sandwich(
                    self.supernet.space,
                    self._seed,
                    step,
                    config.random_subnets,
                    correlation=config.size_correlation,
                )
            ]
            self._shared = shared_statistics(self.supernet, draws, self.material.calibration)
        return self._shared


def predicted_latencies(space: SearchSpace, archs: Sequence[Architecture]) -> tuple[dict[str, float], str]:
    """Returns predicted latencies in milliseconds by architecture id, and the table they are by: the newest of the space.

    Both are empty where there is no such table. A damaged one is passed over, as the report does: the ranking is not about it.
    """
    for path in sorted(TABLES.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            table = read_table(path)
        except DataError:
            continue
        if table.space.id == space.id:
            predictor = LatencyPredictor(table)
            return {arch.id: predictor.predict(arch).latency_ms for arch in archs}, table.id
    return {}, ""

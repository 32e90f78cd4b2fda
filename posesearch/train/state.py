"""Everything a stopped training needs to go on as if it had not stopped.

Weights, optimiser, average, position, and the half-finished row of the log. All random numbers are keyed by the step, so
there is no generator among it. The log is cut back to where the checkpoint was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from posesearch.checkpoint import load_training_state, save_training_state
from posesearch.config import parse_stored
from posesearch.errors import DataError, listed
from posesearch.files import append_jsonl, read_jsonl, to_json, write_text_atomic
from posesearch.train.optim import WeightAverage

CHECKPOINT = "checkpoint.pt"
METRICS = "metrics.jsonl"


@dataclass(kw_only=True, slots=True)
class Position:
    """Where a training is.

    Attributes:
        step: Steps done.
        rows: Rows in the log.
        evaluated_step: The step after which the last evaluation was made.
        skipped_in_row: Steps skipped since the last good one.
        skipped_steps: Steps skipped in all.
        elapsed_s: Seconds spent training, pauses left out.
        epoch_s: The same in this epoch.
        epoch_images: Images seen in this epoch.
        epoch_skipped: Steps skipped in this epoch.
        sums: Sums of this epoch's figures over its good steps.
        good_steps: Number of those steps.
    """

    step: int = 0
    rows: int = 0
    evaluated_step: int = 0
    skipped_in_row: int = 0
    skipped_steps: int = 0
    elapsed_s: float = 0.0
    epoch_s: float = 0.0
    epoch_images: int = 0
    epoch_skipped: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    good_steps: int = 0

    def add(self, figures: Mapping[str, float]) -> None:
        """Adds the figures of a good step."""
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.good_steps += 1

    def means(self) -> dict[str, float]:
        """Returns the epoch's mean figures; empty when every step was skipped."""
        return {name: value / self.good_steps for name, value in self.sums.items()}

    def begin_epoch(self) -> None:
        """Forgets the epoch's sums."""
        self.sums = {}
        self.good_steps = self.epoch_images = self.epoch_skipped = 0
        self.epoch_s = 0.0


@dataclass(kw_only=True, slots=True)
class TrainingState:
    """The parts that are saved together, and where.

    Attributes:
        folder: Holds checkpoint and log.
        fingerprint: What a checkpoint must agree on to be resumed, as nested plain values.
        module: Parameters and buffers.
        optimizer: Its moments.
        average: The averaged weights.
        position: Where the training is.
    """

    folder: Path
    fingerprint: dict[str, Any]
    module: nn.Module
    optimizer: torch.optim.Optimizer
    average: WeightAverage
    position: Position

    def save(self) -> None:
        """Writes the checkpoint.

        Raises:
            EnvironmentFault: The disk is full; the last checkpoint is intact.
        """
        state = {
            "fingerprint": json.dumps(to_json(self.fingerprint)),
            "module": dict(self.module.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state(),
            "position": asdict(self.position),
        }
        save_training_state(self.folder / CHECKPOINT, state)

    def load(self) -> bool:
        """Takes over the folder's checkpoint and cuts the log back to it; returns whether there was one.

        Raises:
            DataError: The checkpoint is damaged, or of another space, recipe, data set or seed.
        """
        path = self.folder / CHECKPOINT
        for left_by_a_kill in self.folder.glob(f".{CHECKPOINT}.*.tmp"):
            left_by_a_kill.unlink(missing_ok=True)
        if not path.exists():
            return False
        state = load_training_state(path)
        try:
            saved = json.loads(state["fingerprint"])
            problems = differences(saved, to_json(self.fingerprint))
            if problems:
                raise DataError(
                    f"checkpoint {path} belongs to another training:\n{listed(problems)}\nA training goes on only "
                    "under the settings it began with. Use those settings, give --fresh to start anew, or choose another --run or --name."
                )
            self.module.load_state_dict(state["module"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.restore(state["average"])
            self.position = parse_stored(Position, state["position"], f"position in {path}")
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise DataError(
                f"checkpoint {path} cannot be resumed ({error}). It was written by another version of posesearch or "
                "changed since. Delete it to train from the start."
            ) from error
        self._cut_log()
        return True

    def log(self, row: Mapping[str, Any]) -> None:
        """Appends a row to the log.

        Raises:
            EnvironmentFault: The disk is full.
        """
        append_jsonl(self.folder / METRICS, row)
        self.position.rows += 1

    def clear(self) -> None:
        """Removes checkpoint and log, to start anew."""
        for name in (CHECKPOINT, METRICS):
            (self.folder / name).unlink(missing_ok=True)

    def _cut_log(self) -> None:
        path = self.folder / METRICS
        rows = read_jsonl(path)
        if len(rows) > self.position.rows:
            kept = rows[: self.position.rows]
            write_text_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))


def differences(saved: Any, now: Any, key: str = "") -> list[str]:
    """Returns one sentence for each value that differs between two nested plain values."""
    if isinstance(saved, Mapping) and isinstance(now, Mapping):
        found = []
        for name in [*saved, *(name for name in now if name not in saved)]:
            inner = f"{key}.{name}" if key else str(name)
            found += differences(saved.get(name), now.get(name), inner)
        return found
    return [] if saved == now else [f"{key}: {_shown(saved)} before, {_shown(now)} now"]


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text[:77]}..." if isinstance(value, (Mapping, list)) and len(text) > 80 else text

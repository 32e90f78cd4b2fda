"""Networks trained alone, each once: what a supernet's ranking is compared with.

One row a finished training in `standalone.jsonl`, known by architecture, seed and settings (recipe, people, start). A
training that is stopped in the middle goes on from its checkpoint, as `train` does, and its files go when its row is written.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from posesearch.config import to_plain
from posesearch.data.dataset import PoseDataset
from posesearch.errors import DataError
from posesearch.files import append_jsonl, read_jsonl, to_json
from posesearch.flows.material import Material
from posesearch.flows.weights import FRESH_WEIGHTS, Start
from posesearch.models.pose import PoseModel
from posesearch.progress import Progress, SilentProgress, Task, format_duration
from posesearch.spaces import Architecture
from posesearch.spaces.arch import canonical_id
from posesearch.supernet.recalibrate import recalibrate_model
from posesearch.train.evaluate import evaluate_forward
from posesearch.train.loop import fit
from posesearch.train.recipe import Recipe
from posesearch.train.split_loss import SplitLoss
from posesearch.train.state import differences
from posesearch.train.tasks import ModelTask

JOURNAL = "standalone.jsonl"
TRAININGS = "trainings"
NOT_ITS_OWN = ("name", "description", "supernet", "search_fraction", "evaluate_every")
"""Recipe entries that do not change a training alone; which people are held out is told by the data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """One network, one seed."""

    arch: Architecture
    seed: int

    @property
    def key(self) -> tuple[str, int]:
        """What finds its row among those of the same settings."""
        return self.arch.id, self.seed


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainingSetup:
    """What all trainings share.

    Attributes:
        recipe: How.
        material: The people: `fit_part` to train on, `held` to evaluate on, and what BN statistics are taken from.
        loss: Labels of `held`.
        start: Weights to begin with; None begins afresh.
        device: Where.
    """

    recipe: Recipe
    material: Material
    loss: SplitLoss
    start: Start | None
    device: torch.device


def standalone_settings(
    recipe: Recipe, fit_part: PoseDataset, held: PoseDataset, start: Start | None
) -> dict[str, Any]:
    """Returns everything that the AP of a network trained alone depends on, besides the network and the seed.

    People are known by their annotations, not by the folder they lie in, and the supernet's part of the recipe is left out:
    supernets that were trained in several ways on the same people are compared with the same trainings.
    """
    plain = {key: value for key, value in to_plain(recipe).items() if key not in NOT_ITS_OWN}
    settings: dict[str, Any] = to_json(
        {
            "recipe": plain,
            "data": {"training": _people(fit_part), "search": _people(held)},
            "start": start.label if start else FRESH_WEIGHTS,
        }
    )
    return settings


def _people(dataset: PoseDataset) -> dict[str, Any]:
    digest = hashlib.sha256()
    for values in (dataset.annotation_id_N, dataset.bbox_xywh_N4, dataset.keypoints_NK3):
        digest.update(values.tobytes())
    return {"persons": len(dataset), "annotations": digest.hexdigest()[:12]}


class Standalone:
    """The trainings of a run: those that are done, and how the others are done.

    Args:
        folder: `rank` in the run's folder.
        settings: From `standalone_settings`.
        borrowed: `rank` folders of other runs, whose rows of the same settings count too.

    Raises:
        DataError: A journal is damaged.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], borrowed: Sequence[Path] = ()) -> None:
        self.folder, self.settings = folder, dict(settings)
        self.settings_id = canonical_id(self.settings)
        self._rows: dict[tuple[str, int], dict[str, Any]] = {}
        self.other_rows: list[dict[str, Any]] = []
        for place in (*borrowed, folder):
            for number, row in enumerate(read_jsonl(place / JOURNAL), start=1):
                self._take(row, f"{place / JOURNAL}, line {number}")

    def _take(self, row: dict[str, Any], where: str) -> None:
        try:
            key = (str(row["arch_id"]), int(row["seed"]))
            float(row["evaluation"]["AP"])
            fits = row["settings_id"] == self.settings_id
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{where}: not a finished training ({type(error).__name__}: {error}). Delete that line: the network is "
                "trained again."
            ) from error
        if fits:
            self._rows[key] = row
        else:
            self.other_rows.append(row)

    def row(self, training: Training) -> dict[str, Any] | None:
        """Returns the row of a finished training; None for one that is still to be done."""
        return self._rows.get(training.key)

    def seconds_a_step(self) -> float | None:
        """Returns the mean over all finished trainings, those of other settings too; None before the first."""
        rows = [*self._rows.values(), *self.other_rows]
        steps = sum(row.get("steps", 0) for row in rows)
        return sum(row.get("seconds", 0.0) for row in rows) / steps if steps else None

    def others_text(self) -> str:
        """Returns what to say of rows with other settings; empty where there are none."""
        if not self.other_rows:
            return ""
        last = self.other_rows[-1]
        found = differences(last.get("settings", {}), self.settings)
        shown = "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")
        return (
            f"{len(self.other_rows)} trainings in {JOURNAL} were made with other settings and are not used ({shown}). "
            "They are kept."
        )

    def train_all(
        self,
        trainings: Sequence[Training],
        setup: TrainingSetup,
        *,
        steps: int,
        stop: Callable[[], bool],
        progress: Progress,
    ) -> None:
        """Does every training that has no row yet, one after the other.

        Args:
            trainings: Which, in this order.
            setup: How.
            steps: Steps of each.
            stop: Asked after each step.
            progress: Where to report; its units are steps.

        Raises:
            Interrupted: `stop` said so; everything is saved.
            DataError: A checkpoint is damaged, or numbers are not finite.
            EnvironmentFault: Disk full, or not enough memory.
        """
        left = [training for training in trainings if self.row(training) is None]
        for training in trainings:
            if self.row(training) is not None:  # a kill may have come between row and removal
                shutil.rmtree(self._place(training), ignore_errors=True)
        if not left:
            return
        total, done = len(trainings), len(trainings) - len(left)
        progress.message(
            f"rank: {total} trainings of {steps:,} steps each, {done} of them done. Each is kept in {self.folder / JOURNAL}."
        )
        with progress.task("training alone", total * steps, done=done * steps) as bar:
            for number, training in enumerate(left, start=done + 1):
                row = self.train(
                    training, setup, stop=stop, progress=StepsOf(bar, progress, f"{number}/{total}")
                )
                progress.message(
                    f"rank: {training.arch.code}, seed {training.seed}: AP {row['evaluation']['AP']:.3f} after "
                    f"{format_duration(row['seconds'])}"
                )

    def train(
        self, training: Training, setup: TrainingSetup, *, stop: Callable[[], bool], progress: Progress
    ) -> dict[str, Any]:
        """Trains one network to the end, or on from where it was stopped, evaluates it and writes its row.

        Arguments and errors are those of `train_all`.
        """
        recipe, material = setup.recipe, setup.material
        network = PoseModel(training.arch, seed=training.seed)
        if setup.start is not None:
            setup.start.fill(network, material.fit_part.skeleton, SilentProgress())
        place = self._place(training)
        done = fit(
            ModelTask(network, recipe.loss),
            material.fit_part,
            material.store,
            recipe,
            folder=place,
            fingerprint={"standalone": self.settings},
            seed=training.seed,
            device=setup.device,
            progress=progress,
            stop=stop,
        )
        # The same crops for every network and seed, and for the supernet.
        recalibrate_model(network, material.calibration)
        network.eval()
        watched = setup.loss.watching(network)
        held = material.held
        evaluation = evaluate_forward(watched, held.crops, held.dataset, device=setup.device).to_plain()
        row: dict[str, Any] = to_json(
            {
                "arch_id": training.arch.id,
                "seed": training.seed,
                "settings_id": self.settings_id,
                "code": training.arch.code,
                "steps": done.steps,
                "seconds": round(done.elapsed_s, 3),
                "skipped_steps": done.skipped_steps,
                "evaluation": {**evaluation, "loss": watched.value()},
                "settings": self.settings,
            }
        )
        append_jsonl(self.folder / JOURNAL, row)
        self._rows[training.key] = row
        shutil.rmtree(place, ignore_errors=True)
        return row

    def _place(self, training: Training) -> Path:
        return self.folder / TRAININGS / f"{training.arch.id}-seed{training.seed}-{self.settings_id}"


class StepsOf:
    """A progress that counts the steps of several trainings on one bar.

    Args:
        bar: The bar; its units are steps.
        outer: Where messages go.
        label: What is shown beside the bar, e.g. "3/32".
    """

    def __init__(self, bar: Task, outer: Progress, label: str) -> None:
        self._bar, self._outer, self._label = bar, outer, label

    @contextmanager
    def task(self, name: str, total: int, *, done: int = 0) -> Iterator[Task]:
        """Counts on the one bar; steps made before the training was stopped count at once."""
        if done:
            self._bar.advance(done)
        yield self

    def advance(self, count: int = 1, **numbers: float | str) -> None:
        """Marks steps as done."""
        shown = {key: value for key, value in numbers.items() if key == "loss"}
        self._bar.advance(count, training=self._label, **shown)

    def message(self, text: str) -> None:
        """Passes a message on."""
        self._outer.message(text)

"""What every command needs before it starts: the data it means, and its people as crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from posesearch.data.batch import EvalCrops, crops
from posesearch.data.dataset import PoseDataset
from posesearch.data.images import open_images
from posesearch.data.source import DataSource
from posesearch.data.store import Images
from posesearch.data.synthetic import write_coco
from posesearch.data.synthetic.writer import MANIFEST_NAME
from posesearch.data.tiers import AUTO
from posesearch.errors import DataError
from posesearch.progress import Progress

RUNS = Path("runs")
"""The folder of all runs, in the working folder."""

GENERATED = RUNS / "generated-people"
NOT_DRAWN = f"generated people in {GENERATED}, drawn on first use"
# Pictures: 1,500 people to train on and 240 to test on, seconds to draw, enough for AP > 0.5 in CPU minutes.
GENERATED_TRAIN, GENERATED_VAL, GENERATED_SEED = 1200, 200, 0


def data_or_generated(data: DataSource | None, progress: Progress, *, dry_run: bool = False) -> DataSource:
    """Returns the given source, or the generated people that stand in for it, drawn on first use but by a dry run."""
    if data is not None:
        return data
    if dry_run:
        return DataSource(data=str(GENERATED))
    summary = write_coco(
        GENERATED, seed=GENERATED_SEED, num_train=GENERATED_TRAIN, num_val=GENERATED_VAL, progress=progress
    )
    progress.message(
        f"No --data given: using generated people in {GENERATED} "
        f"({summary.train_people} to train on, {summary.val_people} to test on)."
    )
    return DataSource(data=str(GENERATED))


def is_drawn(source: DataSource) -> bool:
    """Says whether the data is there: generated people are not, before a command that is no dry run draws them."""
    return not is_generated(source) or (GENERATED / MANIFEST_NAME).exists()


def is_generated(source: DataSource) -> bool:
    """Says whether a source is the default generated data set."""
    return source == DataSource(data=str(GENERATED))


def check_joints(names: Sequence[str], owner: object, dataset: PoseDataset) -> None:
    """Refuses data annotated with other joints, even where their number agrees.

    Args:
        names: The joints that are predicted.
        owner: Who predicts them, for the message: a file of weights or of annotations.
        dataset: The data.

    Raises:
        DataError: The joints differ.
    """
    theirs = dataset.skeleton.names
    if tuple(names) != theirs:
        same = len(names) == len(theirs)
        first = (
            next((i for i, (a, b) in enumerate(zip(names, theirs, strict=True)) if a != b), 0) if same else 0
        )
        few, others = (_from(joints, first) for joints in (names, theirs))
        raise DataError(
            f"{owner} has {len(names)} joints ({few}), {dataset.annotation_file} has {len(theirs)} ({others}). "
            "Both must have one joint set. Use data annotated with the network's joints, or train a network on "
            "this data."
        )


def _from(joints: Sequence[str], first: int) -> str:
    """Returns three joints in words, from the first that tells two sets apart."""
    return ", ".join([*(["..."] if first else []), *joints[first : first + 3], "..."])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EvaluationSet:
    """A data set whose persons are decoded and warped, ready to be evaluated on again and again."""

    dataset: PoseDataset
    crops: EvalCrops

    @classmethod
    def prepare(
        cls,
        dataset: PoseDataset,
        input_size: tuple[int, int],
        progress: Progress,
        store: Images | None = None,
        *,
        device: torch.device | str = "cpu",
        tier: str = AUTO,
    ) -> EvaluationSet:
        """Decodes the images (unless a store is given) and warps every person once.

        Args:
            dataset: The persons.
            input_size: (height, width) of the crops.
            progress: Where to report.
            store: Their images, if they are open already.
            device: Where networks are evaluated; a GPU with room keeps the crops.
            tier: Where images are kept while they are warped: "auto", "host" or "jpeg"; "gpu" counts as "auto".

        Raises:
            UsageError: The tier is unknown.
            DataError: Images that cannot be read, or no person at all.
            EnvironmentFault: The tier asked for has no room.
        """
        if store is None:
            store = open_images(dataset, tier=tier, progress=progress)
        return cls(dataset=dataset, crops=crops(dataset, store, input_size, device))

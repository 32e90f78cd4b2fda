"""What every command needs before it starts: the data it means, and its people as crops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posesearch.data.batch import EvalCrops, crops
from posesearch.data.dataset import PoseDataset
from posesearch.data.source import DataSource
from posesearch.data.store import ImageStore
from posesearch.data.synthetic import write_coco
from posesearch.progress import Progress

RUNS = Path("runs")
"""The folder of all runs, in the working folder."""

GENERATED = RUNS / "generated-people"
# Pictures: 1,500 people to train on and 240 to test on, seconds to draw, enough for AP > 0.5 in CPU minutes.
GENERATED_TRAIN, GENERATED_VAL, GENERATED_SEED = 1200, 200, 0


def data_or_generated(data: DataSource | None, progress: Progress) -> DataSource:
    """Returns the given source, or the generated people that stand in for it, drawing them on first use."""
    if data is not None:
        return data
    summary = write_coco(
        GENERATED, seed=GENERATED_SEED, num_train=GENERATED_TRAIN, num_val=GENERATED_VAL, progress=progress
    )
    progress.message(
        f"No --data given: using generated people in {GENERATED} "
        f"({summary.train_people} to train on, {summary.val_people} to test on)."
    )
    return DataSource(data=str(GENERATED))


def is_generated(source: DataSource) -> bool:
    """Says whether a source is the default generated data set."""
    return source == DataSource(data=str(GENERATED))


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
        store: ImageStore | None = None,
    ) -> EvaluationSet:
        """Decodes the images (unless a store is given) and warps every person once.

        Raises:
            DataError: Images that cannot be read, or no person at all.
        """
        store = store if store is not None else ImageStore.build(dataset, progress=progress)
        return cls(dataset=dataset, crops=crops(dataset, store, input_size))

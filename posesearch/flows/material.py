"""What a run trains and ranks on: its training images split in two, decoded once, and warped where they repeat."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from posesearch.data.dataset import PoseDataset
from posesearch.data.store import ImageStore
from posesearch.flows.inputs import EvaluationSet
from posesearch.progress import Progress
from posesearch.train.calibrate import CalibrationImages
from posesearch.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Material:
    """The training split of a run, the same for each of its commands.

    Attributes:
        fit_part: Persons the supernet is trained on.
        held: Persons kept out of that, on which the search ranks.
        store: Their images.
        calibration: Crops of `fit_part` that give the BN statistics of every evaluated network.
    """

    fit_part: PoseDataset
    held: EvaluationSet
    store: ImageStore
    calibration: CalibrationImages

    @classmethod
    def prepare(
        cls,
        train: PoseDataset,
        recipe: Recipe,
        *,
        input_size: tuple[int, int],
        seed: int,
        device: torch.device,
        progress: Progress,
    ) -> Material:
        """Splits by image, decodes and warps; a function of its arguments alone.

        Args:
            train: The training split.
            recipe: Its `search_fraction` and `calibration_persons`.
            input_size: (height, width) of the crops.
            seed: The run's seed.
            device: Where networks are evaluated.
            progress: Where to report.

        Raises:
            DataError: Too few images to split, or images that cannot be read.
        """
        fit_part, held_out = train.split_by_image(recipe.search_fraction, seed)
        store = ImageStore.build(train, progress=progress)
        calibration = CalibrationImages(
            fit_part, store, input_size, persons=recipe.calibration_persons, seed=seed, device=device
        )
        held = EvaluationSet.prepare(held_out, input_size, progress, store)
        return cls(fit_part=fit_part, held=held, store=store, calibration=calibration)

"""What a run trains and ranks on: its training images split in two, decoded once, and warped where they repeat."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from posesearch.data.dataset import PoseDataset
from posesearch.data.images import open_images
from posesearch.data.store import Images
from posesearch.data.tiers import AUTO
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
    store: Images
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
        train_on: torch.device | None = None,
        tier: str = AUTO,
    ) -> Material:
        """Splits by image, decodes and warps; a function of its arguments alone.

        Args:
            train: The training split.
            recipe: Its `search_fraction` and `calibration_persons`.
            input_size: (height, width) of the crops.
            seed: The run's seed.
            device: Where networks are evaluated.
            progress: Where to report.
            train_on: Where training batches will be made; None if nothing will be trained, so that the images stay off
                the GPU that a search measures on.
            tier: Where images are kept: "auto" by free memory, or "gpu", "host", "jpeg"; no number depends on it.

        Raises:
            UsageError: The tier is unknown, or "gpu" and `train_on` is no GPU.
            DataError: Too few images to split, or images that cannot be read.
            EnvironmentFault: The tier asked for has no room.
        """
        fit_part, held_out = train.split_by_image(recipe.search_fraction, seed)
        store = open_images(train, train_on, tier=tier, progress=progress)
        calibration = CalibrationImages(
            fit_part, store, input_size, persons=recipe.calibration_persons, seed=seed, device=device
        )
        held = EvaluationSet.prepare(held_out, input_size, progress, store, device=device)
        return cls(fit_part=fit_part, held=held, store=store, calibration=calibration)

"""What a run trains and ranks on: its training images split in two, decoded once, and warped where they repeat.

A command that only ranks needs the held-out persons and the few that give statistics: of COCO some thousand images instead of
56,599. The others are decoded when a training asks for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from posesearch.data.dataset import PoseDataset
from posesearch.data.images import open_images
from posesearch.data.store import Images
from posesearch.data.tiers import AUTO
from posesearch.flows.inputs import EvaluationSet
from posesearch.progress import Progress
from posesearch.train.calibrate import CalibrationImages, calibration_persons
from posesearch.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Material:
    """The training split of a run, the same for each of its commands.

    Attributes:
        fit_part: Persons the supernet is trained on.
        held: Persons kept out of that, on which the search ranks.
        calibration: Crops of `fit_part` that give the BN statistics of every evaluated network.
        images: Gives the images of all persons, the same object at each call.
    """

    fit_part: PoseDataset
    held: EvaluationSet
    calibration: CalibrationImages
    images: Callable[[], Images]

    @property
    def store(self) -> Images:
        """The images of all persons, decoded when they are first asked for.

        Raises:
            DataError: Images that cannot be read, where the first request decodes them.
            EnvironmentFault: The tier asked for has no room.
        """
        return self.images()

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
            train_on: Where training batches will be made, for which all images are decoded at once; None if nothing
                or only perhaps something will be trained: no image is then on the GPU that a search measures on, and
                what only a training needs is decoded when `store` is asked for.
            tier: Where images are kept: "auto" by free memory, or "gpu", "host", "jpeg"; no number depends on it.

        Raises:
            UsageError: The tier is unknown, or "gpu" and `train_on` is no GPU.
            DataError: Too few images to split, or images that cannot be read.
            EnvironmentFault: The tier asked for has no room.
        """
        fit_part, held_out = train.split_by_image(recipe.search_fraction, seed)
        persons = recipe.calibration_persons

        @cache
        def images() -> Images:
            return open_images(train, train_on, tier=tier, progress=progress)

        if train_on is None:
            few = open_images(calibration_persons(fit_part, persons, seed), tier=tier, progress=progress)
            held = EvaluationSet.prepare(held_out, input_size, progress, device=device, tier=tier)
        else:
            few = images()
            held = EvaluationSet.prepare(held_out, input_size, progress, few, device=device)
        calibration = CalibrationImages(fit_part, few, input_size, persons=persons, seed=seed, device=device)
        return cls(fit_part=fit_part, held=held, calibration=calibration, images=images)

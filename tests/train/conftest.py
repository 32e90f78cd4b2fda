"""Generated people, decoded once, and a recipe of a few steps."""

from dataclasses import replace

import pytest

from posesearch.data.augment import AugmentConfig
from posesearch.data.coco import read_coco
from posesearch.data.store import ImageStore
from posesearch.train.recipe import EmaConfig, OptimizerConfig, Recipe, SupernetConfig


@pytest.fixture(scope="session")
def people(people_dir):
    """(dataset, store) of the training split."""
    dataset = read_coco(
        people_dir / "annotations" / "person_keypoints_train2017.json",
        people_dir / "train2017",
        what="training annotations",
    )
    return dataset, ImageStore.build(dataset)


@pytest.fixture(scope="session")
def short_recipe():
    """Three epochs of a few steps that use every branch: clipping, average, drop path, both stages, occlusion."""
    augment = AugmentConfig()
    return Recipe(
        name="short",
        epochs=3,
        batch_size=12,
        optimizer=OptimizerConfig(lr=2e-3, clip_norm=1.0),
        ema=EmaConfig(momentum=0.05, gamma=5.0, horizon_limit=0.5),
        augment=augment,
        final_epochs=1,
        final_augment=replace(augment, dropout_probability=0.5),
        supernet=SupernetConfig(random_subnets=1, drop_path=0.2),
        calibration_persons=16,
        evaluate_every=2,
    )

"""The baseline of the loader does the work that ours does: the same crops, the same labels, the same persons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from plain_augment import GEOMETRY

from posesearch.bench import pipeline
from posesearch.bench.baseline_pipeline import SampleDataset
from posesearch.bench.baseline_samples import Fields, GivenDraws, OwnDraws, list_collate
from posesearch.bench.hand_over import ReadyMade, receive_seconds
from posesearch.bench.registry import BenchContext
from posesearch.data.augment import STAGE1, AugmentConfig, draw
from posesearch.data.batch import PoseBatch, make_batch
from posesearch.data.dataset import PoseDataset
from posesearch.data.source import DataSource
from posesearch.data.store import ImageStore
from posesearch.keypoints.simcc import SimCCCodec
from posesearch.progress import SilentProgress
from posesearch.rng import generator

SIZE = (128, 96)
CODEC = SimCCCodec.for_input(SIZE)
HALF_BODIES = replace(GEOMETRY, half_body_probability=1.0)


@pytest.fixture(scope="module")
def people(people_dir: Path) -> PoseDataset:
    return DataSource(data=str(people_dir)).load("train")


@pytest.fixture(scope="module")
def store(people: PoseDataset) -> ImageStore:
    return ImageStore.build(people)


def both(
    people: PoseDataset,
    store: ImageStore,
    config: AugmentConfig,
    image: Callable[[int], NDArray[np.uint8]] | None = None,
) -> tuple[PoseBatch, list[dict[str, Any]]]:
    """Our batch and the baseline's samples, of all persons, with the same random numbers."""
    draws = draw(config, len(people), SIZE, generator(5, "augment", 1))
    samples = SampleDataset(people, config, CODEC, lambda row: GivenDraws(draws, row), image)
    ours = make_batch(people, store, np.arange(len(people)), SIZE, config, 5, 1)
    return ours, [samples[row] for row in range(len(samples))]


def crops_of(samples: list[dict[str, Any]]) -> NDArray[np.int64]:
    """The baseline's crops as ours are kept: RGB, colour last."""
    return np.stack([sample["inputs"].numpy()[::-1].transpose(1, 2, 0) for sample in samples]).astype(int)


def test_the_same_draws_give_the_same_crops_to_one_grey_level(people: PoseDataset, store: ImageStore) -> None:
    ours, samples = both(people, store, HALF_BODIES)
    difference = np.abs(crops_of(samples) - ours.images_BHWC)
    flipped = [sample["data_samples"].flip for sample in samples]
    assert 0.2 < np.mean(flipped) < 0.8
    # Matrices of single precision, mirrored images: the rare pixel may round the other way, by one level.
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def test_colours_blurs_and_the_rectangle_are_the_same_too(people: PoseDataset, store: ImageStore) -> None:
    ours, samples = both(people, store, STAGE1)
    difference = np.abs(crops_of(samples) - ours.images_BHWC)
    # One level more of a grey pixel can turn its hue: a few pixels may be further off.
    assert (difference > 1).mean() < 0.002
    assert np.array_equal((crops_of(samples) == 0).all(axis=-1), (ours.images_BHWC == 0).all(axis=-1))


def test_the_same_joints_and_labels(people: PoseDataset, store: ImageStore) -> None:
    ours, samples = both(people, store, HALF_BODIES)
    labels = CODEC.encode(ours.keypoints_BK2, ours.visible_BK)
    theirs = [sample["data_samples"].gt_instance_labels for sample in samples]
    weight_BK = np.concatenate([fields.keypoint_weights.numpy() for fields in theirs])
    np.testing.assert_array_equal(weight_BK, labels.weight_NK)
    assert weight_BK.sum() > len(people)
    for name, expected in (("keypoint_x_labels", labels.x_NKX), ("keypoint_y_labels", labels.y_NKY)):
        found = np.concatenate([getattr(fields, name).numpy() for fields in theirs])
        # A joint that lies between two bins to the last digit may fall into the neighbouring one.
        same_BK = np.isclose(found, expected, atol=1e-6).all(axis=-1)
        assert same_BK.mean() > 0.999


def test_images_from_memory_are_those_of_the_files(people: PoseDataset, store: ImageStore) -> None:
    _, read = both(people, store, STAGE1)
    _, kept = both(people, store, STAGE1, lambda row: store.image(row)[..., ::-1].copy())
    np.testing.assert_array_equal(crops_of(kept), crops_of(read))


def test_a_sample_carries_what_such_samples_carry(people: PoseDataset) -> None:
    draws = OwnDraws(STAGE1, 0)
    samples = SampleDataset(people, STAGE1, CODEC, lambda _: draws)
    batch = list_collate([samples[row] for row in range(4)])
    assert [tensor.shape for tensor in batch["inputs"]] == [(3, *SIZE)] * 4
    sample = batch["data_samples"][2]
    assert sample.metainfo["id"] == people.annotation_id_N[2]
    assert len(sample.metainfo["raw_ann_info"]["keypoints"]) == 51
    assert all(
        isinstance(getattr(sample.gt_instance_labels, name), torch.Tensor) for name in pipeline_labels()
    )
    with pytest.raises(ValueError, match=r"has 2 instances\. Allowed: 1"):
        sample.gt_instances.set_field(np.zeros(2), "more")
    with pytest.raises(ValueError, match=r"is a int\. Allowed: arrays"):
        Fields().set_field(3, "one")
    untouched = samples[0]["data_samples"].gt_instances.bboxes
    np.testing.assert_array_equal(samples.infos[0]["bbox"].shape, untouched.shape)


def pipeline_labels() -> tuple[str, ...]:
    return ("keypoint_x_labels", "keypoint_y_labels", "keypoint_weights")


def test_own_numbers_have_the_recipes_ranges() -> None:
    draws = OwnDraws(STAGE1, 3)
    boxes = [draws.box() for _ in range(300)]
    assert max(np.abs(shift).max() for shift, _, _ in boxes) <= STAGE1.shift
    assert min(scale for _, scale, _ in boxes) < 0.8 and max(scale for _, scale, _ in boxes) <= 1.4 + 1e-6
    assert 20 < max(abs(rotation) for _, _, rotation in boxes) <= STAGE1.rotation_deg
    assert {draws.blur() for _ in range(200)} == {0, 3, 5, 7}
    flips = [draws.flip() for _ in range(300)]
    assert 0.4 < np.mean(flips) < 0.6
    for _ in range(50):
        hole = draws.hole(*SIZE)
        assert hole is not None
        assert hole[0] + hole[2] <= SIZE[1] and hole[1] + hole[3] <= SIZE[0]
        assert np.abs(draws.hsv()).max() <= 30


def test_a_batch_survives_the_way_from_the_worker_process() -> None:
    tensors = (torch.arange(12, dtype=torch.uint8).view(3, 4), torch.ones(2))
    assert receive_seconds([tensors], 2, batch_size=None) >= 0
    copies = ReadyMade([tensors], 5)
    assert len(copies) == 5
    assert torch.equal(copies[3][0], tensors[0]) and copies[3][0].data_ptr() != tensors[0].data_ptr()


def test_few_persons_are_repeated_up_to_a_batch(people: PoseDataset) -> None:
    more = pipeline.some_people(people, 3 * len(people) + 1, seed=1)
    assert len(more) == 3 * len(people) + 1
    assert set(more.annotation_id_N) == set(people.annotation_id_N)
    fewer = pipeline.some_people(people, 5, seed=1)
    np.testing.assert_array_equal(fewer.annotation_id_N, more.annotation_id_N[:5])


def test_the_benchmark_reports_what_the_issue_asks(people_dir: Path) -> None:
    context = BenchContext(
        device=torch.device("cpu"), seed=0, data=people_dir, quick=True, progress=SilentProgress()
    )
    plain = pipeline.run(context).to_plain()
    assert set(plain["ratios"]) == {"loader", "loader_without_decode", "hand_over"}
    assert all(ratio > 0 for ratio in plain["ratios"].values())
    assert {(goal["key"], goal["target"]) for goal in plain["goals"]} == {
        ("loader", 8.0),
        ("hand_over", 15.0),
    }
    assert plain["figures"]["sizes"]["batch"] == 16
    speeds = plain["figures"]["images_per_s_per_core"]
    assert plain["ratios"]["loader"] == pytest.approx(speeds["ours"] / speeds["baseline"])

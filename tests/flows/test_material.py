"""A run's material: where its images are kept changes nothing that is trained or ranked on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from posesearch.data import decode
from posesearch.data.source import DataSource
from posesearch.data.store import ImageStore, JpegStore
from posesearch.errors import UsageError
from posesearch.flows.inputs import EvaluationSet
from posesearch.flows.material import Material
from posesearch.flows.supernet import supernet_train
from posesearch.flows.train import train as train_one
from posesearch.progress import SilentProgress
from posesearch.train.calibrate import calibration_persons
from posesearch.train.recipe import Recipe

SIZE = (64, 48)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def train(people_dir):
    return DataSource(data=str(people_dir)).load("train")


def prepare(train, **options) -> Material:
    recipe = replace(Recipe(name="tiny"), search_fraction=0.25, calibration_persons=8)
    arguments = {"input_size": SIZE, "seed": 3, "device": CPU, "progress": SilentProgress()}
    return Material.prepare(train, recipe, **arguments, **options)


def test_files_and_decoded_images_give_the_same_material(train):
    host, files = (prepare(train, train_on=CPU, tier=tier) for tier in ("host", "jpeg"))
    assert isinstance(host.store, ImageStore)
    assert isinstance(files.store, JpegStore)
    assert np.array_equal(host.held.crops.images_NHWC, files.held.crops.images_NHWC)
    for ours, theirs in zip(host.calibration, files.calibration, strict=True):
        assert torch.equal(ours, theirs)


def test_ranking_alone_decodes_only_what_it_looks_at(train, monkeypatch):
    decoded = []
    real = decode.decode_image
    monkeypatch.setattr(decode, "decode_image", lambda record: decoded.append(record.id) or real(record))
    whole = prepare(train, train_on=CPU)
    assert sorted(decoded) == sorted(set(train.image_id_N.tolist()))
    decoded.clear()
    ranked = prepare(train)
    few = calibration_persons(ranked.fit_part, 8, 3)
    needed = {*few.image_id_N.tolist(), *ranked.held.dataset.image_id_N.tolist()}
    assert sorted(decoded) == sorted(needed)
    assert len(needed) < len(set(train.image_id_N.tolist()))
    assert np.array_equal(whole.held.crops.images_NHWC, ranked.held.crops.images_NHWC)
    for ours, theirs in zip(whole.calibration, ranked.calibration, strict=True):
        assert torch.equal(ours, theirs)

    # A training asks for all of them, and gets them once.
    decoded.clear()
    assert ranked.store is ranked.store
    assert sorted(decoded) == sorted(set(train.image_id_N.tolist()))
    assert np.array_equal(ranked.store.pixels, whole.store.pixels)


def test_a_gpu_is_asked_for_by_training_alone(train):
    with pytest.raises(UsageError, match=r"--store gpu needs a GPU, but the device is 'cpu'"):
        prepare(train, train_on=CPU, tier="gpu")
    assert isinstance(prepare(train, tier="gpu").store, ImageStore)
    part = train.subset(np.arange(5))
    assert len(EvaluationSet.prepare(part, SIZE, SilentProgress(), tier="gpu").crops) == 5


@pytest.mark.parametrize("command", [train_one, supernet_train])
def test_a_dry_run_refuses_a_gpu_that_is_none(command):
    options = {"model": "starnet-pose-t"} if command is train_one else {}
    with pytest.raises(UsageError, match=r"--store gpu needs a GPU, but the device is 'cpu'"):
        command(**options, store="gpu", device="cpu", dry_run=True, progress=SilentProgress())


def test_unknown_place(train):
    with pytest.raises(UsageError, match=r"--store 'ram' is not known. Allowed: auto, gpu, host, jpeg"):
        prepare(train, tier="ram")
    with pytest.raises(UsageError, match=r"--store 'ram' is not known"):
        EvaluationSet.prepare(train, SIZE, SilentProgress(), tier="ram")

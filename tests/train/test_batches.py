"""Batches made on a device against those OpenCV makes: the same persons, numbers and labels, images within a grey level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from posesearch.data.batch import IMAGE_MEAN, IMAGE_STD, crops, plan_batch
from posesearch.data.device_batch import DeviceImages, Fused
from posesearch.data.staging import PinnedStage, pixel_stage
from posesearch.train.batches import batch_maker, batch_order, device_batch_maker, label_codec, make_batches
from posesearch.train.calibrate import CalibrationImages

# A width that OpenCV's vector code takes whole: its last, odd columns go back from HSV by another rounding.
SIZE = (80, 64)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def parts(people, short_recipe):
    """What a maker needs: dataset, store, recipe, order, codec."""
    dataset, store = people
    return (
        dataset,
        store,
        short_recipe,
        batch_order(dataset, short_recipe, 3),
        label_codec(SIZE, 2.0, short_recipe.loss),
    )


def on_device(parts, *, recipe=None, resident: bool = True, holes_apart: bool = False, **options):
    dataset, store, _, order, codec = parts
    stage = pixel_stage(store.on("cpu"), CPU) if resident else PinnedStage(store, CPU).stage
    images = DeviceImages(stage, SIZE, CPU, **options)
    return device_batch_maker(dataset, images, recipe or parts[2], order, codec, CPU, holes_apart=holes_apart)


def grey_levels(images_BCHW: torch.Tensor) -> np.ndarray:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    levels = images_BCHW * std + mean
    assert (levels - levels.round()).abs().max() < 1e-3
    return levels.round().permute(0, 2, 3, 1).numpy().astype(int)


@pytest.mark.parametrize("holes_apart", [False, True])
@pytest.mark.parametrize("step", [0, 1, 9])
def test_a_batch_made_on_the_device_is_opencvs(parts, step, holes_apart):
    dataset, store, recipe, order, codec = parts
    expected = batch_maker(dataset, store, recipe, order, codec, holes_apart=holes_apart)(step)
    found = on_device(parts, holes_apart=holes_apart)(step)
    difference = np.abs(grey_levels(found.images) - expected.images.numpy())
    assert (difference > 0).mean() < 0.03
    # A hue hangs on one grey level where a colour is dark: there, the warp's one level is more after the jitter.
    assert (difference > 1).mean() < 1e-3
    for name in ("x_BKX", "y_BKY", "weight_BK"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    assert np.array_equal(found.annotation_id_B, expected.annotation_id_B)
    if holes_apart:
        assert torch.equal(found.hole_B4, expected.hole_B4)
        assert found.hole_B4[:, 2].any()
    else:
        assert found.hole_B4 is None
        assert expected.hole_B4 is None


def test_without_hue_every_value_is_within_one_grey_level(parts):
    dataset, store, recipe, order, codec = parts
    plain = replace(recipe.augment, hue=0.0, saturation=0.0, value=0.0)
    recipe = replace(recipe, augment=plain, final_augment=plain)
    expected = batch_maker(dataset, store, recipe, order, codec, holes_apart=False)
    found = on_device(parts, recipe=recipe)
    for step in range(4):
        difference = np.abs(grey_levels(found(step).images) - expected(step).images.numpy())
        assert difference.max() <= 1


def test_the_same_bytes_from_every_place_and_every_time(parts):
    resident, staged = on_device(parts), on_device(parts, resident=False)
    first = resident(2)
    for batch in (resident(2), staged(2), staged(2)):
        assert torch.equal(batch.images, first.images)
    assert not torch.equal(resident(3).images, first.images)


def test_a_device_batch_needs_no_further_step(parts):
    batch = on_device(parts, dtype=torch.bfloat16)(0)
    assert batch.images.dtype == torch.bfloat16
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.to(CPU, channels_last=True).images is batch.images
    planes = on_device(parts, channels_last=False)(0)
    assert planes.images.is_contiguous()


def test_on_a_cpu_opencv_makes_the_batches(parts):
    dataset, store, recipe, order, codec = parts
    batch = make_batches(dataset, store, recipe, order, codec, CPU, holes_apart=False)(1)
    expected = batch_maker(dataset, store, recipe, order, codec, holes_apart=False)(1)
    assert batch.images.dtype == torch.uint8
    assert torch.equal(batch.images, expected.images)


def test_a_plan_without_augmentation(parts, people):
    dataset, store = people
    index = np.array([4, 0, 9])
    images = DeviceImages(pixel_stage(store.on("cpu"), CPU), SIZE, CPU)(
        plan_batch(dataset, index, SIZE, None, 0, 0)
    )
    expected = crops(dataset, store, SIZE).images_NHWC[index]
    assert np.abs(grey_levels(images) - expected).max() <= 1


def test_compiles_into_two_graphs_whatever_the_blocks_length(parts):
    graphs: list[object] = []

    def keep(graph, _inputs):
        graphs.append(graph)
        return graph.forward

    compiled = on_device(parts, resident=False, compiled=True, backend=keep, report=pytest.fail)
    uncompiled = on_device(parts, resident=False)
    for step in range(5):
        assert torch.equal(compiled(step).images, uncompiled(step).images)
    assert len(graphs) == 2


def test_where_compiling_fails_the_uncompiled_function_goes_on_and_says_so_once():
    def broken(_graph, _inputs):
        raise RuntimeError("no such code generator")

    said: list[str] = []
    double = Fused(lambda x: x * 2, lambda x: x * 2, broken, said.append)
    for value in (1.0, 2.0, 3.0):
        assert double(torch.tensor(value)).item() == 2 * value
    assert len(said) == 1
    assert "runs uncompiled, because torch.compile failed" in said[0]
    assert "no such code generator" in said[0]


def test_a_call_refused_while_another_thread_compiles_runs_uncompiled_and_the_next_compiled():
    refusals = ["Detected that you are using FX to symbolically trace a dynamo-optimized function."]

    def keep(graph, _inputs):
        def run(*arguments):
            if refusals:
                raise RuntimeError(refusals.pop())
            return graph.forward(*arguments)

        return run

    def unequal(x):
        return x * 3

    fused = Fused(lambda x: x * 2, unequal, keep, pytest.fail)
    assert [fused(torch.tensor(1.0)).item() for _ in range(3)] == [3, 2, 2]


def test_other_errors_are_not_swallowed():
    def keep(_graph, _inputs):
        def run(*_arguments):
            raise torch.OutOfMemoryError("no room")

        return run

    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        Fused(lambda x: x * 2, lambda x: x * 2, keep, pytest.fail)(torch.tensor(1.0))


def test_calibration_crops_are_the_crops(people):
    images = CalibrationImages(*people, SIZE, persons=10_000, seed=1)
    assert np.array_equal(images.images_NHWC.numpy(), crops(*people, SIZE).images_NHWC)

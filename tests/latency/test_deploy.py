"""The deploy form computes what the network computes, with fewer operators."""

from __future__ import annotations

import pytest
import torch
from fake_machine import trained
from torch import nn

from posesearch import rng
from posesearch.errors import DataError
from posesearch.latency.deploy import TOLERANCE, deploy, max_difference, timed_form
from posesearch.latency.types import Conditions
from posesearch.models.counting import OperatorCounter
from posesearch.models.deploy import DeployedStarBlock, deployed
from posesearch.models.pose import PoseModel
from posesearch.spaces import load_preset, load_space, preset_names


def test_deploy_form_is_equal_and_leaves_the_model_alone(tiny_space):
    for arch in (tiny_space.largest(), tiny_space.smallest()):
        model = trained(arch)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        folded = deploy(model, Conditions())
        images = torch.randn(2, 3, *arch.input_size)
        assert max_difference(model, folded, images) < 1e-4
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_deploy_refuses_weights_that_are_not_numbers(tiny_space):
    model = trained(tiny_space.smallest())
    with torch.no_grad():
        model.head.cls_x.weight[0, 0] = float("nan")
    with pytest.raises(DataError, match=r"differs from the network by nan, allowed is 0.0001"):
        deploy(model, Conditions())


def operators(model, images):
    with torch.no_grad(), OperatorCounter() as counter:
        model(images)
    return counter.operators


def calibrated(arch):
    """A network of any depth whose norms hold the statistics of images, so that its activations neither grow nor fade."""
    model = trained(arch).train()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        model(torch.randn(4, 3, *arch.input_size, generator=torch.Generator().manual_seed(2)))
    return model.eval()


def same_in_all_forms(arch):
    """Compares all forms of an architecture and returns its operators by form."""
    model = calibrated(arch)
    images = torch.randn(1, 3, *arch.input_size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        peak = float(max(output.abs().max() for output in model(images)))
    assert peak < 1  # so that the share is the stricter bound
    found = {}
    for form in ("published", "folded", "merged"):
        fast = deployed(model, form=form)
        assert max_difference(model, fast, images) < TOLERANCE * peak, form
        found[form] = operators(fast, images)
    return found


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_keeps_its_outputs(name):
    arch = load_preset(name, input_size=(64, 64))
    found = same_in_all_forms(arch)
    blocks = sum(stage.depth for stage in arch.stages)
    assert found["merged"] == found["folded"] - blocks
    assert found["folded"] < found["published"]


@pytest.mark.parametrize("name", ["demo", "small", "starnet"])
def test_random_members_of_each_space_keep_their_outputs(name):
    space = load_space(name)
    for number in range(3):
        same_in_all_forms(space.sample(rng.generator(0, "deploy test", number)))


def test_merged_branches_hold_both_in_order(tiny_space):
    model = trained(tiny_space.largest())
    fast = deployed(model)
    block, merged = model.backbone.stages[0][1], fast.backbone.stages[0][1]
    assert isinstance(merged, DeployedStarBlock)
    hidden = block.f1.conv.out_channels
    assert torch.equal(merged.f1_f2.weight[:hidden], block.f1.conv.weight)
    assert torch.equal(merged.f1_f2.bias[hidden:], block.f2.conv.bias)
    assert merged.dwconv is not block.dwconv


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_larger_batches_and_other_layouts_are_the_same_function(tiny_space, memory_format):
    model = trained(tiny_space.largest())
    images = torch.randn(3, 3, *tiny_space.input_size).contiguous(memory_format=memory_format)
    assert max_difference(model, deployed(model).to(memory_format=memory_format), images) < TOLERANCE


def test_weights_that_do_not_fold_are_refused(tiny_space):
    model = PoseModel(tiny_space.smallest())
    with pytest.raises(DataError, match=r"differs from the network by .*, allowed is -1"):
        deploy(model, Conditions(), tolerance=-1.0)


@pytest.mark.parametrize(
    ("conditions", "form"),
    [
        (Conditions(), "merged"),
        (Conditions(runtime="compile"), "merged"),
        (Conditions(runtime="onnxruntime"), "folded"),
        (Conditions(runtime="onnxruntime", device="cuda:0"), "merged"),
        (Conditions(runtime="cudagraph", device="cuda"), "merged"),
        (Conditions(runtime="tensorrt", device="cuda"), "merged"),
    ],
)
def test_branches_stay_apart_for_onnx_runtime_on_a_cpu_alone(tiny_space, conditions, form):
    assert timed_form(conditions) == form
    fast = deploy(trained(tiny_space.largest()), conditions)
    blocks = [part for stage in fast.backbone.stages for part in list(stage)[1:]]
    assert {isinstance(block, DeployedStarBlock) for block in blocks} == {form == "merged"}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())


@pytest.mark.parametrize("runtime", ["eager", "onnxruntime"])
def test_a_trained_preset_keeps_its_outputs_in_the_form_of_each_runtime(runtime):
    model = calibrated(load_preset("starnet-pose-t", input_size=(64, 64)))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert max_difference(model, deploy(model, Conditions(runtime=runtime)), images) < TOLERANCE

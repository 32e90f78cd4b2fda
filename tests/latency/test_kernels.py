"""Kernels per forward: the operators of the deploy form, and which events of a GPU are kernels."""

from __future__ import annotations

import pytest
import torch

from posesearch.latency.deploy import deploy
from posesearch.latency.kernels import count_kernels, kernels_per_forward
from posesearch.latency.types import Conditions
from posesearch.models.deploy import deployed
from posesearch.models.pose import PoseModel
from posesearch.spaces import load_preset


@pytest.mark.parametrize(("name", "calls"), [("starnet-pose-t", 138), ("starnet-pose-s", 277)])
def test_operators_of_the_deploy_form(name, calls):
    model = deployed(PoseModel(load_preset(name, input_size=(64, 64))))
    found = kernels_per_forward(model, (64, 64), Conditions())
    assert found.to_plain() == {"count": calls, "unit": "ATen calls"}


def test_the_number_format_does_not_change_the_count_nor_the_model(tiny_space):
    model = deploy(PoseModel(tiny_space.largest()), Conditions())
    usual = kernels_per_forward(model, (64, 48), Conditions())
    for precision in ("fp16", "bf16"):
        other = Conditions(precision=precision, runtime="onnxruntime")
        assert kernels_per_forward(model, (64, 48), other) == usual
    # Where rows of the map are asked for, another layout has to be copied into order first.
    channels_last = kernels_per_forward(model, (64, 48), Conditions(memory_format="channels_last"))
    assert channels_last.count >= usual.count
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_copies_and_fills_are_no_kernels():
    assert count_kernels(["void cudnn::gemm", "Memcpy HtoD", "Memset (Device)", "relu_kernel"]) == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("runtime", ["eager", "cudagraph"])
def test_kernels_on_a_gpu(tiny_space, runtime):
    model = deploy(PoseModel(tiny_space.largest()), Conditions())
    calls = kernels_per_forward(model, (64, 48), Conditions())
    found = kernels_per_forward(model, (64, 48), Conditions(device="cuda:0", runtime=runtime))
    assert found.unit == "kernels"
    assert found.count >= calls.count

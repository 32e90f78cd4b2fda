"""Deployed against trained form: the same outputs, both measured, and a missing runtime named."""

import dataclasses

import pytest
import torch
from bench_world import CPU, check_result, quick_context

from posesearch.bench import deploy
from posesearch.errors import EnvironmentFault
from posesearch.latency import runtime_onnx
from posesearch.latency.effort import FAST
from posesearch.latency.types import Conditions
from posesearch.spaces import load_space


def test_quick_run_compares_both_forms(monkeypatch):
    checked = deploy.check_conditions

    def check(conditions):
        if conditions.runtime == "onnxruntime":
            raise EnvironmentFault("--runtime onnxruntime needs a package. Install it, or use another.")
        checked(conditions)

    monkeypatch.setattr(deploy, "check_conditions", check)
    result = deploy.run(quick_context(None))  # registered as one that needs no people
    check_result(
        result,
        "deploy",
        ratios=("demo-largest eager fp32", "demo-largest eager fp32, not merged"),
        goals=[("max_difference", 1e-4, True), ("max_relative_difference", 1e-4, True)],
    )
    figures = result.figures["demo-largest"]
    assert figures["launches"]["unit"] == "ATen calls"
    blocks = sum(stage.depth for stage in load_space("demo").largest().stages)
    assert figures["launches"]["merged"] == figures["launches"]["folded"] - blocks
    assert figures["launches"]["folded"] < figures["launches"]["as_trained"]
    timed = figures["eager fp32"]
    assert result.ratios["demo-largest eager fp32"] == timed["as_trained_ms"] / timed["merged_ms"]
    assert timed["deployed"] == "merged"
    assert result.figures["max_difference"] < 1e-4
    assert "onnxruntime fp32 was left out: --runtime onnxruntime needs a package" in " ".join(result.notes)


def test_forms_are_the_same_network():
    context = quick_context(None)
    forms, differences = deploy.all_forms(load_space("demo").largest(), context)
    assert list(forms) == ["as_trained", "folded", "merged"]
    assert 0 < differences["max_difference"] < 1e-4
    assert 0 < differences["max_relative_difference"] < 1e-4
    trained = [m for m in forms["as_trained"].modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert trained
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in forms["merged"].modules())
    # The norms hold statistics of images, not those of a fresh network.
    assert all(bool((norm.running_mean != 0).any()) for norm in trained)
    with pytest.raises(AttributeError):
        _ = forms["merged"].backbone.stages[0][1].f1


@pytest.mark.skipif(not runtime_onnx.installed(), reason="needs onnxruntime")
def test_onnx_runtime_on_a_cpu_deploys_the_form_that_is_not_merged():
    context = quick_context(None)
    forms, _ = deploy.all_forms(load_space("demo").smallest(), context)
    hasty = dataclasses.replace(FAST, min_rounds=2, max_rounds=2, max_s=0.0)
    timed = deploy.compare_forms(forms, Conditions(runtime="onnxruntime"), effort=hasty, seed=0)
    assert timed["deployed"] == "folded"
    assert timed["other_ms"] == timed["merged_ms"]


def test_settings_of_each_device():
    on_cpu = {f"{s.runtime} {s.precision}" for s in deploy.settings(CPU)}
    assert on_cpu == {"eager fp32", "onnxruntime fp32"}
    on_gpu = [f"{s.runtime} {s.precision}" for s in deploy.settings(torch.device("cuda"))]
    assert on_gpu == [
        f"{runtime} {precision}"
        for runtime in ("eager", "cudagraph", "compile")
        for precision in ("fp32", "fp16")
    ]


def test_networks_in_question():
    assert list(deploy.networks(quick=False)) == ["starnet-pose-t", "starnet-pose-s", "demo-largest"]
    assert list(deploy.networks(quick=True)) == ["demo-largest"]

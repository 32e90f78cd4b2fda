"""Deployed against trained form: the same outputs, both measured, and a missing runtime named."""

import pytest
import torch
from bench_world import CPU, check_result, quick_context

from posesearch.bench import deploy
from posesearch.errors import EnvironmentFault
from posesearch.spaces import load_space


def test_quick_run_compares_both_forms(people_dir, monkeypatch):
    checked = deploy.check_conditions

    def check(conditions):
        if conditions.runtime == "onnxruntime":
            raise EnvironmentFault("--runtime onnxruntime needs a package. Install it, or use another.")
        checked(conditions)

    monkeypatch.setattr(deploy, "check_conditions", check)
    result = deploy.run(quick_context(people_dir))
    check_result(
        result,
        "deploy",
        ratios=("demo-largest eager fp32", "demo-largest eager fp32, not merged"),
        goals=[("max_difference", 1e-4, True), ("max_relative_difference", 1e-4, True)],
    )
    figures = result.figures["demo-largest"]
    assert figures["launches"]["unit"] == "ATen calls"
    blocks = sum(stage.depth for stage in load_space("demo").largest().stages)
    assert figures["launches"]["deployed"] == figures["launches"]["folded"] - blocks
    assert figures["launches"]["folded"] < figures["launches"]["as_trained"]
    timed = figures["eager fp32"]
    assert result.ratios["demo-largest eager fp32"] == timed["as_trained_ms"] / timed["deployed_ms"]
    assert result.figures["max_difference"] < 1e-4
    assert "onnxruntime fp32 was left out: --runtime onnxruntime needs a package" in " ".join(result.notes)


def test_forms_are_the_same_network(people_dir):
    context = quick_context(people_dir)
    forms, differences = deploy.all_forms(load_space("demo").largest(), context)
    assert list(forms) == ["as_trained", "folded", "deployed"]
    assert 0 < differences["max_difference"] < 1e-4
    assert 0 < differences["max_relative_difference"] < 1e-4
    trained = [m for m in forms["as_trained"].modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert trained
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in forms["deployed"].modules())
    # The norms hold statistics of images, not those of a fresh network.
    assert all(bool((norm.running_mean != 0).any()) for norm in trained)
    with pytest.raises(AttributeError):
        _ = forms["deployed"].backbone.stages[0][1].f1


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

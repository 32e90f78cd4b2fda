"""Warm start: sorting keeps the function, published weights keep theirs inside the supernet, reports are complete."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from posesearch.checkpoint import ModelInfo, write_model_file
from posesearch.errors import DataError
from posesearch.models import PoseModel, load_published
from posesearch.spaces import Architecture, SearchSpace, StageArch, load_preset, load_space
from posesearch.supernet import Supernet, extract_subnet, read_starting_weights, warm_start
from posesearch.supernet.channels import sort_channels, stage_depths

Stirred = Callable[..., Supernet]
Stir = Callable[[nn.Module, int], None]
ATTENTION = (False, True, True)


def attention_arch(space: SearchSpace) -> Architecture:
    arch = space.largest()
    stages = tuple(replace(s, attention=on) for s, on in zip(arch.stages, ATTENTION, strict=True))
    return replace(arch, stages=stages)


def official_state(base: int, depths: tuple[int, ...], ratio: int = 4) -> dict[str, Tensor]:
    """A state dict as the published ImageNet files hold it, from the description of their names and shapes."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}

    def conv(prefix: str, *shape: int, norm: bool) -> None:
        state[f"{prefix}.conv.weight"] = (
            torch.randn(shape, generator=generator) * shape[1:].__len__() ** -1 * 0.2
        )
        state[f"{prefix}.conv.bias"] = torch.randn(shape[0], generator=generator) * 0.1
        if norm:
            batch_norm(f"{prefix}.bn", shape[0])

    def batch_norm(prefix: str, width: int) -> None:
        state[f"{prefix}.weight"] = torch.rand(width, generator=generator) + 0.5
        state[f"{prefix}.bias"] = torch.randn(width, generator=generator) * 0.1
        state[f"{prefix}.running_mean"] = torch.randn(width, generator=generator) * 0.1
        state[f"{prefix}.running_var"] = torch.rand(width, generator=generator) + 0.5
        state[f"{prefix}.num_batches_tracked"] = torch.tensor(1000)

    conv("stem.0", 32, 3, 3, 3, norm=True)
    width_in = 32
    for stage, depth in enumerate(depths):
        width = base * 2**stage
        conv(f"stages.{stage}.0", width, width_in, 3, 3, norm=True)
        for block in range(1, depth + 1):
            part = f"stages.{stage}.{block}"
            conv(f"{part}.dwconv", width, 1, 7, 7, norm=True)
            conv(f"{part}.f1", ratio * width, width, 1, 1, norm=False)
            conv(f"{part}.f2", ratio * width, width, 1, 1, norm=False)
            conv(f"{part}.g", width, ratio * width, 1, 1, norm=True)
            conv(f"{part}.dwconv2", width, 1, 7, 7, norm=False)
        width_in = width
    batch_norm("norm", width_in)
    state["head.weight"] = torch.randn(1000, width_in, generator=generator)
    state["head.bias"] = torch.zeros(1000)
    return state


def test_sorting_keeps_the_function(stirred: Stirred, stir_weights: Stir, tiny_space: SearchSpace) -> None:
    model = PoseModel(attention_arch(tiny_space)).double()
    stir_weights(model, 1)
    images = torch.randn(3, 3, 64, 48, dtype=torch.float64)
    with torch.no_grad():
        model.train()(images)  # statistics that differ from channel to channel
        expected_train, expected_eval = model.train()(images), model.eval()(images)
        ordered = sort_channels(model.state_dict())
        twin = PoseModel(model.arch).double()
        twin.load_state_dict(ordered, strict=True)
        # Statistics moved once more by the first of the two training passes above.
        found_eval = twin.eval()(images)
        found_train = twin.train()(images)
    scale = expected_eval.x.abs().max()
    assert (found_eval.x - expected_eval.x).abs().max() <= 1e-12 * scale
    assert (found_train.y - expected_train.y).abs().max() <= 1e-12 * expected_train.y.abs().max()
    moved = [name for name, value in ordered.items() if not torch.equal(value, model.state_dict()[name])]
    assert len(moved) > 0.8 * len([name for name in ordered if ".stages." in name and "tracked" not in name])


def test_sorted_channels_descend(stirred: Stirred, tiny_space: SearchSpace) -> None:
    ordered = sort_channels(stirred(tiny_space).state_dict())
    weight = ordered["backbone.stages.1.2.g.conv.weight"].abs().sum((0, 2, 3))
    assert torch.equal(weight, weight.sort(descending=True).values)
    again = sort_channels(ordered)
    assert all(torch.equal(again[name], ordered[name]) for name in ordered)
    assert stage_depths(ordered) == (2, 2, 2)


@pytest.mark.parametrize("form", ["state_dict.pth", "model.pth", "bare.pth", "bare.safetensors"])
def test_official_weights_start_the_supernet(tmp_path: Path, form: str) -> None:
    official = official_state(24, (2, 2, 8, 3))
    assert len(official) == 342
    path = tmp_path / form
    if path.suffix == ".safetensors":
        save_file(official, path)
    else:
        wrapped = (
            official if path.stem == "bare" else {path.stem: official, "args": argparse.Namespace(epochs=300)}
        )
        torch.save(wrapped, path)
    start = read_starting_weights(path)
    assert start.sort and start.info is None
    net = Supernet(replace(load_space("starnet"), input_size=(64, 64)))
    report = warm_start(net, start.state, sort=start.sort)

    # The subnet that is StarNet-S1 computes what the published network computes, channels apart in another order.
    arch = load_preset("starnet-s1", input_size=(64, 64))
    model = PoseModel(arch)
    model.load_state_dict(model.state_dict() | load_published(path), strict=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model.train().backbone(images).sum((0, 2, 3)).sort().values
        found = extract_subnet(net, arch).train().backbone(images).sum((0, 2, 3)).sort().values
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())

    parameters = {name for name, _ in net.named_parameters()}
    assert set(report.copied) | set(report.cut) | set(report.grown) | set(report.kept) == parameters
    assert len(report.copied) + len(report.cut) + len(report.grown) + len(report.kept) == len(parameters)
    assert all(name.startswith("head.") or ".ca." in name or is_new_block(name) for name in report.kept)
    assert all("running" in name or "tracked" in name for name in report.ignored)
    assert "backbone.stem.0.conv.weight" in report.copied
    assert "backbone.stages.3.1.f1.conv.weight" in report.grown
    assert report.summary().startswith(f"warm start: {len(report.copied)} tensors copied, 0 cut")


def is_new_block(name: str) -> bool:
    _, _, stage, block, *_ = name.split(".")
    return int(block) > (2, 2, 8, 3)[int(stage)]


def test_new_blocks_stay_the_identity(stir_weights: Stir, tiny_space: SearchSpace) -> None:
    small = tiny_space.smallest()
    source = PoseModel(small)
    stir_weights(source, 0)
    deeper = replace(small, stages=tuple(replace(stage, depth=2) for stage in small.stages))
    target = PoseModel(deeper)
    warm_start(target, source.state_dict(), sort=False)
    images = torch.randn(2, 3, 64, 48)
    assert torch.equal(target.train()(images).x, source.train()(images).x)


def test_grown_kernels_keep_the_function(stir_weights: Stir, tiny_space: SearchSpace) -> None:
    small = tiny_space.smallest()
    source = PoseModel(small).double()
    stir_weights(source, 0)
    large = replace(small, stages=tuple(replace(stage, kernel=7) for stage in small.stages))
    target = PoseModel(large).double()
    report = warm_start(target, source.state_dict(), sort=False)
    images = torch.randn(2, 3, 64, 48, dtype=torch.float64)
    torch.testing.assert_close(target.train()(images).x, source.train()(images).x, rtol=1e-10, atol=1e-10)
    assert set(report.grown) == {
        f"backbone.stages.{s}.1.{conv}.conv.weight" for s in range(3) for conv in ("dwconv", "dwconv2")
    }
    shrunk = PoseModel(small).double()
    assert set(warm_start(shrunk, target.state_dict(), sort=False).cut) == set(report.grown)
    assert torch.equal(shrunk.train()(images).x, source.train()(images).x)


def test_another_supernet_is_taken_over_whole(stirred: Stirred, tiny_space: SearchSpace) -> None:
    source, target = stirred(tiny_space, seed=1), Supernet(tiny_space)
    report = warm_start(target, source.state_dict(), sort=False)
    assert len(report.copied) == len(source.state_dict()) and not report.kept and not report.ignored
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in target.state_dict().items())


def test_locked_sizes_leave_the_head_fresh(stirred: Stirred, tiny_space: SearchSpace) -> None:
    source = stirred(tiny_space).state_dict()
    other = replace(tiny_space, input_size=(128, 96), num_joints=14)
    report = warm_start(Supernet(other), source, sort=False)
    assert set(report.kept) == {
        f"head.{name}"
        for name in ("final_layer.weight", "final_layer.bias", "mlp.1.weight", "cls_x.weight", "cls_y.weight")
    }
    fresh = Supernet(tiny_space, seed=3)
    report = warm_start(fresh, source, sort=False, include_head=False)
    assert set(report.kept) == {name for name in source if name.startswith("head.")}
    assert torch.equal(fresh.head.cls_x.weight, Supernet(tiny_space, seed=3).head.cls_x.weight)


def test_nothing_fits(tiny_space: SearchSpace) -> None:
    with pytest.raises(
        DataError, match=r"None of the 1 tensors given to start from fits .*first: layer1\.weight"
    ):
        warm_start(Supernet(tiny_space), {"layer1.weight": torch.zeros(3)}, sort=False)


@pytest.mark.parametrize(("space_id", "sort"), [("0123456789ab", False), (None, True)])
def test_our_own_files(tmp_path: Path, tiny_space: SearchSpace, space_id: str | None, sort: bool) -> None:
    model = PoseModel(tiny_space.largest(), seed=6)
    info = ModelInfo(
        kind="model",
        name="T",
        arch=model.arch.to_plain(),
        space_id=space_id,
        input_size=model.arch.input_size,
        skeleton={},
        codec={},
    )
    write_model_file(tmp_path / "model.safetensors", model.state_dict(), info)
    start = read_starting_weights(tmp_path / "model.safetensors")
    assert start.sort is sort
    assert start.info == info
    # Ours are not published weights: the gain must not be taken out of them a second time.
    assert all(torch.equal(start.state[name], value) for name, value in model.state_dict().items())


def test_stage_arch_without_attention_reads_as_official() -> None:
    depths = stage_depths(
        {f"backbone.{name}": value for name, value in official_state(16, (1, 1, 3, 1), 3).items()}
    )
    assert depths == (1, 1, 3, 1)
    assert StageArch(width=16, depth=1, kernel=7, ratio=3).attention is False

"""The static network: published sizes and names, shapes for every depth of pyramid, initial identity."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from posesearch.errors import UsageError
from posesearch.models import PoseModel
from posesearch.models.blocks import CoordinateAttention
from posesearch.models.heads import GatedAttentionUnit, ScaleNorm
from posesearch.spaces import Architecture, HeadArch, StageArch, load_preset, preset_names

BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def conv_bn(prefix: str, *, norm: bool = True) -> list[str]:
    names = [f"{prefix}.conv.weight", f"{prefix}.conv.bias"]
    return names + [f"{prefix}.bn.{part}" for part in BN] if norm else names


def official_names(depths: tuple[int, ...]) -> list[str]:
    """Names of the published backbone in the published order, written from the description of the files."""
    names = conv_bn("stem.0")
    for stage, depth in enumerate(depths):
        names += conv_bn(f"stages.{stage}.0")
        for block in range(1, depth + 1):
            part = f"stages.{stage}.{block}"
            names += conv_bn(f"{part}.dwconv")
            names += conv_bn(f"{part}.f1", norm=False) + conv_bn(f"{part}.f2", norm=False)
            names += conv_bn(f"{part}.g") + conv_bn(f"{part}.dwconv2", norm=False)
    return names


def small_arch(stages: int = 3, size: tuple[int, int] = (64, 96), attention: bool = True) -> Architecture:
    return Architecture(
        input_size=size,
        num_joints=5,
        stem_width=8,
        stages=tuple(
            StageArch(width=8 * (i + 1), depth=2, kernel=5, ratio=3, attention=attention)
            for i in range(stages)
        ),
        head=HeadArch(kernel=3, hidden=12, attention_dim=6),
    )


@pytest.mark.parametrize(
    ("name", "params", "backbone", "keys"),
    [("starnet-pose-t", 3_504_155, 2_675_784, 347), ("starnet-pose-s", 6_428_403, 5_546_720, 487)],
)
def test_published_sizes(name: str, params: int, backbone: int, keys: int) -> None:
    model = PoseModel(load_preset(name))
    assert sum(p.numel() for p in model.parameters()) == params
    assert sum(p.numel() for p in model.backbone.parameters()) == backbone
    assert len(model.state_dict()) == keys


@pytest.mark.parametrize(
    ("name", "with_classifier"),
    [("starnet-s1", 342), ("starnet-s2", 262), ("starnet-s3", 362), ("starnet-s4", 502)],
)
def test_official_names_and_order(name: str, with_classifier: int) -> None:
    arch = load_preset(name)
    names = list(PoseModel(arch).backbone.state_dict())
    assert names == official_names(tuple(stage.depth for stage in arch.stages))
    # The classifier of the official files: norm (5), head.weight, head.bias.
    assert len(names) + 7 == with_classifier


def test_attention_and_head_names_and_shapes() -> None:
    model = PoseModel(load_preset("starnet-pose-s"))
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    attention = {name: shape for name, shape in shapes.items() if ".stages.2.1.ca." in name}
    assert len(attention) == 10
    assert len([name for name in shapes if ".ca." in name]) == 120
    assert attention["backbone.stages.2.1.ca.conv_reduce.weight"] == (8, 128, 1, 1)
    assert attention["backbone.stages.2.1.ca.conv_w.bias"] == (128,)
    assert {name: shape for name, shape in shapes.items() if name.startswith("head.")} == {
        "head.final_layer.weight": (17, 256, 7, 7),
        "head.final_layer.bias": (17,),
        "head.mlp.0.g": (1,),
        "head.mlp.1.weight": (256, 48),
        "head.gau.gamma": (2, 128),
        "head.gau.beta": (2, 128),
        "head.gau.o.weight": (256, 512),
        "head.gau.uv.weight": (1152, 256),
        "head.gau.ln.g": (1,),
        "head.gau.res_scale.scale": (256,),
        "head.cls_x.weight": (384, 256),
        "head.cls_y.weight": (512, 256),
    }


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(64, 96), (96, 64)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_any_number_of_stages_and_shape(stages: int, size: tuple[int, int], channels_last: bool) -> None:
    arch = small_arch(stages, size)
    model = PoseModel(arch).eval()
    images = torch.randn(2, 3, *size)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    features = model.backbone(images)
    output = model(images)
    assert features.shape[1:] == (
        model.backbone.feature_info[-1].channels,
        *model.backbone.feature_info[-1].size,
    )
    assert [info.reduction for info in model.backbone.feature_info] == [4, 8, 16, 32][:stages]
    assert output.x.shape == (2, 5, size[1] * 2)
    assert output.y.shape == (2, 5, size[0] * 2)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_runs(name: str) -> None:
    output = PoseModel(load_preset(name, input_size=(64, 64), num_joints=14)).eval()(
        torch.randn(1, 3, 64, 64)
    )
    assert output.x.shape == output.y.shape == (1, 14, 128)
    assert output.x.isfinite().all()


def test_blocks_start_as_the_identity() -> None:
    model = PoseModel(small_arch()).train()
    block = model.backbone.stages[1][1]
    x = torch.randn(4, 16, 8, 8)
    assert torch.equal(block(x), x)


def test_attention_starts_as_the_identity() -> None:
    module = CoordinateAttention(16, reduction=32)
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(2, 16, 6, 5)
    torch.testing.assert_close(module(x), x, rtol=0, atol=0)


def test_same_seed_same_weights_whatever_the_global_generator() -> None:
    arch = small_arch()
    torch.manual_seed(1)
    first = PoseModel(arch, seed=3)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second, other = PoseModel(arch, seed=3), PoseModel(arch, seed=4)
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(first.head.cls_x.weight, other.head.cls_x.weight)
    assert all(parameter.isfinite().all() for parameter in other.parameters())
    assert torch.equal(before, torch.get_rng_state())


def test_head_starts_as_published() -> None:
    head = PoseModel(load_preset("starnet-pose-t")).head
    assert head.final_layer.weight.std().item() == pytest.approx(0.001, rel=0.02)
    assert head.cls_x.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert head.gau.uv.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert 0 <= head.gau.gamma.min() < head.gau.gamma.max() < 1
    assert head.gau.gamma.mean().item() == pytest.approx(0.5, abs=0.06)
    assert head.final_layer.bias.abs().max() == 0


def test_drop_path_masks_scale_the_branch() -> None:
    model = PoseModel(small_arch()).double()
    torch.nn.init.normal_(model.backbone.stages[1][2].g.bn.weight)
    model.eval()
    images = torch.randn(3, 3, 64, 96, dtype=torch.float64)
    dropped = {"stages.1.2": torch.tensor([0.0, 1.0, 2.0]).double().view(3, 1, 1, 1)}
    plain, masked = model(images), model(images, dropped)
    assert torch.equal(plain.x[1], masked.x[1])
    assert not torch.allclose(plain.x[2], masked.x[2], rtol=1e-9, atol=0)
    without = copy.deepcopy(model)
    without.backbone.stages[1] = without.backbone.stages[1][:2]
    torch.testing.assert_close(without(images).x[0], masked.x[0], rtol=1e-12, atol=1e-15)


def test_deepcopy_and_state_dict() -> None:
    model = PoseModel(small_arch(), seed=5)
    twin = copy.deepcopy(model)
    fresh = PoseModel(small_arch())
    fresh.load_state_dict(model.state_dict(), strict=True)
    images = torch.randn(2, 3, 64, 96)
    expected = model.train()(images)
    for other in (twin, fresh):
        assert torch.equal(other.train()(images).x, expected.x)


def test_scale_norm_formula() -> None:
    norm = ScaleNorm(48).double()
    torch.nn.init.constant_(norm.g, 1.7)
    x = torch.randn(3, 5, 48, dtype=torch.float64)
    x[0, 0] = 0
    expected = 1.7 * x / (x.square().sum(-1, keepdim=True).sqrt() / 48**0.5).clamp(min=1e-5)
    torch.testing.assert_close(norm(x), expected, rtol=1e-12, atol=0)


def test_gated_attention_formula() -> None:
    unit = GatedAttentionUnit(6, attention_dim=4, expansion=2).double()
    for parameter in unit.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    for person in range(2):
        tokens = F.silu(unit.ln(x[person]) @ unit.uv.weight.T)
        u, v, base = tokens[:, :12], tokens[:, 12:24], tokens[:, 24:]
        query, key = (base * unit.gamma[i] + unit.beta[i] for i in (0, 1))
        attended: Tensor = torch.relu(query @ key.T / 2.0) ** 2 @ v
        expected = unit.res_scale.scale * x[person] + (u * attended) @ unit.o.weight.T
        torch.testing.assert_close(unit(x)[person], expected, rtol=1e-10, atol=1e-12)


def test_unknown_head_kind_is_named() -> None:
    arch = small_arch()
    with pytest.raises(UsageError, match=r"Unknown head kind 'rtmc'\. Did you mean 'rtmcc'\?"):
        PoseModel(replace(arch, head=replace(arch.head, kind="rtmc")))

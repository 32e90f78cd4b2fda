"""Published weights: names, classifier, the gain in both directions, and files that must be refused."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from posesearch.errors import DataError
from posesearch.models import PoseModel, load_published, to_published
from posesearch.models.published import from_published
from posesearch.spaces import Architecture, HeadArch, StageArch


def attention_arch() -> Architecture:
    return Architecture(
        input_size=(64, 48),
        num_joints=4,
        stem_width=8,
        stages=(
            StageArch(width=8, depth=1, kernel=3, ratio=2, attention=False),
            StageArch(width=16, depth=2, kernel=7, ratio=3, attention=True),
        ),
        head=HeadArch(kernel=3, hidden=12, attention_dim=6),
    )


def randomised(arch: Architecture) -> PoseModel:
    model = PoseModel(arch).double().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype) * 0.3)
    return model


class PlainAttentionBlock(nn.Module):
    """Star block with standard coordinate attention (gain 1), written from the paper, on published tensors."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.t = tensors

    def norm(self, x: Tensor, name: str) -> Tensor:
        t = self.t
        return F.batch_norm(
            x, t[f"{name}.running_mean"], t[f"{name}.running_var"], t[f"{name}.weight"], t[f"{name}.bias"]
        )

    def conv(self, x: Tensor, name: str, **options: int) -> Tensor:
        return F.conv2d(x, self.t[f"{name}.weight"], self.t.get(f"{name}.bias"), **options)

    def attention(self, x: Tensor) -> Tensor:
        height = x.shape[2]
        rows = F.adaptive_avg_pool2d(x, (None, 1))
        columns = F.adaptive_avg_pool2d(x, (1, None)).permute(0, 1, 3, 2)
        both = F.relu(self.norm(self.conv(torch.cat([rows, columns], 2), "ca.conv_reduce"), "ca.bn"))
        gate_rows = torch.sigmoid(self.conv(both[:, :, :height], "ca.conv_h"))
        gate_columns = torch.sigmoid(self.conv(both[:, :, height:], "ca.conv_w")).permute(0, 1, 3, 2)
        return x * gate_rows * gate_columns

    def forward(self, x: Tensor) -> Tensor:
        width, padding = x.shape[1], self.t["dwconv.conv.weight"].shape[-1] // 2
        z = self.norm(self.conv(x, "dwconv.conv", groups=width, padding=padding), "dwconv.bn")
        star = F.relu6(self.conv(z, "f1.conv")) * self.conv(z, "f2.conv")
        y = self.attention(self.norm(self.conv(star, "g.conv"), "g.bn"))
        return x + self.conv(y, "dwconv2.conv", groups=width, padding=padding)


def block_tensors(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def test_exported_block_equals_standard_attention() -> None:
    model = randomised(attention_arch())
    published = to_published(model.state_dict())
    plain = PlainAttentionBlock(block_tensors(published, "backbone.stages.1.1."))
    x = torch.randn(2, 16, 8, 6, dtype=torch.float64)
    torch.testing.assert_close(model.backbone.stages[1][1](x), plain(x), rtol=1e-12, atol=1e-12)
    # The fold matters: without it the functions differ.
    unfolded = PlainAttentionBlock(block_tensors(model.state_dict(), "backbone.stages.1.1."))
    assert not torch.allclose(plain(x), unfolded(x), rtol=1e-2)


def test_imported_block_equals_standard_attention() -> None:
    published = {name: value.clone() for name, value in randomised(attention_arch()).state_dict().items()}
    plain = PlainAttentionBlock(block_tensors(published, "backbone.stages.1.2."))
    model = PoseModel(attention_arch()).double().eval()
    model.load_state_dict(from_published(published), strict=True)
    x = torch.randn(2, 16, 8, 6, dtype=torch.float64)
    torch.testing.assert_close(model.backbone.stages[1][2](x), plain(x), rtol=1e-12, atol=1e-12)


def test_round_trip_is_exact_and_leaves_its_input_alone() -> None:
    state = randomised(attention_arch()).float().state_dict()
    before = {name: value.clone() for name, value in state.items()}
    again = from_published(to_published(state))
    assert list(again) == list(state)
    assert all(torch.equal(again[name], before[name]) for name in before)
    assert all(torch.equal(state[name], before[name]) for name in before)
    changed = [name for name, value in to_published(state).items() if not torch.equal(value, before[name])]
    assert changed == [f"backbone.stages.1.{block}.dwconv2.conv.weight" for block in (1, 2)]


@pytest.mark.parametrize(
    ("suffix", "wrapper"),
    [
        (".safetensors", None),
        (".pth", None),
        (".pth", "state_dict"),
        (".tar", "model"),
        (".pt", "state_dict_ema"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_official_layouts(tmp_path: Path, wrapper: str | None, prefix: str, suffix: str) -> None:
    model = PoseModel(attention_arch(), seed=2)
    official = {
        prefix + name.removeprefix("backbone."): value.contiguous()
        for name, value in to_published(model.state_dict()).items()
        if name.startswith("backbone.")
    }
    official |= {f"{prefix}norm.weight": torch.ones(16), f"{prefix}head.weight": torch.ones(10, 16)}
    official |= {f"{prefix}head.bias": torch.ones(10)}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(official, path)
    else:
        torch.save(
            {wrapper: official, "args": argparse.Namespace(lr=1.0), "epoch": 3} if wrapper else official, path
        )
    loaded = load_published(path)
    expected = {name: value for name, value in model.state_dict().items() if name.startswith("backbone.")}
    assert set(loaded) == set(expected)
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_averaged_weights_come_first(tmp_path: Path) -> None:
    state = dict(PoseModel(attention_arch()).backbone.state_dict())
    averaged = {name: torch.full_like(value, 7) for name, value in state.items()}
    torch.save({"state_dict": state, "state_dict_ema": averaged}, tmp_path / "both.pth")
    assert load_published(tmp_path / "both.pth")["backbone.stem.0.conv.bias"].eq(7).all()


def test_mmpose_layout_keeps_the_pose_head(tmp_path: Path) -> None:
    model = PoseModel(attention_arch(), seed=2)
    state = {
        name.replace("head.", "keypoint_head.", 1) if name.startswith("head.") else name: value
        for name, value in to_published(model.state_dict()).items()
    }
    torch.save(
        {"state_dict": state | {"data_preprocessor.mean": torch.zeros(3)}, "meta": {}}, tmp_path / "m.pth"
    )
    PoseModel(attention_arch()).load_state_dict(load_published(tmp_path / "m.pth"), strict=True)


class Dangerous:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("ran code",)


def test_bad_files_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match=r"Weight file not found: .*gone\.pth\. Check the path"):
        load_published(tmp_path / "gone.pth")
    torch.save({"state_dict": {}, "hook": Dangerous()}, tmp_path / "code.pth")
    with pytest.raises(DataError, match=r"more than tensors and is not opened, because that could run code"):
        load_published(tmp_path / "code.pth")
    assert "ran code" not in capsys.readouterr().out
    torch.save({"layer1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    with pytest.raises(
        DataError, match=r"holds no StarNet weights: 'stem\.0\.conv\.weight' is missing, it has layer1"
    ):
        load_published(tmp_path / "resnet.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(DataError, match=r"holds a list, not weights by name"):
        load_published(tmp_path / "list.pth")
    for suffix in (".pth", ".safetensors"):
        torch.save(PoseModel(attention_arch()).state_dict(), tmp_path / "whole.pth")
        (tmp_path / f"cut{suffix}").write_bytes((tmp_path / "whole.pth").read_bytes()[:5000])
        with pytest.raises(DataError, match=r"cannot be read as a weight file .* fetch it again"):
            load_published(tmp_path / f"cut{suffix}")

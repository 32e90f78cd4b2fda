"""The slicing rule itself: leading channels, centres, segments, locked axes, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from posesearch.models import PoseModel
from posesearch.models.axes import AxisRules, Centre, Locked, Segments
from posesearch.models.heads import GatedAttentionUnit
from posesearch.spaces import SearchSpace
from posesearch.supernet.slicing import cut_parameters, plan_cuts


def cut(source: nn.Module, target: nn.Module) -> dict[str, Tensor]:
    return cut_parameters(dict(source.named_parameters()), plan_cuts(source, target))


def numbered(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.arange(float(torch.tensor(shape).prod())).view(shape))


class Toy(nn.Module):
    AXIS_RULES: ClassVar[AxisRules] = {
        "kernel": (Centre(2), Centre(3)),
        "parts": (Segments(0, ("first", "second")),),
        "bins": (Locked(0),),
    }

    def __init__(
        self, *, width: int = 4, side: int = 7, first: int = 3, second: int = 2, bins: int = 5
    ) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.kernel = numbered(width, 1, side, side)
        self.parts = numbered(first + second, width)
        self.bins = numbered(bins, width)


def test_leading_centre_and_segments() -> None:
    source = Toy()
    found = cut(source, Toy(width=2, side=3, first=2, second=1))
    assert torch.equal(found["kernel"], source.kernel[:2, :, 2:5, 2:5])
    # Rows 0, 1 of the first part and row 0 of the second, which starts at 3: not the leading three rows.
    assert torch.equal(found["parts"], source.parts[[0, 1, 3], :2])
    assert torch.equal(found["bins"], source.bins[:, :2])
    assert all(tensor.is_contiguous() for tensor in found.values())


def test_whole_parameters_are_not_copied() -> None:
    source = Toy()
    assert all(value is source.get_parameter(name) for name, value in cut(source, Toy()).items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bins": 4}, r"bins, axis 0: 4 of 5: this axis cannot be cut"),
        ({"width": 5}, r"kernel, axis 0: 5 of 4: the subnet's is larger"),
        ({"side": 4}, r"kernel, axis 2: 4 of 7: only odd kernels have a common centre"),
        ({"first": 2, "second": 3}, r"parts, axis 0: 5 of 5: segment second is 3, the supernet's is 2"),
    ],
)
def test_refusals(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_cuts(Toy(), Toy(**change))


def test_missing_names_are_refused() -> None:
    target = Toy()
    target.extra = numbered(2)
    with pytest.raises(ValueError, match="extra does not exist in the supernet"):
        plan_cuts(Toy(), target)


def test_undeclared_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"weight, axis 2: 3 of 5: this axis cannot be cut"):
        plan_cuts(nn.Conv2d(4, 4, 5), nn.Conv2d(4, 4, 3))


def test_gated_attention_is_cut_part_by_part() -> None:
    wide = GatedAttentionUnit(8, attention_dim=6, expansion=3)
    slim = GatedAttentionUnit(4, attention_dim=2, expansion=2)
    for parameter in wide.parameters():
        nn.init.normal_(parameter)
    found = cut(wide, slim)
    uv = wide.uv.weight
    expected = torch.cat([uv[0:8, :4], uv[24:32, :4], uv[48:50, :4]])
    assert torch.equal(found["uv.weight"], expected)
    slim.load_state_dict(found)
    x = torch.randn(2, 5, 4)
    assert slim(x).isfinite().all()


def test_whole_networks_with_another_head_width(tiny_space: SearchSpace) -> None:
    arch = tiny_space.largest()
    small = replace(tiny_space.smallest(), head=replace(arch.head, hidden=16, attention_dim=8))
    source, target = PoseModel(arch), PoseModel(small)
    target.load_state_dict(target.state_dict() | cut(source, target), strict=True)
    assert torch.equal(target.head.gau.uv.weight[32:64], source.head.gau.uv.weight[64:96, :16])
    with pytest.raises(ValueError, match=r"head\.mlp\.1\.weight, axis 1: 8 of 12: this axis cannot be cut"):
        plan_cuts(source, PoseModel(replace(small, input_size=(64, 32))))

"""Counting: published totals to the digit, closed forms on random architectures, operators as deployed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.models import PoseModel, cost, deployed, macs_of
from posesearch.models.counting import OperatorCounter, PartCost
from posesearch.models.deploy import DeployForm
from posesearch.models.live import LiveTensors
from posesearch.spaces import Architecture, HeadArch, StageArch, load_preset, load_space


def closed_form(arch: Architecture) -> dict[str, tuple[int, int, int]]:
    """(params, macs, flops) of backbone and head, written out by hand."""

    def convolution(cin: int, cout: int, area: int) -> tuple[int, int, int]:
        macs = area * 9 * cin * cout
        return 9 * cin * cout + 3 * cout, macs, macs + 2 * area * cout

    height, width = (side // 2 for side in arch.input_size)
    parts = [convolution(3, arch.stem_width, height * width)]
    in_width = arch.stem_width
    for stage in arch.stages:
        height, width = height // 2, width // 2
        area, d, r, k = height * width, stage.width, stage.ratio, stage.kernel
        parts.append(convolution(in_width, d, area))
        macs = area * (2 * k * k * d + 3 * r * d * d)
        block = (3 * r * d * d + 2 * r * d + (2 * k * k + 7) * d, macs, macs + 4 * d * area)
        if stage.attention:
            m, length = max(8, d // arch.attention_reduction), height + width
            extra = (
                3 * m * d + 2 * m + 2 * d,
                2 * length * d * m,
                2 * length * d * m + 2 * m * length + 2 * d * area,
            )
            block = tuple(a + b for a, b in zip(block, extra, strict=True))
        parts += [block] * stage.depth
        in_width = d
    head, joints, area = arch.head, arch.num_joints, height * width
    h, s, e = head.hidden, head.attention_dim, head.hidden * head.expansion
    bins = sum(int(side * head.split_ratio) for side in arch.input_size)
    conv = joints * head.kernel**2 * in_width
    linear = area * h + h * (2 * e + s) + e * h + h * bins
    head_macs = conv * area + joints * linear + joints**2 * (s + e)
    backbone = tuple(sum(column) for column in zip(*parts, strict=True))
    return {
        "backbone": (backbone[0], backbone[1], backbone[2]),
        "head": (conv + joints + linear + 2 + 4 * s + h, head_macs, head_macs),
    }


def figures(part: PartCost) -> tuple[int, int, int]:
    return part.params, part.macs, part.flops


def test_starnet_pose_t_to_the_digit() -> None:
    found = cost(load_preset("starnet-pose-t"))
    assert (found.params, found.flops, found.macs) == (3_504_155, 434_939_520, 432_291_456)
    assert (found.backbone.params, found.backbone.flops) == (2_675_784, 415_727_616)
    assert (found.head.params, found.head.flops) == (828_371, 19_211_904)
    assert [part.params for part in (found.stem, *found.stages)] == [
        960,
        26_232,
        76_656,
        1_013_280,
        1_558_656,
    ]
    assert [round(part.flops / 1e6, 2) for part in (found.stem, *found.stages)] == [
        11.4,
        78.89,
        58.02,
        192.91,
        74.5,
    ]
    assert found.operators == 188


def test_starnet_pose_s_to_the_digit() -> None:
    found = cost(load_preset("starnet-pose-s"))
    assert (found.params, found.flops, found.macs) == (6_428_403, 764_634_112, 760_820_352)
    assert (found.backbone.params, found.backbone.flops) == (5_546_720, 742_863_232)
    assert (found.head.params, found.head.flops) == (881_683, 21_770_880)
    assert [part.params for part in (found.stem, *found.stages)] == [
        960,
        41_120,
        131_392,
        1_789_440,
        3_583_808,
    ]
    assert [round(part.flops / 1e6, 2) for part in found.stages] == [124.06, 99.78, 337.1, 170.52]
    assert found.operators == 342


stage_values = st.builds(
    StageArch,
    width=st.sampled_from([8, 16, 24, 288]),
    depth=st.integers(1, 3),
    kernel=st.sampled_from([3, 5, 7]),
    ratio=st.integers(1, 4),
    attention=st.booleans(),
)


@settings(max_examples=25, deadline=None)
@given(
    stages=st.lists(stage_values, min_size=1, max_size=4),
    size=st.sampled_from([(64, 96), (96, 64), (32, 32)]),
    joints=st.integers(1, 17),
    reduction=st.sampled_from([4, 32]),
)
def test_closed_forms(stages: list[StageArch], size: tuple[int, int], joints: int, reduction: int) -> None:
    arch = Architecture(
        input_size=size,
        num_joints=joints,
        stem_width=8,
        stages=tuple(stages),
        attention_reduction=reduction,
        head=HeadArch(kernel=5, hidden=12, attention_dim=6, expansion=3),
    )
    found, expected = cost(arch), closed_form(arch)
    assert figures(found.backbone) == expected["backbone"]
    assert figures(found.head) == expected["head"]
    assert found.macs == macs_of(arch) == expected["backbone"][1] + expected["head"][1]
    assert found.params == sum(p.numel() for p in PoseModel(arch).parameters())
    assert found.parameter_bytes == 4 * found.params


def test_plain_values() -> None:
    plain = cost(load_preset("starnet-pose-t")).to_plain()
    assert {
        "params",
        "macs",
        "flops",
        "operators",
        "backbone",
        "head",
        "parameter_bytes",
        "activation_bytes",
    } <= set(plain)
    assert plain["params"] == plain["backbone"]["params"] + plain["head"]["params"]
    assert plain["activation_bytes"] > 4 * 32 * 128 * 96


@pytest.mark.parametrize(
    ("name", "operators_of"),
    [
        ("starnet-pose-t", {"published": 188, "folded": 153, "merged": 138}),
        ("starnet-pose-s", {"published": 342, "folded": 293, "merged": 277}),
    ],
)
def test_deployed_operators_and_function(name: str, operators_of: dict[DeployForm, int]) -> None:
    model = PoseModel(load_preset(name, input_size=(64, 64))).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape, generator=generator) * 0.1)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        expected = model(images)
        for form, operators in operators_of.items():
            fast = deployed(model, form=form)
            with OperatorCounter() as counter:
                found = fast(images)
            assert counter.operators == operators
            torch.testing.assert_close(found.x, expected.x, rtol=1e-8, atol=1e-10)
            torch.testing.assert_close(found.y, expected.y, rtol=1e-8, atol=1e-10)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("space", ["demo", "starnet"])
def test_peak_of_the_parts_is_the_peak_of_the_whole(space: str) -> None:
    members = load_space(space)
    generator = np.random.default_rng(0)
    for arch in (members.smallest(), members.largest(), *(members.sample(generator) for _ in range(3))):
        with torch.device("meta"):
            model, image = PoseModel(arch).eval(), torch.empty(1, 3, *arch.input_size)
        with torch.no_grad(), LiveTensors() as alive:
            model(image)
        assert cost(arch).peak_activation_bytes == image.nbytes + alive.peak_bytes
        assert cost(arch).to_plain()["peak_activation_bytes"] < cost(arch).activation_bytes

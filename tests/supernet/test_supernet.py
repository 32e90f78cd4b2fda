"""A subnet is its extracted model: outputs, gradients, masks; and the supernet is never written to."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from posesearch.errors import UsageError
from posesearch.models import PoseModel
from posesearch.spaces import Architecture, SearchSpace
from posesearch.supernet import Supernet, drop_path_masks, extract_subnet, recalibrate
from posesearch.supernet.templates import TemplateCache

Members = Callable[..., list[Architecture]]
Stirred = Callable[..., Supernet]


def images_for(
    space: SearchSpace, batch: int = 2, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, *space.input_size, generator=generator, dtype=dtype)


def test_parameters_are_those_of_the_largest_network(supernet: Supernet) -> None:
    largest = PoseModel(supernet.space.largest())
    assert {n: p.shape for n, p in supernet.named_parameters()} == {
        n: p.shape for n, p in largest.named_parameters()
    }
    assert not list(supernet.buffers())
    assert set(supernet.state_dict()) == {name for name, _ in largest.named_parameters()}


def test_parity_without_given_statistics(supernet: Supernet, members: Members) -> None:
    images = images_for(supernet.space)
    for arch in members(supernet.space):
        model = extract_subnet(supernet, arch)
        expected = model.train()(images)
        found = supernet.train()(images, arch)
        assert torch.equal(found.x, expected.x), arch
        assert torch.equal(found.y, expected.y), arch
        # Without statistics of their own both use those of a fresh network in evaluation mode.
        fresh = extract_subnet(supernet, arch).eval()(images)
        found = supernet.eval()(images, arch)
        supernet.train()
        assert torch.equal(found.x, fresh.x), arch
        assert torch.equal(found.y, fresh.y), arch
        assert expected.x.std() > 1e-4


def test_drop_path_parity(supernet: Supernet) -> None:
    arch, images = supernet.space.largest(), images_for(supernet.space)
    masks = drop_path_masks(arch, arch, 0.5, 2, torch.Generator().manual_seed(3))
    expected = extract_subnet(supernet, arch).train()(images, masks)
    found = supernet(images, arch, drop_path=masks)
    assert torch.equal(found.x, expected.x)
    assert not torch.equal(found.x, supernet(images, arch).x)


def test_evaluation_mode_parity(supernet: Supernet, members: Members) -> None:
    images = images_for(supernet.space)
    for arch in members(supernet.space, 2):
        buffers = recalibrate(supernet, arch, [images, images_for(supernet.space, 3, seed=1)])
        before = {name: value.clone() for name, value in buffers.items()}
        model = extract_subnet(supernet, arch, buffers).eval()
        with torch.no_grad():
            expected, found = model(images), supernet(images, arch, buffers=buffers)
        assert torch.equal(found.x, expected.x) and torch.equal(found.y, expected.y), arch
        assert all(torch.equal(buffers[name], before[name]) for name in before)


def test_gradients_equal_and_exactly_zero_outside_the_slice(supernet: Supernet, members: Members) -> None:
    images = images_for(supernet.space)
    for arch in members(supernet.space, 2):
        supernet.zero_grad(set_to_none=True)
        model = extract_subnet(supernet, arch).train()
        for net, arguments in ((supernet, (images, arch)), (model, (images,))):
            output = net(*arguments)
            (output.x.square().sum() + output.y.square().sum()).backward()
        grads = {name: parameter.grad for name, parameter in model.named_parameters()}
        plan = {cut.name: cut for cut in supernet.template(arch, running=False).plan}
        for name, parameter in supernet.named_parameters():
            expected = torch.zeros_like(parameter)
            if name in plan:
                # Cutting a tensor of positions tells where each entry of the slice lives.
                place = plan[name](torch.arange(parameter.numel()).view(parameter.shape)).reshape(-1)
                assert len(place.unique()) == len(place)
                expected.view(-1)[place] = grads[name].reshape(-1)
            found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            assert torch.equal(found, expected), (str(arch), name)
    supernet.zero_grad(set_to_none=True)


def masked_forward(supernet: Supernet, images: Tensor, arch: Architecture) -> tuple[Tensor, Tensor]:
    """The subnet as the largest network with everything outside of it set to zero, written without slicing."""

    def keep(x: Tensor, channels: int) -> Tensor:
        mask = torch.zeros(x.shape[1], dtype=x.dtype)
        mask[:channels] = 1
        return x * mask.view(1, -1, 1, 1)

    def depthwise(x: Tensor, conv: torch.nn.Conv2d, kernel: int) -> Tensor:
        side = conv.weight.shape[-1]
        border = (side - kernel) // 2
        mask = torch.zeros(side, side, dtype=x.dtype)
        mask[border : side - border, border : side - border] = 1
        return F.conv2d(x, conv.weight * mask, conv.bias, padding=side // 2, groups=x.shape[1])

    x = supernet.backbone.stem(images)
    for stage, modules in zip(arch.stages, supernet.backbone.stages, strict=True):
        x = keep(modules[0](x), stage.width)
        for position, block in enumerate(modules[1:], start=1):
            z = keep(block.dwconv.bn(depthwise(x, block.dwconv.conv, stage.kernel)), stage.width)
            star = keep(F.relu6(block.f1(z)) * block.f2(z), stage.ratio * stage.width)
            y = keep(block.g(star), stage.width)
            if stage.attention:
                inner = max(8, stage.width // arch.attention_reduction)
                rows, columns = y.mean(3, keepdim=True), y.mean(2, keepdim=True).transpose(2, 3)
                both = keep(F.relu(block.ca.bn(block.ca.conv_reduce(torch.cat([rows, columns], 2)))), inner)
                gate_rows = torch.sigmoid(block.ca.conv_h(both[:, :, : y.shape[2]]))
                gate_columns = torch.sigmoid(block.ca.conv_w(both[:, :, y.shape[2] :])).transpose(2, 3)
                y = 4 * y * gate_rows * gate_columns
            branch = keep(depthwise(y, block.dwconv2.conv, stage.kernel), stage.width)
            x = x + branch * float(position <= stage.depth)
    return supernet.head(x)


def test_masked_equals_sliced(supernet: Supernet, members: Members) -> None:
    double = copy.deepcopy(supernet).double()
    images = images_for(double.space, dtype=torch.float64)
    with torch.no_grad():
        for arch in members(double.space, 2):
            found, expected = double(images, arch), masked_forward(double, images, arch)
            for one, other in zip(found, expected, strict=True):
                assert (one - other).abs().max() <= 1e-10 * max(1.0, other.abs().max().item()), arch


def test_inner_attention_width_follows_the_architecture(stirred: Stirred, tiny_space: SearchSpace) -> None:
    # Reduction 2: the inner width is 8, 12 or 16, so it is really cut.
    net = stirred(replace(tiny_space, attention_reduction=2), dtype=torch.float64)
    arch = replace(
        net.space.smallest(), stages=tuple(replace(s, attention=True) for s in net.space.smallest().stages)
    )
    parameters = net.subnet_parameters(arch)
    assert parameters["backbone.stages.2.1.ca.conv_reduce.weight"].shape[0] == 12
    assert net.backbone.stages[2][1].ca.conv_reduce.weight.shape[0] == 16
    images = images_for(net.space, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(
            net(images, arch).x, masked_forward(net, images, arch)[0], rtol=1e-10, atol=1e-10
        )


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_any_number_of_stages(stirred: Stirred, tiny_space: SearchSpace, stages: int) -> None:
    four = (*tiny_space.stages, tiny_space.stages[-1])
    net = stirred(replace(tiny_space, stages=four[:stages], input_size=(32, 64)))
    arch = net.space.sample(np.random.default_rng(stages))
    images = images_for(net.space)
    assert torch.equal(net(images, arch).y, extract_subnet(net, arch).train()(images).y)


def test_largest_of_a_fresh_supernet_is_the_plain_network(tiny_space: SearchSpace) -> None:
    net, plain = Supernet(tiny_space, seed=4), PoseModel(tiny_space.largest(), seed=4)
    for name, parameter in plain.named_parameters():
        assert torch.equal(net.get_parameter(name), parameter), name


def test_evaluation_has_no_batch(supernet: Supernet) -> None:
    double, arch = copy.deepcopy(supernet).double(), supernet.space.smallest()
    images = images_for(supernet.space, 3, dtype=torch.float64)
    buffers = recalibrate(double, arch, [images])
    with torch.no_grad():
        together, alone = double(images, arch, buffers=buffers), double(images[:1], arch, buffers=buffers)
    assert buffers["backbone.stem.0.bn.running_var"].dtype == torch.float64
    torch.testing.assert_close(alone.x, together.x[:1], rtol=1e-9, atol=1e-9)


def test_channels_last_images(supernet: Supernet) -> None:
    double, arch = copy.deepcopy(supernet).double(), supernet.space.smallest()
    images = images_for(supernet.space, dtype=torch.float64)
    with torch.no_grad():
        found = double(images.contiguous(memory_format=torch.channels_last), arch)
        torch.testing.assert_close(found.x, double(images, arch).x, rtol=1e-9, atol=1e-9)


def test_copy_and_state_dict(supernet: Supernet) -> None:
    images, arch = images_for(supernet.space), supernet.space.sample(np.random.default_rng(5))
    expected = supernet(images, arch)
    twin = copy.deepcopy(supernet)
    assert len(twin.templates.templates) == len(twin.templates.parts) == 0
    fresh = Supernet(supernet.space, seed=9)
    fresh.load_state_dict(supernet.state_dict(), strict=True)
    for other in (twin, fresh):
        assert torch.equal(other(images, arch).x, expected.x)
    with torch.no_grad():
        twin.head.cls_x.weight.zero_()
    assert torch.equal(supernet(images, arch).x, expected.x)


def test_extracted_weights_are_a_copy(stirred: Stirred, tiny_space: SearchSpace) -> None:
    net, arch = stirred(tiny_space), tiny_space.largest()
    model = extract_subnet(net, arch)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7.0)
    assert not any(parameter.eq(7.0).all() for parameter in net.parameters())
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in model.parameters())


def test_templates_are_bounded_and_weightless(stirred: Stirred, tiny_space: SearchSpace) -> None:
    net = stirred(tiny_space)
    net.templates = TemplateCache(templates=3, parts=20)
    rng = np.random.default_rng(0)
    for _ in range(10):
        net.subnet_parameters(tiny_space.sample(rng))
    assert len(net.templates.templates) == 3
    assert len(net.templates.parts) == 20
    template = net.template(tiny_space.smallest(), running=True)
    tensors = (*template.model.parameters(), *template.model.buffers())
    assert all(tensor.is_meta for tensor in tensors)
    assert net.template(tiny_space.smallest(), running=True) is template


def test_foreign_architectures_are_named_by_gene(stirred: Stirred, tiny_space: SearchSpace) -> None:
    net = stirred(tiny_space)
    good = tiny_space.smallest()
    wide = replace(good, stages=(*good.stages[:2], replace(good.stages[2], width=28)))
    with pytest.raises(
        UsageError, match=r"not in space 'tiny': stage2\.width = 28; choices: \[24, 32\].*nearest"
    ):
        net(images_for(tiny_space), wide)
    with pytest.raises(UsageError, match=r"3 stages|2 stages"):
        extract_subnet(net, replace(good, stages=good.stages[:2]))
    with pytest.raises(UsageError, match=r"num_joints is 14, the space has 17"):
        recalibrate(net, good.with_joints(14), [images_for(tiny_space)])


def test_foreign_statistics_are_refused(stirred: Stirred, tiny_space: SearchSpace) -> None:
    net, images = stirred(tiny_space), images_for(tiny_space)
    small, large = tiny_space.smallest(), tiny_space.largest()
    buffers = recalibrate(net, large, [images])
    with pytest.raises(UsageError, match=r"statistics do not belong to architecture .*recalibrate"):
        net(images, small, buffers=buffers)
    with pytest.raises(UsageError, match=r"backbone\.stem\.0\.bn\.running_mean is missing"):
        extract_subnet(
            net, large, {k: v for k, v in buffers.items() if k != "backbone.stem.0.bn.running_mean"}
        )

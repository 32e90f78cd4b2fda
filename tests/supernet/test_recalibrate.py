"""Recalibration: the right averages, for any batch sizes and maps, and nothing else changes."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from posesearch.errors import UsageError
from posesearch.models import PoseModel
from posesearch.spaces import Architecture, SearchSpace
from posesearch.supernet import Supernet, extract_subnet, recalibrate, recalibrate_model

Members = Callable[..., list[Architecture]]
Stirred = Callable[..., Supernet]


def batches_for(space: SearchSpace, sizes: tuple[int, ...] = (4, 4, 3)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, 3, *space.input_size, generator=generator) + i for i, size in enumerate(sizes)]


def digest(module: nn.Module) -> str:
    sha = hashlib.sha256()
    for name, value in module.state_dict().items():
        sha.update(name.encode())
        sha.update(value.numpy().tobytes())
    return sha.hexdigest()


def test_supernet_is_never_changed(supernet: Supernet, members: Members) -> None:
    supernet.zero_grad(set_to_none=True)
    before, modes = digest(supernet), [module.training for module in supernet.modules()]
    for arch in members(supernet.space, 2):
        buffers = recalibrate(supernet, arch, batches_for(supernet.space, (2, 2)))
        assert not any(value.requires_grad for value in buffers.values())
    assert digest(supernet) == before
    assert [module.training for module in supernet.modules()] == modes
    assert all(parameter.grad is None for parameter in supernet.parameters())


def test_before_or_after_extraction(supernet: Supernet, members: Members) -> None:
    batches = batches_for(supernet.space, (2, 3))
    for arch in members(supernet.space, 2):
        cut_last = extract_subnet(supernet, arch, recalibrate(supernet, arch, batches))
        cut_first = extract_subnet(supernet, arch)
        recalibrate_model(cut_first, batches)
        other = cut_first.state_dict()
        for name, value in cut_last.state_dict().items():
            assert torch.equal(value, other[name]), (str(arch), name)


def test_statistics_are_size_weighted_averages(stirred: Stirred, tiny_space: SearchSpace) -> None:
    net, batches = stirred(tiny_space), batches_for(tiny_space, (4, 2, 6))
    arch = tiny_space.smallest()
    buffers = recalibrate(net, arch, batches)
    model = extract_subnet(net, arch)
    means, variances = torch.zeros(tiny_space.stem_width), torch.zeros(tiny_space.stem_width)
    with torch.no_grad():
        for images in batches:
            x = model.backbone.stem[0].conv(images).transpose(0, 1).flatten(1)
            means += len(images) * x.mean(1) / 12
            variances += len(images) * x.var(1, unbiased=True) / 12
    torch.testing.assert_close(buffers["backbone.stem.0.bn.running_mean"], means, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(buffers["backbone.stem.0.bn.running_var"], variances, rtol=1e-5, atol=1e-6)
    assert buffers["backbone.stem.0.bn.num_batches_tracked"] == 3


def test_model_keeps_weights_mode_and_momentum(stirred: Stirred, tiny_space: SearchSpace) -> None:
    model = extract_subnet(stirred(tiny_space), tiny_space.smallest()).eval()
    model.backbone.stages[1].train()
    modes = [module.training for module in model.modules()]
    weights = {name: value.clone() for name, value in model.named_parameters()}
    recalibrate_model(model, batches_for(tiny_space))
    first = copy.deepcopy(model.state_dict())
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in model.named_parameters())
    assert {module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm2d)} == {0.1}
    # Old statistics have no part in the new ones.
    recalibrate_model(model, batches_for(tiny_space))
    assert all(torch.equal(value, first[name]) for name, value in model.state_dict().items())


def test_it_is_what_evaluation_needs(stirred: Stirred, tiny_space: SearchSpace) -> None:
    net, arch = stirred(tiny_space), tiny_space.smallest()
    (images,) = batches_for(tiny_space, (16,))
    with torch.no_grad():
        trained = net(images, arch).x
        calibrated = extract_subnet(net, arch, recalibrate(net, arch, [images])).eval()(images).x
        fresh = extract_subnet(net, arch).eval()(images).x
    error = (calibrated - trained).abs().mean()
    assert error < 0.1 * trained.std()
    assert (fresh - trained).abs().mean() > 5 * error


def test_maps_of_one_cell(stirred: Stirred, tiny_space: SearchSpace) -> None:
    # 16x16 at stride 16: one cell, so only the batch gives a variance; a last batch of one image is left out.
    net = stirred(replace(tiny_space, input_size=(16, 16)))
    arch = net.space.largest()
    with_single = recalibrate(net, arch, batches_for(net.space, (4, 1)))
    without = recalibrate(net, arch, batches_for(net.space, (4,)))
    assert all(value.isfinite().all() for value in with_single.values() if value.is_floating_point())
    assert all(torch.equal(with_single[name], without[name]) for name in without)


@pytest.mark.parametrize("sizes", [(), (1,), (1, 1)])
def test_too_few_images(stirred: Stirred, tiny_space: SearchSpace, sizes: tuple[int, ...]) -> None:
    net, arch = stirred(tiny_space), tiny_space.smallest()
    with pytest.raises(UsageError, match=r"no batch of at least 2 images\. .* more training images"):
        recalibrate(net, arch, batches_for(tiny_space, sizes))
    model = PoseModel(arch)
    before = digest(model)
    with pytest.raises(UsageError, match="at least 2 images"):
        recalibrate_model(model, batches_for(tiny_space, sizes))
    assert digest(model) == before


def test_full_precision_under_autocast(stirred: Stirred, tiny_space: SearchSpace) -> None:
    net, arch, batches = stirred(tiny_space), tiny_space.smallest(), batches_for(tiny_space)
    expected = recalibrate(net, arch, batches)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = recalibrate(net, arch, batches)
    assert all(torch.equal(found[name], expected[name]) for name in expected)

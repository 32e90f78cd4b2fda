"""The relaxed supernet: at one choice a gene it is the sliced subnet, in between it is the mixture it says it is."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from posesearch.spaces import HeadArch, SearchSpace, StageSpace
from posesearch.supernet.relaxed import largest_network, leading, mixed_window, relaxed_forward, survival
from posesearch.supernet.relaxed_shares import (
    entropy,
    gumbel_shares,
    one_hot,
    probabilities,
    temperature,
)
from posesearch.supernet.supernet import Supernet
from posesearch.train.losses import joint_maps

# Attention reduction 2: its inner width differs between widths (8, 12, 16); a stage with attention always, one never.
SPACE = SearchSpace(
    name="relaxed",
    input_size=(64, 48),
    num_joints=5,
    stem_width=6,
    attention_reduction=2,
    head=HeadArch(hidden=16, attention_dim=8),
    stages=(
        StageSpace(width=(8, 24, 32), depth=(1, 3), kernel=(3, 5, 7), ratio=(2, 3, 4)),
        StageSpace(width=(16, 20), depth=(2, 3, 4), kernel=(3, 7), ratio=(1, 3), attention=(True,)),
        StageSpace(width=(24, 32), depth=(1, 2), kernel=(5,), ratio=(2, 3), attention=(False,)),
    ),
)


@pytest.fixture(scope="module")
def doubled(stirred) -> Supernet:
    return stirred(SPACE, dtype=torch.float64).train()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(3, 3, *SPACE.input_size, generator=torch.Generator().manual_seed(4)).double()


def difference(supernet: Supernet, images: torch.Tensor, arch) -> float:
    with torch.no_grad():
        sliced = supernet(images, arch)
        relaxed = relaxed_forward(supernet, images, one_hot(SPACE, arch, images))
    return max(float((one - two).abs().max()) for one, two in zip(sliced, relaxed, strict=True))


@pytest.mark.parametrize("gene", SPACE.genes())
def test_each_gene_at_one_choice_is_the_sliced_subnet(gene, doubled, images) -> None:
    largest = SPACE.encode(SPACE.largest())
    for choice in SPACE.genes()[gene]:
        arch = SPACE.decode({**largest, gene: choice})
        assert difference(doubled, images, arch) < 1e-9, (gene, choice)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_member_is_the_sliced_subnet(doubled, images, seed) -> None:
    arch = SPACE.sample(np.random.default_rng(seed))
    assert difference(doubled, images, arch) < 1e-9


def test_the_gradient_at_one_choice_is_that_of_the_sliced_subnet(doubled, images) -> None:
    arch = SPACE.sample(np.random.default_rng(3))
    found = []
    for output in (
        doubled(images, arch),
        relaxed_forward(doubled, images, one_hot(SPACE, arch, images)),
    ):
        loss = sum(values.square().sum() for values in output)
        named = dict(doubled.named_parameters())
        gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        found.append(dict(zip(named, gradients, strict=True)))
    for name, sliced in found[0].items():
        relaxed = found[1][name]
        expected = torch.zeros_like(doubled.get_parameter(name)) if sliced is None else sliced
        assert relaxed is not None
        torch.testing.assert_close(relaxed, expected, rtol=1e-7, atol=1e-9)


def mixtures(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = {
        name: torch.randn(len(choices), generator=generator, dtype=torch.float64)
        for name, choices in SPACE.genes().items()
    }
    return probabilities(logits)


def test_shares_have_gradients_that_finite_differences_confirm(doubled, images) -> None:
    shares = mixtures(1)

    def loss(name: str, value: torch.Tensor) -> torch.Tensor:
        output = relaxed_forward(doubled, images, {**shares, name: value})
        return output.x.square().mean() + output.y.square().mean()

    for name in ("stage0.width", "stage1.depth", "stage0.kernel", "stage2.ratio", "stage0.attention"):
        value = shares[name].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(name, value), value)
        numeric = []
        for unit in 1e-6 * torch.eye(len(value)).double():
            more, less = loss(name, value.detach() + unit), loss(name, value.detach() - unit)
            numeric.append((more - less).item() / 2e-6)
        assert gradient.tolist() == pytest.approx(numeric, rel=1e-4, abs=1e-8), name
        assert any(numeric), f"{name} has no effect"


def test_a_mixed_kernel_is_the_mixture_of_the_cropped_convolutions() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 1, 7, 7, generator=generator).double()
    images = torch.randn(2, 4, 9, 8, generator=generator).double()
    share = torch.tensor([0.2, 0.5, 0.3]).double()
    one = F.conv2d(images, weight * mixed_window((3, 5, 7), share), padding=3, groups=4)
    cropped = (weight[..., b : 7 - b, b : 7 - b] for b in (2, 1, 0))
    three = sum(
        part * F.conv2d(images, kernel, padding=kernel.shape[-1] // 2, groups=4)
        for part, kernel in zip(share, cropped, strict=True)
    )
    torch.testing.assert_close(one, three, rtol=0, atol=1e-12)


@given(seed=st.integers(0, 2**32 - 1))
def test_survival_falls_from_block_to_block(seed) -> None:
    shares = mixtures(seed)
    found = survival(SPACE, shares)
    for index, stage in enumerate(SPACE.stages):
        alive = [
            found.get(f"stages.{index}.{b}", torch.ones(1)).item() for b in range(1, stage.depth[-1] + 1)
        ]
        assert alive[: stage.depth[0]] == [1.0] * stage.depth[0]
        assert all(0.0 <= later <= earlier + 1e-12 for earlier, later in pairwise(alive))
        assert sum(alive) == pytest.approx(
            sum(d * p.item() for d, p in zip(stage.depth, shares[f"stage{index}.depth"], strict=True))
        ), "the expected number of blocks"


def test_leading_is_what_reaches_a_place() -> None:
    share = torch.tensor([0.25, 0.5, 0.25])
    assert leading((1, 3, 4), share).tolist() == [1.0, 0.75, 0.75, 0.25]
    assert leading((4, 1, 2), share).tolist() == [1.0, 0.5, 0.25, 0.25]


def test_the_network_is_left_as_it_was(doubled, images) -> None:
    before = {name: value.clone() for name, value in doubled.state_dict().items()}
    arch = SPACE.sample(np.random.default_rng(8))
    with torch.no_grad():
        expected = doubled(images, arch)
        with joint_maps(largest_network(doubled)) as maps:
            relaxed_forward(doubled, images, mixtures(5))
        assert len(maps) == 1 and maps[0].shape[:2] == (3, 5)
        again = doubled(images, arch)
    assert torch.equal(expected.x, again.x)
    assert all(torch.equal(value, before[name]) for name, value in doubled.state_dict().items())
    hooks = [module for module in largest_network(doubled).modules() if module._forward_hooks]
    assert hooks == []


def test_gumbel_shares_are_draws_that_harden() -> None:
    logits = {"a": torch.tensor([0.0, 1.0, 2.0]), "b": torch.zeros(1)}
    drawn = [gumbel_shares(logits, 0.05, torch.Generator().manual_seed(seed)) for seed in range(400)]
    frequency = torch.stack([F.one_hot(shares["a"].argmax(), 3).float() for shares in drawn]).mean(0)
    torch.testing.assert_close(frequency, torch.softmax(logits["a"], 0), rtol=0, atol=0.08)
    assert all(shares["b"].tolist() == [1.0] for shares in drawn)
    assert all(shares["a"].sum().item() == pytest.approx(1.0) for shares in drawn)
    soft = gumbel_shares(logits, 100.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(soft["a"], torch.full((3,), 1 / 3), rtol=0, atol=0.03)
    assert temperature(0, 10) == 5.0 and temperature(10, 10) == pytest.approx(0.0872, abs=1e-3)


def test_straight_through_takes_one_choice_and_has_the_soft_gradient() -> None:
    values = torch.tensor([0.1, 0.4, -0.3], dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([1.0, 5.0, 2.0], dtype=torch.float64)
    gradients = []
    for straight in (False, True):
        shares = gumbel_shares(
            {"a": values}, 1.0, torch.Generator().manual_seed(2), straight_through=straight
        )
        gradients.append(torch.autograd.grad((shares["a"] * weight).sum(), values)[0])
        hard = shares["a"]
    assert sorted(hard.tolist()) == [0.0, 0.0, pytest.approx(1.0, abs=1e-15)]
    torch.testing.assert_close(gradients[0], gradients[1])


def test_entropy_is_one_when_uniform_and_zero_when_decided() -> None:
    uniform = probabilities({name: torch.zeros(len(c)) for name, c in SPACE.genes().items()})
    assert entropy(uniform).item() == pytest.approx(1.0)
    assert entropy(one_hot(SPACE, SPACE.largest(), torch.zeros(()))).item() == pytest.approx(0.0, abs=1e-6)
    assert entropy({"one": torch.ones(1)}).item() == 0.0


def test_a_supernet_of_the_demo_space_at_one_choice(stirred) -> None:
    from posesearch.spaces import load_space

    space = replace(load_space("demo"), input_size=(64, 48))
    supernet = stirred(space, dtype=torch.float64).train()
    pictures = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(1)).double()
    for arch in (space.smallest(), space.sample(np.random.default_rng(5))):
        with torch.no_grad():
            sliced = supernet(pictures, arch)
            relaxed = relaxed_forward(supernet, pictures, one_hot(space, arch, pictures))
        torch.testing.assert_close(relaxed.x, sliced.x, rtol=0, atol=1e-9)

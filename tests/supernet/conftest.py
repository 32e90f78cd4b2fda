"""Supernets whose every parameter matters: fresh ones are the identity in places, which would hide faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from posesearch.spaces import Architecture, SearchSpace, load_preset, load_space, preset_names
from posesearch.supernet import Supernet


def stir(module: nn.Module, seed: int = 0) -> None:
    """Adds noise of a sensible size to every parameter: attention gates, zeroed norms and biases included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter.dtype)
            fan_in = max(1, parameter[0].numel()) if parameter.dim() > 1 else 4
            parameter.add_(noise, alpha=fan_in**-0.5)


@pytest.fixture(scope="session")
def stirred() -> Callable[..., Supernet]:
    """Makes a supernet with stirred weights."""

    def make(space: SearchSpace, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Supernet:
        supernet = Supernet(space, seed=seed).to(dtype)
        stir(supernet, seed)
        return supernet

    return make


@pytest.fixture(scope="session")
def stir_weights() -> Callable[[nn.Module, int], None]:
    return stir


@pytest.fixture(scope="session", params=["demo", "small", "starnet", "tiny"])
def supernet(request: pytest.FixtureRequest, tiny_space: SearchSpace) -> Iterator[Supernet]:
    """A stirred supernet of each space, at a small input size, not square where the strides allow it."""
    if request.param == "tiny":
        space = tiny_space
    else:
        space = load_space(request.param)
        space = replace(space, input_size=(64, 48) if len(space.stages) == 3 else (64, 96))
    net = Supernet(space)
    stir(net)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    yield net
    # Shared by many tests: none of them may have written to it.
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.fixture(scope="session")
def members() -> Callable[..., list[Architecture]]:
    """Largest, smallest, every preset that is a member, and some random ones."""

    def choose(space: SearchSpace, count: int = 4) -> list[Architecture]:
        presets = [
            replace(load_preset(name, input_size=(64, 64)), input_size=space.input_size)
            for name in preset_names()
            if len(space.stages) == len(load_preset(name).stages)
        ]
        rng = np.random.default_rng(11)
        chosen = [
            space.largest(),
            space.smallest(),
            *[arch for arch in presets if space.contains(arch)],
            *[space.sample(rng) for _ in range(count)],
        ]
        return list(dict.fromkeys(chosen))

    return choose

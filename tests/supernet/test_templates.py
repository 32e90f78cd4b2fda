"""Lending tensors to a network: what functional_call does, and the network has its own again afterwards."""

from __future__ import annotations

import pytest
import torch
from torch.func import functional_call

from posesearch.models import PoseModel
from posesearch.spaces import SearchSpace
from posesearch.supernet.templates import lent, places_of


def test_lent_tensors_are_used_as_by_functional_call(tiny_space: SearchSpace) -> None:
    arch = tiny_space.largest()
    model, other = PoseModel(arch, seed=0).train(), PoseModel(arch, seed=1)
    images = torch.randn(2, 3, *tiny_space.input_size, generator=torch.Generator().manual_seed(0))
    states = [{name: value.clone() for name, value in other.state_dict().items()} for _ in range(2)]
    expected = functional_call(model, states[0], (images,), tie_weights=False)
    with lent(places_of(model), states[1]):
        found = model(images)
    assert torch.equal(found.x, expected.x) and torch.equal(found.y, expected.y)
    # Training mode moves the statistics: the lent ones, by the same amount.
    assert all(torch.equal(states[1][name], value) for name, value in states[0].items())
    assert not torch.equal(found.x, model(images).x)


def test_own_tensors_come_back_after_a_fault(tiny_space: SearchSpace) -> None:
    model = PoseModel(tiny_space.smallest())
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert places_of(model).keys() == own.keys()
    others = {name: torch.zeros_like(value) for name, value in own.items()}
    with pytest.raises(ZeroDivisionError), lent(places_of(model), others):
        assert all(model.state_dict()[name].eq(0).all() for name in own)
        raise ZeroDivisionError
    after = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert all(after[name] is value for name, value in own.items())
    with pytest.raises(KeyError), lent(places_of(model), {"backbone.unknown": torch.zeros(1)}):
        pass

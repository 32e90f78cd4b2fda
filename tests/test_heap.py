"""Freed memory is kept while a network computes on a CPU, and goes back as usual afterwards; no bit changes."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from posesearch import heap
from posesearch.heap import KEPT, USUAL, memory_kept

ON_GLIBC = heap._mallopt() is not None


@pytest.fixture
def asked(monkeypatch):
    """What the C library is asked for, in order; it is not there."""
    options = []
    monkeypatch.setattr(heap, "_mallopt", lambda: lambda option, value: options.append((option, value)) or 1)
    return options


def test_kept_then_as_usual(asked):
    with memory_kept("cpu"):
        assert dict(asked) == KEPT
        asked.clear()
    assert dict(asked) == USUAL
    assert USUAL.keys() >= KEPT.keys()


def test_as_usual_after_a_fault_too(asked):
    with pytest.raises(RuntimeError, match="gone"), memory_kept("cpu"):
        raise RuntimeError("gone")
    assert dict(asked[-len(USUAL) :]) == USUAL


def test_a_gpu_and_other_libraries_are_left_alone(asked, monkeypatch):
    with memory_kept("cuda"):
        assert asked == []
    monkeypatch.undo()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert heap._mallopt() is None
    with memory_kept("cpu"):
        pass


@pytest.mark.skipif(not ON_GLIBC, reason="needs the GNU C library")
def test_the_library_takes_every_option():
    mallopt = heap._mallopt()
    assert mallopt is not None
    assert all(mallopt(*option) for options in (KEPT, USUAL) for option in options.items())


def test_what_is_computed_is_the_same():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 4, 3))
    images = torch.randn(4, 3, 96, 96)

    def step() -> list[torch.Tensor]:
        network.zero_grad()
        output = network(images)
        output.square().mean().backward()
        return [output.detach(), *(parameter.grad for parameter in network.parameters())]

    plain = [value.clone() for value in step()]
    with memory_kept("cpu"):
        kept = step()
    assert all(torch.equal(one, other) for one, other in zip(plain, kept, strict=True))

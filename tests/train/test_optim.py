"""Parameter groups, learning rate and weight average against their published definitions."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from posesearch.models import PoseModel
from posesearch.supernet import Supernet
from posesearch.train.optim import WeightAverage, build_optimizer, lr_at, undecayed_names
from posesearch.train.recipe import EmaConfig, OptimizerConfig, ScheduleConfig


def test_norms_and_biases_are_not_decayed_everything_else_is(tiny_space):
    model = PoseModel(tiny_space.largest())
    undecayed = undecayed_names(model)
    names = {name for name, _ in model.named_parameters()}
    assert {n for n in names if n.endswith(".bias")} <= undecayed
    assert {n for n in names if ".bn." in n} <= undecayed
    # As published: depthwise convolutions and the scales of the attention unit are decayed.
    decayed = names - undecayed
    assert {
        "backbone.stages.0.1.dwconv.conv.weight",
        "head.gau.gamma",
        "head.gau.beta",
        "head.gau.ln.g",
        "head.mlp.0.g",
        "head.gau.res_scale.scale",
    } <= decayed
    assert undecayed == undecayed_names(Supernet(tiny_space))


def test_a_supernets_depthwise_kernels_are_not_decayed_either(tiny_space):
    supernet = Supernet(tiny_space)
    more = undecayed_names(supernet, depthwise=True) - undecayed_names(supernet)
    shapes = {name: tuple(weight.shape) for name, weight in supernet.named_parameters()}
    assert more == {name for name, shape in shapes.items() if ".dwconv" in name and len(shape) == 4}
    assert all(shapes[name][1] == 1 and shapes[name][2] > 1 for name in more)
    undecayed = build_optimizer(supernet, OptimizerConfig(), decay_depthwise=False).param_groups[1]["params"]
    assert {id(p) for p in undecayed} >= {id(supernet.get_parameter(name)) for name in more}


def test_every_parameter_is_in_exactly_one_group(tiny_space):
    model = PoseModel(tiny_space.smallest())
    optimizer = build_optimizer(model, OptimizerConfig(weight_decay=0.05))
    decayed, undecayed = optimizer.param_groups
    assert (decayed["weight_decay"], undecayed["weight_decay"]) == (0.05, 0.0)
    ids = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters())


def test_learning_rate_golden_values():
    schedule = ScheduleConfig(
        warmup_steps=1000, warmup_limit=0.05, warmup_factor=1e-5, flat_fraction=0.5, final_factor=0.05
    )
    total = 100_000
    assert lr_at(0, total, 4e-3, schedule) == pytest.approx(4e-8)
    assert lr_at(500, total, 4e-3, schedule) == pytest.approx(4e-3 * (1e-5 + (1 - 1e-5) / 2))
    assert lr_at(1000, total, 4e-3, schedule) == 4e-3
    assert lr_at(50_000, total, 4e-3, schedule) == 4e-3
    assert lr_at(75_000, total, 4e-3, schedule) == pytest.approx(4e-3 * (0.05 + 0.95 / 2))
    assert lr_at(total, total, 4e-3, schedule) == pytest.approx(2e-4)  # the published eta_min


def test_warmup_is_capped_on_short_runs():
    schedule = ScheduleConfig(warmup_steps=1000, warmup_limit=0.1)
    assert lr_at(9, 100, 1.0, schedule) < 1.0
    assert lr_at(10, 100, 1.0, schedule) == 1.0


@given(
    total=st.integers(1, 3000),
    warmup=st.integers(0, 2000),
    limit=st.floats(0, 1),
    flat=st.floats(0, 1),
    step=st.integers(0, 2999),
)
@settings(max_examples=200, deadline=None)
def test_learning_rate_stays_within_its_bounds(total, warmup, limit, flat, step):
    schedule = ScheduleConfig(
        warmup_steps=warmup, warmup_limit=limit, warmup_factor=0.01, flat_fraction=flat, final_factor=0.02
    )
    lr = lr_at(min(step, total - 1), total, 2.0, schedule)
    assert math.isfinite(lr)
    assert 2.0 * 0.01 * 0.02 * 0.999 <= lr <= 2.0


def test_average_follows_the_published_formula():
    module = nn.Linear(3, 2)
    config = EmaConfig(momentum=2e-4, gamma=2000, horizon_limit=1.0)
    average = WeightAverage(module, config, total_steps=1_000_000)
    expected = None
    for step in range(5):
        with torch.no_grad():
            module.weight.add_(1.0 + step)
        average.update(step)
        rate = 1.0 if step == 0 else (1 - 2e-4) * math.exp(-(1 + step) / 2000) + 2e-4
        weight = module.weight.detach().clone()
        expected = weight if expected is None else (1 - rate) * expected + rate * weight
    torch.testing.assert_close(average.state()["weight"], expected)


def test_average_horizon_is_capped_on_short_runs():
    average = WeightAverage(nn.Linear(1, 1), EmaConfig(horizon_limit=0.1), total_steps=200)
    assert average.momentum == pytest.approx(1 / 20)
    assert average.gamma == 20
    long = WeightAverage(nn.Linear(1, 1), EmaConfig(horizon_limit=0.1), total_steps=1_000_000)
    assert (long.momentum, long.gamma) == (2e-4, 2000.0)


def test_applied_gives_the_weights_back_bit_for_bit():
    module = nn.Linear(4, 4)
    average = WeightAverage(module, EmaConfig(), total_steps=100)
    with torch.no_grad():
        module.weight.mul_(3.0)
    before = module.weight.detach().clone()
    with pytest.raises(ZeroDivisionError), average.applied():
        assert not torch.equal(module.weight, before)
        raise ZeroDivisionError
    assert torch.equal(module.weight, before)


def test_switched_off_average_changes_nothing():
    module = nn.Linear(4, 4)
    average = WeightAverage(module, EmaConfig(enabled=False), total_steps=100)
    before = module.weight.detach().clone()
    average.update(0)
    average.install()
    with average.applied():
        assert torch.equal(module.weight, before)
    assert average.state() == {}

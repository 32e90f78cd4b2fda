"""Blocks of a space and of its members, and chains whose slope is what one more block costs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latency_world import small_space

from posesearch.errors import UsageError
from posesearch.latency import chain as chains
from posesearch.latency.blocks import blocks_in, blocks_of
from posesearch.latency.chain import FEWER, MORE, chain, marginal_costs
from posesearch.latency.choose import choose_nets, corners, middle
from posesearch.latency.effort import Effort
from posesearch.latency.features import FEATURES, depthwise_macs, features, total_depth
from posesearch.latency.types import Conditions
from posesearch.models.cost import cost
from posesearch.models.deploy import DeployedStarBlock
from posesearch.models.heads import RTMCCHead
from posesearch.spaces import load_space

HASTY = Effort(
    warm_up_s=0.0, max_warm_up_s=0.0, settle_calls=1, unrecorded=0, recorded=1,
    min_rounds=1, max_rounds=1, half_width=1.0, max_s=0.0,
)  # fmt: skip


@given(seed=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_every_block_of_every_member_is_a_block_of_the_space(seed):
    space = load_space("starnet")
    arch = space.sample(seed)
    blocks = blocks_of(arch)
    assert set(blocks) <= set(blocks_in(space))
    stars = {block: count for block, count in blocks.items() if block.kind == "star"}
    assert sum(stars.values()) == total_depth(arch)
    kinds = [block.kind for block in blocks]
    assert (kinds.count("stem"), kinds.count("head"), kinds.count("down")) == (1, 1, len(arch.stages))


def test_the_published_space_has_the_stated_number_of_blocks():
    blocks = blocks_in(load_space("starnet"))
    assert len(blocks) == len(set(blocks)) == 297
    kinds = [block.kind for block in blocks]
    assert [kinds.count(kind) for kind in ("stem", "down", "star", "head")] == [1, 40, 252, 4]


def test_blocks_say_where_they_stand():
    star = next(block for block in blocks_in(small_space()) if block.kind == "star" and block.attention)
    down = next(block for block in blocks_in(small_space()) if block.kind == "down")
    assert str(star) == "star w8 k3 r2 a1 at 8x8"
    assert str(down) == "down w8-8 at 16x16"


@pytest.mark.parametrize("kind", ["stem", "down", "star", "head"])
@pytest.mark.parametrize("copies", [FEWER, MORE])
def test_a_chain_has_so_many_blocks_of_their_own_weights_at_their_place(kind, copies):
    space = small_space()
    block = next(block for block in blocks_in(space) if block.kind == kind)
    network, size = chain(block, space, copies, Conditions())
    seen = []
    parts = (
        network.parts
        if kind != "star"
        else [m for m in network.modules() if isinstance(m, DeployedStarBlock)]
    )
    for part in parts:
        part.register_forward_pre_hook(lambda _part, inputs: seen.append(tuple(inputs[0].shape)))
    with torch.inference_mode():
        outputs = network(torch.randn(1, 3, *size))
    assert seen == [(1, block.in_width, *block.size)] * copies
    assert len(outputs) == 2
    assert all(torch.isfinite(output).all() for output in outputs)
    weights = [next(part.parameters()) for part in parts]
    assert len({weight.data_ptr() for weight in weights}) == copies
    if kind == "head":
        assert all(isinstance(part, RTMCCHead) for part in parts)


def test_the_slope_of_two_chains_is_the_cost_of_one_block(monkeypatch):
    space = small_space()
    wanted = blocks_in(space)[:5]
    asked = []

    def times(calls, sentinel, effort, *, seed):
        asked.append((tuple(calls), sentinel))
        found = {}
        for key in calls:
            number, copies = map(int, key.split(" x "))
            found[key] = SimpleNamespace(p50_ms=1.0 + (0.1 + 0.01 * number) * copies)
        for timing in found.values():
            timing.over_sentinel = timing.p50_ms / found[sentinel].p50_ms
        return found, 0

    monkeypatch.setattr(chains, "time_calls", times)
    monkeypatch.setattr(chains, "prepare", lambda *_: None)
    sentinel = blocks_in(space)[-3]
    found = marginal_costs(wanted, space, Conditions(), sentinel=sentinel)
    assert list(found.cost_ms) == list(wanted)
    assert list(found.cost_ms.values()) == pytest.approx([0.11, 0.12, 0.13, 0.14, 0.15])
    assert found.sentinel_ms == pytest.approx(1.6)
    assert asked[0][1] == f"0 x {MORE}"
    assert len(asked[0][0]) == 2 * 6


def test_noise_makes_no_block_cheaper_than_nothing(monkeypatch):
    space = small_space()
    falling = {"0 x 2": 2.0, "0 x 6": 1.9}
    monkeypatch.setattr(
        chains,
        "time_calls",
        lambda *_args, **_options: (
            {key: SimpleNamespace(p50_ms=ms, over_sentinel=ms / 1.9) for key, ms in falling.items()},
            0,
        ),
    )
    monkeypatch.setattr(chains, "prepare", lambda *_: None)
    stem = blocks_in(space)[0]
    assert marginal_costs([stem], space, Conditions(), sentinel=stem).cost_ms == {stem: 0.0}


def test_blocks_of_every_kind_are_really_timed():
    space = small_space()
    one_each = {block.kind: block for block in blocks_in(space)}
    found = marginal_costs(
        list(one_each.values()), space, Conditions(), sentinel=one_each["star"], effort=HASTY
    )
    assert set(found.cost_ms) == set(one_each.values())
    assert found.sentinel_ms > 0


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_features_are_finite_and_split_the_macs(seed):
    space = load_space("demo")
    arch = space.sample(seed)
    found = features(arch, space)
    assert len(found) == len(FEATURES) + sum(1 + len(s.kernel) + len(s.width) for s in space.stages)
    # Every stage has all its blocks of some kernel, and one width.
    assert sum(found[len(FEATURES) + len(arch.stages) :]) == total_depth(arch) + len(arch.stages)
    assert torch.isfinite(torch.tensor(found)).all()
    assert 0 < depthwise_macs(arch) < cost(arch).macs


def test_depthwise_macs_are_those_of_the_counter():
    # Only the kernel differs, so only the depthwise part of the MACs does.
    space = load_space("demo")
    small = space.decode({**space.encode(space.smallest())})
    large = space.decode(
        {name: 7 if name.endswith("kernel") else value for name, value in space.encode(small).items()}
    )
    assert depthwise_macs(large) - depthwise_macs(small) == cost(large).macs - cost(small).macs


@given(nets=st.integers(10, 60), held_out=st.integers(5, 40), seed=st.integers(0, 100))
@settings(max_examples=4, deadline=None)
def test_networks_are_chosen_once_and_for_one_role(nets, held_out, seed):
    space = load_space("demo")
    plan = choose_nets(space, nets=nets, held_out=held_out, seed=seed)
    assert (len(plan.fit), len(plan.held_out)) == (nets, held_out)
    assert len({plan.sentinel, *plan.fit, *plan.held_out}) == 1 + nets + held_out
    assert all(space.contains(arch) for arch in plan.measured)
    assert plan == choose_nets(space, nets=nets, held_out=held_out, seed=seed)


def test_the_fitted_networks_reach_the_corners_and_beyond_the_crowd():
    space = load_space("starnet")
    plan = choose_nets(space, nets=68, held_out=40)
    assert set(plan.fit[:8]) == set(corners(space))
    assert plan.sentinel == middle(space)
    depths = [[total_depth(arch) for arch in archs] for archs in (plan.fit[8:], plan.held_out)]
    # Uniform draws crowd around the mean; strata spread them.
    assert torch.tensor(depths[0]).float().std() > 1.1 * torch.tensor(depths[1]).float().std()
    attention = [sum(stage.attention for stage in arch.stages) for arch in plan.fit[8:]]
    assert set(attention) == {0, 1, 2, 3, 4}
    # Asking for more keeps what was chosen: measured figures are used again.
    more = choose_nets(space, nets=90, held_out=40)
    assert plan.fit == more.fit[:68]


@pytest.mark.parametrize(
    ("nets", "held_out", "message"),
    [
        (-3, 40, "--nets -3: too few networks. Allowed: 10 or more"),
        (9, 40, "--nets 9"),
        (10, 4, "--held-out 4: too few networks. Allowed: 5 or more"),
    ],
)
def test_too_few_networks_are_refused(nets, held_out, message):
    with pytest.raises(UsageError, match=message):
        choose_nets(load_space("demo"), nets=nets, held_out=held_out)


def test_a_space_without_enough_architectures_says_so():
    space = small_space()
    few = type(space)(
        **{**{n: getattr(space, n) for n in space.__dataclass_fields__}, "stages": space.stages[:1]}
    )
    assert few.cardinality == 48
    with pytest.raises(UsageError, match="need 51 different architectures, space 'small' has 48"):
        choose_nets(few, nets=40, held_out=10)

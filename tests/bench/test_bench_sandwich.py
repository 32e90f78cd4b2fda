"""A sandwich against a plain step: the same work on both sides, and memory counted right."""

from dataclasses import replace

import pytest
import torch
from bench_world import CPU, check_result, quick_context

from posesearch.bench import sandwich
from posesearch.bench.peaks import LiveTensors, peak_bytes
from posesearch.bench.workload import batches, people, recipe_for, stirred
from posesearch.models.cost import macs_of
from posesearch.spaces import load_space
from posesearch.supernet import Supernet, extract_subnet
from posesearch.supernet.sampling import sandwich as draw_sandwich


def test_quick_run_gives_every_ratio(people_dir):
    result = sandwich.run(quick_context(people_dir))
    check_result(
        result,
        "sandwich",
        ratios=("time_ratio", "macs_ratio", "time_over_macs", "peak_memory"),
        goals=[("time_over_macs", 1.1, True), ("peak_memory", 1.05, True)],
    )
    ratios, figures = result.ratios, result.figures["demo"]
    assert ratios["time_over_macs"] == pytest.approx(ratios["time_ratio"] / ratios["macs_ratio"])
    # By hand: four subnets of the first step, over the largest.
    draws = draw_sandwich(load_space("demo"), 0, 0, 2)
    largest = macs_of(load_space("demo").largest())
    assert ratios["macs_ratio"] == pytest.approx(sum(macs_of(draw.arch) for draw in draws) / largest)
    assert figures["plain_loss"] == pytest.approx(figures["largest_loss"], rel=1e-4)
    assert figures["batch_size"] == 8


def test_sides_that_differ_are_not_compared(people_dir):
    context = quick_context(people_dir)
    pair = sandwich.make_pair(context, "demo", 4, people(context, "train", 4))
    with torch.no_grad():
        pair.plain.task.module.head.cls_x.weight.mul_(100.0)  # before a norm it would change nothing
    with pytest.raises(AssertionError, match="the sides differ"):
        sandwich.check_losses(pair)


def test_both_sides_make_the_step_of_the_training_loop(people_dir):
    """Weights move, the average follows, and the same step from the same weights gives the same loss."""
    context = quick_context(people_dir)
    on = people(context, "train", 6)
    pair = sandwich.make_pair(context, "demo", 6, on)
    before = [p.detach().clone() for p in pair.supernet.task.module.parameters()]
    first = pair.supernet_step(0)
    again = sandwich.make_pair(context, "demo", 6, on).supernet_step(0)
    assert first == again
    after = list(pair.supernet.task.module.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert set(first) >= {"largest", "smallest", "random", "distil", "grad_norm"}


def test_other_steps_draw_other_subnets(people_dir):
    context = quick_context(people_dir)
    pair = sandwich.make_pair(context, "demo", 4, people(context, "train", 4))
    assert len({sandwich.macs_of_step(pair, 0, number) for number in range(4)}) > 1


def test_live_tensors_count_what_is_held_at_once():
    with LiveTensors() as tensors:
        first = torch.empty(1000)
        first.add_(1)  # in place: no new memory
        view = first[:10]
        assert tensors.live_bytes == 4000
        second = first + 1
        assert tensors.live_bytes == 8000
        del first
        assert tensors.live_bytes == 8000  # the view still holds it
        del view
        assert tensors.live_bytes == 4000
        third = torch.empty(500)
        del second, third
    assert (tensors.live_bytes, tensors.peak_bytes) == (0, 8000)


def test_live_tensors_follow_the_graph_until_backward():
    weight = torch.ones(1000, requires_grad=True)
    with LiveTensors() as tensors:
        loss = (weight * 2).exp().sum()  # exp keeps its result
        kept = tensors.live_bytes
        loss.backward()
        assert tensors.live_bytes < kept + 4000  # the graph is gone, the gradient is there
        assert tensors.live_bytes >= 4000
    assert kept >= 4000
    assert tensors.peak_bytes >= 8000


def test_tensors_from_before_are_not_counted():
    before = torch.zeros(1000)
    assert peak_bytes(lambda: before.mul_(2).view(10, 100), CPU) == 0
    assert peak_bytes(lambda: before * 2, CPU) == 4000


def test_backward_of_each_subnet_by_itself_keeps_the_peak_of_the_largest(people_dir):
    """What the ratio is to show: keeping all graphs until one joint backward would cost far more."""
    context = quick_context(people_dir)
    pair = sandwich.make_pair(context, "demo", 8, people(context, "train", 8))
    pair.plain_step(0)
    pair.supernet_step(0)
    sandwich_bytes, plain_bytes = sandwich.peaks(pair)
    supernet = pair.supernet.task.module
    images = pair.supernet_batch.to(CPU, channels_last=True).images

    def joint():
        draws = draw_sandwich(load_space("demo"), 0, 0, 2)
        total = sum(sum(part.sum() for part in supernet(images, draw.arch)) for draw in draws)
        total.backward()

    supernet.zero_grad(set_to_none=True)
    assert peak_bytes(joint, CPU) > 1.3 * max(sandwich_bytes, plain_bytes)
    assert 0.8 < sandwich_bytes / plain_bytes < 1.3


def test_stirred_weights_leave_no_branch_the_identity():
    space = load_space("demo")
    supernet = stirred(Supernet(space), 0)
    images = torch.randn(2, 3, *space.input_size)
    with torch.no_grad():
        fresh, moved = (net.train()(images, space.largest()) for net in (Supernet(space), supernet))
    assert not torch.allclose(fresh.x, moved.x)
    scales = [p for name, p in supernet.named_parameters() if name.endswith("g.bn.weight")]
    assert scales
    assert all(bool((scale >= 0.5).all()) for scale in scales)
    assert torch.equal(
        scales[0], dict(stirred(Supernet(space), 0).named_parameters())["backbone.stages.0.1.g.bn.weight"]
    )


def test_batches_are_those_of_the_training_loop(people_dir):
    context = quick_context(people_dir)
    on = people(context, "train", 6)
    recipe = recipe_for("demo", batch_size=6)
    supernet = Supernet(load_space("demo"))
    model = extract_subnet(supernet, supernet.space.largest())
    apart, inside = (
        batches(model.arch, recipe, on, device=CPU, seed=1, holes_apart=holes)(0) for holes in (True, False)
    )
    assert apart.hole_B4 is not None
    assert inside.hole_B4 is None
    assert apart.images.shape == (6, 128, 96, 3)
    assert torch.equal(apart.x_BKX, inside.x_BKX)
    assert recipe_for("demo", batch_size=6).supernet == replace(
        recipe.supernet, random_subnets=2, drop_path=0.0
    )

"""Tasks: what a sandwich step adds up, who learns from whom, who sees the black rectangle."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch._dynamo.backends.debugging import aot_eager

from posesearch.data.batch import IMAGE_MEAN, IMAGE_STD
from posesearch.models import PoseModel
from posesearch.supernet import Supernet, extract_subnet
from posesearch.supernet.sampling import sandwich
from posesearch.train.batches import batch_maker, batch_order, label_codec
from posesearch.train.losses import joint_maps, map_loss, simcc_loss, soft_labels
from posesearch.train.recipe import LossConfig, SupernetConfig
from posesearch.train.tasks import ModelTask, SupernetTask, occluded

LOSS = LossConfig()
CPU = torch.device("cpu")


def batch_of(people, recipe, space, *, holes_apart, step=0):
    dataset, store = people
    codec = label_codec(space.input_size, space.head.split_ratio, recipe.loss)
    order = batch_order(dataset, recipe, 3)
    return batch_maker(dataset, store, recipe, order, codec, holes_apart=holes_apart)(step)


@pytest.fixture
def batch(people, short_recipe, tiny_space):
    return batch_of(people, short_recipe, tiny_space, holes_apart=True).to(CPU, channels_last=True)


def moved(supernet, seed=0):
    """The supernet with weights away from their start, where every branch is the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return supernet


def gradients(module):
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def test_gradient_is_the_sum_over_the_sandwich(batch, tiny_space):
    """Against plain extracted networks: hard loss for the largest, half and half for the others in the first half."""
    supernet = moved(Supernet(tiny_space, seed=2))
    config = SupernetConfig(random_subnets=2, distil_start=0.5, distil_end=1.0)
    task = SupernetTask(supernet, config, LOSS, seed=4)
    figures = task.backward(batch, step=3, total_steps=100, bf16=False)
    found = gradients(supernet)
    assert found.keys() == dict(supernet.named_parameters()).keys()

    expected = {name: torch.zeros_like(p) for name, p in supernet.named_parameters()}
    labels, losses, teacher = batch.labels(LOSS.beta), [], None
    for draw in sandwich(tiny_space, 4, 3, 2, correlation=config.size_correlation):
        parameters = supernet.subnet_parameters(draw.arch)
        model = extract_subnet(supernet, draw.arch).train()
        output = model(occluded(batch) if draw.kind == "largest" else batch.images)
        loss = simcc_loss(output, labels, LOSS.beta)
        if teacher is None:
            teacher = soft_labels(*output, labels.weight_BK, LOSS.beta)
        else:
            loss = 0.5 * loss + 0.5 * simcc_loss(output, teacher, LOSS.beta)
        losses.append(loss.item())
        loss.backward()
        cut = torch.autograd.grad(
            [parameters[name] for name, _ in model.named_parameters()],
            list(supernet.parameters()),
            grad_outputs=[p.grad for p in model.parameters()],
            allow_unused=True,
        )
        for (name, _), gradient in zip(supernet.named_parameters(), cut, strict=True):
            if gradient is not None:
                expected[name] += gradient
    assert figures["loss"].item() == pytest.approx(np.mean(losses), rel=1e-5)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_distillation_takes_over_at_half_time(batch, tiny_space):
    task = SupernetTask(Supernet(tiny_space), SupernetConfig(distil_start=0.25, distil_end=1.0), LOSS, seed=0)
    assert [task.distil_weight(step, 10) for step in (0, 4, 5, 9)] == [0.25, 0.25, 1.0, 1.0]
    figures = task.backward(batch, step=9, total_steps=10, bf16=False)
    smalls = [figures["distil_smallest"], figures["distil_random"], figures["distil_random"]]
    assert figures["loss"].item() == pytest.approx(((figures["largest"] + sum(smalls)) / 4).item(), rel=1e-5)
    assert figures["distil"].item() == pytest.approx((sum(smalls) / 3).item(), rel=1e-5)


def test_figures_carry_no_graph_and_no_random_kind_without_random_subnets(batch, tiny_space):
    task = SupernetTask(Supernet(tiny_space), SupernetConfig(random_subnets=0), LOSS, seed=0)
    figures = task.backward(batch, step=0, total_steps=10, bf16=False)
    assert {"loss", "largest", "smallest", "distil", "distil_smallest"} == set(figures)
    assert not any(value.requires_grad for value in figures.values())


def test_drop_path_touches_the_largest_only_and_is_keyed(batch, tiny_space):
    def figures(rate, step=1):
        task = SupernetTask(
            moved(Supernet(tiny_space)),
            SupernetConfig(random_subnets=1, drop_path=rate, distil_start=0.0),
            LOSS,
            seed=0,
        )
        return {k: v.item() for k, v in task.backward(batch, step=step, total_steps=10, bf16=False).items()}

    without, once, twice = figures(0.0), figures(0.5), figures(0.5)
    assert once == twice
    assert once["largest"] != without["largest"]
    assert once["smallest"] == without["smallest"]
    assert once["random"] == without["random"]


def test_rectangle_apart_is_the_same_rectangle(people, short_recipe, tiny_space):
    inside = batch_of(people, short_recipe, tiny_space, holes_apart=False).to(CPU, channels_last=True)
    apart = batch_of(people, short_recipe, tiny_space, holes_apart=True).to(CPU, channels_last=True)
    assert inside.hole_B4 is None
    assert not torch.equal(inside.images, apart.images)
    # Blackened later, but the same pixels: CoarseDropout is the last step of the augmentation.
    torch.testing.assert_close(occluded(apart), inside.images, rtol=0, atol=1e-6)
    assert torch.equal(occluded(inside), inside.images)
    black = (-torch.tensor(IMAGE_MEAN) / torch.tensor(IMAGE_STD)).view(3, 1, 1)
    left, top, width, height = apart.hole_B4[0].tolist()
    patch = occluded(apart)[0, :, top : top + height, left : left + width]
    torch.testing.assert_close(patch, black.expand_as(patch))


def test_occlusion_for_all_puts_the_rectangle_into_the_images(tiny_space):
    supernet = Supernet(tiny_space)
    for occlusion, apart in (("largest", True), ("all", False)):
        task = SupernetTask(supernet, SupernetConfig(occlusion=occlusion), LOSS, seed=0)
        assert task.holes_apart is apart
    assert ModelTask(PoseModel(tiny_space.smallest()), LOSS).holes_apart is False


def test_second_stage_follows_the_epoch(people, short_recipe, tiny_space):
    recipe = replace(short_recipe, final_augment=replace(short_recipe.final_augment, dropout_probability=0.0))
    per_epoch = len(people[0]) // recipe.batch_size
    first = batch_of(people, recipe, tiny_space, holes_apart=True, step=2 * per_epoch - 1)
    last = batch_of(people, recipe, tiny_space, holes_apart=True, step=2 * per_epoch)
    assert (first.hole_B4[:, 2] > 0).all()
    assert (last.hole_B4[:, 2] == 0).all()


def test_model_task_is_the_plain_loss(batch, tiny_space):
    model = PoseModel(tiny_space.smallest(), seed=1).train()
    figures = ModelTask(model, LOSS).backward(batch, step=0, total_steps=1, bf16=False)
    loss = simcc_loss(model(batch.images), batch.labels(LOSS.beta), LOSS.beta)
    assert figures["loss"].item() == pytest.approx(loss.item(), rel=1e-6)
    assert all(p.grad is not None for p in model.parameters())


def test_map_weight_adds_the_map_loss_of_every_subnet(batch, tiny_space):
    weighted = LossConfig(map_weight=0.5)
    model = PoseModel(tiny_space.smallest(), seed=1).train()
    figures = ModelTask(model, weighted).backward(batch, step=0, total_steps=1, bf16=False)
    found = gradients(model)
    model.zero_grad()
    with joint_maps(model) as maps:
        loss = simcc_loss(model(batch.images), batch.labels(LOSS.beta), LOSS.beta)
    on_maps = map_loss(maps[0], batch.x_BKX, batch.y_BKY, batch.weight_BK)
    (loss + 0.5 * on_maps).backward()
    assert figures["loss"].item() == pytest.approx(loss.item(), rel=1e-6)
    assert figures["map"].item() == pytest.approx(on_maps.item(), rel=1e-6)
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-7, msg=name)

    def sandwich_loss(config):
        task = SupernetTask(Supernet(tiny_space, seed=2), SupernetConfig(random_subnets=2), config, seed=4)
        return task.backward(batch, step=0, total_steps=10, bf16=False)

    plain, more = sandwich_loss(LOSS), sandwich_loss(weighted)
    assert "map" not in plain
    assert more["loss"].item() == pytest.approx((plain["loss"] + 0.5 * more["map"]).item(), rel=1e-5)


def test_half_precision_forward_keeps_full_precision_gradients(batch, tiny_space):
    supernet = Supernet(tiny_space)
    task = SupernetTask(supernet, SupernetConfig(random_subnets=1), LOSS, seed=0)
    full = task.backward(batch, step=0, total_steps=10, bf16=False)
    half = task.backward(batch, step=0, total_steps=10, bf16=True)
    assert all(p.grad.dtype == torch.float32 for p in supernet.parameters())
    assert half["largest"].item() == pytest.approx(full["largest"].item(), rel=0.02)


def test_compiled_tasks_find_the_same_gradients(batch, tiny_space):
    """With the maps' hook, drop path and bfloat16, as a training on a GPU would run them."""
    loss = LossConfig(map_weight=0.5)
    config = SupernetConfig(random_subnets=1, drop_path=0.3)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return aot_eager(graph, inputs)

    for make in (
        lambda: ModelTask(PoseModel(tiny_space.smallest(), seed=1).train(), loss),
        lambda: SupernetTask(moved(Supernet(tiny_space, seed=2)), config, loss, seed=4),
    ):
        eager, compiled = make(), make()
        compiled.compile_blocks(backend)
        figures = [
            task.backward(batch, step=3, total_steps=10, bf16=bf16)
            for bf16 in (False, True)
            for task in (eager, compiled)
        ]
        assert figures[0] == figures[1]
        assert figures[2] == figures[3]
        expected, found = gradients(eager.module), gradients(compiled.module)
        assert all(torch.equal(found[name], gradient) for name, gradient in expected.items())
        assert graphs
        graphs.clear()
        compiled.backward(batch, step=3, total_steps=10, bf16=False)
        compiled.recalibrate([batch.images])
        assert not graphs


def test_label_sigma_is_the_published_one_at_the_published_size():
    assert label_codec((256, 192), 2.0, LOSS).sigma == (4.9, 5.66)
    assert label_codec((384, 288), 2.0, LOSS).sigma == pytest.approx((6.0, 6.93), abs=0.005)

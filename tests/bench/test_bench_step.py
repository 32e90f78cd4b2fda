"""The step benchmark: twins that are twins, and ratios of the same work."""

from contextlib import contextmanager

import pytest
import torch
from bench_world import CPU, check_result, quick_context

from posesearch.bench import step, workload
from posesearch.bench.workload import batches, people, recipe_for, stirred
from posesearch.spaces import load_space
from posesearch.supernet import Supernet


def test_quick_run_gives_both_ratios(people_dir):
    result = step.run(quick_context(people_dir))
    check_result(
        result,
        "step",
        ratios=("sliced_over_static", "real_over_synthetic"),
        goals=[("sliced_over_static", 1.05, True)],
    )
    assert any("no goal" in note for note in result.notes)
    assert len(result.figures["sliced"]) == 8  # four subnets, two sides
    assert result.figures["real"]["real_images_per_s"] > 0


@pytest.mark.parametrize("which", ["largest", "smallest"])
def test_twin_computes_the_subnet_and_its_gradients(people_dir, which):
    context = quick_context(people_dir)
    space = load_space("demo")
    supernet = stirred(Supernet(space), 0).train()
    arch = getattr(space, which)()
    twin = step.static_twin(supernet, arch)
    assert not list(twin.buffers())  # norms as in a subnet: no running statistics to keep
    on = people(context, "train", 4)
    recipe = recipe_for("demo", batch_size=4)
    batch = batches(arch, recipe, on, device=CPU, seed=0)(0).to(CPU, channels_last=True)
    sliced = step.gradients(supernet, lambda images: supernet(images, arch), batch, recipe.loss)
    static = step.gradients(twin, twin, batch, recipe.loss)
    assert sliced == pytest.approx(static, rel=1e-5)
    shared = {name: p.grad for name, p in supernet.named_parameters() if p.grad is not None}
    for name, parameter in twin.named_parameters():
        # A cut takes leading entries or a centre: the sum of the gradient is all the same.
        torch.testing.assert_close(shared[name].sum(), parameter.grad.sum(), rtol=1e-3, atol=1e-4, msg=name)


def test_twins_that_differ_are_not_timed(people_dir, monkeypatch):
    context = quick_context(people_dir)
    real = step.static_twin

    def other(supernet, arch):
        twin = real(supernet, arch)
        with torch.no_grad():
            twin.head.cls_x.weight.mul_(100.0)
        return twin

    monkeypatch.setattr(step, "static_twin", other)
    with pytest.raises(AssertionError, match="largest"):
        step.sliced_over_static(context, people(context, "train", 4), "demo", batch_size=4, repeats=1)


def test_steps_run_under_the_settings_of_the_training_loop(people_dir, monkeypatch):
    context = quick_context(people_dir)
    steps = step.plain_steps(context, people(context, "train", 4), batch_size=4)
    entered = []

    @contextmanager
    def settings(task, device):
        entered.append((task, device))
        yield

    monkeypatch.setattr(workload, "device_settings", settings)
    steps.step(steps.make(0), 0)
    assert entered == [(steps.task, CPU)]

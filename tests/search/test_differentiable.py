"""A search by gradients: what pushes the choices, what is left alone, and that a stopped one goes on as if it had not."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from search_world import latency_of

from posesearch.checkpoint import weights_id
from posesearch.data.coco import read_coco
from posesearch.data.store import ImageStore
from posesearch.errors import DataError, Interrupted
from posesearch.latency.expected import Expectation, expected_cost
from posesearch.models.heads import PoseOutput
from posesearch.progress import SilentProgress
from posesearch.search import bilevel as bilevel_module
from posesearch.search.bilevel import Bilevel, DifferentiableConfig, Limit
from posesearch.search.differentiable import collapsed, search_by_gradient
from posesearch.supernet import Supernet
from posesearch.supernet.relaxed_shares import one_hot
from posesearch.train.batches import TrainBatch
from posesearch.train.recipe import OptimizerConfig, Recipe, SupernetConfig

CONFIG = DifferentiableConfig(epochs=3, warmup=0.34, samples=3)


class Messages(SilentProgress):
    def __init__(self):
        self.texts = []

    def message(self, text):
        self.texts.append(text)


@pytest.fixture(scope="module")
def people(people_dir):
    """(dataset, store) of the training split."""
    dataset = read_coco(
        people_dir / "annotations" / "person_keypoints_train2017.json",
        people_dir / "train2017",
        what="training annotations",
    )
    return dataset, ImageStore.build(dataset)


@pytest.fixture(scope="module")
def recipe():
    return Recipe(
        name="short",
        epochs=3,
        batch_size=8,
        optimizer=OptimizerConfig(lr=2e-3),
        final_epochs=1,
        supernet=SupernetConfig(random_subnets=1),
        calibration_persons=16,
        precision="fp32",
    )


def latency_limit(space, at_most):
    """The additive latency of the search world, as parts."""

    def parts(arch):
        alone = [
            latency_of(dataclasses.replace(arch, stages=(stage,), input_size=(64, 64))) - 0.3
            for stage in arch.stages
        ]
        return [0.3, *alone, 0.0]

    return Limit(name="latency_ms", expected=Expectation(space, parts), at_most=at_most)


def searched(supernet, people, recipe, folder, **changes):
    limit = latency_limit(supernet.space, changes.pop("at_most", 2.0))
    arguments = {
        "config": CONFIG,
        "folder": folder,
        "seed": 5,
        "progress": SilentProgress(),
        "fingerprint": {"weights": "w"},
        **changes,
    }
    return search_by_gradient(
        supernet, *people, recipe, (limit,), lambda arch: latency_of(arch) <= limit.at_most, **arguments
    )


def test_stopped_and_resumed_equals_uninterrupted_and_the_supernet_is_left_alone(
    tiny_space, people, recipe, tmp_path
):
    supernet = Supernet(tiny_space, seed=1)
    before = weights_id(supernet.state_dict())
    straight = searched(supernet, people, recipe, tmp_path / "straight")
    assert straight.steps == 18 and len(straight.history) == 3 and straight.archs
    assert all(latency_of(arch) <= 2.0 for arch in straight.archs)
    assert all(sum(values) == pytest.approx(1.0) for values in straight.distributions.values())
    assert "choices_loss" not in straight.history[0], "the choices are frozen while it warms up"
    assert {"loss", "choices_loss", "entropy", "expected_latency_ms"} <= straight.history[-1].keys()
    assert any(max(values) - min(values) > 0.05 for values in straight.distributions.values())
    stops = 0
    while True:
        asked = iter(range(100))
        try:
            found = searched(
                supernet,
                people,
                recipe,
                tmp_path / "broken",
                stop=lambda asked=asked, last=2 + stops: next(asked) == last,
            )
            break
        except Interrupted as error:
            stops += 1
            assert f"of 18; everything is saved in {tmp_path / 'broken'}" in str(error)
    assert stops >= 2
    assert found == straight
    assert weights_id(supernet.state_dict()) == before
    assert sorted(path.name for path in (tmp_path / "broken").iterdir()) == ["differentiable.json"]
    # When all is done, nothing is trained again, and another search's folder is refused.
    assert searched(supernet, people, recipe, tmp_path / "broken", stop=lambda: True) == straight
    with pytest.raises(
        DataError, match=r"(?s)another differentiable search.*latency_ms: 2.0 before, 1.5 now"
    ) as e:
        searched(supernet, people, recipe, tmp_path / "broken", at_most=1.5)
    assert e.value.exit_code == 4
    assert searched(supernet, people, recipe, tmp_path / "seed", seed=6) != straight


def test_a_damaged_checkpoint_is_named(tiny_space, people, recipe, tmp_path):
    supernet = Supernet(tiny_space, seed=1)
    with pytest.raises(Interrupted):
        searched(supernet, people, recipe, tmp_path, stop=lambda: True)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"checkpoint.pt cannot be used: it is cut off or damaged"):
        searched(supernet, people, recipe, tmp_path)


def a_batch(space, count=4):
    generator = torch.Generator().manual_seed(0)
    height, width = space.input_size
    return TrainBatch(
        images=torch.randn(count, 3, height, width, generator=generator),
        x_BKX=torch.rand(count, 17, 2 * width, generator=generator),
        y_BKY=torch.rand(count, 17, 2 * height, generator=generator),
        weight_BK=torch.ones(count, 17),
        hole_B4=None,
        annotation_id_B=torch.arange(count).numpy(),
    )


def make(space, recipe, limits=(), steps=60, **changes):
    config = dataclasses.replace(CONFIG, warmup=0.0, **changes)
    return Bilevel(Supernet(space, seed=1), recipe, config, limits, seed=0, total_steps=steps)


def test_where_the_loss_does_not_care_the_choices_become_cheaper_until_they_fit(
    tiny_space, recipe, monkeypatch
):
    def constant(supernet, images, shares):
        height, width = supernet.space.input_size
        nothing = 0.0 * sum(share.sum() for share in shares.values())
        return PoseOutput(
            x=torch.zeros(len(images), 17, 2 * width) + nothing,
            y=torch.zeros(len(images), 17, 2 * height) + nothing,
        )

    monkeypatch.setattr(bilevel_module, "relaxed_forward", constant)
    monkeypatch.setattr(
        Bilevel,
        "_loss",
        lambda self, batch, shares: (constant(self.supernet, batch.images, shares).x.sum(), torch.zeros(())),
    )
    smallest = latency_of(tiny_space.smallest())
    batch = a_batch(tiny_space)
    tight = make(tiny_space, recipe, (latency_limit(tiny_space, 0.9 * smallest),))
    for step in range(60):
        tight.logit_step(batch, step)
    shares = tight.distributions()
    assert all(share[0] == share.max() and share[0] > 0.9 for share in shares.values()), shares
    # What fits already is not pushed at all, but for the wish to be decided.
    loose = make(tiny_space, recipe, (latency_limit(tiny_space, 100.0),), entropy_weight=0.0)
    for step in range(10):
        loose.logit_step(batch, step)
    assert all(torch.allclose(share, share.mean()) for share in loose.distributions().values())
    # The push ends at the limit.
    limit = latency_limit(tiny_space, 1.5)
    between = make(tiny_space, recipe, (limit,), entropy_weight=0.0)
    for step in range(60):
        between.logit_step(batch, step)
    assert limit.expected(between.distributions()).item() == pytest.approx(1.5, rel=0.05)


def test_parameters_and_multiplications_are_limited_likewise(tiny_space):
    figure = {name: expected_cost(tiny_space, name) for name in ("params", "macs")}
    from posesearch.models.cost import cost

    arch = tiny_space.largest()
    shares = one_hot(tiny_space, arch, torch.zeros((), dtype=torch.float64))
    for name, expected in figure.items():
        value = getattr(cost(arch), name)
        assert Limit(name=name, expected=expected, at_most=value).overrun(shares).item() == 0.0
        half = Limit(name=name, expected=expected, at_most=value / 2)
        assert half.overrun(shares).item() == pytest.approx(1.0)


@pytest.mark.parametrize("straight_through", [False, True])
def test_a_step_of_the_choices_moves_no_weight_and_the_other_way_round(tiny_space, recipe, straight_through):
    both = make(tiny_space, recipe, straight_through=straight_through)
    with torch.no_grad():
        # A fresh supernet's branches end in norms of scale 0: no choice within them would matter yet.
        for parameter in both.supernet.parameters():
            parameter.add_(0.1)
    batch = a_batch(tiny_space)
    weights = weights_id(both.supernet.state_dict())
    both.weight_step(batch, 30)
    assert weights_id(both.supernet.state_dict()) != weights
    assert all(not values.any() for values in both.logits.values())
    weights = weights_id(both.supernet.state_dict())
    both.logit_step(batch, 30)
    assert weights_id(both.supernet.state_dict()) == weights
    assert all(values.any() for values in both.logits.values() if len(values) > 1)


def test_a_loss_that_is_not_finite_ends_it(tiny_space, recipe):
    broken = make(tiny_space, recipe)
    with torch.no_grad():
        next(broken.supernet.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match=r"the loss of the weights was nan at step 0.*--strategy sample"):
        broken.weight_step(a_batch(tiny_space), 0)


def test_it_ends_when_all_depths_collapse_though_the_budget_leaves_room(tiny_space, people, recipe, tmp_path):
    supernet = Supernet(tiny_space, seed=1)
    both = Bilevel(supernet, recipe, CONFIG, (latency_limit(tiny_space, 100.0),), seed=0, total_steps=9)
    assert not collapsed(tiny_space, both)
    with torch.no_grad():
        for name, values in both.logits.items():
            if name.endswith("depth"):
                values.copy_(torch.tensor([4.0, 0.0]))
    assert collapsed(tiny_space, both)
    both.limits = (latency_limit(tiny_space, 0.5),)
    assert not collapsed(tiny_space, both), "it is the budget that makes them shallow"


def test_a_collapsed_search_says_so_and_draws_from_what_it_has(
    tiny_space, people, recipe, tmp_path, monkeypatch
):
    monkeypatch.setattr("posesearch.search.differentiable.COLLAPSED_FROM", 0.3)
    messages = Messages()
    supernet = Supernet(tiny_space, seed=1)
    found = searched(supernet, people, recipe, tmp_path, at_most=100.0, progress=messages)
    assert found.collapsed == 2 and found.steps == 12 and found.archs
    assert "ended after epoch 2 of 3: every stage is at its smallest depth" in messages.texts[0]

"""Expected latency: the table's line at one choice a gene, its exact average over all members, and a true gradient."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latency_world import World, build_table, small_space

from posesearch.latency.calibrate import Calibration
from posesearch.latency.estimate import Estimator
from posesearch.latency.expected import expected_cost, expected_latency_ms
from posesearch.latency.predictor import LatencyPredictor
from posesearch.models.cost import cost
from posesearch.spaces import SearchSpace, StageSpace, load_space

SPACE: SearchSpace = dataclasses.replace(
    small_space(),
    stages=(
        StageSpace(width=(8, 16), depth=(1, 3), kernel=(3, 5), ratio=(2, 3), attention=(False, True)),
        StageSpace(width=(8, 16, 24), depth=(2,), kernel=(3, 5), ratio=(2,), attention=(True,)),
    ),
)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table whose line has a constant and a slope, and whose prices networks have corrected."""
    made = build_table(SPACE, World(noise=0.01, bend=0.1), tmp_path_factory.mktemp("t"), nets=40, held_out=10)
    factors = np.random.default_rng(0).uniform(0.8, 1.2, len(made.entries))
    calibration = Calibration(
        constant_ms=0.31, slope=1.27, residual=None, nets=40, price_factors=tuple(factors.tolist())
    )
    return dataclasses.replace(made, calibration=calibration)


def draw(seed: int, space: SearchSpace = SPACE) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.softmax(2.0 * torch.randn(len(choices), generator=generator, dtype=torch.float64), 0)
        for name, choices in space.genes().items()
    }


def choose(space: SearchSpace, arch) -> dict[str, torch.Tensor]:
    genes = space.genes()
    return {
        name: torch.eye(len(genes[name])).double()[genes[name].index(choice)]
        for name, choice in space.encode(arch).items()
    }


def everyone(space: SearchSpace, shares):
    """Yields every member with its probability."""
    genes = space.genes()
    for places in itertools.product(*(range(len(choices)) for choices in genes.values())):
        chosen = dict(zip(genes, places, strict=True))
        probability = np.prod([shares[name][place].item() for name, place in chosen.items()])
        yield space.decode({name: genes[name][place] for name, place in chosen.items()}), probability


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_average_over_all_members(table, seed) -> None:
    shares = draw(seed)
    estimator = Estimator(table.costs_ms(), table.calibration, SPACE)
    members = list(everyone(SPACE, shares))
    assert len(members) == SPACE.cardinality == 192
    assert sum(p for _, p in members) == pytest.approx(1.0)
    average_ms = sum(p * estimator.latency_ms(arch) for arch, p in members)
    assert expected_latency_ms(table)(shares).item() == pytest.approx(average_ms, rel=1e-12)
    for figure in ("params", "macs"):
        average = sum(p * getattr(cost(arch), figure) for arch, p in members)
        assert expected_cost(SPACE, figure)(shares).item() == pytest.approx(average, rel=1e-12)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_at_one_choice_a_gene_it_is_the_tables_prediction(table, seed) -> None:
    arch = SPACE.sample(np.random.default_rng(seed))
    predicted_ms = LatencyPredictor(table).predict(arch).latency_ms
    assert expected_latency_ms(table)(choose(SPACE, arch)).item() == pytest.approx(predicted_ms, rel=1e-12)


def test_the_correction_is_left_out(tmp_path) -> None:
    bent = build_table(SPACE, World(noise=0.0, bend=0.5), tmp_path, nets=40, held_out=10)
    assert bent.calibration.residual is not None, "attention bends this world"
    line = dataclasses.replace(bent, calibration=dataclasses.replace(bent.calibration, residual=None))
    arch = SPACE.largest()
    expected_ms = expected_latency_ms(bent)(choose(SPACE, arch)).item()
    assert expected_ms == pytest.approx(LatencyPredictor(line).predict(arch).latency_ms, rel=1e-12)
    assert expected_ms != pytest.approx(LatencyPredictor(bent).predict(arch).latency_ms, rel=1e-6)


def test_the_gradient_is_what_finite_differences_say(table) -> None:
    expected = expected_latency_ms(table)
    logits = {name: share.log().requires_grad_() for name, share in draw(5).items()}

    def latency(values):
        return expected({name: torch.softmax(value, 0) for name, value in values.items()})

    gradients = torch.autograd.grad(latency(logits), list(logits.values()))
    for (name, value), gradient in zip(logits.items(), gradients, strict=True):
        numeric = []
        for unit in 1e-6 * torch.eye(len(value)).double():
            ends = [latency({**logits, name: value.detach() + sign * unit}).item() for sign in (1, -1)]
            numeric.append((ends[0] - ends[1]) / 2e-6)
        assert gradient.tolist() == pytest.approx(numeric, rel=1e-5, abs=1e-8), name


def test_single_precision_shares_do() -> None:
    space = load_space("demo")
    shares = {name: share.float() for name, share in draw(2, space).items()}
    macs = expected_cost(space, "macs")(shares)
    assert macs.dtype == torch.float32
    exact = expected_cost(space, "macs")(draw(2, space)).item()
    assert macs.item() == pytest.approx(exact, rel=1e-5)

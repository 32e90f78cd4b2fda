"""The surrogate sampler: its model is the regression it says it is, and what it proposes is new, fits, and gets there."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesearch import rng
from posesearch.search.axes import Axis
from posesearch.search.samplers import Genes
from posesearch.search.surrogate import Surrogate, Task
from posesearch.search.surrogate_climb import Climb
from posesearch.search.surrogate_figures import sized_members
from posesearch.search.surrogate_fit import _Fit
from posesearch.search.surrogate_kernel import Effects, Shrinkage, Tables
from posesearch.search.surrogate_model import FIRST_FIT, Posterior, fit_at
from posesearch.search.surrogate_smooth import smoothed_scores
from posesearch.search.surrogate_volume import Levels
from posesearch.spaces import StageSpace

NAMES = ("stage0.width", "stage0.depth", "stage1.width", "stage1.depth", "crop")
COUNTS = (3, 2, 4, 1, 3)
EFFECTS = Effects(NAMES, COUNTS)


def shrinkage(seed=0):
    generator = np.random.default_rng(seed)
    pairs = np.triu(generator.random((len(COUNTS), len(COUNTS))), 1)
    return Shrinkage(main_G=generator.random(len(COUNTS)), pair_GG=pairs + pairs.T, noise=0.01)


def everything():
    return np.argwhere(np.ones(COUNTS, bool))


def random_tables(seed):
    generator = np.random.default_rng(seed)
    return EFFECTS.tables(everything(), generator.standard_normal(len(everything())), shrinkage(seed))


def test_effects_of_a_gene_sum_to_zero_and_vary_by_one():
    for kernel in EFFECTS.kernels:
        assert kernel.sum(axis=0) == pytest.approx(0.0, abs=1e-12)
        assert np.trace(kernel) / len(kernel) == pytest.approx(float(len(kernel) > 1))


def test_covariance_is_positive_and_tables_are_the_same_function():
    members, weights = everything(), np.random.default_rng(1).standard_normal(len(everything()))
    covariance = EFFECTS.covariance(members, members, shrinkage())
    assert np.linalg.eigvalsh(covariance).min() > -1e-9
    assert covariance.diagonal() == pytest.approx(EFFECTS.variance(members, shrinkage()))
    tables = EFFECTS.tables(members, weights, shrinkage())
    assert tables.of(EFFECTS.one_hot(members)) == pytest.approx(covariance @ weights)


def test_draws_have_the_covariance():
    members = everything()[::7]
    hot, generator = EFFECTS.one_hot(members), np.random.default_rng(0)
    drawn = np.array([EFFECTS.drawn(generator, shrinkage()).of(hot) for _ in range(6000)])
    covariance = EFFECTS.covariance(members, members, shrinkage())
    assert np.abs(drawn.T @ drawn / len(drawn) - covariance).max() < 0.08 * covariance.max()


def test_gradient_of_the_fit():
    members = everything()[::3]
    fit = _Fit(EFFECTS, members, np.random.default_rng(2).standard_normal(len(members)))
    values = fit.start() + 0.3 * np.random.default_rng(3).standard_normal(len(fit.start()))
    _, gradient = fit.loss(values)
    steps = 1e-5 * np.eye(len(values))
    slopes = [(fit.loss(values + step)[0] - fit.loss(values - step)[0]) / 2e-5 for step in steps]
    assert gradient == pytest.approx(slopes, rel=1e-4, abs=1e-5)


def test_a_posterior_that_grew_is_the_one_that_starts_anew_to_the_last_bit():
    members = everything()[np.random.default_rng(0).permutation(len(everything()))]
    scores = np.sin(members.sum(axis=1)) + members[:, 0]
    grown = Posterior(EFFECTS, members[:FIRST_FIT], scores[:FIRST_FIT])
    for count in range(FIRST_FIT + 1, 40):
        if grown.follows(members[:count], scores[:count]):
            grown.add(members[count - 1], float(scores[count - 1]))
        else:
            assert fit_at(count) == count
            grown = Posterior(EFFECTS, members[:count], scores[:count])
        anew = Posterior(EFFECTS, members[:count], scores[:count])
        assert (anew.mean().pair_TT == grown.mean().pair_TT).all()
        assert (anew.mean().main_T == grown.mean().main_T).all()
    changed = scores[:count].copy()
    changed[2] += 1e-9
    assert not grown.follows(members[:count], changed)


def test_posterior_knows_what_it_has_seen_and_doubts_the_rest():
    members = everything()
    scores = members @ np.array([1.0, 0.5, 0.3, 0.0, 2.0])
    posterior = Posterior(EFFECTS, members[::2], scores[::2])
    expected = posterior.middle + posterior.scale * posterior.mean().of(EFFECTS.one_hot(members))
    assert np.abs(expected - scores).max() < 0.15
    few = Posterior(EFFECTS, members[:FIRST_FIT], scores[:FIRST_FIT])
    assert few.deviation(members[:FIRST_FIT]).max() < few.deviation(members[-FIRST_FIT:]).min()


def test_draws_agree_where_there_are_answers():
    members = everything()[::2]
    posterior = Posterior(EFFECTS, members, members.sum(axis=1).astype(float))
    hot, generator = EFFECTS.one_hot(members), np.random.default_rng(0)
    drawn = np.array([posterior.draw(generator).of(hot) for _ in range(200)])
    assert drawn.mean(axis=0) == pytest.approx(posterior.mean().of(hot), abs=0.1)
    assert drawn.std(axis=0).max() < 0.3


@given(seed=st.integers(0, 10_000), place=st.integers(0, 71))
def test_changes_are_priced_as_the_tables_price_them(seed, place):
    tables, member = random_tables(seed), everything()[place]
    here = float(tables.of(EFFECTS.one_hot(member[None]))[0])
    seen = 0
    for gain, changed in Climb(EFFECTS, tables, ()).around(member, np.zeros(0)):
        assert float(tables.of(EFFECTS.one_hot(changed[None]))[0]) - here == pytest.approx(gain, abs=1e-9)
        assert (changed != member).sum() <= 2
        seen += 1
    single = sum(COUNTS)
    assert seen == single + sum(a * b for i, a in enumerate(COUNTS) for b in COUNTS[i + 1 :])


@given(seed=st.integers(0, 10_000))
def test_a_climb_ends_within_its_limit_where_no_change_helps(seed):
    score, figure = random_tables(seed), random_tables(seed + 1)
    values, figures = score.of(EFFECTS.one_hot(everything())), figure.of(EFFECTS.one_hot(everything()))
    limit = float(np.median(figures))
    starts = np.argsort(figures)[[0, 20, 35, 71]]
    ends = Climb(EFFECTS, score, [figure]).best(
        everything()[starts], figures[starts][:, None], np.full((4, 1), limit)
    )
    for start, end in zip(starts, ends, strict=True):
        place = int(np.flatnonzero((everything() == end).all(axis=1))[0])
        near = (everything() != end).sum(axis=1) <= 2
        # Far over the limit there may be no way back.
        if figures[place] <= limit + 1e-9:
            assert values[place] == pytest.approx(values[near & (figures <= limit)].max())
        else:
            assert figures[start] > limit
            assert figures[near].min() >= figures[place] - 1e-3


def test_gains_are_hypervolume():
    axes = (axis_of(lambda arch: 1.0, limit=10.0, objective=True),)
    seen, expected = np.array([[1.0], [4.0]]), np.array([0.0, 1.0])
    levels = Levels(axes, seen, expected, np.random.default_rng(0))
    gains = levels.gains(np.array([2.0, 0.5, 1.0, 2.0]), np.array([[4.0], [2.5], [5.0], [10.5]]))
    # From 1 to 10: (10 - 4) * 1, (4 - 2.5) * 0.5, nothing, nothing.
    assert gains == pytest.approx([6.0 / 9.0, 0.75 / 9.0, 0.0, 0.0], abs=0.01)


def axis_of(figure, *, limit, objective, name="latency_ms"):
    return Axis(name=name, figure=figure, limit=limit, objective=objective, counted=False)


def latency_of(arch):
    return 0.3 + sum(s.depth * (0.2 + 0.002 * s.width + 0.01 * s.kernel * s.ratio) for s in arch.stages)


def additive_ap(arch):
    parts = [
        s.depth * 0.5 + 0.02 * s.width + 0.03 * s.kernel + 0.1 * s.ratio + 0.2 * s.attention
        for s in arch.stages
    ]
    return sum((place + 1) * part for place, part in enumerate(parts))


def searched(space, score, count, *, axes, restarted=False, seed=0):
    """Asks until `count` are evaluated; with `restarted`, each ask comes from a surrogate that was made anew."""
    genes = Genes(space, "surrogate")
    surrogate = Surrogate(genes, seed)
    archs = [space.smallest()]
    for number in range(1, count):
        if restarted:
            surrogate = Surrogate(genes, seed)
        task = Task(
            archs=tuple(archs),
            scores=tuple(map(score, archs)),
            axes=axes,
            new=lambda arch: arch not in archs,
        )
        archs.append(surrogate.propose(task, rng.generator(seed, "test", number)))
    return archs


def test_proposals_are_new_and_within_the_limit(tiny_space):
    archs = searched(tiny_space, additive_ap, 45, axes=(axis_of(latency_of, limit=2.2, objective=True),))
    assert len(set(archs)) == len(archs)
    assert max(map(latency_of, archs)) <= 2.2


def test_proposals_do_not_depend_on_restarts(tiny_space):
    axes = (axis_of(latency_of, limit=2.2, objective=True),)
    once = searched(tiny_space, additive_ap, 24, axes=axes)
    assert searched(tiny_space, additive_ap, 24, axes=axes, restarted=True) == once
    assert searched(tiny_space, additive_ap, 24, axes=axes, seed=1) != once


def test_it_finds_the_optimum_of_an_additive_problem(small_space):
    members = [
        small_space.decode(dict(zip(small_space.genes(), genes, strict=True))) for genes in grid(small_space)
    ]
    best = max((a for a in members if latency_of(a) <= 2.2), key=additive_ap)
    archs = searched(small_space, additive_ap, 60, axes=(axis_of(latency_of, limit=2.2, objective=True),))
    assert small_space.cardinality > 1024
    assert best in archs


def grid(space):
    choices = list(space.genes().values())
    return [[c[i] for c, i in zip(choices, place, strict=True)] for place in np.ndindex(*map(len, choices))]


@pytest.fixture
def small_space(tiny_space):
    """2,304 members, two genes with a single choice."""
    first, second, third = tiny_space.stages
    return dataclasses.replace(
        tiny_space,
        stages=(
            dataclasses.replace(first, kernel=(3,), ratio=(2, 4)),
            second,
            dataclasses.replace(third, kernel=(5,), ratio=(2, 4), depth=(1, 2)),
        ),
    )


def test_a_space_of_few_members_is_asked_to_its_end(tiny_space):
    space = dataclasses.replace(
        tiny_space, stages=(StageSpace(width=(8, 16), depth=(1, 2), kernel=(3,), ratio=(2, 3, 4)),)
    )
    archs = searched(
        space, additive_ap, space.cardinality, axes=(axis_of(latency_of, limit=0.8, objective=True),)
    )
    assert len(set(archs)) == space.cardinality == 24
    within = [latency_of(arch) <= 0.8 for arch in archs]
    # What is over the limit comes last.
    assert within == sorted(within, reverse=True)
    assert 0 < sum(within) < 24


@pytest.mark.parametrize("objectives", [(True, True), (False, False)])
def test_several_free_figures(tiny_space, objectives):
    def size(arch):
        return float(sum(s.depth * s.width**2 * s.ratio for s in arch.stages))

    axes = (
        axis_of(latency_of, limit=2.4, objective=objectives[0]),
        axis_of(size, limit=None if objectives[1] else 4000.0, objective=objectives[1], name="params"),
    )
    archs = searched(tiny_space, additive_ap, 24, axes=axes)
    assert len(set(archs)) == 24
    assert max(map(latency_of, archs)) <= 2.4
    assert objectives[1] or max(map(size, archs)) <= 4000.0


def test_smoothed_scores_are_closer_to_the_truth_than_what_was_evaluated(tiny_space):
    generator = np.random.default_rng(0)
    archs = list(dict.fromkeys(tiny_space.sample(generator) for _ in range(80)))
    truth = np.array([additive_ap(arch) for arch in archs])
    noisy = truth + 0.5 * generator.standard_normal(len(archs))
    smoothed = smoothed_scores(tiny_space, archs, noisy.tolist())
    means = np.array([smoothed[arch].mean for arch in archs])
    error, evaluated = (np.sqrt(np.mean((figures - truth) ** 2)) for figures in (means, noisy))
    assert error < 0.95 * evaluated
    assert all(0 < smoothed[arch].deviation < 0.5 for arch in archs)
    assert smoothed_scores(tiny_space, archs[: FIRST_FIT - 1], noisy[: FIRST_FIT - 1].tolist()) == {}


def test_sized_members_reach_both_ends():
    members = sized_members((4, 4, 4, 4, 4, 4), 300, np.random.default_rng(0))
    sums = members.sum(axis=1)
    assert sums.min() <= 2
    assert sums.max() >= 16
    assert isinstance(EFFECTS.drawn(np.random.default_rng(0), shrinkage()), Tables)

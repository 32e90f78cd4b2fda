"""The predictor on synthetic devices: exact where the world is additive, honest where it is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from latency_world import World, build_table, measured, small_space

from posesearch.errors import UsageError
from posesearch.latency import estimate
from posesearch.latency.bound import conformal_bound
from posesearch.latency.learn import estimator_of, table_scores
from posesearch.latency.predictor import LatencyPredictor
from posesearch.latency.types import Measured, Predicted
from posesearch.spaces import load_space

SPACE = small_space()


def others(table, count, seed=99):
    """Members of the space that are not in the table."""
    known = {net.code for net in table.nets}
    generator = np.random.default_rng(seed)
    found = {}
    while len(found) < count:
        arch = table.space.sample(generator)
        if arch.code not in known:
            found[arch] = None
    return list(found)


@given(constant_ms=st.floats(0.0, 1.0), slope=st.floats(0.3, 3.0), seed=st.integers(0, 50))
@settings(max_examples=4, deadline=None)
def test_an_additive_device_is_predicted_exactly(tmp_path_factory, constant_ms, slope, seed):
    world = World(constant_ms=constant_ms, slope=slope)
    table = build_table(SPACE, world, tmp_path_factory.mktemp("exact"), nets=12, held_out=6, seed=seed)
    predictor = LatencyPredictor(table)
    for arch in others(table, 20):
        found = predictor.predict(arch)
        assert isinstance(found, Predicted)
        assert found.latency_ms == pytest.approx(world.true_ms(arch), rel=1e-6)
        assert found.low_ms <= found.latency_ms <= found.high_ms
        assert found.source == table.id
    assert table.scores.other_run.mape < 1e-6
    assert table.calibration.residual is None


class Layouts(World):
    """A runtime that changes the memory layout around one width: it costs once a stage, which no block pays for."""

    def true_ms(self, arch):
        return super().true_ms(arch) * (1.0 + 0.06 * sum(stage.width == 24 for stage in arch.stages))


def test_a_width_that_costs_once_a_stage_is_learnt(tmp_path):
    space = load_space("demo")
    assert any(24 in stage.width for stage in space.stages)
    table = build_table(space, Layouts(noise=0.005), tmp_path, nets=68, held_out=60)
    assert table.calibration.residual is not None or table.calibration.price_factors
    line = dataclasses.replace(table.calibration, residual=None, price_factors=())
    without = dataclasses.replace(table, calibration=line)
    scores = table_scores(estimator_of(without), table.nets, space, table.sentinel_factor)
    assert table.scores.other_run.mape < 0.5 * scores.other_run.mape


@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_with_noise_the_error_approaches_the_noise(tmp_path, noise):
    table = build_table(load_space("demo"), World(noise=noise), tmp_path, nets=68, held_out=100)
    scores = table.scores.other_run
    assert table.noise.mape == pytest.approx(2**0.5 * noise * (2 / np.pi) ** 0.5, rel=0.25)
    assert scores.mape <= 1.0 * table.noise.mape
    assert scores.kendall >= 0.93
    assert scores.mape < table.scores.baselines.macs < table.scores.baselines.constant
    assert scores.mape < table.scores.baselines.depth
    # The truth itself is nearer than any label: the noise is averaged out.
    predictor, world = LatencyPredictor(table), World()
    errors = [predictor.predict(arch).latency_ms / world.true_ms(arch) - 1 for arch in others(table, 50)]
    assert np.abs(errors).mean() < 0.5 * noise


def test_what_no_sum_of_blocks_holds_is_corrected(tmp_path, monkeypatch):
    def built():
        return build_table(load_space("demo"), World(noise=0.005, bend=0.1), tmp_path, nets=68, held_out=40)

    table = built()
    assert table.calibration.residual is not None
    monkeypatch.setattr(estimate, "price_factors", lambda *_: None)
    line = built()
    line = dataclasses.replace(line, calibration=dataclasses.replace(line.calibration, residual=None))
    world = World(bend=0.1)

    def error(table):
        predictor = LatencyPredictor(table)
        return np.mean(
            [abs(predictor.predict(arch).latency_ms / world.true_ms(arch) - 1) for arch in others(table, 60)]
        )

    assert error(table) < 0.8 * error(line)


def test_the_bound_covers_networks_of_another_run(tmp_path):
    table = build_table(load_space("demo"), World(noise=0.02, bend=0.05), tmp_path, nets=60, held_out=100)
    predictor = LatencyPredictor(table)
    new = others(table, 400)
    world = World(noise=0.02, bend=0.05, seed=1)
    inside = [world.blurred_ms(arch, 5) <= predictor.predict(arch).high_ms for arch in new]
    assert np.mean(inside) >= 0.90
    assert table.bound.coverage == 0.95


def test_no_bound_is_finer_than_the_noise(tmp_path):
    table = build_table(SPACE, World(noise=0.05), tmp_path, nets=30, held_out=8)
    assert table.bound.high >= table.noise.mape
    assert table.bound.low <= -table.noise.mape
    assert table.verdict == "noisy"


@given(
    factors=st.lists(st.floats(0.7, 1.6), min_size=1, max_size=45),
    seed=st.integers(0, 1000),
)
@settings(max_examples=12, deadline=None)
def test_refit_never_lowers_the_bound_below_what_the_new_networks_show(table_once, factors, seed):
    before = LatencyPredictor(table_once)
    archs = others(table_once, len(factors), seed)
    shown = {
        arch: measured(factor * before.predict(arch).latency_ms)
        for arch, factor in zip(archs, factors, strict=True)
    }
    after = before.refit(shown)
    newest = conformal_bound([factor - 1.0 for factor in factors[-40:]])
    assert after.table.bound.high >= newest.high - 1e-9
    assert after.table.bound.low <= newest.low + 1e-9
    assert after.table_id != before.table_id
    scores = after.table.scores.selected
    assert scores.nets == len(factors)
    assert scores.mape == pytest.approx(np.mean([abs(1 / factor - 1.0) for factor in factors]))
    assert scores.max == pytest.approx(max(abs(1 / factor - 1.0) for factor in factors))


@pytest.fixture(scope="module")
def table_once(tmp_path_factory):
    return build_table(SPACE, World(noise=0.01), tmp_path_factory.mktemp("once"), nets=30, held_out=20)


def test_refit_learns_what_selected_networks_show(table_once):
    # A device on which large networks are slower than the table thinks.
    before = LatencyPredictor(table_once)
    world = World(slope=1.5)
    archs = sorted(others(table_once, 60), key=world.true_ms)[-40:]
    after = before.refit({arch: measured(world.true_ms(arch)) for arch in archs[:30]})
    left_out = archs[30:]

    def errors(predictor):
        return [abs(predictor.predict(arch).latency_ms / world.true_ms(arch) - 1) for arch in left_out]

    assert max(errors(after)) < 0.6 * min(errors(before))
    assert before.table.scores.selected is None
    assert len(after.table.with_role("selected")) == 30


def test_a_network_is_learnt_once(table_once):
    predictor = LatencyPredictor(table_once)
    held_out = table_once.space.arch_from_code(table_once.with_role("held-out")[0].code)
    new = others(table_once, 1)[0]
    assert predictor.refit({}) is predictor
    assert predictor.refit({held_out: measured(1.0)}) is predictor
    once = predictor.refit({new: measured(1.0)})
    assert once.refit({new: measured(2.0)}) is once


@pytest.mark.parametrize(
    ("field", "value"), [("runtime", "cudagraph"), ("precision", "fp16"), ("threads", 2), ("batch", 8)]
)
def test_figures_of_other_conditions_are_not_learnt(table_once, field, value):
    predictor, new = LatencyPredictor(table_once), others(table_once, 1)[0]
    with pytest.raises(UsageError, match=f"the latency table is for {field} .* was measured with '{value}'"):
        predictor.refit({new: measured(1.0, **{field: value})})


def test_a_member_of_another_space_is_refused(table_once):
    with pytest.raises(UsageError, match=r"block 'stem .*' is not in the latency table of space 'small'"):
        LatencyPredictor(table_once).predict(load_space("demo").smallest())


def test_a_prediction_is_no_measurement(table_once):
    assert not isinstance(LatencyPredictor(table_once).predict(SPACE.smallest()), Measured)


def test_another_device_is_not_learnt(table_once):
    new = others(table_once, 1)[0]
    with pytest.raises(UsageError, match="was measured on 'another GPU'"):
        LatencyPredictor(table_once).refit({new: measured(1.0, device="another GPU")})


@pytest.mark.parametrize("doubt", [{"noise": "noisy"}, {"drift": 1.5}])
def test_a_noisy_figure_widens_the_bound_and_stays_out_of_the_table(table_once, doubt):
    before, new = LatencyPredictor(table_once), others(table_once, 1)[0]
    slow_ms = 1.6 * before.predict(new).latency_ms
    after = before.refit({new: measured(slow_ms, **doubt)})
    assert after.table == table_once
    assert after.predict(new).latency_ms == before.predict(new).latency_ms
    assert after.predict(new).high_ms == pytest.approx(slow_ms)
    assert after.refit({new: measured(slow_ms, **doubt)}) is after
    # A quiet figure of the same network replaces it.
    quiet = after.refit({new: measured(before.predict(new).latency_ms)})
    assert len(quiet.table.with_role("selected")) == 1
    assert quiet.table.bound == quiet._bound


def test_scores_are_those_of_the_calibration_in_the_table(table_once):
    before = LatencyPredictor(table_once)
    shown = {arch: measured(1.5 * before.predict(arch).latency_ms) for arch in others(table_once, 20)}
    after = before.refit(shown)
    held_out = after.table.with_role("held-out")
    predicted = [after.predict(SPACE.arch_from_code(net.code)).latency_ms for net in held_out]
    for run, scores in ((0, after.table.scores.same_run), (1, after.table.scores.as_measured)):
        errors = [abs(ms / net.runs_ms[run] - 1) for ms, net in zip(predicted, held_out, strict=True)]
        assert scores.mape == pytest.approx(np.mean(errors))
    assert after.table.scores.baselines != table_once.scores.baselines


def test_one_good_selected_network_leaves_the_coverage(table_once):
    before, new = LatencyPredictor(table_once), others(table_once, 1)[0]
    after = before.refit({new: measured(before.predict(new).latency_ms)})
    assert after.table.bound.coverage == before.table.bound.coverage == 0.95

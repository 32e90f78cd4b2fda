"""A prediction taken apart: its parts add up to it, and attention stands for itself."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from latency_world import World, build_table, small_space

from posesearch.latency.blocks import blocks_of
from posesearch.latency.parts import THE_CALL, latency_parts
from posesearch.latency.predictor import LatencyPredictor

SPACE = small_space()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return build_table(SPACE, World(noise=0.003), tmp_path_factory.mktemp("table"), nets=12, held_out=6)


@given(seed=st.integers(0, 200), constant_ms=st.sampled_from((-0.05, 0.0, 0.3)))
def test_the_parts_add_up_to_the_prediction(table, seed, constant_ms):
    calibration = dataclasses.replace(table.calibration, constant_ms=constant_ms)
    predictor = LatencyPredictor(dataclasses.replace(table, calibration=calibration))
    arch = SPACE.sample(np.random.default_rng(seed))
    parts = latency_parts(arch, predictor)
    assert sum(part.latency_ms for part in parts) == pytest.approx(predictor.predict(arch).latency_ms)
    assert all(part.latency_ms > 0 for part in parts)
    names = [part.name for part in parts]
    assert len(names) == len(set(names))
    assert (THE_CALL in names) == (constant_ms > 0)
    assert ("attention" in names) == any(stage.attention for stage in arch.stages)


def test_a_part_is_its_entries_in_the_calibrated_scale(table):
    calibration = dataclasses.replace(table.calibration, constant_ms=0.0, slope=2.0, residual=None)
    predictor = LatencyPredictor(dataclasses.replace(table, calibration=calibration))
    arch = SPACE.largest()
    parts = {part.name: part.latency_ms for part in latency_parts(arch, predictor)}
    costs_ms = table.costs_ms()
    downs = [block for block in blocks_of(arch) if block.kind == "down"]
    stars = [block for block in blocks_of(arch) if block.kind == "star"]
    assert parts["downsampling"] == pytest.approx(2.0 * sum(costs_ms[block] for block in downs))
    bare = [costs_ms[dataclasses.replace(block, attention=False)] for block in stars]
    extra = [
        stage.depth * (costs_ms[block] - cost_ms)
        for stage, block, cost_ms in zip(arch.stages, stars, bare, strict=True)
    ]
    assert parts["attention"] == pytest.approx(2.0 * sum(extra))
    assert parts["stage0"] == pytest.approx(2.0 * arch.stages[0].depth * bare[0])

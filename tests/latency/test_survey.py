"""Measuring in groups: nothing is measured twice, a kill loses one group, a slow group is put on the common scale."""

from __future__ import annotations

import pytest
from latency_world import World, build_table, measured, price_ms, small_space

from posesearch.errors import DataError, Interrupted
from posesearch.latency import survey as surveys
from posesearch.latency.blocks import blocks_in
from posesearch.latency.choose import choose_nets
from posesearch.latency.deploy import deploy
from posesearch.latency.effort import Effort
from posesearch.latency.journal import Journal
from posesearch.latency.measure import measure_many
from posesearch.latency.survey import DeviceBench, settings_id, survey
from posesearch.latency.types import Conditions
from posesearch.models.pose import PoseModel
from posesearch.progress import SilentProgress

SPACE = small_space()
PLAN = choose_nets(SPACE, nets=12, held_out=8)
ASKED = len(blocks_in(SPACE)) + 2 * len(PLAN.measured)
HASTY = Effort(
    warm_up_s=0.0, max_warm_up_s=0.0, settle_calls=1, unrecorded=0, recorded=1,
    min_rounds=1, max_rounds=1, half_width=1.0, max_s=0.0,
)  # fmt: skip


def run(world, path, *, plan=PLAN, stop=lambda: False, effort="full"):
    journal = Journal(path, settings_id(SPACE, world.fingerprint, effort))
    return survey(SPACE, plan, world, journal, seed=0, progress=SilentProgress(), stop=stop)


def test_everything_is_measured_once_and_found_again(tmp_path):
    world = World(noise=0.01)
    figures = run(world, tmp_path / "j.jsonl")
    assert len(world.asked) == ASKED
    assert set(figures.costs_ms) == set(blocks_in(SPACE))
    assert [set(run_ms) for run_ms in figures.runs_ms] == [{arch.code for arch in PLAN.measured}] * 2
    assert run(world, tmp_path / "j.jsonl") == figures
    assert len(world.asked) == ASKED


@pytest.mark.parametrize("dies_at", [0, 1, 4, 6, 7])
def test_a_killed_survey_goes_on_where_it_stopped(tmp_path, dies_at):
    path = tmp_path / "j.jsonl"
    world = World()
    world.dies_at = dies_at
    with pytest.raises(KeyboardInterrupt):
        run(world, path)
    before = len(world.asked)
    with path.open("a") as stream:
        stream.write('{"settings": "torn')
    world.dies_at = None
    figures = run(world, path)
    assert len(world.asked) == ASKED
    assert dies_at == 0 or before > 0
    assert figures.costs_ms == pytest.approx({block: price_ms(block) for block in blocks_in(SPACE)})
    for run_ms in figures.runs_ms:
        assert run_ms == pytest.approx({arch.code: world.true_ms(arch) for arch in PLAN.measured})


def test_asking_to_stop_keeps_the_groups_that_are_done(tmp_path):
    world = World()
    with pytest.raises(Interrupted, match=r"kept in .*j\.jsonl"):
        run(world, tmp_path / "j.jsonl", stop=lambda: world.groups == 3)
    kept = len(Journal(tmp_path / "j.jsonl", settings_id(SPACE, world.fingerprint, "full")).blocks())
    assert kept == len(world.asked) > 0


def test_figures_of_other_settings_are_not_mixed_in(tmp_path):
    world = World()
    run(world, tmp_path / "j.jsonl")
    run(world, tmp_path / "j.jsonl", effort="brief")
    assert len(world.asked) == 2 * ASKED
    journal = Journal(tmp_path / "j.jsonl", settings_id(SPACE, world.fingerprint, "full"))
    assert journal.foreign == ASKED


def test_more_networks_measure_only_what_is_new(tmp_path):
    world = World()
    run(world, tmp_path / "j.jsonl")
    more = choose_nets(SPACE, nets=12, held_out=10)
    run(world, tmp_path / "j.jsonl", plan=more)
    assert len(world.asked) == ASKED + 2 * len(set(more.measured) - set(PLAN.measured))


def test_a_slow_group_is_put_on_the_scale_of_the_usual_one(tmp_path):
    # Every fourth group is measured in a bad minute; its sentinel is as slow as the others in it.
    world = World(drift=lambda group: 1.4 if group % 4 == 1 else 1.0)
    figures = run(world, tmp_path / "j.jsonl")
    assert figures.costs_ms == pytest.approx({block: price_ms(block) for block in blocks_in(SPACE)})
    for run_ms in figures.runs_ms:
        truth = {arch.code: world.true_ms(arch) for arch in PLAN.measured}
        factors = {code: run_ms[code] / truth[code] for code in truth}
        assert max(factors.values()) == pytest.approx(min(factors.values()))


class Neighbour(World):
    """In some groups a neighbour slows the machine down, and every network more than the sentinel."""

    def __init__(self, *bad):
        super().__init__(drift=lambda group: 1.3 if group in bad else 1.0)

    def time_nets(self, archs, seed):
        found = super().time_nets(archs, seed)
        sentinel, *others = archs
        bad = found[sentinel.id].p50_ms > 1.05 * self.true_ms(sentinel)
        return {
            **found,
            **{a.id: measured(found[a.id].p50_ms * (1.2 if bad else 1.0)) for a in others},
        }


def test_what_met_a_bad_minute_is_measured_again_and_the_better_figure_counts(tmp_path):
    quiet = World()
    run(quiet, tmp_path / "quiet.jsonl")
    block_groups = -(-len(blocks_in(SPACE)) // surveys.BLOCKS_A_GROUP)
    bad = Neighbour(block_groups)
    figures = run(bad, tmp_path / "j.jsonl")
    truth = {arch.code: bad.true_ms(arch) for arch in PLAN.measured}
    assert list(figures.runs_ms) == [pytest.approx(truth)] * 2
    assert len(bad.asked) == len(quiet.asked) + surveys.NETS_A_GROUP
    assert run(bad, tmp_path / "j.jsonl") == figures
    assert len(bad.asked) == len(quiet.asked) + surveys.NETS_A_GROUP, "it is measured again once"


def test_a_better_second_attempt_makes_nothing_else_look_bad(tmp_path):
    # The weather improves all the time: the second attempts have the best sentinel of all.
    world = World(drift=lambda group: 1.5 * 0.93**group)
    figures = run(world, tmp_path / "j.jsonl")
    asked = len(world.asked)
    assert asked > ASKED
    assert run(world, tmp_path / "j.jsonl") == figures
    assert len(world.asked) == asked


def test_a_machine_that_stays_bad_is_not_measured_for_ever(tmp_path):
    # Good weather once, for the first group of blocks and of each run's networks; never again.
    block_groups = -(-len(blocks_in(SPACE)) // surveys.BLOCKS_A_GROUP)
    world = World(drift=lambda group: 1.0 if group == 0 else 1.3 + 0.01 * (group % 3))
    run(world, tmp_path / "j.jsonl")
    journal = Journal(tmp_path / "j.jsonl", settings_id(SPACE, world.fingerprint, "full"))
    again = len(journal.blocks()) - len(blocks_in(SPACE))
    assert again == len(blocks_in(SPACE)) - surveys.BLOCKS_A_GROUP
    assert block_groups > 1
    assert journal.disturbed(journal.blocks()) == []


def test_a_whole_run_that_is_slower_shows_as_the_scale_between_runs(tmp_path):
    plan_groups = -(-len(blocks_in(SPACE)) // surveys.BLOCKS_A_GROUP)
    world = World(drift=lambda group: 1.1 if group >= plan_groups + 2 else 1.0)
    table = build_table(SPACE, world, tmp_path, nets=12, held_out=8)
    assert table.noise.scale == pytest.approx(1.1)
    assert table.noise.mape == pytest.approx(0.0, abs=1e-9)
    # What was fitted on the first run is 9 % too small in the second, and the bound says so.
    assert table.scores.as_measured.bias == pytest.approx(1 / 1.1 - 1)
    assert table.scores.as_measured.mape_after_scale == pytest.approx(0.0, abs=1e-9)
    # The sentinel was slower by the same factor, which is no fault of the predictor.
    assert table.sentinel_factor == pytest.approx(1.1)
    assert table.scores.other_run.mape == pytest.approx(0.0, abs=1e-9)
    assert table.bound.high == pytest.approx(0.1)


@pytest.mark.parametrize(
    "line", ['{"settings": 3}', '{"settings": "a", "run": 0, "sentinel_ms": 1.0}', "[]", "nonsense"]
)
def test_a_damaged_line_is_refused_with_the_file_and_a_remedy(tmp_path, line):
    path = tmp_path / "j.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(DataError, match=r"j\.jsonl"):
        Journal(path, "x")


def test_this_device_times_blocks_and_networks(monkeypatch):
    asked = []

    def measure_here(archs, conditions, *, processes, effort, seed):
        asked.append((processes, effort))
        return measure_many(
            {arch.id: deploy(PoseModel(arch), conditions) for arch in archs},
            input_size=archs[0].input_size,
            conditions=conditions,
            effort=HASTY,
        )

    real = surveys.marginal_costs
    monkeypatch.setattr(surveys, "measure_fresh", measure_here)
    monkeypatch.setattr(
        surveys, "marginal_costs", lambda *args, **options: real(*args, **options, effort=HASTY)
    )
    bench = DeviceBench(SPACE, Conditions(), "brief")
    blocks = blocks_in(SPACE)[:3]
    assert set(bench.time_blocks(blocks, 0).cost_ms) == set(blocks)
    archs = [PLAN.sentinel, *PLAN.fit[:2]]
    assert set(bench.time_nets(archs, 0)) == {arch.id for arch in archs}
    assert asked == [(1, "brief")]
    assert bench.fingerprint.input_shape == (1, 3, 32, 32)

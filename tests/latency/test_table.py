"""Table files: what is written is read, and what is damaged, foreign or outdated is refused in words."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from latency_world import World, as_stored, build_table, measured, quiet, small_space

from posesearch.errors import DataError, EnvironmentFault, UsageError
from posesearch.latency.device import fingerprint
from posesearch.latency.live import CAP, live_check, refuse_unless_live
from posesearch.latency.noise import QUIET, run_noise
from posesearch.latency.predictor import LatencyPredictor, load_predictor, read_predictor, same_device
from posesearch.latency.table import read_table, write_table
from posesearch.latency.types import Conditions
from posesearch.spaces import load_space

SPACE = small_space()
REMEDY = "posesearch latency build --fresh"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return build_table(SPACE, World(noise=0.003), tmp_path_factory.mktemp("table"), nets=12, held_out=6)


@pytest.fixture
def path(table, tmp_path):
    write_table(tmp_path / "t.json", table)
    return tmp_path / "t.json"


def test_a_table_comes_back_as_it_was(table, path):
    assert read_table(path) == table
    plain = json.loads(path.read_text())
    assert plain["space"]["id"] == SPACE.id
    assert plain["verdict"] == "quiet"
    assert plain["id"] == table.id
    refitted = LatencyPredictor(table).refit(
        {SPACE.largest(): measured(9.0), SPACE.smallest(): measured(1.0)}
    )
    write_table(path, refitted.table)
    assert read_table(path) == refitted.table


def test_a_table_cut_off_anywhere_is_refused_with_its_name_and_a_remedy(table, tmp_path):
    small = dataclasses.replace(table, entries=table.entries[:1], nets=table.nets[:1])
    path = tmp_path / "cut.json"
    write_table(path, small)
    # Written without its indentation, so that every byte is one of content.
    text = json.dumps(json.loads(path.read_text()), separators=(",", ":"))
    path.write_text(text)
    assert read_table(path) == small
    for length in range(len(text)):
        path.write_text(text[:length])
        with pytest.raises(DataError) as refusal:
            read_table(path)
        assert str(path) in str(refusal.value)
        assert REMEDY in str(refusal.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda plain: plain.update(kind="run"), "key 'kind' is 'run'"),
        (lambda plain: plain.update(version=1), "its version is 1. Allowed: 2"),
        (lambda plain: plain.pop("entries"), "entries: missing"),
        (lambda plain: plain.pop("id"), "does not fit its id None"),
        (lambda plain: plain["entries"][3].update(cost_ms=0.0), "it was changed or damaged"),
        (lambda plain: plain["bound"].update(high=-0.5), "it was changed or damaged"),
        (lambda plain: plain["noise"].update(mape="small"), "noise.mape: got 'small', expected a number"),
        (lambda plain: plain.update(space=7), "space: got 7"),
        (lambda plain: plain["space"]["stages"][0].update(width=[3]), "space.stages"),
        (lambda plain: plain["fingerprint"].update(gpu=1), "fingerprint.gpu: unknown key"),
        (lambda plain: plain["nets"].clear(), "it was changed or damaged"),
    ],
)
def test_a_changed_table_is_refused(path, damage, message):
    plain = json.loads(path.read_text())
    damage(plain)
    path.write_text(json.dumps(plain))
    with pytest.raises(DataError) as refusal:
        read_table(path)
    assert message in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert REMEDY in str(refusal.value)


@pytest.mark.parametrize("content", ["", "[]", "7", "null", "{}", '"x"', "\x00", "\xff"])
def test_what_is_no_table_is_refused(tmp_path, content):
    path = tmp_path / "t.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"t\.json"):
        read_table(path)
    with pytest.raises(DataError, match="not found"):
        read_table(tmp_path / "none.json")


def test_a_table_of_this_device_is_loaded(table, path):
    asked = []

    def time_nets(archs, conditions):
        asked.append(([arch.code for arch in archs], conditions))
        return as_stored(table)(archs, conditions)

    predictor = load_predictor(path, space=SPACE, conditions=Conditions(), time_nets=time_nets)
    assert predictor.table == table
    assert predictor.fingerprint == table.fingerprint
    codes, conditions = asked[0]
    assert len(set(codes)) == 3
    assert codes[0] == table.sentinel
    assert conditions == Conditions()
    assert same_device(path)


def test_a_foreign_table_is_refused_with_every_difference_and_both_values(table, path):
    other = dataclasses.replace(
        table.fingerprint, cpu="Pentium 90", torch="1.0.0", conditions=Conditions(threads=4)
    )
    write_table(path, dataclasses.replace(table, fingerprint=other))
    assert not same_device(path)
    with pytest.raises(EnvironmentFault) as refusal:
        load_predictor(path, space=SPACE, conditions=Conditions(), time_nets=as_stored(table))
    text = str(refusal.value)
    here = fingerprint(Conditions(), SPACE.input_size)
    for value in ("Pentium 90", here.cpu, "1.0.0", here.torch, "4", "1", "posesearch latency build"):
        assert value in text
    assert refusal.value.exit_code == 5
    # For predictions alone, labelled so by whoever prints them, it can be read.
    assert read_predictor(path, space=SPACE).fingerprint == other


def test_a_table_of_an_absent_gpu_is_not_of_this_device(table, path):
    other = dataclasses.replace(table.fingerprint, conditions=Conditions(device="cuda:3"))
    write_table(path, dataclasses.replace(table, fingerprint=other))
    assert not same_device(path)


def test_a_table_of_another_space_is_refused(path):
    with pytest.raises(
        UsageError, match=r"is of space 'small' .* wanted is 'demo' .*latency build --space demo"
    ):
        load_predictor(path, space=load_space("demo"), conditions=Conditions())


@pytest.mark.parametrize(
    ("busy", "words"),
    [(("load 3.5",), r"disturbed \(load 3.5\)"), ((), "clocks, cooling or power may have changed")],
)
def test_a_device_that_is_slower_now_is_refused(table, path, busy, words):
    check = live_check(
        table,
        Conditions(),
        time_nets=as_stored(table, factor=lambda _code: 1.2),
        busy=lambda _conditions: busy,
    )
    assert not check.passed
    assert check.common == pytest.approx(1.2)
    with pytest.raises(EnvironmentFault, match=words) as refusal:
        refuse_unless_live(check, f"latency table {path}", REMEDY)
    assert "1.20x" in str(refusal.value)
    assert str(path) in str(refusal.value)


def test_loading_refuses_what_the_live_check_refuses(table, path):
    with pytest.raises(
        EnvironmentFault,
        match=r"1\.20x of the time in the table, twice measured; allowed is 0\.97x to 1\.03x",
    ):
        load_predictor(
            path,
            space=SPACE,
            conditions=Conditions(),
            time_nets=as_stored(table, factor=lambda _code: 1.2),
        )
    load_predictor(path, space=SPACE, conditions=Conditions(), live_check=False)


def test_one_network_off_against_the_others_is_refused(table):
    slow = as_stored(table, factor=lambda code: 1.0 if code != table.sentinel else 1.05)
    found = live_check(table, Conditions(), time_nets=slow, busy=quiet)
    assert found.common == pytest.approx(1.0, abs=0.01)
    assert not found.passed
    within = as_stored(table, factor=lambda _code: 1.02)
    assert live_check(table, Conditions(), time_nets=within, busy=quiet).passed


def test_of_a_noisy_table_no_more_is_asked_than_its_own_runs_gave(tmp_path):
    noisy = build_table(SPACE, World(noise=0.03), tmp_path, nets=12, held_out=6)
    shifted = as_stored(noisy, factor=lambda _code: 1.04)
    found = live_check(noisy, Conditions(), time_nets=shifted, busy=quiet)
    assert found.passed
    assert QUIET < noisy.noise.p95 <= found.tolerance <= found.common_tolerance <= CAP


def test_a_table_too_noisy_for_the_check_says_so(tmp_path):
    noisy = build_table(SPACE, World(noise=0.2), tmp_path, nets=12, held_out=6)
    found = live_check(noisy, Conditions(), time_nets=as_stored(noisy, factor=lambda _code: 1.6), busy=quiet)
    assert (found.common_tolerance, found.tolerance, found.too_noisy) == (CAP, CAP, True)
    with pytest.raises(EnvironmentFault, match="too noisy to tell whether the device has changed"):
        refuse_unless_live(found, "latency table t", REMEDY)


@pytest.mark.parametrize("noise", [0.01, 0.02, 0.05])
def test_an_unchanged_machine_is_rarely_refused_and_a_slower_one_always(tmp_path, noise):
    made = build_table(SPACE, World(), tmp_path, nets=40, held_out=20)
    true_ms = {net.code: net.runs_ms[0] for net in made.nets} | {made.sentinel: made.sentinel_ms}
    refused = {1.0: 0, 1.2: 0}
    for trial in range(300):
        generator = np.random.default_rng(trial)
        blur = np.exp(noise * generator.standard_normal((len(made.nets), 2)))
        nets = tuple(
            dataclasses.replace(net, runs_ms=tuple((true_ms[net.code] * row_2).tolist()))
            for net, row_2 in zip(made.nets, blur, strict=True)
        )
        blurred = dataclasses.replace(
            made, nets=nets, noise=run_noise(*np.array([n.runs_ms for n in nets]).T)
        )

        for factor in refused:

            def now(archs, _conditions, factor=factor, generator=generator):
                return {
                    arch.id: measured(
                        factor * true_ms[arch.code] * float(np.exp(noise * generator.standard_normal()))
                    )
                    for arch in archs
                }

            refused[factor] += not live_check(blurred, Conditions(), time_nets=now, busy=quiet).passed
    assert refused[1.0] <= 5
    assert noise > 0.02 or refused[1.2] == 300


def test_three_networks_are_really_timed(path, table):
    # The synthetic device is not this one, so these three are refused, by what they really take.
    with pytest.raises(EnvironmentFault, match="does not fit what this device does now"):
        load_predictor(path, space=SPACE, conditions=Conditions())

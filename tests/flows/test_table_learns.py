"""What a search measured joins the table that is in the file when it ends, and nothing there ends the search."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from table_workplace import Device, Messages, make_table
from tiny_workplace import Workplace

from posesearch.flows.tablefiles import held
from posesearch.flows.tables import TableChoice, build_id
from posesearch.latency.predictor import LatencyPredictor
from posesearch.latency.table import read_table
from posesearch.search.check import Check
from posesearch.spaces import SearchSpace

PATH = Path("latency/tiny-eager-fp32.json")


def chosen() -> TableChoice:
    table = read_table(PATH)
    return TableChoice(path=PATH, predictor=LatencyPredictor(table), build_id=build_id(table))


def checks_for(space: SearchSpace, device: Device, count: int) -> list[Check]:
    """Checks of networks that the table does not hold yet."""
    table, generator = read_table(PATH), np.random.default_rng(1)
    known = {net.code for net in table.nets}
    drawn = dict.fromkeys(space.sample(generator) for _ in range(400))
    new = [arch for arch in drawn if arch.code not in known][:count]
    predict = LatencyPredictor(table).predict
    return [Check(arch=a, predicted=predict(a), measured=device.measured(a), round=1) for a in new]


def test_two_searches_add_to_one_table(workplace: Workplace, tiny_space: SearchSpace) -> None:
    device, messages = Device(), Messages()
    make_table(device)
    one, two = checks_for(tiny_space, device, 2)
    first, second = chosen(), chosen()
    first.learn((one,), messages)
    second.learn((two,), messages)
    selected = {net.code for net in read_table(PATH).with_role("selected")}
    assert selected == {one.arch.code, two.arch.code}
    assert messages.texts == [f"search: 1 measured networks joined latency table {PATH}."] * 2


def test_a_table_built_again_meanwhile_is_left_alone(workplace: Workplace, tiny_space: SearchSpace) -> None:
    device, messages = Device(), Messages()
    make_table(device)
    checks = checks_for(tiny_space, device, 1)
    before = chosen()
    shutil.rmtree(PATH.parent)  # with the journal a build continues from
    make_table(Device(factor=1.3))
    rebuilt = PATH.read_bytes()
    before.learn(tuple(checks), messages)
    assert PATH.read_bytes() == rebuilt
    assert "was built again meanwhile: what this search measured does not join it." in messages.texts[0]


def test_a_busy_or_lost_table_is_a_message(workplace: Workplace, tiny_space: SearchSpace) -> None:
    device, messages = Device(), Messages()
    make_table(device)
    checks = tuple(checks_for(tiny_space, device, 1))
    choice, before = chosen(), PATH.read_bytes()
    with held(PATH):
        choice.learn(checks, messages)
    assert PATH.read_bytes() == before
    PATH.unlink()
    choice.learn(checks, messages)
    assert len(messages.texts) == 2
    assert all(
        t.startswith(f"search: what was measured does not join latency table {PATH}: ")
        for t in messages.texts
    )

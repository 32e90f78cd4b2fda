"""Searching by latency tables: which one is used, which is refused, and a device that is not here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from table_workplace import Device, Messages, be_this_machine, make_table
from tiny_workplace import Workplace, train_tiny

from posesearch.checkpoint import read_model_info
from posesearch.errors import DataError, EnvironmentFault, UsageError
from posesearch.flows.extract import extract
from posesearch.flows.search import SearchResult, search
from posesearch.latency.table import read_table
from posesearch.latency.types import Conditions
from posesearch.progress import SilentProgress

DEFAULT = Path("latency/tiny-eager-fp32.json")
H200 = {"device": "NVIDIA H200", "compute_capability": "9.0", "sm_count": 132, "gpu_memory_mib": 143771}
BUDGET_MS = 2.2


@pytest.fixture
def device(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Device:
    """This machine, as far as latency goes, and a trained supernet to search."""
    train_tiny(workplace)
    here = Device()
    be_this_machine(here, monkeypatch)
    return here


def searched(progress: Messages | None = None, **options: object) -> SearchResult:
    arguments: dict = {
        "latency_ms": BUDGET_MS,
        "trials": 6,
        "sampler": "random",
        "device": "cpu",
        "effort": "fast",
    }
    return search(**{**arguments, "progress": progress or SilentProgress(), **options})


def test_the_table_of_this_machine_is_used_and_learns(device: Device) -> None:
    table = make_table(device).table
    messages = Messages()
    found = searched(messages)
    assert any(f"search: going by latency table {DEFAULT}" in text for text in messages.texts)
    assert found.outcome is not None and found.outcome.table and found.outcome.checks
    assert all(row["confirmed"]["kind"] == "measured" for row in found.front)
    assert all(row["predicted"]["kind"] == "predicted" for row in found.front)
    learnt = read_table(DEFAULT)
    selected = {net.code for net in learnt.with_role("selected")}
    assert learnt.id != table.id and selected == {check.arch.code for check in found.outcome.checks} - {
        net.code for net in table.nets
    }
    # What the search added changes the file's id; the search still finds its own study, and has nothing left to do.
    asked = list(device.asked)
    again = searched()
    assert again.front == found.front and device.asked == asked
    more = searched(trials=9)
    assert more.evaluations == 9 and more.outcome.study == found.outcome.study


def test_without_a_table_or_with_none_every_candidate_is_measured(device: Device) -> None:
    found = searched()
    assert "predicted" not in found.front[0] and found.outcome.table == ""
    make_table(device)
    messages = Messages()
    same = searched(messages, table="none")
    assert same.front == found.front and not any("latency table" in text for text in messages.texts)
    p90 = Messages()
    searched(p90, percentile="p90")
    assert any(
        "predicts medians, the budget is p90. Every candidate is measured." in text for text in p90.texts
    )


def test_a_foreign_table_is_left_alone_or_refused(device: Device) -> None:
    other = Device(torch="1.0.0")
    make_table(other)
    make_table(other, out="other")
    messages = Messages()
    found = searched(messages)
    told = "\n".join(messages.texts)
    assert "torch: 1.0.0 stored" in told and "Every candidate is measured." in told
    assert found.outcome.table == ""
    with pytest.raises(
        EnvironmentFault, match=r"(?s)latency/other.json was built on another device.*torch: 1\.0\.0"
    ) as e:
        searched(table="other")
    assert e.value.exit_code == 5
    # A table of other conditions has another usual name: nobody asked for this one.
    assert not any("latency table" in text for text in _messages_of(batch=4))
    make_table(device, out="eager")
    with pytest.raises(EnvironmentFault, match="batch: 1 stored, 4 here"):
        searched(table="eager", batch=4)


def _messages_of(**options: object) -> list[str]:
    messages = Messages()
    searched(messages, **options)
    return messages.texts


def test_a_machine_that_is_a_little_slower_now_is_predicted_so(device: Device) -> None:
    table = make_table(device).table
    before = {net.code: net.runs_ms[0] for net in table.nets}
    device.factor = 1.025
    messages = Messages()
    found = searched(messages)
    assert any("now takes 1.020x the time" in text for text in messages.texts), (
        "the table's runs differ by 1 %"
    )
    assert found.outcome is not None and found.outcome.checks
    for check in found.outcome.checks:
        assert check.predicted.factor == pytest.approx(1.025, abs=0.006)
        assert abs(check.error) < 0.01, "unscaled they were 2.4 % too fast"
    rows = [json.loads(line) for line in Path("runs/tiny/search/candidates.jsonl").read_text().splitlines()]
    assert {round(row["predicted"]["factor"], 3) for row in rows} == {1.02}
    # What joined the table is on the table's scale, so that a later search finds the machine as it then is.
    selected = read_table(DEFAULT).with_role("selected")
    assert selected and not before.keys() & {net.code for net in selected}
    unscaled = Device()
    for net in selected:
        assert net.runs_ms[0] == pytest.approx(
            unscaled.true_ms(table.space.arch_from_code(net.code)), rel=0.006
        )


def test_a_machine_that_is_slower_now_is_refused_with_the_way_on(device: Device) -> None:
    make_table(device)
    device.factor = 1.5
    with pytest.raises(
        EnvironmentFault, match=r"(?s)does not fit what this device does now.*--table none"
    ) as e:
        searched()
    assert e.value.exit_code == 5


def test_a_damaged_table_and_one_that_is_not_there(device: Device) -> None:
    path = make_table(device).path
    path.write_text(path.read_text()[:-200])
    for asked in (None, "tiny-eager-fp32", str(path)):
        with pytest.raises(DataError, match=r"latency table latency/tiny-eager-fp32\.json is not valid JSON"):
            searched(table=asked)
    with pytest.raises(
        UsageError, match=r"there is no latency table 'tiny-eager-fp23'. Did you mean 'tiny-eager-fp32'"
    ):
        searched(table="tiny-eager-fp23")


def test_a_device_that_is_not_here(device: Device) -> None:
    graph = Conditions(device="cuda:0", runtime="cudagraph", precision="fp16")
    make_table(Device(graph, **H200), out="h200")
    asked = {"table": "latency/h200.json", "runtime": "cudagraph", "precision": "fp16"}
    with pytest.raises(
        EnvironmentFault, match=r"of another device: NVIDIA H200, which is not here.*give --unverified"
    ):
        searched(**asked)
    with pytest.raises(
        UsageError, match=r"for --runtime eager, --precision fp32; .*Use --runtime cudagraph --pre"
    ):
        searched(table="h200", unverified=True)
    with pytest.raises(UsageError, match=r"no table was given\. Add --table FILE"):
        searched(unverified=True)
    with pytest.raises(UsageError, match="--percentile p90: a latency table predicts the median"):
        searched(unverified=True, percentile="p90", **asked)
    messages = Messages()
    found = searched(messages, unverified=True, **asked)
    assert device.asked == []
    plain = json.loads(Path("runs/tiny/search/result.json").read_text())
    assert plain["label"] == "predicted for NVIDIA H200, unverified" == found.to_plain()["label"]
    assert messages.texts[-1].startswith("search: the front is predicted for NVIDIA H200, unverified")
    assert {row["verdict"] for row in found.front} == {"unverified"}
    told = Messages()
    model = extract(device="cpu", progress=told).models[0]
    assert model["latency"]["kind"] == "predicted"
    assert model["latency"]["label"] == "predicted for NVIDIA H200, unverified"
    info = read_model_info(Path("runs/tiny") / model["file"])
    assert info.latency == (), "a prediction is not among the measured latencies"
    assert told.texts[-1].startswith("extract: the latency of T, S is predicted for NVIDIA H200, unverified:")


def test_unverified_is_refused_for_this_machine(device: Device) -> None:
    make_table(device)
    with pytest.raises(UsageError, match=r"is of this machine's .*Leave --unverified out"):
        searched(table="tiny-eager-fp32", unverified=True)

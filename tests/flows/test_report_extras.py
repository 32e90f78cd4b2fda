"""What the report is handed besides the run folder: the table of the search, its prices, and kernel counts kept."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from table_workplace import Device, be_this_machine, make_table
from tiny_workplace import Finished, Workplace, train_tiny

from posesearch.errors import DataError
from posesearch.flows import report_extras as module
from posesearch.flows.report import report
from posesearch.flows.report_extras import KERNELS, report_extras, table_of
from posesearch.flows.runs import open_run
from posesearch.flows.search import SearchResult, search
from posesearch.latency.table import read_table
from posesearch.latency.types import Conditions
from posesearch.progress import SilentProgress

KERNELS_FILE = Path("runs/tiny/search") / KERNELS


@pytest.fixture
def found(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> SearchResult:
    """A search that went by a table of this machine, all of it by formula."""
    train_tiny(workplace)
    here = Device()
    be_this_machine(here, monkeypatch)
    make_table(here)
    return search(
        latency_ms=2.2, trials=6, sampler="random", device="cpu", effort="brief", progress=SilentProgress()
    )


def test_the_report_of_a_search_by_table(found: SearchResult, monkeypatch: pytest.MonkeyPatch) -> None:
    extras = report_extras(open_run(None))
    table = read_table(Path("latency/tiny-eager-fp32.json"))
    assert extras["table"] == {"id": table.id, "file": "latency/tiny-eager-fp32.json"}
    shown = set(found.picks.values()) | {row["arch_id"] for row in found.references}
    assert {row["arch_id"] for row in extras["priced"]} == shown
    for row in extras["priced"]:
        assert sum(part["latency_ms"] for part in row["parts"]) == pytest.approx(row["predicted_ms"])
    assert len(extras["nets"]) == sum(net.role != "selected" for net in table.nets)
    assert {row["arch_id"] for row in extras["kernels"]} == set(found.picks.values())
    assert all(row["unit"] == "ATen calls" and row["count"] > 20 for row in extras["kernels"])
    page = report().files[0].read_text(encoding="utf-8")
    for words in (
        "Latency by block",
        f"block table {table.id}",
        "Predicted against measured latency",
        "ATen calls",
    ):
        assert words in page
    # Counted once; counted again where the code they were counted on is another.
    monkeypatch.setattr(module, "kernels_per_forward", lambda *arguments: 1 / 0)
    assert report_extras(open_run(None)) == extras
    monkeypatch.setattr(module, "block_source", lambda: "other")
    with pytest.raises(ZeroDivisionError):
        report_extras(open_run(None))


def test_the_table_that_was_used_comes_before_newer_ones(found: SearchResult) -> None:
    assert found.outcome is not None
    used = Path("latency/tiny-eager-fp32.json")
    space = read_table(used).space
    other = make_table(Device(factor=1.2), out="newer").path
    os.utime(used, (1, 1))
    chosen = table_of(found.outcome, space)
    assert chosen is not None and chosen[0] == str(used)
    assert table_of(dataclasses.replace(found.outcome, table=""), space)[0] == str(other)  # type: ignore[index]
    # A damaged file, or a table of other conditions or another device, is none.
    used.write_text(used.read_text()[:-100])
    assert table_of(found.outcome, space)[0] == str(other)  # type: ignore[index]
    other.unlink()
    make_table(Device(Conditions(threads=4)), out="four")
    make_table(Device(device="NVIDIA H200"), out="h200")
    assert table_of(found.outcome, space) is None
    assert "table" not in report_extras(open_run(None))


def test_a_run_without_search_has_no_extras(workplace: Workplace) -> None:
    train_tiny(workplace)
    assert report_extras(open_run(None)) == {}
    assert [path.name for path in report().files] == ["report.html"]


def test_a_damaged_count_file_is_named(finished: Finished) -> None:
    folder = open_run("tiny").path("search")
    report(run="tiny")
    kept = (folder / KERNELS).read_text()
    assert set(json.loads(kept)["counts"]) >= set(finished.found.picks.values())
    (folder / KERNELS).write_text(kept[:-5])
    with pytest.raises(DataError, match=r"kernels\.json is not valid JSON.*Delete it"):
        report(run="tiny")
    (folder / KERNELS).write_text(kept)

"""An extracted model carries its latency in both runtimes, whether the search measured it or `extract` does."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from table_workplace import Device, Messages
from test_search_table import device, searched
from tiny_workplace import Workplace

from posesearch.checkpoint import read_model_info
from posesearch.errors import EnvironmentFault
from posesearch.flows.extract import extract
from posesearch.flows.runs import open_run
from posesearch.latency.types import Conditions
from posesearch.spaces import SearchSpace

__all__ = ["device"]


def other(conditions: Conditions) -> Conditions:
    return dataclasses.replace(conditions, runtime="onnxruntime")


def runtimes_of(model: dict[str, Any]) -> list[str]:
    info = read_model_info(open_run(None).path(model["file"]))
    return [row["runtime"] for row in info.latency]


def test_both_runtimes_reach_summary_and_header(
    device: Device, workplace: Workplace, tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for flow in ("search", "extract"):
        monkeypatch.setattr(f"posesearch.flows.{flow}.counterpart", other)
    monkeypatch.setattr("posesearch.flows.extract.measure_fresh", device.figures)
    found = searched()
    assert all(row["confirmed_also"].keys() == {"onnxruntime"} for row in (*found.front, *found.references))
    picked = extract(picks=("best",), device="cpu", progress=Messages()).models[0]
    front = {row["arch_id"] for row in found.front}
    missing = next(a for a in (tiny_space.largest(), tiny_space.smallest()) if a.id not in front)
    unknown = extract(arch=missing.code, device="cpu", progress=Messages()).models[0]
    for model in (picked, unknown):
        assert model["confirmed_also"].keys() == {"onnxruntime"}
        assert runtimes_of(model) == ["eager", "onnxruntime"]

    def fails(archs: Any, conditions: Conditions, **options: Any) -> Any:
        if conditions.runtime == "onnxruntime":
            raise EnvironmentFault("it does not run.")
        return device.figures(archs, conditions)

    monkeypatch.setattr("posesearch.flows.extract.measure_fresh", fails)
    messages = Messages()
    alone = extract(arch=missing.code, device="cpu", progress=messages).models[0]
    assert runtimes_of(alone) == ["eager"] and alone["confirmed_also"] == {}
    assert messages.texts[-1] == "extract: no latencies in the other runtime: it does not run."

"""The `space` commands on the shipped spaces, and on files with faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posesearch.cli.app import main
from posesearch.errors import ConfigError, UsageError
from posesearch.flows.space import space_check, space_cost, space_rows, space_show
from posesearch.spaces import load_preset, load_space

BROKEN = """
name: mine
input_size: [100, 96]
stages:
  - {wdith: [8, 16], depth: [1], kernel: [3]}
  - {width: [16, 8], depth: [1], kernel: [4]}
"""


def test_every_shipped_space_is_listed_with_its_facts() -> None:
    rows = {row.name: row for row in space_rows()}
    assert {"demo", "starnet"} <= set(rows)
    assert rows["starnet"].cardinality == load_space("starnet").cardinality >= 10**9
    assert rows["starnet"].input_size == (256, 192)
    assert rows["demo"].space_id == load_space("demo").id


def test_a_broken_file_is_listed_with_its_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "search_spaces" / "mine.yaml").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    row = next(row for row in space_rows() if row.name == "mine")
    assert "problems found" in row.problem
    assert row.problem.endswith("mine.yaml'.")


def test_check_lists_every_fault_at_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(BROKEN)
    with pytest.raises(ConfigError) as caught:
        space_check(str(file))
    text = str(caught.value)
    assert "stages[0].wdith: unknown key. Did you mean 'width'?" in text
    assert "[16, 8] is not in ascending order; write [8, 16]" in text
    assert str(file) in text


def test_check_ends_with_2_and_ok_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(BROKEN)
    assert main(["space", "check", str(file), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2
    assert main(["space", "check", "demo", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_show_has_the_choices_and_both_ends() -> None:
    plain = space_show("demo").to_plain()
    space = load_space("demo")
    assert plain["genes"]["stage0.width"] == list(space.genes()["stage0.width"])
    assert plain["smallest"]["params"] < plain["largest"]["params"]
    assert plain["largest"]["code"] == space.largest().code


@pytest.mark.parametrize(
    ("name", "params", "flops"),
    [("starnet-pose-t", 3_504_155, 434_939_520), ("starnet-pose-s", 6_428_403, 764_634_112)],
)
def test_published_sizes_come_out_exactly(
    name: str, params: int, flops: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["space", "cost", name, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["params"], document["flops"]) == (params, flops)
    for key in ("params", "macs", "flops"):
        assert document["backbone"][key] + document["head"][key] == document[key]


def test_a_code_counts_like_its_preset_and_like_a_member() -> None:
    preset = load_preset("starnet-pose-t")
    assert space_cost(preset.code).cost == space_cost("starnet-pose-t").cost
    assert space_cost(preset.code, space="starnet").arch == preset
    largest = load_space("demo").largest()
    assert space_cost("largest", space="demo").arch == largest
    assert space_cost(largest.code, space="demo").arch == largest


def test_joints_and_input_size_replace_those_of_the_architecture() -> None:
    counted = space_cost("s050", joints=14, input_size=(128, 96))
    assert (counted.arch.num_joints, counted.arch.input_size) == (14, (128, 96))
    assert counted.cost["macs"] < space_cost("s050").cost["macs"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"name": "s05"}, "'s05' is no preset, architecture code or .safetensors file. Did you mean 's050'?"),
        ({"name": "largest"}, "'largest' is a member of which space? Add --space, one of: demo"),
        ({"name": "w8_d1-2_k3_r2_a0"}, "names different numbers of stages"),
        ({"name": "s050", "space": "demo"}, "preset 's050' is not in space 'demo':"),
        ({"name": "s050", "input_size": (100, 96)}, "height 100 is not a positive multiple of 32"),
        ({"name": "s050", "joints": 0}, "num_joints: got 0, expected at least 1."),
    ],
)
def test_names_that_fit_nothing(arguments: dict, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        space_cost(**arguments)
    assert text in str(caught.value)


def test_an_input_size_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["space", "cost", "s050", "--input-size", "big"]) == 2
    assert "--input-size 'big' is no size. Write height x width" in capsys.readouterr().err

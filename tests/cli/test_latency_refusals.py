"""Latencies nobody can vouch for are refused: a table of another device or cut off, a busy machine, a missing provider."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from bad_input_world import Case, World, check_refusal
from table_workplace import Device, be_this_machine, make_table

from posesearch.latency import quiet, runtime_onnx, runtime_tensorrt
from posesearch.latency.types import Conditions

H200 = {"device": "NVIDIA H200", "compute_capability": "9.0", "sm_count": 132, "gpu_memory_mib": 143771}
TABLE = "latency/tiny-eager-fp32.json"
SEARCH = "search --latency-ms 2.2 --trials 2 --device cpu"
ONNX = "--runtime onnxruntime --device cpu"


@pytest.fixture
def machine(world: World, monkeypatch: pytest.MonkeyPatch) -> Device:
    """This machine as far as latency goes: quiet, and of known speed."""
    here = Device()
    be_this_machine(here, monkeypatch)
    be_busy(monkeypatch, load=0.2, in_use=0.0)
    return here


def be_busy(monkeypatch: pytest.MonkeyPatch, load: float, in_use: float) -> None:
    monkeypatch.setattr(quiet, "machine_load", lambda: (load, 2))
    monkeypatch.setattr(quiet, "cores_in_use", lambda: in_use)


def case(
    name: str, words: str, code: int, *says: str, before: Callable[[World], object] = lambda world: None
) -> Any:
    return pytest.param(Case(name, words.split(), code, says, before), id=name)


def foreign(**changes: Any) -> Callable[[World], object]:
    """A table of a machine that differs from this one."""
    conditions = changes.pop("conditions", None)
    return lambda world: make_table(Device(conditions, **changes), out="other")


def damaged(change: Callable[[World], object]) -> Callable[[World], object]:
    """A table of this machine under the usual name, and then `change`."""

    def before(world: World) -> None:
        make_table(Device())
        change(world)

    return before


OTHER_SPACE = {"name": "other", "stem_width": 16}


def rename_space(world: World) -> None:
    world.write("other.json", json.dumps(json.loads(world.path("tiny.json").read_text()) | OTHER_SPACE))
    make_table(Device(), space="other.json")


GRAPH = Conditions(device="cuda:0", runtime="cudagraph", precision="fp16")
TABLES = [
    case(
        "another torch", f"{SEARCH} --table other", 5, "latency/other.json was built on another device",
        "torch: 1.0.0 stored, ", " here", "Choose the table of this device", "posesearch latency build",
        before=foreign(torch="1.0.0"),
    ),
    case(
        "several facts", f"{SEARCH} --table other", 5, "Python: 3.9 stored", "block code: 0 stored",
        before=foreign(python="3.9", block_source="0"),
    ),
    case(
        "other conditions", f"{SEARCH} --table tiny-eager-fp32 --batch 4", 5, "batch: 1 stored, 4 here",
        before=damaged(lambda world: None),
    ),
    case(
        "a GPU that is not here", f"{SEARCH} --table other --runtime cudagraph --precision fp16", 5,
        "latency/other.json is of another device: NVIDIA H200, which is not here", "give --unverified", "--table none",
        before=foreign(conditions=GRAPH, **H200),
    ),
    case(
        "a GPU that is not here, other conditions", f"{SEARCH} --table other --unverified", 2,
        "for --runtime eager, --precision fp32", "Use --runtime cudagraph --precision fp16",
        before=foreign(conditions=GRAPH, **H200),
    ),
    case(
        "unverified of this machine", f"{SEARCH} --table tiny-eager-fp32 --unverified", 2,
        f"--unverified: latency table {TABLE} is of this machine's", "Leave --unverified out",
        before=damaged(lambda world: None),
    ),
    case(
        "of another space", f"{SEARCH} --table other-eager-fp32", 2,
        "is of space 'other'", "wanted is 'tiny'", "posesearch latency build --space tiny", before=rename_space,
    ),
    *(
        case(
            f"cut off, {name}", words, 4, f"latency table {TABLE} is not valid JSON", "It was cut off or changed",
            "posesearch latency build --fresh", before=damaged(lambda world: world.cut(TABLE, 0.9)),
        )
        for name, words in (
            ("the usual name", SEARCH), ("by name", f"{SEARCH} --table tiny-eager-fp32"), ("by path", f"{SEARCH} --table {TABLE}"),
            ("show", "latency show"),
        )
    ),
    case(
        "empty", SEARCH, 4, f"latency table {TABLE} is not valid JSON", "posesearch latency build --fresh",
        before=damaged(lambda world: world.write(TABLE, "")),
    ),
    *(
        case(
            f"no text, {name}", words, 4, f"latency table {TABLE} cannot be read: byte 0xff at offset 3 is not UTF-8",
            "Allowed: JSON in UTF-8", "Build it again with: posesearch latency build --fresh",
            before=damaged(lambda world: world.write(TABLE, b'{"\n\xff\xfe\x00PK')),
        )
        for name, words in (("search", SEARCH), ("show", f"latency show {TABLE}"), ("show the newest", "latency show"))
    ),
    case(
        "a changed figure", SEARCH, 4, f"latency table {TABLE}: its content does not fit its id", "posesearch latency build --fresh",
        before=damaged(lambda world: world.edit(TABLE, lambda table: table.update(sentinel_ms=9.0))),
    ),
    case(
        "another file", f"{SEARCH} --table runs/tiny/search/result.json", 4, "key 'kind' is None", "Allowed: 'latency table'",
    ),
    case(
        "of a later version", SEARCH, 4, f"latency table {TABLE}: its version is 99", "written by another posesearch",
        before=damaged(lambda world: world.edit(TABLE, lambda table: table.update(version=99))),
    ),
    case(
        "none of that name", f"{SEARCH} --table tiny-eager-fp23", 2, "there is no latency table 'tiny-eager-fp23'",
        "Did you mean 'tiny-eager-fp32'", before=damaged(lambda world: None),
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_says_nothing_of_this_machine(case: Case, world: World, machine: Device, call) -> None:
    before = world.path("runs/tiny/search/result.json").read_bytes()
    check_refusal(case, world, call)
    assert world.path("runs/tiny/search/result.json").read_bytes() == before
    assert machine.asked == [], "nothing was measured"


@pytest.mark.parametrize("words", [SEARCH, f"{SEARCH} --table tiny-eager-fp32"])
def test_a_busy_machine_and_one_that_is_slower_now(
    words: str, world: World, machine: Device, call, monkeypatch
) -> None:
    make_table(machine)
    machine.factor = 1.5
    slower = f"latency table {TABLE} does not fit what this device does now"
    quiet_case = Case("slower", words.split(), 5, (slower, "here 1.49x", "posesearch latency build --fresh"))
    check_refusal(quiet_case, world, call)
    be_busy(monkeypatch, load=6.2, in_use=2.0)
    busy = Case(
        "busy", words.split(), 5,
        (slower, "The machine is disturbed (busy: load 6.2 over the last minute on 2 cores). Stop the other work"),
    )  # fmt: skip
    message = check_refusal(busy, world, call)
    way_out = "\nOr measure every candidate: --table none"
    assert message.endswith(way_out) == ("--table" not in words), "where nobody asked for this table"


def test_a_busy_machine_is_told_by_the_check_and_refuses_nothing(machine: Device, call, monkeypatch) -> None:
    be_busy(monkeypatch, load=6.2, in_use=2.0)
    monkeypatch.setattr("posesearch.flows.quiet.HERE", 1)
    monkeypatch.setattr("posesearch.flows.quiet.check.__kwdefaults__", {
        **sys.modules["posesearch.flows.quiet"].check.__kwdefaults__,
        "time_nets": machine.figures, "time_fresh": machine.figures,
    })  # fmt: skip
    told = call("latency", "check", "--device", "cpu")
    assert told.code == 0
    assert "busy: load 6.2 over the last minute on 2 cores" in told.out


class FallenSession:
    """A session that came up on another provider, as ONNX Runtime does in silence."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def get_providers(self) -> list[str]:
        return ["AzureExecutionProvider"]


def fake_onnxruntime(monkeypatch: pytest.MonkeyPatch, providers: list[str]) -> None:
    fake = ModuleType("onnxruntime")
    settings = SimpleNamespace(add_session_config_entry=lambda *_: None)
    for name, value in {
        "get_available_providers": lambda: providers,
        "SessionOptions": lambda: settings,
        "ExecutionMode": SimpleNamespace(ORT_SEQUENTIAL=0),
        "InferenceSession": FallenSession,
        "__version__": "1.0",
    }.items():
        setattr(fake, name, value)
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    monkeypatch.setattr(runtime_onnx, "installed", lambda: True)
    monkeypatch.setattr(runtime_onnx, "onnx_bytes", lambda *_: b"")


COMMANDS = [
    pytest.param("search --latency-ms 5", id="search"),
    pytest.param("latency build --space tiny.json", id="build"),
    pytest.param("latency check", id="check"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_package_that_is_missing(command: str, world: World, call, monkeypatch) -> None:
    monkeypatch.setattr(runtime_onnx, "installed", lambda: False)
    monkeypatch.setattr(runtime_tensorrt, "installed", lambda: False)
    onnx = Case(
        "onnxruntime", f"{command} {ONNX}".split(), 5,
        ("--runtime onnxruntime needs the package onnxruntime, which is not installed", "pip install 'posesearch[onnx]'",
         "use --runtime eager"),
    )  # fmt: skip
    check_refusal(onnx, world, call)
    words = f"{command} --runtime tensorrt --device cpu".split()
    check_refusal(Case("tensorrt", words, 5, ("--runtime tensorrt", "pip install tensorrt")), world, call)
    assert not Path("latency").exists()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("found", [["AzureExecutionProvider"], []])
def test_a_provider_that_is_missing(command: str, found: list[str], world: World, call, monkeypatch) -> None:
    fake_onnxruntime(monkeypatch, found)
    says = (
        f"wanted CPUExecutionProvider, found {', '.join(found) or 'none'}",
        "A latency of another provider would be passed off as this one", "choose another --device or --runtime",
    )  # fmt: skip
    check_refusal(Case("provider", f"{command} {ONNX}".split(), 5, says), world, call)


def test_a_provider_that_falls_back_in_silence(world: World, call, monkeypatch) -> None:
    fake_onnxruntime(monkeypatch, ["CPUExecutionProvider"])
    says = (
        "wanted CPUExecutionProvider, found AzureExecutionProvider",
        "choose another --device or --runtime",
    )
    check_refusal(Case("fallback", f"latency check {ONNX}".split(), 5, says), world, call)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_runtime_of_another_device(command: str, world: World, call) -> None:
    words = f"{command} --runtime cudagraph --device cpu".split()
    check_refusal(
        Case("graph", words, 5, ("--runtime cudagraph needs a CUDA GPU", "Use --runtime eager")), world, call
    )

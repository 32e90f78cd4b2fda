"""Damaged, foreign and hostile files of a run, through the real command line; nothing that is read runs code."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bad_input_world import (
    CHECKPOINT,
    EVALUATE,
    EXTRACT,
    MODEL,
    RESULT,
    RUN,
    SEARCH,
    SUPERNET,
    TRAIN,
    Case,
    World,
    check_refusal,
)
from safetensors.torch import save

from posesearch.checkpoint import read_model_file, write_model_file
from posesearch.spaces import load_space
from posesearch.supernet import Supernet

RETRAIN = ["train", MODEL, "--set", "epochs=1"]
INIT = [*TRAIN, "--run", "second", "--init"]


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch EXPLODED",)


def of_another_space(world: World) -> None:
    _, info = read_model_file(Path(SUPERNET))
    space = replace(load_space("tiny.json"), stem_width=12)
    info = replace(info, space=space.to_plain(), space_id=space.id)
    write_model_file(Path(SUPERNET), Supernet(space).state_dict(), info)


def tensors(file: str, change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        weights, info = read_model_file(Path(file))
        change(weights)
        write_model_file(Path(file), weights, info)

    return prepare


def poison(weights: dict[str, torch.Tensor]) -> None:
    weights["backbone.stem.0.conv.weight"][0] = float("nan")


def checkpoint(change: Callable[[dict], object]) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        world.remove(SUPERNET)
        state = torch.load(CHECKPOINT, weights_only=True)
        change(state)
        torch.save(state, CHECKPOINT)

    return prepare


def manifest(change: Callable[[dict], object]) -> Callable[[World], object]:
    return lambda world: world.edit(f"{RUN}/run.json", change)


TOO_WIDE = {"stem_width": 10**9}
WHOLE = "Allowed: a checkpoint.pt written by posesearch. Delete it to train from the start"
ANOTHER = "belongs to another training"
RESUME = "cannot be resumed"
OURS = "Allowed: a .safetensors file written by posesearch"
RESTORE = "restore it from a copy, or start a new run under another name (--run)"
FILES = [
    # weights
    Case("supernet of another space", SEARCH, 4, (SUPERNET, "belongs to space", "run 'tiny' to", "train again with --fresh"), of_another_space),
    Case("the same, extract", EXTRACT, 4, (SUPERNET, "belongs to space"), of_another_space),
    Case("a model as supernet", SEARCH, 4, (f"{SUPERNET} holds a model, not a supernet",), lambda w: shutil.copy(MODEL, SUPERNET)),
    Case("a supernet as model", EVALUATE, 4, (f"{MODEL} holds a supernet, not one network",), lambda w: shutil.copy(SUPERNET, MODEL)),
    Case("a checkpoint as model", ["evaluate", CHECKPOINT, "--data", "people"], 4, (CHECKPOINT, "not a safetensors file", OURS)),
    Case("tensor missing", SEARCH, 4, (SUPERNET, "backbone.stem.0.conv.weight is missing", "space 'tiny'"),
         tensors(SUPERNET, lambda weights: weights.pop("backbone.stem.0.conv.weight"))),
    Case("NaN weights", EVALUATE, 4, (MODEL, "backbone.stem.0.conv.weight holds NaN or infinite numbers"), tensors(MODEL, poison)),
    Case("foreign safetensors", EVALUATE, 4, (MODEL, "without posesearch's header", OURS), lambda w: w.write(MODEL, save({"w": torch.zeros(3)}))),
    Case("pickle as model", EVALUATE, 4, (MODEL, "not a safetensors file", OURS), lambda w: w.write(MODEL, pickle.dumps(Bomb()))),
    Case("architecture too large", EVALUATE, 4, ("the weights are not those of architecture", "expected (1000000000,", "Extract or train the model again"),
         lambda w: w.header(MODEL, lambda info: info["arch"].update(TOO_WIDE))),
    Case("joint set of the header", EVALUATE, 4, ("joint set in this file cannot be read",), lambda w: w.header(MODEL, lambda info: info.update(skeleton={}))),
    Case("name that leaves the run", RETRAIN, 4, (MODEL, "key 'name' is '../../evil'"), lambda w: w.header(MODEL, lambda info: info.update(name="../../evil"))),
    *(Case(f"model cut at {length}", EVALUATE, 4, (f"model file {MODEL} cannot be used", OURS), lambda w, length=length: w.cut(MODEL, length))
      for length in (0, 1, 7, 8, 9, 100, 0.01, 0.05, 0.5, 0.99)),
    Case("cut model counted", ["space", "cost", MODEL], 4, (MODEL, "it is cut off", "bytes are missing"), lambda w: w.cut(MODEL, 0.9)),
    # --init
    Case("init missing", [*INIT, "no.pth"], 4, ("--init no.pth not found",)),
    Case("init cut", [*INIT, "x.safetensors"], 4, ("x.safetensors", "cut off"), lambda w: (shutil.copy(SUPERNET, "x.safetensors"), w.cut("x.safetensors", 0.5))),
    Case("init pickle", [*INIT, "x.pth"], 4, ("x.pth holds more than tensors and is not opened, because that could run code", "Allowed: .safetensors"),
         lambda w: w.write("x.pth", pickle.dumps(Bomb(), protocol=2))),
    Case("init torch pickle", [*INIT, "x.pth"], 4, ("x.pth holds more than tensors", "it names posix.system"), lambda w: torch.save({"state_dict": {"a": Bomb()}}, "x.pth")),
    Case("init text", [*INIT, "x.pth"], 4, ("x.pth cannot be read as a weight file", "fetch it again"), lambda w: w.write("x.pth", "hello")),
    Case("init other weights", [*INIT, "x.pth"], 4, ("x.pth holds no StarNet weights", "it has w", "Give an official StarNet file"),
         lambda w: torch.save({"w": torch.zeros(3)}, "x.pth")),
    Case("init checkpoint", [*INIT, CHECKPOINT], 4, (CHECKPOINT, "checkpoint of an unfinished training", ".safetensors")),
    # checkpoints
    *(Case(f"checkpoint cut at {length}", TRAIN, 4, (f"checkpoint {CHECKPOINT} cannot be used", WHOLE),
           lambda w, length=length: (w.remove(SUPERNET), w.cut(CHECKPOINT, length))) for length in (0, 3, 100, 0.3, 0.9, 0.9999)),
    Case("checkpoint garbage", TRAIN, 4, (CHECKPOINT, WHOLE), lambda w: w.write(CHECKPOINT, os.urandom(5000))),
    Case("checkpoint pickle", TRAIN, 4, (CHECKPOINT, WHOLE), lambda w: w.write(CHECKPOINT, pickle.dumps(Bomb()))),
    Case("checkpoint of other tensors", TRAIN, 4, (CHECKPOINT, WHOLE), lambda w: torch.save({"a": torch.zeros(3)}, CHECKPOINT)),
    Case("checkpoint of a model", TRAIN, 4, (CHECKPOINT, ANOTHER, "kind: 'model' before, 'supernet' now"),
         lambda w: shutil.copy(f"{RUN}/models/T/checkpoint.pt", CHECKPOINT)),
    Case("checkpoint of another recipe", TRAIN, 4, (CHECKPOINT, ANOTHER, "recipe.batch_size: 8 before, 16 now", "--fresh"),
         checkpoint(lambda s: s.update(fingerprint=s["fingerprint"].replace('"batch_size": 16', '"batch_size": 8')))),
    Case("checkpoint position", TRAIN, 4, (f"position in {CHECKPOINT}", "step: got 'x', expected a whole number"), checkpoint(lambda s: s["position"].update(step="x"))),
    Case("checkpoint without average", TRAIN, 4, (CHECKPOINT, RESUME, "Delete it to train from the start"), checkpoint(lambda s: s.update(average=None))),
    Case("training log", TRAIN, 4, (f"{RUN}/supernet/metrics.jsonl, line 2 is not valid JSON", "Delete that line"),
         lambda w: w.write(f"{RUN}/supernet/metrics.jsonl", '{"a": 1}\nxx\n{"b": 2}\n')),
    # the run's own records
    *(Case(f"manifest cut, {words[0]}", words, 4, (f"run manifest {RUN}/run.json is not valid JSON", RESTORE), lambda w: w.cut(f"{RUN}/run.json", 0.5))
      for words in (TRAIN, SEARCH, EXTRACT, RETRAIN, ["report"])),
    Case("manifest without recipe", SEARCH, 4, (f"recipe in {RUN}/run.json", "got None"), manifest(lambda m: m.pop("recipe"))),
    Case("manifest without data", EXTRACT, 4, (f"run manifest {RUN}/run.json: key 'data' is None", RESTORE), manifest(lambda m: m.pop("data"))),
    Case("manifest seed", RETRAIN, 4, ("key 'seed' is 'x'. Allowed: a whole number", RESTORE), manifest(lambda m: m.update(seed="x"))),
    Case("data of the run gone", EXTRACT, 4, ("data folder not found: people",), lambda w: w.remove("people")),
    Case("search result cut", EXTRACT, 4, (RESULT, "not valid JSON", "Search again: it is made anew"), lambda w: w.cut(RESULT, 0.5)),
    Case("search result keys", EXTRACT, 4, (RESULT, "is damaged (KeyError: 'front')", "Search again"), lambda w: w.edit(RESULT, lambda r: r.pop("front"))),
    Case("study damaged", SEARCH, 4, ("search/study.db is damaged", "Delete that file and search again"), lambda w: w.write(f"{RUN}/search/study.db", b"garbage" * 99)),
    Case("model summary", [*RETRAIN, "--fresh"], 4, (f"model summary {RUN}/models/T.json", "extract or train 'T' again"), lambda w: w.cut(f"{RUN}/models/T.json", 0.5)),
    Case("model summary a list", EXTRACT, 4, (f"model summary {RUN}/models/T.json holds a list. Allowed: a JSON object",), lambda w: w.write(f"{RUN}/models/T.json", "[]")),
    Case("manifest in the report", ["report"], 4, ("run manifest: data: got 5, expected a JSON object",), manifest(lambda m: m.update(data=5))),
    Case("log in the report", ["report"], 4, (f"{RUN}/search/candidates.jsonl, line 1 is no JSON object",), lambda w: w.write(f"{RUN}/search/candidates.jsonl", "5\n")),
    # configurations
    Case("space cut", TRAIN, 2, ("tiny.json cannot be read", "It must be a YAML or JSON mapping"), lambda w: w.cut("tiny.json", 0.5)),
    Case("space with faults", ["space", "check", "tiny.json"], 2, ("tiny.json: 3 problems found", "stem_wdith: unknown key. Did you mean 'stem_width'?", "height 65 is not", "width 50 is not"),
         lambda w: w.edit("tiny.json", lambda s: s.update(stem_wdith=3, input_size=[65, 50]))),
    *(Case(f"recipe {name}", TRAIN, 2, ("tiny.yaml", *says), lambda w, text=text: w.write("tiny.yaml", text)) for name, text, says in (
        ("unfinished", "name: [x", ("cannot be read", "mapping of keys to values")),
        ("a list", "- 1\n", ("holds a list", "mapping of keys to values")),
        ("empty", "", ("holds nothing",)),
        ("with text for a number", "name: x\noptimizer: {lr: 1e-3}", ("optimizer.lr: got '1e-3', expected a number", "write 0.001")),
        ("with a Python base", "_base_: evil.py", ("'evil.py' is a Python file", "would be executed")),
        ("with a missing base", "_base_: no.yaml", ("_base_ file no.yaml does not exist",)),
        ("that inherits itself", "_base_: tiny.yaml", ("leads back to the file itself",)),
        ("with a code tag", 'name: !!python/object/apply:os.system ["touch EXPLODED"]', ("cannot be read", "could not determine a constructor")),
    )),
]  # fmt: skip


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.name)
def test_a_bad_file_is_named_and_runs_no_code(case: Case, world: World, call) -> None:
    message = check_refusal(case, world, call)
    assert "weights_only" not in message  # torch's own advice would run the code
    assert not Path("EXPLODED").exists()
    assert not list(world.folder.parent.glob("evil*"))


def test_a_code_tag_in_an_inherited_space_is_not_run_either(world: World, call) -> None:
    world.write("base.yaml", 'name: !!python/object/apply:os.system ["touch EXPLODED"]')
    world.write("child.yaml", "_base_: base.yaml\n")
    check_refusal(
        Case("child", ["space", "check", "child.yaml"], 2, ("base.yaml cannot be read",)), world, call
    )
    assert not Path("EXPLODED").exists()


def test_data_check_reports_as_its_answer(world: World, call) -> None:
    world.edit(
        "people/annotations/person_keypoints_val2017.json", lambda d: d["annotations"][0].update(bbox=[0])
    )
    outcome = call("data", "check", "people", "--json")
    document = json.loads(outcome.out)
    assert (outcome.code, document["exit_code"], document["ok"]) == (4, 4, False)
    assert document["error"].startswith(
        "The data set cannot be used: correct the errors listed under 'faults'"
    )
    assert outcome.err.rstrip().endswith(f"error: {document['error']}")  # as every other failure
    assert document["faults"][0]["text"].startswith("key 'bbox' is [0]. Allowed: four finite numbers")


def test_a_damaged_search_result_is_made_again(world: World, call) -> None:
    before = json.loads(world.path(RESULT).read_text())
    world.cut(RESULT, 0.5)
    outcome = call(*SEARCH, "--json")
    assert outcome.code == 0, outcome.err
    assert f"{RESULT} is damaged; it is made again" in outcome.err
    assert json.loads(outcome.out)["evaluations"] == before["evaluations"]


def test_a_header_that_asks_for_all_memory(world: World, call) -> None:
    world.write(MODEL, struct.pack("<Q", 1 << 60) + b"{}")
    check_refusal(Case("bomb", EVALUATE, 4, (MODEL, "its start is damaged", OURS)), world, call)

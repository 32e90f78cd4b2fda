"""A small finished run on generated people, what can be done to its files, and how a refusal must look."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_recipe import RECIPE

from posesearch.cli.app import main
from posesearch.config import to_plain
from posesearch.data.synthetic import write_coco
from posesearch.files import write_json_atomic
from posesearch.latency.effort import FAST
from posesearch.latency.measure import measure_many
from posesearch.latency.types import Conditions
from posesearch.models import PoseModel
from posesearch.spaces import SearchSpace

TRAIN_FILE = "people/annotations/person_keypoints_train2017.json"
VAL_FILE = "people/annotations/person_keypoints_val2017.json"
FIRST_IMAGE = "people/train2017/000000000001.jpg"
RUN = "runs/tiny"
SUPERNET = f"{RUN}/supernet/supernet.safetensors"
CHECKPOINT = f"{RUN}/supernet/checkpoint.pt"
MODEL = f"{RUN}/models/T.safetensors"
RESULT = f"{RUN}/search/result.json"

TRAIN = shlex.split("supernet-train --space tiny.json --data people --recipe tiny.yaml --device cpu")
SEARCH = shlex.split("search --latency-ms 1000 --trials 2 --device cpu")
EXTRACT = ["extract", "--device", "cpu"]
EVALUATE = ["evaluate", MODEL, "--data", "people", "--device", "cpu"]


def make_world(folder: Path, space: SearchSpace) -> None:
    """Fills `folder`, which is the working folder, with data, space, recipe and a run from supernet to retrained model."""
    torch.set_num_threads(1)
    write_coco(folder / "people", seed=7, num_train=24, num_val=8)
    write_json_atomic(folder / "tiny.json", to_plain(space))
    (folder / "tiny.yaml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("posesearch.flows.search.measure_fresh", measure_here)
        lines = (TRAIN, SEARCH, EXTRACT, f"train {MODEL} --set epochs=1 --device cpu".split())
        assert [main([*words, "--quiet"]) for words in lines] == [0] * len(lines)


def measure_here(archs: Any, conditions: Conditions, **options: Any) -> dict[str, Any]:
    """Stands in for `measure_fresh`: no new processes."""
    networks = {arch.id: PoseModel(arch) for arch in archs}
    return measure_many(networks, input_size=archs[0].input_size, conditions=conditions, effort=FAST)


@dataclass(frozen=True)
class World:
    """A copy of the finished run, to be damaged; it is the working folder."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / name

    def write(self, name: str, content: bytes | str) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.path(name).write_bytes(data)

    def cut(self, name: str, length: float) -> None:
        """Keeps a share (below 1) or a number of bytes."""
        data = self.path(name).read_bytes()
        self.write(name, data[: int(length * len(data)) if 0 < length < 1 else int(length)])

    def edit(self, name: str, change: Callable[[Any], object]) -> None:
        """Changes a JSON file in place."""
        document = json.loads(self.path(name).read_text())
        change(document)
        self.write(name, json.dumps(document))

    def header(self, name: str, change: Callable[[Any], object]) -> None:
        """Changes our entry in the header of a safetensors file."""
        data = self.path(name).read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8 : 8 + length])
        info = json.loads(header["__metadata__"]["posesearch"])
        change(info)
        header["__metadata__"]["posesearch"] = json.dumps(info)
        text = json.dumps(header).encode()
        self.write(name, struct.pack("<Q", len(text)) + text + data[8 + length :])

    def remove(self, *names: str) -> None:
        for name in names:
            shutil.rmtree(self.path(name)) if self.path(name).is_dir() else self.path(name).unlink()

    def joints(self, names: list[str], *files: str) -> None:
        """Gives the annotations other joints: the first ones, under these names."""

        def change(document: Any) -> None:
            document["categories"][0].update(keypoints=names, skeleton=[])
            for annotation in document["annotations"]:
                kept = annotation["keypoints"][: 3 * len(names)]
                annotation.update(keypoints=kept, num_keypoints=sum(v > 0 for v in kept[2::3]))

        for file in files or (TRAIN_FILE, VAL_FILE):
            self.edit(file, change)


@dataclass(frozen=True)
class Case:
    """One thing a user gets wrong.

    Attributes:
        name: The test's name.
        words: The command line.
        code: The exit code it must end with.
        says: What the message must contain.
        before: What is done to the world first.
    """

    name: str
    words: list[str]
    code: int
    says: tuple[str, ...]
    before: Callable[[World], object] = lambda world: None


def check_refusal(case: Case, world: World, call: Callable[..., Any]) -> str:
    """Runs a case as text and as JSON and checks how it ends; returns the message."""
    case.before(world)
    outcome = call(*case.words)
    message = (
        outcome.err[outcome.err.rindex("error: ") :].strip() if "error: " in outcome.err else outcome.err
    )
    assert outcome.code == case.code, outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    assert "bug in posesearch" not in outcome.err
    for text in case.says:
        assert text in message, message
    as_json = call(*case.words, "--json")
    document = json.loads(as_json.out)  # exactly one document: anything after it would be an error here
    assert as_json.code == document["exit_code"] == case.code
    assert set(document) <= {"error", "exit_code", "problems"}
    assert all(text in document["error"] for text in case.says)
    assert "Traceback" not in as_json.err
    return message


def start(words: list[str], folder: Path) -> subprocess.Popen[str]:
    """Starts the real command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "posesearch", *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

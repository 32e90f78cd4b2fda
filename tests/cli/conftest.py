"""A command line to call, and flows that record how they are called."""

from __future__ import annotations

import shutil
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import posesearch.flows
from posesearch.cli.app import main


@dataclass
class Outcome:
    """How a call ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs the command line in this process."""

    def run(*words: str) -> Outcome:
        code = main(words)
        captured = capsys.readouterr()
        return Outcome(code=code, out=captured.out, err=captured.err)

    return run


@dataclass
class Spy:
    """Stands in for one flow function."""

    result: Any = None
    error: BaseException | None = None
    noise: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, **arguments: Any) -> Any:
        self.calls.append(arguments)
        if self.noise:
            print(self.noise)
        if self.error is not None:
            raise self.error
        return self.result


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Spy]:
    """Replaces a function of `posesearch.flows` without importing it (and torch)."""

    def replace(module: str, function: str, **entries: Any) -> Spy:
        spy = Spy(**entries)
        fake = types.ModuleType(f"posesearch.flows.{module}")
        setattr(fake, function, spy)
        monkeypatch.setitem(sys.modules, fake.__name__, fake)
        monkeypatch.setattr(posesearch.flows, module, fake, raising=False)
        return spy

    return replace


@pytest.fixture(scope="session")
def finished_world(tmp_path_factory: pytest.TempPathFactory, tiny_space: Any) -> Path:
    """A folder with data, space, recipe and one finished run; never changed."""
    from bad_input_world import make_world

    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_world(folder, tiny_space)
    return folder


@pytest.fixture
def world(finished_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A copy of it, to be damaged, as the working folder."""
    from bad_input_world import World, measure_here

    folder = tmp_path / "world"
    shutil.copytree(finished_world, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("posesearch.flows.search.measure_fresh", measure_here)
    return World(folder)

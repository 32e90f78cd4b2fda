"""A folder to work in, and one finished run, for the tests of the flows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_workplace import Finished, Workplace, make_workplace, train_tiny

from posesearch.flows.extract import extract
from posesearch.flows.search import search
from posesearch.progress import SilentProgress
from posesearch.spaces import SearchSpace


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def workplace(
    tmp_path: Path, people_dir: Path, tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> Workplace:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return make_workplace(tmp_path, people_dir, tiny_space)


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory, people_dir: Path, tiny_space: SearchSpace
) -> Iterator[Finished]:
    """One finished run for all tests that only read it (or add to it)."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        place = make_workplace(folder, people_dir, tiny_space)
        trained = train_tiny(place)
        quiet = SilentProgress()
        found = search(latency_ms=1000.0, trials=8, device="cpu", effort="fast", progress=quiet)
        yield Finished(place, trained, found, extract(device="cpu", progress=quiet))

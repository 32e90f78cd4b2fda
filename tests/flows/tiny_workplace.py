"""The tiny space, recipe and run that the tests of the flows work with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tiny_recipe import RECIPE

from posesearch.config import to_plain
from posesearch.data.source import DataSource
from posesearch.files import write_json_atomic
from posesearch.flows.extract import ExtractResult
from posesearch.flows.search import SearchResult
from posesearch.flows.supernet import SupernetResult, supernet_train
from posesearch.progress import SilentProgress
from posesearch.spaces import SearchSpace


@dataclass(frozen=True)
class Workplace:
    """Where a test works, and what every command is given there."""

    folder: Path
    data: DataSource
    space: str = "tiny.json"
    recipe: str = "tiny.yaml"


def make_workplace(folder: Path, people_dir: Path, space: SearchSpace) -> Workplace:
    """Puts space and recipe into `folder`."""
    write_json_atomic(folder / "tiny.json", to_plain(space))
    (folder / "tiny.yaml").write_text(RECIPE)
    return Workplace(folder=folder, data=DataSource(data=str(people_dir)))


def train_tiny(place: Workplace, **options: object) -> SupernetResult:
    """Trains the tiny supernet."""
    arguments: dict = {"space": place.space, "data": place.data, "recipe": place.recipe, "device": "cpu"}
    return supernet_train(**{**arguments, "progress": SilentProgress(), **options})


@dataclass(frozen=True)
class Finished:
    """A run that went from the supernet to extracted models."""

    place: Workplace
    trained: SupernetResult
    found: SearchResult
    extracted: ExtractResult

"""Opening the run a command means: the one named, the newest, or a new one whose settings must then stay the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posesearch.config import parse_stored
from posesearch.data.source import DataSource
from posesearch.errors import DataError, UsageError, listed
from posesearch.files import read_json_object, to_json
from posesearch.flows.inputs import RUNS
from posesearch.progress import Progress
from posesearch.run import MANIFEST, RESTORE, Run, free_name
from posesearch.train.recipe import Recipe
from posesearch.train.state import differences


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """What every later command of a run takes over from the one that started it."""

    recipe: Recipe
    data: DataSource
    seed: int


def settings_of(opened: Run) -> RunSettings:
    """Reads the settings of a run from its manifest.

    Raises:
        DataError: An entry is missing or damaged.
    """
    manifest, path = opened.manifest, opened.path(MANIFEST)
    seed = manifest.get("seed")
    if not isinstance(seed, int):
        raise DataError(f"run manifest {path}: key 'seed' is {seed!r}. Allowed: a whole number. {RESTORE}")
    if not isinstance(manifest.get("data"), Mapping):
        raise DataError(
            f"run manifest {path}: key 'data' is {manifest.get('data')!r}. Allowed: an object. {RESTORE}"
        )
    return RunSettings(
        recipe=parse_stored(Recipe, manifest.get("recipe"), f"recipe in {path}"),
        data=DataSource.from_plain(manifest["data"]),
        seed=seed,
    )


def joints_of(opened: Run) -> tuple[str, ...]:
    """Returns the joints of the data a run was started on; none for a run of an earlier version, which did not say.

    Raises:
        DataError: The entry is damaged.
    """
    names = opened.manifest.get("joints", [])
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise DataError(
            f"run manifest {opened.path(MANIFEST)}: key 'joints' is {names!r}. Allowed: a list of names. {RESTORE}"
        )
    return tuple(names)


def read_summary(opened: Run, name: str) -> dict[str, Any]:
    """Returns what is known about a model of the run; empty when there is none of that name.

    Raises:
        DataError: Its file is damaged.
    """
    path = opened.path("models", f"{name}.json")
    if not path.exists():
        return {}
    return read_json_object(path, "model summary", f"Delete it and extract or train '{name}' again.")


def open_run(name: str | None, *, kind: str | None = None) -> Run:
    """Opens the named run, or the newest one; with `kind`, only one of that kind.

    Raises:
        UsageError: There is no such run; the message lists those that exist.
        DataError: Its manifest is damaged.
    """
    if name is None:
        return Run.newest(RUNS, kind)
    opened = Run.open(RUNS, name)
    if kind not in (None, opened.manifest["kind"]):
        raise UsageError(
            f"run '{name}' is a {opened.manifest['kind']} run; this command needs a {kind} run. Choose one with --run, "
            "or start one with: posesearch supernet-train"
        )
    return opened


def open_or_create(
    name: str,
    *,
    kind: str,
    settings: Mapping[str, Any],
    extra: Mapping[str, Any],
    fresh: bool,
    progress: Progress,
) -> Run:
    """Opens a run of the same settings, or makes it.

    Args:
        name: The run's name.
        kind: What sort of run it is.
        settings: What must not change between the calls that continue a run; kept in its manifest.
        extra: Further entries of the manifest.
        fresh: Put an existing run aside (it keeps its files, under another name) and start again.
        progress: Where to report.

    Raises:
        UsageError: The run exists with other settings; the differing ones are listed.
        DataError: Its manifest is damaged.
        EnvironmentFault: It is in use, or cannot be written.
    """
    folder = RUNS / name
    if fresh and (folder / MANIFEST).exists():
        with Run.read(folder).lock():
            aside = RUNS / free_name(RUNS, name)
            folder.rename(aside)
        progress.message(f"The earlier run '{name}' is kept as {aside}.")
    if not (folder / MANIFEST).exists():
        return Run.create(RUNS, name, kind=kind, **settings, **extra)
    opened = Run.open(RUNS, name)
    if opened.manifest["kind"] != kind:
        raise UsageError(
            f"run '{name}' is a {opened.manifest['kind']} run, not a {kind} run. Choose another --run, or give "
            "--fresh: it starts again and keeps the old folder under another name."
        )
    found = differences({key: opened.manifest.get(key) for key in settings}, to_json(settings))
    if found:
        raise UsageError(
            f"run '{name}' exists with other settings:\n{listed(found)}\n"
            "A run keeps its settings. Repeat the command it was started with, choose another --run, or give --fresh: "
            "it starts again and keeps the old folder under another name."
        )
    return opened

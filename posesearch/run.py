"""A run folder: one directory that holds everything one supernet run made, with a manifest and an owner.

`runs/NAME/run.json` says what the run is; every other file hangs off it. Whoever writes into a run holds its lock. The
lock belongs to the process (`flock`), so the kernel frees it when the process dies, however it dies.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import posesearch
from posesearch.errors import DataError, UsageError, did_you_mean
from posesearch.files import read_json, write_json_atomic
from posesearch.lock import exclusive, shared

MANIFEST = "run.json"
LOCK = ".lock"
FORMAT = 1
_START = "Start one with: posesearch supernet-train"
RESTORE = (
    "It is written by posesearch and not meant to be edited: restore it from a copy, or start a new run under another "
    "name (--run)."
)
TRAINED = "-trained"
"""Ends the file name of a model's retrained weights."""
NAME_RULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run folder.

    Attributes:
        folder: Where it is.
        manifest: What `run.json` holds: format, name, kind, created (UTC), versions, and what the command added.
    """

    folder: Path
    manifest: Mapping[str, Any] = field(repr=False)

    @classmethod
    def create(cls, root: Path, name: str, *, kind: str, **entries: Any) -> Run:
        """Makes a new run folder with its manifest.

        Args:
            root: The folder of all runs.
            name: The run's name: letters, digits, dots, dashes and underscores.
            kind: What sort of run it is, e.g. "supernet".
            entries: Further JSON-ready entries of the manifest (seed, space, recipe, ...).

        Raises:
            UsageError: The name cannot be used, or there is such a run already.
            EnvironmentFault: The folder cannot be written.
        """
        check_name(name, "--run")
        folder = Path(root) / name
        if (folder / MANIFEST).exists():
            raise UsageError(f"there is a run '{name}' in {root} already. Choose another --run.")
        manifest = {
            "format": FORMAT,
            "name": name,
            "kind": kind,
            "created": datetime.now(UTC).isoformat(timespec="microseconds"),
            "versions": versions(),
            **entries,
        }
        write_json_atomic(folder / MANIFEST, manifest)
        return cls.read(folder)

    @classmethod
    def open(cls, root: Path, name: str) -> Run:
        """Opens a run by its name below `root`, or by the path of its folder.

        Raises:
            UsageError: There is no such run; the message lists those that exist.
            DataError: The manifest is damaged.
        """
        for folder in (Path(root) / name, Path(name)):
            if (folder / MANIFEST).is_file():
                return cls.read(folder)
        names = run_names(root)
        raise UsageError(
            f"there is no run '{name}' in {root}.{did_you_mean(name, names)} {_existing(root, names)}"
        )

    @classmethod
    def newest(cls, root: Path, kind: str | None = None) -> Run:
        """Opens the run that was created last, of one kind or of any.

        Raises:
            UsageError: There is no run at all.
            DataError: Its manifest is damaged.
        """
        names = run_names(root)
        for name in names:
            run = cls.read(Path(root) / name)
            if kind in (None, run.manifest["kind"]):
                return run
        raise UsageError(
            _existing(root, ()) if not names else f"none of the runs in {root} is a {kind} run. {_START}"
        )

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Reads the manifest of `folder`.

        Raises:
            DataError: It is missing, no JSON, not a manifest, or of a later format.
        """
        path = Path(folder) / MANIFEST
        manifest = read_json(path, "run manifest", RESTORE)
        faults = _manifest_faults(manifest)
        if faults:
            raise DataError(f"run manifest {path} cannot be used: {faults} {RESTORE}")
        return cls(folder=Path(folder), manifest=manifest)

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.manifest["name"])

    def path(self, *parts: str) -> Path:
        """Returns a path inside the run folder."""
        return self.folder.joinpath(*parts)

    def updated(self, **entries: Any) -> Run:
        """Writes further entries into the manifest and returns the run with them.

        Raises:
            EnvironmentFault: The manifest cannot be written; the old one is intact.
        """
        write_json_atomic(self.path(MANIFEST), {**self.manifest, **entries})
        return Run.read(self.folder)

    @contextmanager
    def lock(self, *, together: bool = False) -> Iterator[Run]:
        """Holds the run for this process while the block runs, and yields it as its manifest is by then.

        Args:
            together: Hold it with other processes that do likewise (workers of one search, which agree by their
                storage); whoever wants it alone is refused meanwhile.

        Raises:
            EnvironmentFault: Another process (or another block of this one) holds it, or the file system has no
                locks.
        """
        rule = "Only one process may write a run. Wait for it to end, stop it, or choose another --run."
        take = shared if together else exclusive
        with take(self.path(LOCK), what=f"run '{self.name}'", rule=rule):
            yield Run.read(self.folder)


def check_name(name: str, option: str) -> None:
    """Refuses a name that cannot be that of a folder or file.

    Raises:
        UsageError: The name has other characters than letters, digits, dots, dashes and underscores.
    """
    if not NAME_RULE.fullmatch(name):
        raise UsageError(
            f"{option} '{name}' cannot name a folder. Allowed: 1 to 100 letters, digits, dots, dashes and "
            "underscores, starting with a letter or digit. Choose such a name."
        )


def check_model_name(name: str) -> None:
    """Refuses a name that cannot be a model's, or that would take the file of another model's retraining.

    Raises:
        UsageError: It is no file name, or ends in "-trained".
    """
    check_name(name, "--name")
    if name.endswith(TRAINED):
        raise UsageError(
            f"--name '{name}' ends in '{TRAINED}', which marks the retrained weights of the model of that name. "
            f"Allowed: any other ending. Choose such a name, e.g. '{name.removesuffix(TRAINED) or 'model'}-2'."
        )


def run_names(root: Path) -> tuple[str, ...]:
    """Returns the names of the runs in `root`, the newest first; a damaged one counts by the age of its file."""
    found = []
    for path in Path(root).glob(f"*/{MANIFEST}"):
        try:
            manifest = read_json(path, "run manifest")
            created = datetime.fromisoformat(manifest["created"]).timestamp()
        except (DataError, KeyError, TypeError, ValueError):
            created = path.stat().st_mtime
        found.append((created, path.parent.name))
    return tuple(name for _created, name in sorted(found, reverse=True))


def free_name(root: Path, stem: str) -> str:
    """Returns `stem-1`, `stem-2`, ...: the first that is not taken in `root`."""
    number = 1
    while (Path(root) / f"{stem}-{number}").exists():
        number += 1
    return f"{stem}-{number}"


def versions() -> dict[str, str]:
    """Returns the versions that matter for repeating a run, without importing the packages."""
    found = {"posesearch": posesearch.__version__, "python": platform.python_version()}
    for package in ("torch", "numpy", "optuna"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _existing(root: Path, names: tuple[str, ...]) -> str:
    if not names:
        return f"There are no runs in {root} yet. {_START}"
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"Runs in {root}, newest first: {', '.join(names[:10])}{more}. Choose one of them with --run."


def _manifest_faults(manifest: Any) -> str:
    if not isinstance(manifest, dict):
        return f"it holds a {type(manifest).__name__}, not an object."
    written = manifest.get("format")
    if isinstance(written, int) and written > FORMAT:
        return f"its format is {written}, this posesearch reads up to {FORMAT}: update posesearch."
    if written != FORMAT:
        return f"its format is {written!r}, expected {FORMAT}."
    wrong = [key for key in ("name", "kind", "created") if not isinstance(manifest.get(key), str)]
    return f"missing or not text: {', '.join(wrong)}." if wrong else ""

"""Finding search spaces and recipes by name or path, in a checkout and in an installed wheel alike."""

from __future__ import annotations

from pathlib import Path

from posesearch.config import parse
from posesearch.configfile import SUFFIXES, load_file
from posesearch.errors import UsageError, did_you_mean
from posesearch.spaces.space import SearchSpace

PACKAGE = Path(__file__).resolve().parents[1]


def space_folders() -> tuple[Path, ...]:
    """Returns where spaces are looked for by name: the working folder's, the checkout's, the wheel's own."""
    return (Path.cwd() / "search_spaces", PACKAGE.parent / "search_spaces", PACKAGE / "_search_spaces")


def find_file(name: str, folders: tuple[Path, ...], what: str) -> Path:
    """Returns the YAML or JSON file that `name` means: an existing path, or a name in one of `folders`.

    Raises:
        UsageError: Nothing fits; the message lists the names that do.
    """
    as_path = Path(name)
    if as_path.suffix in SUFFIXES or "/" in name or "\\" in name:
        if as_path.is_file():
            return as_path
        fault = "is a folder" if as_path.is_dir() else "does not exist"
        raise UsageError(
            f"{what} file {name} {fault}. Check the path, or use one of: {', '.join(names_in(folders))}."
        )
    for folder in folders:
        for suffix in SUFFIXES:
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
    known = names_in(folders)
    raise UsageError(
        f"{what} '{name}' is not known.{did_you_mean(name, known)} Known: {', '.join(known)}. A path to a YAML file works too."
    )


def names_in(folders: tuple[Path, ...]) -> tuple[str, ...]:
    """Returns the names of the files in `folders`, sorted; names that start with an underscore are bases, not listed."""
    return tuple(
        sorted(
            {
                path.stem
                for folder in folders
                if folder.is_dir()
                for path in folder.iterdir()
                if path.suffix in SUFFIXES and not path.name.startswith("_")
            }
        )
    )


def list_spaces() -> tuple[str, ...]:
    """Returns the names of all spaces that can be loaded by name."""
    return names_in(space_folders())


def load_space(name: str | Path) -> SearchSpace:
    """Loads a search space by name (`starnet`, `demo`) or path.

    Raises:
        UsageError: No such space.
        ConfigError: The file has faults; all of them are listed.
    """
    path = find_file(str(name), space_folders(), "search space")
    return parse(SearchSpace, load_file(path), str(path))

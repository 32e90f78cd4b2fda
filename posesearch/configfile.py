"""Reading YAML and JSON files, with `_base_` inheritance and without ever running code.

`mmengine.Config` reads the file, so inheritance works as its users know it; a `.py` file or a YAML tag that names code is
refused before. This is the only module that imports mmengine.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from posesearch.errors import UsageError

SUFFIXES = (".yaml", ".yml", ".json")


def load_file(path: Path) -> dict[str, Any]:
    """Reads a YAML or JSON mapping, resolving `_base_`.

    Raises:
        UsageError: The file is missing, has another suffix, or is not a mapping of keys to values.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise UsageError(
            f"{path} is not a YAML or JSON file. Allowed suffixes: {', '.join(SUFFIXES)}. Rename or convert it."
        )
    if not path.is_file():
        raise UsageError(f"{path} does not exist. Check the path.")
    _check_chain(path, above=())
    config_class = _config_class()
    try:
        loaded = config_class.fromfile(
            str(path.absolute()),
            use_predefined_variables=False,
            import_custom_modules=False,
            use_environment_variables=False,
        )
        return cast("dict[str, Any]", loaded.to_dict())
    except Exception as error:  # mmengine lets YAML's, JSON's and its own error types through
        text = " ".join(str(error).split())[:300]
        raise UsageError(
            f"{path} cannot be read: {text}. It must be a YAML or JSON mapping of keys to values."
        ) from error


def _check_chain(path: Path, above: tuple[Path, ...]) -> None:
    """Reads a file and all it inherits from as plain data, before mmengine does.

    mmengine's own YAML reader runs whatever code a tag like `!!python/object/apply` names, and executes a .py base.

    Raises:
        UsageError: A file of the chain is missing, broken, of another kind, or leads back to itself.
    """
    if path.resolve() in above:
        raise UsageError(
            f"{path}: _base_ leads back to the file itself. Take it out of one file of the chain."
        )
    bases = _read_plain(path).get("_base_", [])
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str) or "::" in base:
            raise UsageError(
                f"{path}: _base_ {base!r} is no path. Allowed: one path or a list of them, relative to this file."
            )
        if not base.endswith(SUFFIXES):
            what = "is a Python file" if base.endswith(".py") else "has another suffix"
            raise UsageError(
                f"{path}: _base_ '{base}' {what}. Only YAML and JSON can be inherited; a .py file would be executed."
            )
        if not (path.parent / base).is_file():
            raise UsageError(
                f"{path}: _base_ file {path.parent / base} does not exist. Paths are relative to the file that names them."
            )
        _check_chain(path.parent / base, (*above, path.resolve()))


def _read_plain(path: Path) -> Mapping[str, Any]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UsageError(
            f"{path} cannot be read: {reason}. It must be a YAML or JSON mapping of keys to values."
        ) from error
    if not isinstance(values, Mapping):
        kind = "nothing" if values is None else f"a {type(values).__name__}"
        raise UsageError(f"{path} holds {kind}. It must be a YAML or JSON mapping of keys to values.")
    if re.search(r"\{\{\s*_base_", text):
        raise UsageError(f"{path}: '{{{{ _base_... }}}}' is not read. Write the value itself.")
    return values


def _config_class() -> Any:
    """Returns `mmengine.Config`.

    mmengine imports yapf, which keeps a pickled grammar in the user's cache folder: of several processes started at
    once on a fresh machine, one may read it while another writes it. The file is whole a moment later.
    """
    for pause_s in (0.1, 0.3, 1.0, 3.0):
        try:
            from mmengine.config import Config
        except EOFError:
            time.sleep(pause_s)
        else:
            return Config
    from mmengine.config import Config

    return Config

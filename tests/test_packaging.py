"""The wheel is complete: built, installed elsewhere, and used from an empty folder by a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = """
import pathlib, posesearch
from posesearch.cli.app import main
from posesearch.spaces import list_spaces
from posesearch.train.recipe import list_recipes, load_recipe
home = pathlib.Path(posesearch.__file__).resolve()
assert str(home).startswith({target!r}), home
space = posesearch.load_space("starnet")
assert space.contains(posesearch.load_preset("starnet-pose-s"))
assert {{"demo", "small", "starnet"}} <= set(list_spaces())
assert [load_recipe(name).name for name in list_recipes()] == ["demo", "small-data", "starnet-pose"]
assert main(["space", "show", "starnet"]) == 0
"""


def build_wheel(directory: Path) -> Path:
    """Builds the wheel with this environment's own hatchling: no network, no isolated environment."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(directory), str(ROOT)],
        check=True,
        capture_output=True,
        text=True,
    )
    (wheel,) = directory.glob("*.whl")
    return wheel


@pytest.mark.slow
def test_the_wheel_works_from_an_empty_folder(tmp_path: Path) -> None:
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    wheel = build_wheel(tmp_path / "dist")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"posesearch/_search_spaces/demo.yaml", "posesearch/_search_spaces/starnet.yaml"} <= names
    assert {"posesearch/recipes/demo.yaml", "posesearch/recipes/starnet-pose.yaml"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any(name.startswith(("tests/", "scripts/", "runs/")) for name in names)
    target, empty = tmp_path / "target", tmp_path / "empty"
    empty.mkdir()
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-deps",
            "--no-index",
            "--target",
            str(target),
            str(wheel),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(target=str(target.resolve()))],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "_search_spaces" in done.stdout


def test_the_constraints_pin_what_the_project_asks_for() -> None:
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    versions = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}
    assert all(pin.url is None and next(iter(pin.specifier)).operator == "==" for pin in pins)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    for text in (*project["dependencies"], *extras["dev"], *extras["onnx"]):
        wanted = Requirement(text)
        assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)]), text

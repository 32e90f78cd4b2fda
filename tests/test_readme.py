"""The first page tells the truth: its commands parse, and what is marked runnable runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from posesearch.cli.app import build_app

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)( runnable)?\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
RUNNABLE = {
    language: [body for name, mark, body in BLOCKS if mark and name == language]
    for language in ("bash", "python")
}
COMMANDS = [
    line.strip()
    for _name, _mark, body in BLOCKS
    for line in body.splitlines()
    if line.startswith("posesearch ")
] + re.findall(r"`(posesearch [a-z][^`]*)`", TEXT)


def test_the_page_fits_a_page_and_has_what_it_needs() -> None:
    assert len(TEXT.splitlines()) <= 160
    assert len(RUNNABLE["bash"]) == 2
    assert len(RUNNABLE["python"]) == 1
    assert len(COMMANDS) >= 15


@pytest.mark.parametrize("line", sorted(set(COMMANDS)))
def test_every_command_parses(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    for option in (
        "--json",
        "--seed",
        "--device",
    ):  # the global ones are taken off before a command is parsed
        if option in words:
            place = words.index(option)
            del words[place : place + (1 if option == "--json" else 2)]
    command, _bound, ignored = build_app().parse_args(words, exit_on_error=False, print_error=False)
    assert command.__module__.startswith("posesearch.cli"), "only help would be printed"
    assert set(ignored) <= {"ctx"}


@pytest.mark.slow
def test_the_runnable_commands_run(tmp_path: Path) -> None:
    for line in "".join(RUNNABLE["bash"]).splitlines():
        words = shlex.split(line, comments=True)
        assert words[0] == "posesearch", line
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"


@pytest.mark.slow
def test_the_python_example_runs(tmp_path: Path) -> None:
    for code in RUNNABLE["python"]:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == "StarNet RTMCCHead"


def test_files_the_page_links_to_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target

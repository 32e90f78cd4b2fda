"""The command line is a promise: every command and option, frozen. A new one extends this list on purpose."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest
from cyclopts import App
from cyclopts.argument import Argument

from posesearch.cli.app import build_app

DATA = [
    "--data",
    "--annotations",
    "--train-annotations",
    "--val-annotations",
    "--images",
    "--train-images",
    "--val-images",
]
GLOBAL = ["--json", "--quiet", "--debug", "--seed", "--device", "--dry-run", "--version"]

SURFACE = {
    "demo": ["--run", "--fresh"],
    "supernet-train": ["--space", *DATA, "--recipe", "--set", "--run", "--init", "--store", "--fresh"],
    "search": [
        "--latency-ms",
        "--percentile",
        *["--objectives", "--max-params", "--max-macs", "--max-memory-mb"],
        "--runtime",
        "--precision",
        "--trials",
        "--sampler",
        *["--strategy", "--theta-epochs"],
        "--threads",
        *["--batch", "--memory-format", "--table", "--unverified", "--earlier", "--refine", "--storage"],
        "--run",
    ],
    "extract": ["--pick", "--arch", "--name", "--shortlist", "--shortlist-epochs", "--run"],
    "train": [
        "MODEL",
        *DATA,
        *[
            "--recipe",
            "--set",
            "--run",
            "--name",
            "--space",
            "--init",
            "--from-scratch",
            "--store",
            "--fresh",
        ],
    ],
    "evaluate": ["MODEL", *DATA, *["--split", "--boxes", "--flip", "--write-results", "--results"]],
    "report": ["--run"],
    "rank": [
        *["--nets", "--second-seeds", "--epochs", "--start", "--trained-in"],
        *DATA,
        *["--store", "--run"],
    ],
    "bench": ["NAME", "--data", "--quick", "--gpu", "--out"],
    "doctor": [],
    "space list": [],
    "space show": ["NAME"],
    "space check": ["FILE"],
    "space cost": ["ARCH", "--space", "--input-size", "--joints"],
    "data synth": ["DIRECTORY", "--train", "--val", "--difficulty"],
    "data check": ["DIRECTORY", *DATA, "--sample", "--grid"],
    "latency build": [
        *["--space", "--run", "--runtime", "--precision", "--threads", "--batch", "--memory-format"],
        *["--nets", "--held-out", "--out", "--fresh"],
    ],
    "latency check": ["--runtime", "--precision", "--threads"],
    "latency show": ["FILE"],
}

FLOWS = {
    "demo": ("demo", "demo"),
    "supernet-train": ("supernet", "supernet_train"),
    "search": ("search", "search"),
    "extract": ("extract", "extract"),
    "train": ("train", "train"),
    "evaluate": ("evaluate", "evaluate_model"),
    "report": ("report", "report"),
    "rank": ("rank", "rank"),
    "bench": ("bench", "bench"),
    "data synth": ("data", "synth"),
    "data check": ("data", "check"),
    "latency build": ("latency", "build"),
    "latency check": ("quiet", "check"),
    "latency show": ("latency", "show"),
}


def options(command: App) -> list[Argument]:
    """Returns what can be written after the command."""
    arguments = command.assemble_argument_collection(parse_docstring=True)
    return [argument for argument in arguments if argument.parse and argument.names[0] != "*"]


def leaves() -> dict[str, App]:
    """Returns every command that can be run, by its words."""
    found = {}
    for name, command in build_app().resolved_commands().items():
        if name.startswith("-"):
            continue
        children = {key: child for key, child in command.resolved_commands().items() if key[0] != "-"}
        found.update(
            {f"{name} {key}": child for key, child in children.items()} if children else {name: command}
        )
    return found


def test_commands_and_options_are_exactly_these() -> None:
    found = {
        words: [argument.names[0] for argument in options(command)] for words, command in leaves().items()
    }
    assert found == SURFACE


def test_every_option_says_what_it_does() -> None:
    undocumented = [
        f"{words} {argument.names[0]}"
        for words, command in leaves().items()
        for argument in options(command)
        if not argument.parameter.help
    ]
    assert undocumented == []


@pytest.mark.parametrize("words", sorted(FLOWS))
def test_the_flow_takes_what_the_command_passes(words: str, call, flow) -> None:
    module, function = FLOWS[words]
    real = getattr(__import__(f"posesearch.flows.{module}", fromlist=[function]), function)
    spy = flow(module, function, error=KeyboardInterrupt())
    positional = {"train": ["s050"], "evaluate": ["m.safetensors"], "data synth": ["x"], "data check": ["x"]}
    call(*words.split(), *positional.get(words, []))
    assert len(spy.calls) == 1
    inspect.signature(real).bind(**spy.calls[0])


def test_help_lists_every_command_and_loads_no_heavy_library() -> None:
    code = (
        "import sys; from posesearch.cli.app import main; code = main(['--help']);"
        "heavy = {'torch', 'optuna', 'plotly', 'pandas', 'cv2', 'matplotlib', 'mmengine', 'numpy'} & set(sys.modules);"
        "sys.exit(f'{code} {sorted(heavy)}' if code or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for words in SURFACE:
        assert re.search(rf"\b{words.split()[0]}\b", done.stdout), words
    for option in GLOBAL:
        assert option in done.stdout


@pytest.mark.parametrize("words", sorted(SURFACE))
def test_help_of_a_command_loads_no_heavy_library(words: str) -> None:
    code = (
        f"import sys; from posesearch.cli.app import main; code = main([*{words.split()!r}, '--help']);"
        "heavy = {'torch', 'optuna', 'plotly', 'pandas', 'cv2', 'matplotlib'} & set(sys.modules);"
        "sys.exit(f'{code} {sorted(heavy)}' if code or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"posesearch {words}" in done.stdout
    for option in SURFACE[words]:
        assert option in done.stdout


def test_python_m_posesearch_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "posesearch", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, __import__("posesearch").__version__)

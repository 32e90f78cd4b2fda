"""The `posesearch` command: its commands by import string, the global options, and how a run of it ends.

A command's module is imported when the command is called, so `posesearch --help` needs neither torch nor any flow.
Global options are parsed by cyclopts' meta app and therefore work before and after the command.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter

import posesearch
from posesearch.cli.context import Context
from posesearch.cli.failures import Failure, failure_of
from posesearch.cli.output import Answer, Printer
from posesearch.cli.progress import choose_progress
from posesearch.errors import Interrupted, UsageError

HOME = "posesearch.cli"

# (command, "module:function", first line of its help)
COMMANDS = (
    ("demo", "main_path:demo", "The whole path on generated people: a few minutes on a CPU."),
    ("supernet-train", "main_path:supernet_train", "Train the weight-shared supernet of a search space."),
    ("search", "main_path:search", "Find the most accurate subnets within a latency budget on this device."),
    ("extract", "main_path:extract", "Cut the picked subnets out of the supernet, one model file each."),
    ("train", "models:train", "Train one extracted model or preset in full."),
    ("evaluate", "models:evaluate", "Score a model file, or a COCO result file."),
    ("report", "main_path:report", "Draw the Pareto front and the rest as one offline HTML page."),
    ("rank", "rank:rank", "Measure how well the supernet ranks: train a few networks alone and compare."),
    ("bench", "bench:bench", "Measure speed and memory as ratios to a baseline of the same run."),
    ("doctor", "machine:doctor", "Check this machine and installation; every fault comes with its remedy."),
)
SPACE_COMMANDS = (
    ("list", "spaces:list_", "List the search spaces that can be named."),
    ("show", "spaces:show", "Show the choices of a space and its smallest and largest network."),
    ("check", "spaces:check", "Check a search-space file; all faults are listed at once."),
    ("cost", "spaces:cost", "Count parameters, MACs and FLOPs of a preset, architecture code or model file."),
)
DATA_COMMANDS = (
    ("synth", "datasets:synth", "Write a COCO data set of generated people."),
    ("check", "datasets:check", "Check a data set; the first faults are listed with their ids."),
)
LATENCY_COMMANDS = (
    ("build", "latency:build", "Measure this device and fit a latency predictor for a search space."),
    (
        "check",
        "latency:check",
        "Say whether this machine is quiet enough to measure latency, and how finely.",
    ),
    ("show", "latency:show", "Show a latency table: its device, its errors and its bound."),
)


def build_app() -> App:
    """Returns the command tree; nothing a command needs is imported yet."""
    app = App(
        name="posesearch",
        help=(
            "Find the most accurate 2D human pose network that runs within your latency budget on your device.\n\n"
            "The main path: supernet-train, search --latency-ms 3.5, extract, train. Without --data it runs on "
            "generated people. Start with: posesearch demo"
        ),
        help_format="plaintext",
        version_flags=(),
        result_action="return_value",
    )
    space = App(
        name="space", help="Search spaces: list, show, check, cost.", version_flags=(), sort_key=len(COMMANDS)
    )
    data = App(name="data", help="Data sets: synth, check.", version_flags=(), sort_key=len(COMMANDS) + 1)
    latency = App(
        name="latency",
        help="Latency tables: build, check, show.",
        version_flags=(),
        sort_key=len(COMMANDS) + 2,
    )
    for parent, commands in (
        (app, COMMANDS),
        (space, SPACE_COMMANDS),
        (data, DATA_COMMANDS),
        (latency, LATENCY_COMMANDS),
    ):
        for order, (name, target, text) in enumerate(commands):
            parent.command(f"{HOME}.{target}", name=name, help=text, sort_key=order)
    app.command(space)
    app.command(data)
    app.command(latency)
    return app


GLOBAL = Group("Global options (before or after the command)", sort_key=100)
Flag = Parameter(group=GLOBAL, negative=(), show_default=False)
Value = Parameter(group=GLOBAL)


def run(argv: Sequence[str], printer: Printer) -> int:
    """Parses `argv`, runs the command and prints its answer.

    Returns:
        The exit code of a run that ended normally; everything else is raised.
    """
    app = build_app()
    app.meta.suppress_keyboard_interrupt = False  # cyclopts would exit without a word

    @app.meta.default
    def meta(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        json: Annotated[bool, Flag] = False,
        quiet: Annotated[bool, Flag] = False,
        debug: Annotated[bool, Flag] = False,
        seed: Annotated[int, Value] = 0,
        device: Annotated[str, Value] = "auto",
        dry_run: Annotated[bool, Flag] = False,
        version: Annotated[bool, Flag] = False,
    ) -> int:
        """Global options.

        Args:
            tokens: The command and its own options.
            json: Print exactly one JSON document on standard output; everything else goes to standard error.
            quiet: No progress and no hints; results and errors only.
            debug: Show the traceback of an error.
            seed: Seed of everything random.
            device: auto (the first GPU, else the CPU), cpu, cuda or cuda:N.
            dry_run: Show what would be done, write nothing.
            version: Print the version.
        """
        printer.json, printer.quiet, printer.debug = json, quiet, debug
        if version:
            return printer.show(
                Answer(document={"version": posesearch.__version__}, text=(posesearch.__version__,))
            )
        command, bound, ignored = app.parse_args(tokens, exit_on_error=False, print_error=False)
        if not command.__module__.startswith(HOME):  # cyclopts' own: the help of a line without a command
            if printer.json:
                raise UsageError("no command given. Allowed commands are listed by 'posesearch --help'.")
            command(*bound.args, **bound.kwargs)
            return 0
        if "ctx" in ignored:
            progress = choose_progress(quiet=quiet)
            bound.arguments["ctx"] = Context(seed=seed, device=device, dry_run=dry_run, progress=progress)
        # Whatever a library prints must not end up inside the one JSON document.
        with contextlib.redirect_stdout(sys.stderr):
            answer = command(*bound.args, **bound.kwargs)
        return printer.show(answer)

    code = app.meta(list(argv), exit_on_error=False, print_error=False, result_action="return_value")
    return code if isinstance(code, int) else 0  # --help answers nothing


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code (listed in `posesearch.errors`); never raises.

    Args:
        argv: The words after `posesearch`; the process's own by default.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    # Read by eye first, because they must also hold when the parser refuses the line.
    printer = Printer(json="--json" in words, quiet="--quiet" in words, debug="--debug" in words)
    try:
        return run(words, printer)
    except BrokenPipeError:
        return printer.reader_left()
    except BaseException as error:
        if printer.debug:
            import traceback

            traceback.print_exc()
        failure = _parse_failure(error) if isinstance(error, CycloptsError) else failure_of(error)
        if failure.exit_code == Interrupted.exit_code:
            failure = replace(failure, message=f"{failure.message} {resume_line(words)}")
        return printer.fail(failure)


def resume_line(words: Sequence[str]) -> str:
    """Returns the line that goes on where an interrupted one stopped; with `--fresh` it would start again."""
    return f"Go on with: posesearch {shlex.join(word for word in words if word != '--fresh')}"


def _parse_failure(error: CycloptsError) -> Failure:
    """Returns exit code 2 with cyclopts' own sentence, which names the option and the closest known word."""
    error.verbose = False
    chain = " ".join(error.command_chain or ())
    helper = f"posesearch {chain}".strip()
    text = str(error).strip()
    text += "" if text.endswith((".", "?")) else "."
    return Failure(exit_code=2, message=f"{text} Run '{helper} --help' for what is allowed.")

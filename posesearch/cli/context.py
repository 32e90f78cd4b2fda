"""What every command receives beside its own options: the global options and where progress goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from posesearch.cli.output import Answer
from posesearch.progress import Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """The global options of one call.

    Attributes:
        seed: Seed of everything random.
        device: Name for `posesearch.device.resolve_device`.
        dry_run: Show what would be done, write nothing.
        progress: Where tasks and messages go (standard error).
    """

    seed: int
    device: str
    dry_run: bool
    progress: Progress


# Filled in by `posesearch.cli.app`, never from the command line.
Ctx = Annotated[Context, Parameter(parse=False)]


def planned(command: str, options: Mapping[str, Any]) -> Answer:
    """Returns the answer of `--dry-run` for a command whose flow has no plan of its own: its resolved options."""
    shown = {name: value for name, value in options.items() if value is not None}
    return Answer(
        document={"dry_run": True, "command": command, "options": shown},
        text=(
            f"dry run: {command} would run with:",
            *(f"  {name.replace('_', '-')}: {value}" for name, value in shown.items()),
            "Nothing was written.",
        ),
    )

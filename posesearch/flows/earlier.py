"""Which earlier searches a new one hears of (`search --earlier`): those of its own run, of all runs, or none."""

from __future__ import annotations

from typing import Literal, get_args

from posesearch.errors import DataError, UsageError, did_you_mean
from posesearch.flows.inputs import RUNS
from posesearch.progress import Progress
from posesearch.run import Run, run_names
from posesearch.search.earlier import Earlier

EarlierName = Literal["none", "same", "all"]


def check_earlier(name: str) -> None:
    """Refuses an unknown choice.

    Raises:
        UsageError: It is none of "none", "same" and "all".
    """
    allowed = get_args(EarlierName)
    if name not in allowed:
        raise UsageError(
            f"--earlier '{name}' is not known.{did_you_mean(name, allowed)} Allowed: {', '.join(allowed)}."
        )


def earlier_searches(opened: Run, name: EarlierName, progress: Progress) -> Earlier | None:
    """Returns the searches to take proposals from, this run's own first, then the newest.

    Args:
        opened: The run that is searched.
        name: "same" for other searches of this run (other budgets, weights, samplers), "all" for those of every run in
            the runs folder whose supernet is of the same space, "none".
        progress: Where runs are named whose manifest cannot be read.
    """
    if name == "none":
        return None
    folders = [(opened.name, opened.path("search"))]
    for other in run_names(RUNS) if name == "all" else ():
        try:
            run = Run.read(RUNS / other)
        except (DataError, OSError) as error:
            progress.message(f"search: nothing is taken over from run '{other}': {error}")
            continue
        same_space = run.manifest.get("space_id") == opened.manifest.get("space_id")
        if same_space and run.folder.resolve() != opened.folder.resolve():
            folders.append((run.name, run.path("search")))
    return Earlier(choice=name, folders=tuple(folders))

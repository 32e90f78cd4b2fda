"""The `data` commands: synth, check."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from posesearch.cli.context import Ctx, planned
from posesearch.cli.options import DataOptions
from posesearch.cli.output import Answer, Grid
from posesearch.config import to_plain
from posesearch.errors import DataError, UsageError

SHOWN_FAULTS = 5


def synth(
    directory: Path,
    /,
    *,
    train: int = 1000,
    val: int = 200,
    difficulty: Literal["easy", "default", "hard"] = "default",
    ctx: Ctx,
) -> Answer:
    """Writes a COCO data set of generated people; the same seed gives the same files.

    Args:
        directory: Folder to write to.
        train: Images for training.
        val: Images for validation.
        difficulty: How hard the scenes are.
        ctx: Global options.
    """
    from posesearch.flows import data as flow

    if ctx.dry_run:
        options = {"seed": ctx.seed, "train": train, "val": val, "difficulty": difficulty}
        return planned("data synth", {"directory": str(directory), **options})
    summary = flow.synth(
        directory=directory, seed=ctx.seed, train=train, val=val, difficulty=difficulty, progress=ctx.progress
    )
    found = "were there already" if summary.reused else "written"
    return Answer(
        document=to_plain(summary),
        text=(
            f"Generated people, seed {ctx.seed}, difficulty {difficulty}, {found}: "
            f"{summary.train_people} in {train} training images, {summary.val_people} in {val} validation images.",
        ),
        files=(f"{directory}/",),
        next_command=f"posesearch supernet-train --data {directory}",
    )


def check(
    directory: str | None = None,
    /,
    *,
    data: DataOptions | None = None,
    sample: int | None = None,
    grid: Path | None = None,
    ctx: Ctx,
) -> Answer:
    """Checks a data set: counts, and the first faults with their ids; exit code 4 where it cannot be used.

    Args:
        directory: Folder of a COCO-format data set.
        data: The data set, where its parts are named one by one.
        sample: Open at most this many images of each split; all by default.
        grid: Write a PNG of sample persons with their joints.
        ctx: Global options.
    """
    from posesearch.flows import data as flow

    options = data or DataOptions()
    if directory is not None:
        options = replace(options, data=directory)
    source = options.source()
    if source is None:
        raise UsageError("no data set to check. Give its folder: posesearch data check DIR.")
    result = flow.check(data=source, sample=sample, grid=grid, progress=ctx.progress)
    report = result.report
    counts = Grid(
        columns=("split", "images", "persons", "annotations", "joints", "labelled joints"),
        right=("images", "persons", "annotations", "joints", "labelled joints"),
        rows=tuple(
            (
                split,
                *(
                    f"{getattr(found, key):,}"
                    for key in ("images", "persons", "annotations", "joints", "labelled_joints")
                ),
            )
            for split, found in report.counts.items()
        ),
    )
    faults = tuple(f"{fault.severity}: {fault.where}: {fault.text}" for fault in report.faults[:SHOWN_FAULTS])
    more = len(report.faults) - len(faults)
    verdict = (
        "The data set can be used." if report.ok else "The data set cannot be used: correct the errors above."
    )
    return Answer(
        document=result.to_plain(),
        text=(counts, *faults, *([f"... and {more} more (--json lists all)"] if more else []), verdict),
        files=(str(result.grid),) if result.grid else (),
        next_command=None if not report.ok else f"posesearch supernet-train {options.as_words()}",
        exit_code=0 if report.ok else DataError.exit_code,
        fault=""
        if report.ok
        else "The data set cannot be used: correct the errors listed under 'faults', then check it again.",
    )

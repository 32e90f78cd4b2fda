"""`data synth` and `data check`: generated people on disk, and what is wrong with a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posesearch.data.check import DataReport, check_dataset
from posesearch.data.draw import draw_sample_grid
from posesearch.data.source import DataSource
from posesearch.data.synthetic import DifficultyName, SyntheticSummary, write_coco
from posesearch.progress import Progress


def synth(
    *,
    directory: Path,
    seed: int = 0,
    train: int = 1000,
    val: int = 200,
    difficulty: DifficultyName = "default",
    progress: Progress,
) -> SyntheticSummary:
    """Writes generated people in COCO's layout.

    Args:
        directory: New, empty, or left by an earlier call with the same arguments.
        seed: Key of all drawings.
        train: Training pictures.
        val: Validation pictures.
        difficulty: "easy", "default" or "hard".
        progress: Where to report.

    Raises:
        UsageError: An argument out of range, or the folder holds something else.
        DataError: The folder's data set was changed.
        EnvironmentFault: The folder cannot be written.
    """
    return write_coco(
        directory, seed=seed, num_train=train, num_val=val, difficulty=difficulty, progress=progress
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """What `data check` found.

    Attributes:
        report: Counts and faults of each split.
        grid: A picture of sample crops with their joints, when one was asked for and the data could be read.
    """

    report: DataReport
    grid: Path | None

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as a JSON-ready dict."""
        return {**self.report.to_plain(), "grid": str(self.grid) if self.grid else None}


def check(
    *, data: DataSource, sample: int | None = None, grid: Path | None = None, progress: Progress
) -> CheckResult:
    """Looks a data set over, images included, and lists its faults.

    Args:
        data: Where it lies.
        sample: Images to open per split; None opens all.
        grid: Write a PNG of sample persons with their joints here.
        progress: Where to report.

    Raises:
        UsageError: `sample` is negative.
        EnvironmentFault: The picture cannot be written.
    """
    report = check_dataset(data, sample=sample, progress=progress)
    drawn = None
    if grid is not None and report.ok:
        drawn = draw_sample_grid(data.load(next(iter(report.counts))), grid)
    return CheckResult(report=report, grid=drawn)

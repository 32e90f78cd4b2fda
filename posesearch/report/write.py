"""Writing the report of a run: `report.html`, `front.png` and `front.csv`, each whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from posesearch.errors import EnvironmentFault
from posesearch.files import write_bytes_atomic, write_text_atomic
from posesearch.report.caveats import next_step
from posesearch.report.front_csv import front_csv
from posesearch.report.front_info import front_info
from posesearch.report.page import render_page
from posesearch.report.png import front_png
from posesearch.report.read import read_run
from posesearch.report.takeaway import front_takeaway, objectives_text


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportFiles:
    """What was written.

    Attributes:
        html: The page.
        png: The front; None when nothing has been searched.
        csv: The front as a table; None when it is empty.
        summary: The front's takeaway in one sentence, or what to run next.
    """

    html: Path
    png: Path | None
    csv: Path | None
    summary: str


def write_report(run_folder: Path, extras: Mapping[str, Any] = MappingProxyType({})) -> ReportFiles:
    """Writes the report of a run into its folder, from whatever has run so far.

    A picture or table of an earlier search that this one has nothing for is removed: it would be taken for this one's.

    Args:
        run_folder: The folder.
        extras: What it does not hold, see `extras.extras_of`.

    Raises:
        DataError: The folder holds no run, or one of its files is broken.
        EnvironmentFault: A file cannot be written.
    """
    rows = read_run(run_folder, extras)
    info = front_info(rows)
    html_file, png_file, csv_file = (run_folder / name for name in ("report.html", "front.png", "front.csv"))
    png = front_png(info, f"{rows.name}: {objectives_text(rows)}") if info is not None else None
    tabled = bool(rows.front or rows.references)
    write_text_atomic(html_file, render_page(rows, png))
    if png is not None:
        write_bytes_atomic(png_file, png)
    else:
        _remove(png_file)
    if tabled:
        write_text_atomic(csv_file, front_csv(rows))
    else:
        _remove(csv_file)
    return ReportFiles(
        html=html_file,
        png=png_file if png is not None else None,
        csv=csv_file if tabled else None,
        summary=front_takeaway(rows) if info is not None else " ".join(next_step(rows)),
    )


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot remove {file}, which shows an earlier search: {error.strerror}. Remove it by hand, then run "
            "'posesearch report' again."
        ) from error

"""`report`: the story of a run as one offline page, a picture of the front, and its table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posesearch.flows.report_extras import report_extras
from posesearch.flows.runs import open_run
from posesearch.report.write import write_report


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportResult:
    """What `report` wrote.

    Attributes:
        run: Name of the run.
        files: The page, and the picture and the table where there is a front.
    """

    run: str
    files: tuple[Path, ...]

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as a JSON-ready dict."""
        return {"run": self.run, "files": [str(path) for path in self.files]}


def report(*, run: str | None = None) -> ReportResult:
    """Draws the report of a run, whatever stages of it have run.

    Args:
        run: Name of the run; None uses the newest.

    The latency table that the search went by, or the newest one of the same device, space and conditions, prices the
    blocks of the picks; their kernels are counted once and kept beside the result.

    Raises:
        UsageError: There is no such run.
        DataError: Files of the run are damaged.
        EnvironmentFault: The report cannot be written.
    """
    opened = open_run(run)
    written = write_report(opened.folder, report_extras(opened))
    paths = (written.html, written.png, written.csv)
    return ReportResult(run=opened.name, files=tuple(path for path in paths if path is not None))

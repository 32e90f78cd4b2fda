"""The report of a run: tidy rows, figures from them, one offline page. The only importer of plotly, pandas, matplotlib."""

from posesearch.report.write import ReportFiles, write_report

__all__ = ["ReportFiles", "write_report"]

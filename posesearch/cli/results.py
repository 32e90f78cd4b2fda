"""Tables of what searches and extractions found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from posesearch.cli.output import Grid, evaluation_line, millions, number

Row = Mapping[str, Any]


def candidate_grid(title: str, rows: Sequence[Row], *, picks: Mapping[str, str] | None = None) -> Grid:
    """Returns candidates as a table: accuracy and measured latency first, then size and choices.

    Args:
        title: The table's title.
        rows: Candidate rows of a search.
        picks: Architecture id by the name of the pick.
    """
    return Grid(
        title=title,
        columns=("#", "AP", "ms", "FPS", "params", "MACs", "architecture", "note"),
        right=("#", "AP", "ms", "FPS", "params", "MACs"),
        rows=tuple(
            (
                str(rank),
                number(row.get("AP")),
                number(latency.get("p50_ms"), 2),
                number(latency.get("fps"), 0),
                millions(row["cost"]["params"]),
                millions(row["cost"]["macs"]),
                row["code"],
                _note(row, picks or {}),
            )
            for rank, row in enumerate(rows, start=1)
            for latency in [row.get("confirmed") or row.get("latency") or {}]
        ),
    )


def _note(row: Row, picks: Mapping[str, str]) -> str:
    names = [name for name, arch_id in picks.items() if arch_id == row["arch_id"]]
    if row.get("reference"):
        names.append(row["reference"])
    if row.get("feasible") is False:
        names.append("over budget")
    return ", ".join(names)


def model_grid(models: Sequence[Row]) -> Grid:
    """Returns extracted models as a table: the same network inside the supernet, cut out, and retrained."""
    return Grid(
        title="Models",
        columns=(
            "name",
            "pick",
            "AP in supernet",
            "AP extracted",
            "AP retrained",
            "ms",
            "params",
            "parity",
            "architecture",
        ),
        right=("AP in supernet", "AP extracted", "AP retrained", "ms", "params", "parity"),
        rows=tuple(
            (
                model["name"],
                model.get("pick") or "-",
                *(
                    number((model.get(stage) or {}).get("AP"))
                    for stage in ("supernet", "extracted", "retrained")
                ),
                number((model.get("latency") or {}).get("p50_ms"), 2),
                millions(model["cost"]["params"]),
                _parity(model.get("parity")),
                model["code"],
            )
            for model in models
        ),
    )


def _parity(parity: Row | None) -> str:
    return f"{parity['max_abs_diff']:.1e}" if parity else "-"


def evaluation_lines(evaluations: Mapping[str, dict[str, Any]]) -> tuple[str, ...]:
    """Returns one sentence per evaluated subnet."""
    return tuple(evaluation_line(name, evaluation) for name, evaluation in evaluations.items())


def plan_lines(plan: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Returns what `--dry-run` shows: the resolved configuration, indented by depth."""
    return ("dry run, nothing was written:", *_indented(plan or {}, 1))


def _indented(values: Mapping[str, Any], depth: int) -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{'  ' * depth}{key}:", *_indented(value, depth + 1)]
        elif value is not None:
            lines.append(f"{'  ' * depth}{key}: {value}")
    return lines

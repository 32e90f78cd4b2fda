"""Results on disk: one JSON file a benchmark, and one Markdown page of all that lie in the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posesearch.bench.machine import machine_line
from posesearch.bench.registry import BENCHES
from posesearch.errors import DataError
from posesearch.files import read_json_object, write_json_atomic, write_text_atomic

PAGE = "bench.md"
REMEDY = "Delete it, or run that benchmark again."

Document = Mapping[str, Any]


def result_path(out: Path, name: str) -> Path:
    """Returns where the result of a benchmark lies."""
    return out / f"{name}.json"


def write_result(out: Path, document: Document) -> tuple[Path, ...]:
    """Writes one result, then the page of all results in the folder; each file whole or not at all.

    Args:
        out: The folder; made where it is missing.
        document: `BenchResult.to_plain()` with "machine", "command" and "seconds".

    Returns:
        The files written.

    Raises:
        EnvironmentFault: The folder cannot be written.
        DataError: An earlier result in the folder is damaged; the new one is written.
    """
    path = result_path(out, document["name"])
    write_json_atomic(path, document)
    write_text_atomic(out / PAGE, page(read_results(out)))
    return path, out / PAGE


def read_results(out: Path) -> list[dict[str, Any]]:
    """Returns the results that lie in a folder, in the order of the registry.

    Raises:
        DataError: A file is damaged.
    """
    found = []
    for bench in BENCHES:
        path = result_path(out, bench.name)
        if path.is_file():
            document = read_json_object(path, "benchmark result", REMEDY)
            missing = {"name", "ratios", "figures", "goals", "notes", "machine", "command"} - set(document)
            if missing:
                raise DataError(
                    f"benchmark result {path} lacks {', '.join(sorted(missing))}. Allowed: a file that "
                    f"`posesearch bench {bench.name}` wrote. {REMEDY}"
                )
            found.append(document)
    return found


def page(documents: Sequence[Document]) -> str:
    """Returns the results as Markdown: for each a table of ratios and goals, the figures, the machine, the command."""
    lines = ["# Benchmarks", "", "Every ratio is measured against a baseline in the same run."]
    for document in documents:
        lines += ["", f"## {document['name']}", ""]
        lines += [f"`{document['command']}`", "", f"Machine: {machine_line(document['machine'])}.", ""]
        if document.get("quick"):
            lines += ["**Quick run on small sizes: no claims.**", ""]
        lines += _table(("ratio", "value", "goal", "met"), ratio_rows(document))
        lines += ["", *_table(("figure", "value"), tuple(_flat(document["figures"]).items()))]
        lines += [line for note in document["notes"] for line in ("", note)]
    return "\n".join(lines) + "\n"


def ratio_rows(document: Document) -> tuple[tuple[str, str, str, str], ...]:
    """Returns (name, value, goal, met) of every ratio, and of every figure a goal is set on, as text."""
    goals = {goal["key"]: goal for goal in document["goals"]}
    values = {**document["ratios"], **{key: goal["value"] for key, goal in goals.items()}}
    return tuple((key, figure_text(value), *_goal_text(goals.get(key))) for key, value in values.items())


def _goal_text(goal: Document | None) -> tuple[str, str]:
    if goal is None:
        return "-", "-"
    sign = "at most" if goal["at_most"] else "at least"
    return f"{sign} {goal['target']:g}", "met" if goal["met"] else "not met"


def figure_text(value: Any) -> str:
    """Returns a figure with four significant digits; whole numbers and words as they are."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _flat(figures: Document, prefix: str = "") -> dict[str, str]:
    """Returns nested figures under dotted names."""
    flat: dict[str, str] = {}
    for key, value in figures.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            flat[f"{prefix}{key}"] = ", ".join(map(figure_text, value))
        else:
            flat[f"{prefix}{key}"] = figure_text(value)
    return flat


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [columns, ["---"] * len(columns), *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]

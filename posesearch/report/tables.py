"""The tables of the report as rows of text: the front with its references, and the extracted models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from posesearch.report.points import Latency, Point, Prediction
from posesearch.report.rows import Model, RunRows
from posesearch.report.words import (
    NONE,
    ap_text,
    count_text,
    footnote,
    fps_text,
    interval_text,
    listed_words,
    predicted_text,
    runtime_name,
    short_name,
    significant,
)

FRONT_COLUMNS = (
    "#",
    "pick or preset",
    "AP",
    "latency p50 (ms)",
    "p90 (ms)",
    "images/s",
    "params",
    "MACs",
    "architecture",
)
MODEL_COLUMN = "model"
CODE_COLUMN = "architecture"


def front_columns(rows: RunRows) -> tuple[str, ...]:
    """Returns the columns of `front_table`: a further one for the loss, and for memory, where the search asked for them."""
    *most, last = FRONT_COLUMNS
    return (*most, *(name for name, _ in _further_figures(rows)), last)


def _further_figures(rows: RunRows) -> tuple[tuple[str, Callable[[Point], str]], ...]:
    found: list[tuple[str, Callable[[Point], str]]] = []
    if "loss" in rows.objectives:
        found.append(("loss", lambda point: NONE if point.loss is None else significant(point.loss)))
    if any(limit.name == "memory_bytes" for limit in rows.limits):
        found.append(
            (
                "memory (MB, calculated)",
                lambda point: NONE if point.memory_bytes is None else significant(point.memory_bytes / 1e6),
            )
        )
    return tuple(found)


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    """One line: `key` is unique and stands in the page as its anchor; `mark` is "pick", "reference" or empty."""

    key: str
    cells: tuple[str, ...]
    mark: str = ""


def picked(rows: RunRows) -> tuple[tuple[str, Point], ...]:
    """Returns the picks in the order of the front, each once, with their names in one phrase."""
    named = ((rows.pick_names(point.arch_id), point) for point in rows.front)
    return tuple((listed_words(names), point) for names, point in named if names)


def front_table(rows: RunRows) -> tuple[TableRow, ...]:
    """Returns the front, fastest first, then the references; cells in the order of `front_columns`."""
    table = []
    for rank, point in enumerate(rows.front, 1):
        picks = rows.pick_names(point.arch_id)
        table.append(
            TableRow(
                key=f"arch-{point.arch_id}",
                cells=(
                    str(rank),
                    _named(listed_words(picks) if picks else "", rows.budget_note(point)),
                    *_point_cells(point, rows),
                ),
                mark="pick" if picks else "",
            )
        )
    for point in rows.references:
        table.append(
            TableRow(
                key=f"reference-{point.name}",
                cells=(
                    NONE,
                    _named(short_name(point.name), rows.budget_note(point)),
                    *_point_cells(point, rows),
                ),
                mark="reference",
            )
        )
    return tuple(table)


def front_note(rows: RunRows) -> str:
    """Returns under which conditions the figures of the front's table hold, and which of them are predicted."""
    conditions = rows.search_accuracy.conditions if rows.search_accuracy else ""
    stars = footnote(point.name for point in rows.references)
    return " ".join(
        (
            "The latency is the median with its interval in brackets; noisy: the machine was busy.",
            f"With ~: {rows.label}." if rows.label else "",
            f"AP is that of the supernet: {conditions or 'search split'}.",
            f"{stars}." if stars else "",
            *(f"Memory: {limit.told}." for limit in rows.limits if limit.told),
        )
    ).strip()


def model_columns(rows: RunRows) -> tuple[str, ...]:
    """Returns the columns of `model_table`: one for each further runtime in which a model was measured."""
    return (
        MODEL_COLUMN,
        "supernet AP",
        "extracted AP",
        "retrained AP",
        "PCK@0.2",
        "latency p50 (ms)",
        "images/s",
        *(f"{runtime_name(runtime)} p50 (ms)" for runtime in _further_runtimes(rows)),
        "params",
        CODE_COLUMN,
    )


def model_table(rows: RunRows) -> tuple[TableRow, ...]:
    """Returns the extracted models; cells in the order of `model_columns`."""
    further = _further_runtimes(rows)
    return tuple(
        TableRow(
            key=f"model-{model.name}",
            cells=_model_cells(model, further),
            mark="pick" if model.retrained else "",
        )
        for model in rows.models
    )


def model_conditions(rows: RunRows) -> tuple[str, ...]:
    """Returns under which conditions each column of APs holds, one sentence a column."""
    told = []
    for column, pick in (
        ("supernet AP", lambda model: model.supernet),
        ("extracted AP", lambda model: model.extracted),
        ("retrained AP", lambda model: model.retrained),
    ):
        conditions = dict.fromkeys(
            accuracy.conditions for model in rows.models if (accuracy := pick(model)) is not None
        )
        if conditions:
            told.append(f"{column}: {' / '.join(conditions)}")
    return tuple(told)


def _named(name: str, note: str) -> str:
    return ", ".join(word for word in (name, note) if word)


def _point_cells(point: Point, rows: RunRows) -> tuple[str, ...]:
    latency = point.latency
    return (
        ap_text(point.ap),
        latency_cell(latency, point.predicted),
        NONE if latency is None or latency.p90_ms is None else significant(latency.p90_ms),
        fps_text(latency),
        count_text(point.params),
        count_text(point.macs),
        *(told(point) for _, told in _further_figures(rows)),
        point.code,
    )


def latency_cell(latency: Latency | None, predicted: Prediction | None = None) -> str:
    """Returns a latency without its unit, a predicted one with `~` before it and the word behind."""
    if latency is None:
        return NONE if predicted is None else f"{predicted_text(predicted, unit='')} predicted"
    interval = interval_text(latency)
    noisy = " noisy" if latency.noisy else ""
    return f"{significant(latency.p50_ms)}{f' [{interval}]' if interval else ''}{noisy}"


def _further_runtimes(rows: RunRows) -> tuple[str, ...]:
    return tuple(dict.fromkeys(runtime for model in rows.models for runtime, _ in model.also))


def _model_cells(model: Model, further: tuple[str, ...]) -> tuple[str, ...]:
    last = model.retrained or model.extracted or model.supernet
    return (
        f"{model.name} ({model.pick})" if model.pick and model.pick != model.name else model.name,
        *(
            ap_text(accuracy.ap if accuracy else None)
            for accuracy in (model.supernet, model.extracted, model.retrained)
        ),
        ap_text(last.pck if last else None),
        latency_cell(model.latency, model.predicted),
        fps_text(model.latency),
        *(latency_cell(dict(model.also).get(runtime)) for runtime in further),
        count_text(model.params),
        model.code,
    )

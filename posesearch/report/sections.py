"""What the page tells, section by section: each with one computed takeaway, and absent where there is nothing to tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from posesearch.report import (
    block_latency,
    breakdown,
    choices,
    curves,
    history,
    predictions,
    promises,
    ranking_plot,
    runtimes,
)
from posesearch.report.front_info import front_info
from posesearch.report.front_plot import front_plot
from posesearch.report.ranking import ranking_phrase, ranking_sentence
from posesearch.report.regime import regime
from posesearch.report.rows import RunRows
from posesearch.report.tables import (
    TableRow,
    front_columns,
    front_note,
    front_table,
    model_columns,
    model_conditions,
    model_table,
)
from posesearch.report.takeaway import against_references, front_takeaway, objectives_text
from posesearch.report.words import counted

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_CURVES: tuple[tuple[str, curves.Phase, curves.Measure], ...] = (
    ("Supernet training", "supernet", "loss"),
    ("Supernet accuracy in training", "supernet", "AP"),
    ("Retraining", "retraining", "loss"),
    ("Accuracy in retraining", "retraining", "AP"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """One section, all texts plain: a takeaway and a detail, then a figure and/or a table, then a note."""

    key: str
    title: str
    takeaway: str
    figure: Figure | None = None
    detail: str = ""
    columns: Sequence[str] = ()
    table: Sequence[TableRow] = ()
    note: str = ""


def sections(rows: RunRows) -> tuple[Section, ...]:
    """Returns the sections of the page over its whole width, in reading order."""
    found = (
        _front_section(rows),
        _ranking_section(rows),
        _picks_section(rows),
        _models_section(rows),
        _history_section(rows),
        _choices_section(rows),
        _latency_section(rows),
        _predictions_section(rows),
        _parts_section(rows),
    )
    return tuple(section for section in found if section is not None)


def curve_sections(rows: RunRows) -> tuple[Section, ...]:
    """Returns the sections of training curves, which stand side by side."""
    found = []
    for title, phase, measure in _CURVES:
        lines = curves.curves_info(rows, phase, measure)
        if lines:
            found.append(
                Section(
                    key=f"{phase}-{measure.lower()}",
                    title=title,
                    takeaway=curves.curves_takeaway(lines, measure),
                    figure=curves.curves_plot(lines, measure),
                )
            )
    return tuple(found)


def _front_section(rows: RunRows) -> Section | None:
    front = front_info(rows)
    if front is None:
        return None
    bars = "bars are the bound of the prediction" if rows.label else "bars are the interval of the median"
    return Section(
        key="front",
        title=f"Pareto front: {objectives_text(rows)}",
        takeaway=front_takeaway(rows),
        detail=against_references(rows),
        figure=front_plot(front),
        note=" ".join(
            (
                f"Supernet AP: {front.conditions}." if front.conditions else "",
                f"Latency: {front.where}; {bars}.",
                f"Colour: {front.axes.colour.title}." if front.axes.colour else "",
                f"{front.footnote}." if front.footnote else "",
                ranking_phrase(rows.name, rows.ranking),
            )
        ),
    )


def _ranking_section(rows: RunRows) -> Section | None:
    ranking = rows.ranking
    if ranking is None or not ranking.nets:
        return None
    return Section(
        key="ranking",
        title="How far the ranking can be trusted",
        takeaway=ranking_sentence(rows.name, ranking),
        figure=ranking_plot.ranking_plot(ranking),
        columns=ranking_plot.COLUMNS,
        table=ranking_plot.ranking_table(ranking),
        note=ranking_plot.ranking_note(ranking),
    )


def _picks_section(rows: RunRows) -> Section | None:
    table = front_table(rows)
    if not table:
        return None
    return Section(
        key="picks",
        title="Picks and front",
        takeaway=f"{counted(len(rows.front), 'architecture')} that no other one beats, fastest first.",
        columns=front_columns(rows),
        table=table,
        note=front_note(rows),
    )


def _models_section(rows: RunRows) -> Section | None:
    promised = promises.promises_info(rows)
    if not promised:
        return None
    return Section(
        key="models",
        title="Models: supernet against retrained",
        takeaway=promises.promises_takeaway(promised),
        figure=promises.promises_plot(promised),
        columns=model_columns(rows),
        table=model_table(rows),
        note="; ".join(model_conditions(rows)) + ". PCK is that of the last evaluation in the row.",
    )


def _history_section(rows: RunRows) -> Section | None:
    told = history.history_info(rows)
    if not told:
        return None
    return Section(
        key="history",
        title="Search history",
        takeaway=history.history_takeaway(told, len(rows.points)),
        figure=history.history_plot(told),
    )


def _choices_section(rows: RunRows) -> Section | None:
    if not history.history_info(rows):
        return None
    table = choices.choices_info(rows)
    title = "Which choices matter"
    if not table.rows:
        return Section(
            key="choices", title=title, takeaway=choices.too_few_text(choices.evaluated_count(rows))
        )
    return Section(
        key="choices",
        title=title,
        takeaway=choices.choices_takeaway(table),
        figure=choices.choices_plot(table),
        note="Held-out shares of a ridge regression on single choices, over the architectures this search visited; "
        "interactions and noise are the rest. Left of the dotted line an AP share may be chance.",
    )


def _latency_section(rows: RunRows) -> Section | None:
    told = regime(rows)
    if told is None:
        return None
    columns, table = runtimes.runtimes_table(rows)
    return Section(
        key="latency",
        title="What limits the speed",
        takeaway=told.sentence,
        detail=runtimes.runtimes_sentence(rows),
        columns=columns,
        table=table,
        note=" ".join(text for text in (told.note, runtimes.runtimes_note(rows)) if text),
    )


def _predictions_section(rows: RunRows) -> Section | None:
    table = predictions.predictions_info(rows)
    if not table:
        return None
    return Section(
        key="predictions",
        title="Predicted against measured latency",
        takeaway=predictions.predictions_takeaway(table),
        figure=predictions.predictions_plot(table),
        note=predictions.predictions_note(table),
    )


def _parts_section(rows: RunRows) -> Section | None:
    """Returns the latency by block where a table prices the blocks, else the counted costs."""
    priced = block_latency.block_info(rows)
    if priced:
        return Section(
            key="blocks",
            title="Latency by block",
            takeaway=block_latency.block_takeaway(priced),
            figure=block_latency.block_plot(priced),
            note=block_latency.block_note(priced, rows.extras.table_id),
        )
    shares = breakdown.breakdown_info(rows)
    if not shares:
        return None
    return Section(
        key="breakdown",
        title="Where the work goes",
        takeaway=breakdown.breakdown_takeaway(shares),
        figure=breakdown.breakdown_plot(shares),
        note="Computed costs, not measured latency. Latency by block takes a latency table of this device: "
        "posesearch latency build.",
    )

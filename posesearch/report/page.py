"""One offline HTML page: the front first, then the tables, then how the run went and what it did not measure."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from typing import Any

from posesearch.report import choices
from posesearch.report.assets import CONTENT_POLICY, SCRIPT, script_json, style_sheet
from posesearch.report.axes import DEFAULT
from posesearch.report.caveats import caveats, next_step
from posesearch.report.front_info import front_info
from posesearch.report.points import Point
from posesearch.report.rows import RunRows
from posesearch.report.sections import Section, curve_sections, sections
from posesearch.report.style import DARK
from posesearch.report.tables import CODE_COLUMN, FRONT_COLUMNS, MODEL_COLUMN, TableRow
from posesearch.report.words import (
    ap_text,
    budget_text,
    count_text,
    counted,
    fps_text,
    listed_words,
    measured_text,
    predicted_text,
)

_TEXT_COLUMNS = (FRONT_COLUMNS[1], MODEL_COLUMN, CODE_COLUMN)


def render_page(rows: RunRows, png: bytes | None = None) -> str:
    """Returns the whole page; `png` is shown where scripts are switched off."""
    from plotly.offline import get_plotlyjs

    told, pair = sections(rows), curve_sections(rows)
    drawn = [section for section in (*told, *pair) if section.figure is not None]
    figures = {f"figure-{section.key}": _plain(section.figure) for section in drawn}
    command = next_step(rows)
    title = html.escape(f"posesearch report: {rows.name}")
    image = base64.b64encode(png).decode() if png else ""
    fallback = f'<img alt="Pareto front" src="data:image/png;base64,{image}">' if image else ""
    curve_html = f'<div class="pair">{"".join(map(_section_html, pair))}</div>' if pair else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style_sheet()}</style>
</head>
<body>
<main>
<header>
<h1>{title}</h1>
<p class="lead">{html.escape(_lead(rows))}</p>
{_cards(rows)}
</header>
<noscript><p>The figures need scripts; the tables do not.</p>{fallback}</noscript>
{"".join(map(_section_html, told))}
{curve_html}
{_list_section("limits", "What was not measured", caveats(rows, front_info(rows)))}
<section id="next" class="next"><h2>What to do next</h2><p>{html.escape(command[0])}</p><code>{html.escape(command[1])}</code></section>
{_facts(rows)}
</main>
<script type="application/json" id="figures">{script_json(figures)}</script>
<script type="application/json" id="dark">{script_json(DARK)}</script>
<script>{get_plotlyjs()}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _lead(rows: RunRows) -> str:
    if not rows.points:
        return next_step(rows)[0].split(". ")[0].rstrip(":.") + "."
    told = [
        counted(len(rows.points), "ask"),
        f"{counted(choices.evaluated_count(rows), 'architecture')} evaluated",
    ]
    if rows.front:
        told.append(f"{len(rows.front)} on the front")
    if rows.budget:
        told.append(f"budget {budget_text(rows.budget.latency_ms)} ({rows.budget.percentile})")
    told += [limit.text for limit in rows.limits]
    if rows.objectives != DEFAULT:
        told.append(f"objectives {listed_words(rows.objectives)}")
    if rows.label:
        told.append(rows.label)
    if not rows.finished:
        told.append("search not finished")
    return ", ".join(told) + "."


def _cards(rows: RunRows) -> str:
    cards = []
    for point in rows.front:
        names = rows.pick_names(point.arch_id)
        if names:
            near = rows.budget_note(point)
            note = f"<br>{html.escape(near)}" if near else ""
            cards.append(
                f'<a class="card" href="#arch-{html.escape(point.arch_id, quote=True)}">'
                f'<span class="name">{html.escape(listed_words(names))}</span>'
                f"<b>{ap_text(point.ap)} AP</b>"
                f"{_speed(point)}{note}"
                f"<small>{count_text(point.params)} params · {html.escape(point.code)}</small></a>"
            )
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def _speed(point: Point) -> str:
    if point.latency is None and point.predicted is not None:
        return f"{html.escape(predicted_text(point.predicted))}<br>predicted, unverified"
    return f"{measured_text(point.latency)}<br>{fps_text(point.latency)} images/s"


def _section_html(section: Section) -> str:
    takeaway = html.escape(section.takeaway)
    height = section.figure.layout.height if section.figure is not None else 0
    figure = (
        f'<div class="figure" id="figure-{section.key}" role="img" aria-label="{html.escape(section.title)}: {takeaway}" '
        f'style="min-height:{height}px"></div>'
        if section.figure is not None
        else ""
    )
    detail = f"<p>{html.escape(section.detail)}</p>" if section.detail else ""
    table = _table_html(section.columns, section.table) if section.table else ""
    note = f'<p class="note">{html.escape(section.note)}</p>' if section.note else ""
    return (
        f'<section id="{section.key}"><h2>{html.escape(section.title)}</h2><p class="takeaway">{takeaway}</p>'
        f"{detail}{figure}{table}{note}</section>"
    )


def _table_html(columns: Sequence[str], table: Sequence[TableRow]) -> str:
    kinds = [' class="text"' if column in _TEXT_COLUMNS else "" for column in columns]
    head = "".join(
        f'<th scope="col"{kind}>{html.escape(column)}</th>'
        for column, kind in zip(columns, kinds, strict=True)
    )
    lines = []
    for row in table:
        cells = "".join(
            f"<td{kind}>{_cell_html(column, cell)}</td>"
            for column, kind, cell in zip(columns, kinds, row.cells, strict=True)
        )
        lines.append(f'<tr id="{html.escape(row.key)}" class="{row.mark}">{cells}</tr>')
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _cell_html(column: str, cell: str) -> str:
    text = html.escape(cell)
    # A code may be broken after its underscores, between the kinds of choices.
    return f"<code>{text.replace('_', '_<wbr>')}</code>" if column == CODE_COLUMN else text


def _list_section(key: str, title: str, sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
    return f'<section id="{key}"><h2>{title}</h2><ul>{items}</ul></section>' if items else ""


def _facts(rows: RunRows) -> str:
    items = "".join(
        f"<dt>{html.escape(label)}</dt><dd>{html.escape(text)}</dd>" for label, text in rows.facts
    )
    return f'<section id="facts"><h2>How this run was made</h2><dl>{items}</dl></section>' if items else ""


def _plain(figure: Any) -> Any:
    return json.loads(figure.to_json())

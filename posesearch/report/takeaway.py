"""What the front says in a sentence or two: how good the best pick is, at what price, and against the presets."""

from __future__ import annotations

from posesearch.report.axes import axes_of
from posesearch.report.points import Point
from posesearch.report.rows import RunRows
from posesearch.report.words import (
    ap_text,
    budget_text,
    claimed_text,
    counted,
    listed_words,
    measured_text,
    ms_text,
    predicted_text,
)


def front_takeaway(rows: RunRows) -> str:
    """Returns the one sentence that the front says."""
    best = _best(rows)
    if best is not None and best.latency is None and best.predicted is not None:
        return (
            f"The most accurate architecture, AP {ap_text(best.ap)}, is predicted at {predicted_text(best.predicted)}"
            f"{f': {rows.label}' if rows.label else ''}. No budget is met before it is measured."
        )
    if best is None or best.latency is None:
        if rows.budget is None:
            return "The search has evaluated no architecture within the budget yet."
        told = f"No architecture was measured within {budget_text(rows.budget.latency_ms)}"
        if rows.fastest is not None and rows.fastest.latency is not None:
            told += f"; the fastest of {counted(len(rows.points), 'ask')} takes {measured_text(rows.fastest.latency)}"
        return f"{told}."
    axes = axes_of(rows.objectives)
    name = "The best pick" if rows.picks else "The most accurate architecture so far"
    told = f"{name} reaches AP {ap_text(best.ap)}"
    if not axes.usual:
        others = [
            axis for axis in (axes.x, axes.y, axes.colour) if axis and axis.name not in ("AP", "latency_ms")
        ]
        figures = [f"{axis.short} {axis.text(axis.of(best))}" for axis in others]
        return f"{told} with {listed_words([*figures, f'latency {claimed_text(best.latency)}'])}{_noted(rows, best)}."
    told += f" at {claimed_text(best.latency)}"
    note = rows.budget_note(best)
    if rows.budget is not None and note:
        told += f", {note} ({budget_text(rows.budget.latency_ms)})"
    elif rows.budget is not None and rows.budget.percentile == "p50":
        spare = 1 - best.latency.p50_ms / rows.budget.latency_ms
        if spare >= 0.005:
            told += f", {spare:.0%} under the {budget_text(rows.budget.latency_ms)} budget"
    quick = rows.front[0]
    if quick.latency is not None and quick.arch_id != best.arch_id and quick.ap is not None and best.ap:
        less = f"{best.ap - quick.ap:.3f} less AP"
        if best.latency.overlaps(quick.latency):
            told += f"; the fastest, with {less}, is within noise of its latency"
        else:
            told += f"; the fastest runs {best.latency.p50_ms / quick.latency.p50_ms:.1f} times as fast for {less}"
    return f"{told}."


def objectives_text(rows: RunRows) -> str:
    """Returns what the front is drawn against: `accuracy against latency`, or the objectives asked for."""
    axes = axes_of(rows.objectives)
    if axes.usual:
        return "accuracy against latency"
    return f"{axes.y.short} against {axes.x.short}{f', {axes.colour.short} as colour' if axes.colour else ''}"


def _noted(rows: RunRows, point: Point) -> str:
    note = rows.budget_note(point)
    return f", {note}" if note else ""


def against_references(rows: RunRows) -> str:
    """Returns how the best pick compares with each preset measured and evaluated the same way; empty without one."""
    best = _best(rows)
    told = []
    for other in rows.references:
        if best is None or best.ap is None or other.ap is None:
            continue
        if best.latency is None or other.latency is None:
            continue
        accuracy = best.ap - other.ap
        time_ms = best.latency.p50_ms - other.latency.p50_ms
        told.append(
            f"against {other.name}, {abs(accuracy):.3f} AP {'more' if accuracy >= 0 else 'less'} and "
            f"{ms_text(abs(time_ms))} {'faster' if time_ms <= 0 else 'slower'}"
            f"{' (within noise)' if best.latency.overlaps(other.latency) else ''}"
        )
    return f"The best pick under the same conditions: {'; '.join(told)}." if told else ""


def _best(rows: RunRows) -> Point | None:
    best = next((point for point in rows.front if "best" in rows.pick_names(point.arch_id)), None)
    return best or (rows.front[-1] if rows.front else None)

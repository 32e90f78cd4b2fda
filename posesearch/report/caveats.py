"""What the run did not measure, said as plainly as what it did, and the command to run next."""

from __future__ import annotations

import shlex

from posesearch.report.axes import DEFAULT
from posesearch.report.front_info import FrontInfo
from posesearch.report.ranking import ranking_sentence
from posesearch.report.rows import RunRows
from posesearch.report.words import counted, significant


def caveats(rows: RunRows, front: FrontInfo | None) -> tuple[str, ...]:
    """Returns one sentence for each thing a reader could take for granted and should not."""
    told = []
    if rows.points:
        if rows.ranking is None or not rows.ranking.current:
            told.append(ranking_sentence(rows.name, rows.ranking))
        told.append(
            "AP carries no interval here: differences of a few thousandths may be chance of the persons drawn."
        )
    if front is not None and front.provisional:
        told.append("The search has not finished: this front is provisional and its picks are not chosen.")
    if rows.label:
        told.append(
            f"No latency was measured: the front is {rows.label}. Run the same search on that device to measure it."
        )
    elif rows.front and not all(point.confirmed for point in rows.front):
        told.append("Latencies of the front were not all confirmed in a fresh process.")
    measured = [point.latency for point in (*rows.front, *rows.references)]
    measured += [model.latency for model in rows.models]
    timed = [latency for latency in measured if latency is not None]
    if any(latency.noisy for latency in timed):
        told.append("Some latencies come from a busy machine (marked noisy): measure again when it is quiet.")
    if any(latency.ci_low_ms is None for latency in timed):
        told.append("Some latencies have no interval.")
    if timed:
        told.append(f"Latency holds for this device and runtime only: {timed[0].where}.")
    if timed and not any(point.predicted for point in (*rows.points, *rows.checks)):
        told.append(
            "Every candidate was measured, none predicted: there are no predictions to compare. A latency table makes "
            "them: posesearch latency build."
        )
    if rows.points and not rows.references:
        told.append(
            "No preset was evaluated under the same conditions, so the front stands without a reference."
        )
    if front is not None and front.outside:
        axis, edge = front.axes.x, front.x_range[1]
        beyond = (
            f"slower than {significant(edge)} ms"
            if front.axes.timed
            else f"above {axis.text(edge)} {axis.short}"
        )
        told.append(
            f"{counted(front.outside, 'ask')} {beyond} {'lies' if front.outside == 1 else 'lie'} "
            "outside the plot (double-click it to see all)."
        )
    if front is not None and front.left_out:
        told.append(
            f"{counted(front.left_out, 'mark')} {'is' if front.left_out == 1 else 'are'} left out of the plot to keep "
            "the page fast."
        )
    if rows.models and not any(model.retrained for model in rows.models):
        told.append("No model was retrained: final accuracy is not known.")
    return tuple(told)


def next_step(rows: RunRows) -> tuple[str, str]:
    """Returns what to do next, as (sentence, command)."""
    run = shlex.quote(rows.name)
    if not rows.supernet_done and not rows.points:
        return (
            "The supernet is not finished. Continue its training:",
            f"posesearch supernet-train --run {run}",
        )
    if not rows.points:
        return (
            "The supernet is trained, nothing has been searched yet. Name your budget:",
            f"posesearch search --latency-ms 3.5 --run {run}",
        )
    asked = search_options(rows)
    if not rows.finished:
        return (
            "The search has not finished. Continue it:",
            f"posesearch search {asked} --run {run}",
        )
    if not rows.front:
        fastest = rows.fastest.latency.p50_ms if rows.fastest and rows.fastest.latency else None
        wider = significant(fastest * 1.2) if fastest else "MS"
        if rows.limits:
            return "Nothing meets the budgets. Try wider ones than:", f"posesearch search {asked} --run {run}"
        return (
            "Nothing meets the budget. Try a wider one:",
            f"posesearch search --latency-ms {wider} --run {run}",
        )
    if not rows.models:
        return "Cut the picks out of the supernet:", f"posesearch extract --run {run}"
    waiting = next((model for model in rows.models if model.retrained is None), None)
    if waiting is not None:
        return "Retrain a pick in full:", f"posesearch train {shlex.quote(_model_file(rows, waiting.name))}"
    ready = max(rows.models, key=lambda model: model.retrained.ap if model.retrained else 0.0)
    return (
        "The picks are retrained. Score one with the flip test, or with a detector's boxes (--boxes FILE):",
        f"posesearch evaluate {shlex.quote(_model_file(rows, f'{ready.name}-trained'))} --flip",
    )


def search_options(rows: RunRows) -> str:
    """Returns the question of the search as options, so that the same study goes on."""
    options = [f"--latency-ms {rows.budget.latency_ms:g}"] if rows.budget else []
    for limit in rows.limits:
        if limit.name == "memory_bytes":
            options.append(f"--max-memory-mb {limit.at_most / 1e6:.10g}")
        else:
            options.append(f"--max-{limit.name} {limit.at_most / 1e6:.10g}M")
    if rows.objectives != DEFAULT:
        options.append(f"--objectives {','.join(rows.objectives)}")
    return " ".join(options) or "--latency-ms 3.5"


def _model_file(rows: RunRows, name: str) -> str:
    return f"runs/{rows.name}/models/{name}.safetensors"

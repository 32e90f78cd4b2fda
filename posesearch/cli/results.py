"""Tables of what searches and extractions found, each with the conditions its figures hold under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from posesearch.cli.output import (
    Grid,
    conditions_text,
    evaluation_line,
    interval,
    millions,
    number,
    split_name,
)
from posesearch.files import read_json, read_jsonl
from posesearch.report.axes import DEFAULT
from posesearch.report.read import point_of
from posesearch.report.read_question import ASKED_BEFORE, Asked, budget_of, read_asked

Row = Mapping[str, Any]
STAGES = ("supernet", "extracted", "retrained")


def search_grids(folder: Path) -> tuple[Grid, Grid]:
    """Returns the front of a finished search, and its reference networks, as tables.

    Args:
        folder: The search folder of the run: `result.json` and `evaluations.jsonl`.

    Raises:
        DataError: One of the files is damaged.
    """
    result = read_json(folder / "result.json", "search result")
    evaluations = read_jsonl(folder / "evaluations.jsonl")
    conditions = evaluations[-1].get("evaluation") if evaluations else None
    budget = result.get("budget") or {}
    front, references = result.get("front") or (), result.get("references") or ()
    title = "Pareto front"
    within = []
    if budget:
        percentile = "" if budget["percentile"] == "p50" else f" ({budget['percentile']})"
        within.append(f"{budget['latency_ms']:g} ms{percentile}")
    asked = read_asked(result)
    within += [limit.text.removeprefix("at most ") for limit in asked.limits]
    title += f" of {', '.join(asked.objectives)}" if asked.objectives != DEFAULT else ""
    title += f" within {', '.join(within)}" if within else ""
    if result.get("label"):
        title += f", {result['label']}"
    found = candidate_grid(
        title, front, picks=result.get("picks"), budget=budget, conditions=conditions, asked=asked
    )
    named = candidate_grid("Reference networks, same conditions", references, budget=budget, asked=asked)
    return found, replace(named, caption=())


def candidate_grid(
    title: str,
    rows: Sequence[Row],
    *,
    picks: Mapping[str, str] | None = None,
    budget: Row | None = None,
    conditions: Row | None = None,
    asked: Asked = ASKED_BEFORE,
) -> Grid:
    """Returns candidates as a table: accuracy and latency first, then size and choices.

    A predicted latency is written "~3.40", with the interval of the prediction. Latencies in further runtimes
    (`confirmed_also`) have a column each.

    Args:
        title: The table's title.
        rows: Candidate rows of a search.
        picks: Architecture id by the name of the pick.
        budget: The latency budget, as `result.json` has it.
        conditions: One evaluation of the search: its split, persons, boxes, flip test and input size.
        asked: Objectives and counted budgets of the search; the loss and the calculated memory have a column where they
            are among these.
    """
    held_to = (budget or {}).get("percentile", "p50")
    percentiles = ("p50",) if held_to == "p50" else ("p50", held_to)
    also = _further_runtimes(rows)
    with_loss = "loss" in asked.objectives
    limited = any(limit.name == "memory_bytes" for limit in asked.limits)
    figures = (
        *(["loss (search)"] if with_loss else []),
        *(f"{name} ms" for name in percentiles),
        "interval",
        "FPS",
        *(f"{name} ms" for name in also),
        "params",
        "MACs",
        *(["MB (calculated)"] if limited else []),
    )
    return Grid(
        title=title,
        columns=("#", "AP (search)", *figures, "architecture", "note"),
        right=("#", "AP (search)", *figures),
        rows=tuple(
            (
                str(rank),
                number(row.get("AP")),
                *([number((row.get("metrics") or {}).get("loss"))] if with_loss else []),
                *(_ms(latency, name) for name in percentiles),
                _interval(latency),
                number(latency.get("fps"), 0),
                *(_ms((row.get("confirmed_also") or {}).get(name) or {}) for name in also),
                millions(row["cost"]["params"]),
                millions(row["cost"]["macs"]),
                *([number(row["cost"].get("memory_bytes", 0) / 1e6, 2)] if limited else []),
                row["code"],
                _note(row, picks or {}, budget or {}, asked),
            )
            for rank, row in enumerate(rows, start=1)
            for latency in [_latency(row)]
        ),
        caption=(
            f"AP: weights of the supernet, {conditions_text(conditions or {}) or 'search split'}",
            *_latency_captions([_latency(row) for row in rows]),
            *(
                f"{name} ms: the same networks in that runtime, for comparison; the budget is not held to it"
                for name in also
            ),
            *(f"MB: {limit.told}" for limit in asked.limits if limit.told),
        ),
    )


def _further_runtimes(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for row in rows for name in row.get("confirmed_also") or ()))


def label_lines(label: str | None) -> tuple[str, ...]:
    """Returns what must be said of a front nobody measured; nothing for a measured one."""
    return (f"The front is {label}: run this search on that device to measure it.",) if label else ()


def _predicted(latency: Row) -> bool:
    return latency.get("kind") == "predicted"


def _ms(latency: Row, percentile: str = "p50") -> str:
    if _predicted(latency):
        return f"~{number(latency['latency_ms'], 2)}" if percentile == "p50" else "-"
    return number(latency.get(f"{percentile}_ms"), 2)


def _interval(latency: Row) -> str:
    if _predicted(latency):
        return f"{number(latency['low_ms'], 2)}-{number(latency['high_ms'], 2)}"
    return interval(latency)


def _latency(row: Row) -> Row:
    latency: Row = row.get("confirmed") or row.get("latency") or {}
    return latency


def _note(row: Row, picks: Mapping[str, str], budget: Row, asked: Asked) -> str:
    names = [name for name in ("fastest", "knee", "best") if picks.get(name) == row["arch_id"]]
    if row.get("reference"):
        names.append(row["reference"])
    # The page says the same of the same row.
    held_to, point = budget_of(budget, "search result: budget"), point_of(row, "search result")
    near = held_to.note(point) if held_to else ""
    names += [near] if near else []
    names += [limit.note for limit in asked.limits if not limit.allows(point)]
    if _latency(row).get("noise") == "noisy":
        names.append("noisy")
    return ", ".join(names)


def _latency_captions(latencies: Sequence[Row]) -> tuple[str, ...]:
    predicted = [latency for latency in latencies if latency and _predicted(latency)]
    measured = [latency for latency in latencies if latency and not _predicted(latency)]
    told = ["~ms: predicted, not measured; interval: of the prediction"] if predicted else []
    if not measured:
        return tuple(told)
    first = measured[0]
    threads = first.get("threads")
    words = [str(first[key]) for key in ("runtime", "precision", "device") if first.get(key)]
    words += [f"{threads} thread{'' if threads == 1 else 's'}"] if threads else []
    words += [first["memory_format"]] if first.get("memory_format", "contiguous") != "contiguous" else []
    images = "one image" if first.get("batch", 1) == 1 else f"{first['batch']} images"
    holds = f"ms: {', '.join([images, *words])}"
    if any(latency.get("ci_low_ms") is not None for latency in measured):
        holds += "; interval: of the median (p50)"
    told.append(holds)
    if any(latency.get("noise") == "noisy" for latency in measured):
        told.append("noisy: the machine was busy while this was measured; measure again when it is quiet")
    return tuple(told)


def model_grid(models: Sequence[Row]) -> Grid:
    """Returns extracted models as a table: the same network inside the supernet, cut out, and retrained."""
    heads = {stage: f"AP {_stage_words(stage)} ({_splits(models, stage)})" for stage in STAGES}
    also = _further_runtimes(models)
    right = (*heads.values(), "ms", "interval", *(f"{name} ms" for name in also), "params", "parity")
    return Grid(
        title="Models",
        columns=("name", "pick", *right, "architecture", "note"),
        right=right,
        rows=tuple(
            (
                model["name"],
                model.get("pick") or "-",
                *(number((model.get(stage) or {}).get("AP")) for stage in STAGES),
                _ms(latency),
                _interval(latency),
                *(_ms((model.get("confirmed_also") or {}).get(name) or {}) for name in also),
                millions(model["cost"]["params"]),
                _parity(model.get("parity")),
                model["code"],
                latency.get("label") or ("noisy" if latency.get("noise") == "noisy" else ""),
            )
            for model in models
            for latency in [model.get("latency") or {}]
        ),
        caption=(
            *_accuracy_captions(models),
            *_latency_captions([model.get("latency") or {} for model in models]),
            *(f"{name} ms: the same networks in that runtime, for comparison" for name in also),
            "parity: largest difference to the subnet",
        ),
    )


def _stage_words(stage: str) -> str:
    return "in supernet" if stage == "supernet" else stage


def _splits(models: Sequence[Row], stage: str) -> str:
    found = dict.fromkeys(
        split_name(model[stage]["split"])
        for model in models
        if model.get(stage) and model[stage].get("split")
    )
    return "/".join(found) or ("search" if stage == "supernet" else "val")


def _accuracy_captions(models: Sequence[Row]) -> tuple[str, ...]:
    """Returns one sentence for each set of conditions, naming the columns it holds for."""
    stages: dict[str, list[str]] = {}
    for stage in STAGES:
        told = dict.fromkeys(conditions_text(model[stage]) for model in models if model.get(stage))
        if any(told):
            stages.setdefault(" / ".join(told), []).append(_stage_words(stage))
    return tuple(f"AP {', '.join(names)}: {conditions}" for conditions, names in stages.items())


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

"""Runtimes side by side: each pick in the runtime of the search and in the one shown beside it, and what a forward launches."""

from __future__ import annotations

from statistics import median

from posesearch.report.points import Latency, Point
from posesearch.report.rows import RunRows
from posesearch.report.tables import FRONT_COLUMNS, TableRow, latency_cell, picked
from posesearch.report.words import NONE, runtime_name, significant


def in_sentence(runtime: str) -> str:
    """Returns a runtime as it is called in a sentence."""
    return f"{'the ' if runtime == 'cudagraph' else ''}{runtime_name(runtime)}"


def each_text(unit: str) -> str:
    """Returns what a time is divided by: `a kernel`, `an ATen call`."""
    return f"{'an' if unit[0] == 'A' else 'a'} {unit.removesuffix('s')}"


def pairs(rows: RunRows) -> tuple[tuple[str, Latency, str, Latency], ...]:
    """Returns (runtime, latency, other runtime, latency there) of each pick; of the whole front where none is picked."""
    points = [point for _, point in picked(rows)] or list(rows.front)
    return tuple(
        (_own_runtime(rows, point.latency), point.latency, runtime, latency)
        for point in points
        if point.latency is not None
        for runtime, latency in point.also
    )


def runtimes_sentence(rows: RunRows) -> str:
    """Returns how the runtimes compare on the picks, such as `ONNX Runtime is 1.8 times as fast as eager here`."""
    told = []
    found = pairs(rows)
    for other in dict.fromkeys(pair[2] for pair in found):
        members = [pair for pair in found if pair[2] == other]
        own = members[0][0]
        ratios = [latency.p50_ms / there.p50_ms for _, latency, _, there in members]
        if all(latency.overlaps(there) for _, latency, _, there in members):
            told.append(f"{_start(other)} is as fast as {in_sentence(own)} here, within noise.")
            continue
        quick, slow, factors = (other, own, ratios)
        if median(ratios) < 1:
            quick, slow, factors = own, other, [1 / ratio for ratio in ratios]
        spread = f" ({min(factors):.1f} to {max(factors):.1f})" if len(factors) > 1 else ""
        told.append(
            f"{_start(quick)} is {median(factors):.1f} times as fast as {in_sentence(slow)} here{spread if _spread(factors) else ''}."
        )
    return " ".join(told)


def runtimes_table(rows: RunRows) -> tuple[tuple[str, ...], tuple[TableRow, ...]]:
    """Returns the columns and one line for each pick; empty where there is neither another runtime nor a kernel count."""
    named = picked(rows)
    others = tuple(dict.fromkeys(runtime for _, point in named for runtime, _ in point.also))
    kernels = {point.arch_id: rows.extras.kernels_of(point.arch_id) for _, point in named}
    counted = [count for count in kernels.values() if count is not None]
    on_device = any(point.latency and point.latency.device_ms is not None for _, point in named)
    if not others and not counted:
        return (), ()
    own = next((_own_runtime(rows, point.latency) for _, point in named if point.latency), "") or "runtime"
    unit = counted[0].unit if counted else ""
    columns = [FRONT_COLUMNS[1], f"{runtime_name(own)} p50 (ms)"]
    columns += ["GPU clock (ms)"] if on_device else []
    for other in others:
        columns += [f"{runtime_name(other)} p50 (ms)", f"{runtime_name(own)} / {runtime_name(other)}"]
    columns += [f"{unit} a forward", f"µs {each_text(unit)}"] if counted else []
    table = []
    for name, point in named:
        cells = [name, latency_cell(point.latency)]
        cells += [_device_cell(point)] if on_device else []
        for other in others:
            there = dict(point.also).get(other)
            ratio = point.latency.p50_ms / there.p50_ms if point.latency and there else None
            cells += [latency_cell(there), NONE if ratio is None else f"{ratio:.2f}"]
        count = kernels[point.arch_id]
        if counted:
            each = 1000 * point.latency.p50_ms / count.count if point.latency and count else None
            cells += [str(count.count) if count else NONE, NONE if each is None else significant(each)]
        table.append(TableRow(key=f"runtimes-{point.arch_id}", cells=tuple(cells)))
    return tuple(columns), tuple(table)


def runtimes_note(rows: RunRows) -> str:
    """Returns what the columns of counts are; empty without a count."""
    units = {count.unit for count in rows.extras.kernels}
    told = []
    if "ATen calls" in units:
        told.append(
            "ATen calls: operators of the eager forward that launch work, counted; a GPU needs at least as many kernels."
        )
    if "kernels" in units:
        told.append("Kernels: those of one forward on the GPU, by torch.profiler.")
    return " ".join(told)


def _own_runtime(rows: RunRows, latency: Latency | None) -> str:
    named = rows.budget.runtime if rows.budget else ""
    return named or (latency.runtime if latency else "")


def _device_cell(point: Point) -> str:
    known = point.latency.device_ms if point.latency else None
    return NONE if known is None else significant(known)


def _start(runtime: str) -> str:
    name = in_sentence(runtime)
    return name[0].upper() + name[1:]


def _spread(factors: list[float]) -> bool:
    """Says whether the range is worth its place: it shows in the decimal that is written."""
    return f"{min(factors):.1f}" != f"{max(factors):.1f}"

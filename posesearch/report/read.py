"""Reading a run folder into `RunRows`: tolerant of stages that have not run, strict about broken files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from posesearch.errors import DataError
from posesearch.files import read_json, read_jsonl
from posesearch.report.axes import Axes, axes_of
from posesearch.report.extras import extras_of
from posesearch.report.fields import integer, mapping, number, rows_of, text
from posesearch.report.points import Part, Point
from posesearch.report.ranking import read_ranking
from posesearch.report.read_latency import also_of, latency_of, prediction_of
from posesearch.report.read_question import asked_of, budget_of, limits_of, objectives_of
from posesearch.report.refined import refined_text
from posesearch.report.rows import Accuracy, CurvePoint, Model, RunRows
from posesearch.report.words import counted
from posesearch.spaces.space import GENE_KINDS

PICK_ORDER = ("fastest", "knee", "best")
# The search split is cut from the training persons, and stored by that name.
SPLIT_NAMES: Mapping[str, str] = MappingProxyType({"train-held-out": "search"})
GENERATED = "runs/generated-people"
LOSS_SERIES = ("largest", "smallest", "random")


def read_run(run_folder: Path, extras: Mapping[str, Any] = MappingProxyType({})) -> RunRows:
    """Returns the rows of a run.

    Args:
        run_folder: The folder.
        extras: What it does not hold, see `extras.extras_of`.

    Raises:
        DataError: The folder holds no run, or one of its files is broken; the message names file and key.
    """
    manifest_file = run_folder / "run.json"
    if not manifest_file.is_file():
        raise DataError(
            f"{run_folder} is not a run folder: it has no run.json. "
            "Give the folder that `posesearch supernet-train` made, or start one with that command."
        )
    manifest = mapping(read_json(manifest_file, "run manifest"), str(manifest_file))
    result_file = run_folder / "search" / "result.json"
    result = (
        mapping(read_json(result_file, "search result"), str(result_file)) if result_file.is_file() else {}
    )
    asked = asked_of(run_folder / "search", result)
    objectives = objectives_of(asked, str(result_file))
    points = read_points(run_folder / "search" / "candidates.jsonl", result.get("study"))
    front = tuple(point_of(row, str(result_file)) for row in rows_of(result, "front", str(result_file)))
    if not result:
        front = provisional_front(points, axes_of(objectives))
    picks = mapping(result.get("picks") or {}, f"{result_file}: picks")
    fastest = result.get("fastest")
    return RunRows(
        name=str(manifest.get("name") or run_folder.name),
        facts=tuple(facts_of(manifest, result)),
        points=points,
        front=tuple(sorted(front, key=lambda point: point.figure_ms)),
        picks=tuple((pick, str(picks[pick])) for pick in PICK_ORDER if picks.get(pick)),
        references=tuple(
            point_of(row, str(result_file)) for row in rows_of(result, "references", str(result_file))
        ),
        models=tuple(sorted(read_models(run_folder / "models"), key=_pick_rank)),
        curves=tuple(read_curves(run_folder)),
        budget=budget_of(asked.get("budget"), f"{result_file}: budget"),
        finished=bool(result),
        supernet_done=(run_folder / "supernet" / "supernet.safetensors").is_file(),
        fastest=point_of(fastest, f"{result_file}: fastest") if fastest else None,
        search_accuracy=_search_accuracy(run_folder / "search" / "evaluations.jsonl"),
        checks=tuple(
            point_of({**row, "latency": row.get("measured")}, f"{result_file}: checks")
            for row in rows_of(result, "checks", str(result_file))
        ),
        label=text(result, "label"),
        extras=extras_of(extras),
        objectives=objectives,
        limits=limits_of(asked, str(result_file)),
        ranking=read_ranking(run_folder),
    )


def read_points(file: Path, study: Any) -> tuple[Point, ...]:
    """Returns the asks of one study in order; of the latest one when `study` is None."""
    rows = read_jsonl(file)
    if rows and study is None:
        study = rows[-1].get("study")
    return tuple(
        point_of(row, f"{file}, line {line}") for line, row in enumerate(rows, 1) if row.get("study") == study
    )


def point_of(row: Any, where: str) -> Point:
    """Returns one candidate row as a `Point`; a confirmed latency stands in for the first one."""
    row = mapping(row, where)
    cost = mapping(row.get("cost") or {}, f"{where}: cost")
    confirmed = latency_of(row.get("confirmed"), f"{where}: confirmed")
    return Point(
        arch_id=text(row, "arch_id"),
        code=text(row, "code"),
        ap=number(row, "AP", where),
        latency=confirmed or latency_of(row.get("latency"), f"{where}: latency"),
        feasible=bool(row.get("feasible")),
        params=integer(cost, "params", where),
        macs=integer(cost, "macs", where),
        parts=parts_of(cost, where),
        genes=genes_of(row.get("arch"), f"{where}: arch"),
        trial=integer(row, "trial", where),
        origin=text(row, "origin"),
        name=text(row, "reference"),
        confirmed=confirmed is not None,
        verdict=text(row, "verdict"),
        predicted=prediction_of(row.get("predicted"), f"{where}: predicted")
        or prediction_of(row.get("latency"), f"{where}: latency"),
        also=also_of(row.get("confirmed_also"), f"{where}: confirmed_also"),
        loss=number(mapping(row.get("metrics") or {}, f"{where}: metrics"), "loss", where),
        memory_bytes=integer(cost, "memory_bytes", where),
    )


def accuracy_of(plain: Any, where: str) -> Accuracy | None:
    """Returns an evaluation; None where it has not been made."""
    if not plain:
        return None
    plain = mapping(plain, where)
    ap = number(plain, "AP", where)
    if ap is None:
        return None
    size = plain.get("input_size")
    return Accuracy(
        ap=ap,
        ap50=number(plain, "AP50", where),
        pck=number(plain, "PCK", where),
        boxes=text(plain, "boxes"),
        flip=plain.get("flip"),
        split=SPLIT_NAMES.get(text(plain, "split"), text(plain, "split")),
        persons=integer(plain, "persons", where),
        input_size=(int(size[0]), int(size[1])) if size else None,
    )


def parts_of(cost: Mapping[str, Any], where: str) -> tuple[Part, ...]:
    """Returns stem, stages and head with their counted cost, in the order the image meets them."""
    stages = rows_of(cost, "stages", where)
    named = [("stem", cost.get("stem")), *((f"stage{i}", stage) for i, stage in enumerate(stages))]
    return tuple(
        Part(
            name=name,
            macs=integer(part, "macs", where) or 0,
            operators=integer(part, "operators", where) or 0,
        )
        for name, part in [*named, ("head", cost.get("head"))]
        if part
    )


def genes_of(arch: Any, where: str) -> tuple[tuple[str, int], ...]:
    """Returns each decision of an architecture, named as the space names it."""
    if not arch:
        return ()
    stages = rows_of(mapping(arch, where), "stages", where)
    return tuple(
        (f"stage{index}.{kind}", int(stage[kind]))
        for index, stage in enumerate(stages)
        for kind in GENE_KINDS
        if kind in stage
    )


def provisional_front(points: Sequence[Point], axes: Axes) -> tuple[Point, ...]:
    """Returns the points within the budgets that no other one beats, for a search that has not finished.

    Args:
        points: Every ask.
        axes: The objectives of the search.
    """
    used = [axis for axis in (axes.x, axes.y, axes.colour) if axis is not None]
    known: dict[tuple[float, ...], Point] = {}
    for point in points:
        values = [axis.of(point) for axis in used]
        if point.feasible and point.ap is not None and None not in values:
            losses = tuple(
                -(value or 0.0) if axis.more else (value or 0.0)
                for axis, value in zip(used, values, strict=True)
            )
            known.setdefault(losses, point)
    front: list[tuple[float, ...]] = []
    for losses in sorted(known):  # what beats a point comes before it
        if not any(all(a <= b for a, b in zip(other, losses, strict=True)) for other in front):
            front.append(losses)
    return tuple(known[losses] for losses in front)


def read_models(folder: Path) -> Iterable[Model]:
    """Yields the extracted models by their file's name."""
    for file in sorted(folder.glob("*.json")):
        where = str(file)
        plain = mapping(read_json(file, "model record"), where)
        cost = mapping(plain.get("cost") or {}, f"{where}: cost")
        yield Model(
            name=text(plain, "name") or file.stem,
            pick=text(plain, "pick"),
            code=text(plain, "code"),
            params=integer(cost, "params", where),
            macs=integer(cost, "macs", where),
            supernet=accuracy_of(plain.get("supernet"), f"{where}: supernet"),
            extracted=accuracy_of(plain.get("extracted"), f"{where}: extracted"),
            retrained=accuracy_of(plain.get("retrained"), f"{where}: retrained"),
            latency=latency_of(plain.get("latency"), f"{where}: latency"),
            predicted=prediction_of(plain.get("latency"), f"{where}: latency"),
            also=also_of(plain.get("confirmed_also"), f"{where}: confirmed_also"),
        )


def read_curves(run_folder: Path) -> Iterable[CurvePoint]:
    """Yields the training curves of the supernet, then of each retrained model."""
    files = [("supernet", run_folder / "supernet" / "metrics.jsonl")]
    files += [(file.parent.name, file) for file in sorted((run_folder / "models").glob("*/metrics.jsonl"))]
    for phase, file in files:
        for line, row in enumerate(read_jsonl(file), 1):
            where = f"{file}, line {line}"
            epoch = number(row, "epoch", where)
            if epoch is None:
                continue
            if "evaluated" in row:
                accuracy = accuracy_of(row.get("evaluation"), where)
                series = text(row, "evaluated") if phase == "supernet" else phase
                if accuracy is not None:
                    yield CurvePoint(phase=phase, measure="AP", series=series, epoch=epoch, value=accuracy.ap)
                continue
            kinds = [kind for kind in LOSS_SERIES if kind in row] if phase == "supernet" else []
            for key, series in [(kind, kind) for kind in kinds] or [("loss", phase)]:
                value = number(row, key, where)
                if value is not None:
                    yield CurvePoint(phase=phase, measure="loss", series=series, epoch=epoch, value=value)


def facts_of(manifest: Mapping[str, Any], result: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yields what is needed to judge or repeat the run, as (label, text)."""
    space, data, recipe, split, versions = (
        mapping(manifest.get(key) or {}, f"run manifest: {key}")
        for key in ("space", "data", "recipe", "search_split", "versions")
    )
    named = (
        ("Command", manifest.get("command")),
        ("Created", manifest.get("created")),
        ("Search space", f"{space.get('name', '')} ({manifest.get('space_id', '')})" if space else None),
        ("Data", _data_text(data)),
        (
            "Search split",
            f"{counted(split['persons'], 'person')} cut from train" if split.get("persons") else None,
        ),
        ("Recipe", _recipe_text(recipe)),
        ("Seed", manifest.get("seed")),
        ("Trained on", manifest.get("device")),
        ("Sampler", result.get("sampler")),
        ("Weights of the front", refined_text(result)),
        ("Versions", ", ".join(f"{key} {value}" for key, value in versions.items())),
    )
    for label, value in named:
        if value not in (None, ""):
            words = value if not isinstance(value, (list, tuple)) else " ".join(str(word) for word in value)
            yield label, str(words)


def _pick_rank(model: Model) -> int:
    # In the order of the picks (T, the knee, before S, the best), as on the terminal; others after them.
    return PICK_ORDER.index(model.pick) if model.pick in PICK_ORDER else len(PICK_ORDER)


def _data_text(data: Mapping[str, Any]) -> str:
    words = [f"{key} {value}" for key, value in data.items() if value and key != "data"]
    folder = str(data.get("data") or "")
    if Path(folder).as_posix() == GENERATED:
        folder = f"generated people ({folder})"
    return ", ".join([folder, *words] if folder else words)


def _recipe_text(recipe: Mapping[str, Any]) -> str:
    epochs = recipe.get("epochs", "?")
    return f"{recipe.get('name', '')}, {epochs} epoch{'' if epochs == 1 else 's'}" if recipe else ""


def _search_accuracy(file: Path) -> Accuracy | None:
    rows = read_jsonl(file)
    return accuracy_of(rows[-1].get("evaluation"), f"{file}, line {len(rows)}") if rows else None

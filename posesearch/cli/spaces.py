"""The `space` commands: list, show, check, cost."""

from __future__ import annotations

import re
from typing import Annotated, Any

from cyclopts import Parameter

from posesearch.cli.output import Answer, Grid, millions, pairs
from posesearch.errors import UsageError

CODE_SPACE = "starnet"
"""The space whose stem, head and input an architecture code gets when none is named."""

SpaceName = Annotated[str, Parameter(help="A name from 'posesearch space list', or a YAML file.")]


def list_() -> Answer:
    """Lists the search spaces that can be named."""
    from posesearch.flows.space import SpaceRow, space_rows

    def cells(row: SpaceRow) -> tuple[str, ...]:
        if row.problem:
            return (row.name, "-", "-", "-", row.problem)
        return (
            row.name,
            _size(row.input_size),
            str(row.num_joints),
            _cardinality(row.cardinality),
            row.description,
        )

    rows = space_rows()
    grid = Grid(
        columns=("name", "input (height x width)", "joints", "architectures", "description"),
        right=("joints", "architectures"),
        rows=tuple(cells(row) for row in rows),
    )
    return Answer(
        document={"spaces": [row.to_plain() for row in rows]},
        text=(grid,),
        next_command=f"posesearch space show {rows[0].name}" if rows else None,
    )


def show(name: SpaceName, /) -> Answer:
    """Shows the choices of a space, and its smallest and largest network."""
    from posesearch.flows.space import space_show

    shown = space_show(name)
    space = shown.space
    stages = Grid(
        columns=("stage", "width", "depth", "kernel", "ratio", "attention"),
        rows=tuple(
            (
                str(index),
                *(_choices(getattr(stage, kind)) for kind in ("width", "depth", "kernel", "ratio")),
                _choices(tuple("on" if choice else "off" for choice in stage.attention)),
            )
            for index, stage in enumerate(space.stages)
        ),
    )
    facts = pairs(
        (
            ("space", f"{space.name} ({space.description})" if space.description else space.name),
            ("file", shown.row.file),
            ("id", space.id),
            ("input", f"{_size(space.input_size)} (height x width), {space.num_joints} joints"),
            ("architectures", _cardinality(space.cardinality)),
        )
    )
    extremes = tuple(
        f"{name}: {millions(cost['params'])} params, {millions(cost['macs'])} MACs  {cost['code']}"
        for name, cost in shown.extremes.items()
    )
    return Answer(
        document=shown.to_plain(),
        text=(*facts, stages, *extremes),
        next_command=f"posesearch supernet-train --space {name}",
    )


def check(file: SpaceName, /) -> Answer:
    """Checks a search-space file; all its faults are listed at once."""
    from posesearch.flows.space import space_check

    row = space_check(file)
    return Answer(
        document={"ok": True, **row.to_plain()},
        text=(f"{row.file}: no faults. {_cardinality(row.cardinality)} architectures, id {row.space_id}.",),
        next_command=f"posesearch space show {file}",
    )


def cost(
    arch: str,
    /,
    *,
    space: str | None = None,
    input_size: str | None = None,
    joints: int | None = None,
) -> Answer:
    """Counts parameters, MACs and FLOPs (by MMPose's rule), backbone and head apart.

    Args:
        arch: A preset, an architecture code, a .safetensors file, or largest/smallest with --space.
        space: Space whose stem, head and input size an architecture code uses; without it those of space 'starnet'.
        input_size: Height x width in pixels, e.g. 256x192.
        joints: Number of joints.
    """
    from posesearch.flows.space import space_cost

    counted = space_cost(arch, space=space, input_size=_parsed_size(input_size), joints=joints)
    parts: dict[str, Any] = {
        "backbone": counted.cost["backbone"],
        "head": counted.cost["head"],
        "total": counted.cost,
    }
    grid = Grid(
        columns=("part", "params", "MACs", "FLOPs (MMPose)"),
        right=("params", "MACs", "FLOPs (MMPose)"),
        rows=tuple(
            (name, f"{part['params']:,}", f"{part['macs']:,}", f"{part['flops']:,}")
            for name, part in parts.items()
        ),
    )
    assumed = space is None and _is_code(arch)
    where = [
        f"{arch}: {counted.arch.code} at {_size(counted.arch.input_size)} (height x width), "
        f"{counted.arch.num_joints} joints"
    ]
    if assumed:
        where.append(f"no --space given: {_assumed(input_size, joints)} of space '{CODE_SPACE}' assumed")
    document = {
        **counted.to_plain(),
        "space": CODE_SPACE if assumed else space,
        "space_assumed": assumed,
    }
    return Answer(document=document, text=(*where, grid))


def _is_code(arch: str) -> bool:
    # The flow's own rule: a code has no other meaning.
    return arch.startswith("w") and "_d" in arch and not arch.endswith(".safetensors")


def _assumed(input_size: str | None, joints: int | None) -> str:
    parts = ["stem", "head"]
    parts += [] if input_size else ["input size"]
    parts += [] if joints else ["joints"]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _cardinality(count: int | None) -> str:
    """Returns a number of architectures in full, from a thousand million on as "3.40e9"."""
    if count is None:
        return "-"
    if count < 10**9:
        return f"{count:,}"
    mantissa, exponent = f"{count:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _parsed_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)[x,](\d+)", text)
    if match is None:
        raise UsageError(
            f"--input-size '{text}' is no size. Write height x width in pixels, e.g. --input-size 256x192."
        )
    return int(match[1]), int(match[2])


def _size(size: tuple[int, int] | None) -> str:
    return f"{size[0]}x{size[1]}" if size else "-"


def _choices(values: tuple[Any, ...]) -> str:
    return " ".join(map(str, values))

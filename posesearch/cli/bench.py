"""The `bench` command."""

from __future__ import annotations

from pathlib import Path

from posesearch.cli.context import Ctx
from posesearch.cli.options import Switch
from posesearch.cli.output import Answer, Grid
from posesearch.cli.results import plan_lines


def bench(
    name: str | None = None,
    /,
    *,
    data: Path | None = None,
    quick: Switch = False,
    gpu: Switch = False,
    out: Path = Path("bench"),
    ctx: Ctx,
) -> Answer:
    """Measures speed and memory as ratios to a baseline of the same run; without a name, all that need no GPU but sampler.

    Args:
        name: pipeline, step, sandwich, evaluate, recalibrate, memory, deploy, sampler (hours) or gpu.
        data: Folder of a COCO-format data set; generated people by default.
        quick: Small sizes that take seconds, to see that it works; the figures are no claims.
        gpu: Answer all questions that need a GPU, in under 8 minutes.
        out: Folder for NAME.json of each benchmark and bench.md of all.
        ctx: Global options.
    """
    from posesearch.flows import bench as flow

    result = flow.bench(
        name=name,
        data=data,
        quick=quick,
        gpu=gpu,
        out=out,
        seed=ctx.seed,
        device=ctx.device,
        dry_run=ctx.dry_run,
        progress=ctx.progress,
    )
    document = result.to_plain()
    if ctx.dry_run:
        return Answer(document=document, text=plan_lines(result.plan))
    from posesearch.bench.machine import machine_line
    from posesearch.bench.write import ratio_rows

    grids = tuple(
        Grid(
            title=one["name"],
            columns=("ratio", "value", "goal", "met"),
            rows=ratio_rows(one),
            right=("value",),
            caption=(
                *(["quick run on small sizes: no claims"] if one["quick"] else []),
                *one["notes"],
                machine_line(one["machine"]),
            ),
        )
        for one in result.documents
    )
    return Answer(document=document, text=grids, files=tuple(map(str, result.files)))

"""The commands about one model: train, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from posesearch.cli.context import Ctx, planned
from posesearch.cli.options import DataOptions, Overrides, Store, Switch
from posesearch.cli.output import Answer, evaluation_line, number, pairs
from posesearch.cli.results import plan_lines
from posesearch.errors import UsageError

SCORES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def train(
    model: str,
    /,
    *,
    data: DataOptions | None = None,
    recipe: str | None = None,
    overrides: Overrides = (),
    run: str | None = None,
    name: str | None = None,
    space: str | None = None,
    init: Path | None = None,
    from_scratch: Switch = False,
    store: Store = "auto",
    fresh: Switch = False,
    ctx: Ctx,
) -> Answer:
    """Trains one network in full; running it again goes on where it stopped.

    Args:
        model: A .safetensors file, a preset, or an architecture code.
        data: The data set.
        recipe: Training recipe: demo, small-data, starnet-pose, or a YAML file; by default chosen by the data.
        overrides: Change one entry of the recipe, KEY=VALUE, e.g. optimizer.lr=0.002; may be repeated.
        run: Name of the run of a preset or code; the network's name by default.
        name: Name of the trained model, e.g. for a second seed; by default that of the network.
        space: Search space of an architecture code; a preset is moved to its nearest member.
        init: Weights to start from: official StarNet weights, or a model file of posesearch.
        from_scratch: Start from random weights instead of the extracted ones.
        store: Where the images are kept: gpu, host (memory), jpeg (files, decoded at each use); auto goes by free memory.
        fresh: Start again, even where an earlier training is there.
        ctx: Global options.
    """
    from posesearch.flows import train as flow

    result = flow.train(
        model=model,
        data=(data or DataOptions()).source(),
        recipe=recipe,
        overrides=overrides,
        run=run,
        name=name,
        space=space,
        init=init,
        from_scratch=from_scratch,
        store=store,
        seed=ctx.seed,
        device=ctx.device,
        fresh=fresh,
        dry_run=ctx.dry_run,
        progress=ctx.progress,
    )
    document = result.to_plain()
    if ctx.dry_run:
        return Answer(document=document, text=plan_lines(result.plan))
    return Answer(
        document=document,
        text=(evaluation_line(result.name, result.evaluation),),
        files=(str(result.file),) if result.file else (),
        next_command=result.next_command or None,
    )


def evaluate(
    model: str | None = None,
    /,
    *,
    data: DataOptions | None = None,
    split: Literal["train", "val"] = "val",
    boxes: str = "gt",
    flip: Switch = False,
    write_results: Path | None = None,
    results: Path | None = None,
    ctx: Ctx,
) -> Answer:
    """Scores a model, or with --results and --annotations a COCO result file as plain COCOeval does.

    Args:
        model: A .safetensors model file, or mean-pose: the average pose in every box, the floor of a data set.
        data: The data set.
        split: Which part of the data set.
        boxes: Person boxes: gt (ground truth), or a detector's COCO result file.
        flip: Average with the mirrored image.
        write_results: Write the model's keypoints as a COCO result file.
        results: A COCO result file to score; --annotations then names the annotation file.
        ctx: Global options.
    """
    from posesearch.flows import evaluate as flow

    options = data or DataOptions()
    if results is not None:
        if model is not None:
            raise UsageError(
                f"both the model '{model}' and --results {results} are given. Give one of them: a result file is scored without a model."
            )
        if options.annotations is None:
            raise UsageError("--results needs --annotations FILE: the COCO annotation file to score against.")
        return _scores(flow.evaluate_results(results=results, annotations=Path(options.annotations)))
    if model is None:
        raise UsageError(
            "nothing to evaluate. Give a model file (posesearch evaluate MODEL --data DIR), or --results FILE --annotations FILE."
        )
    if ctx.dry_run:
        return planned(
            "evaluate",
            {
                "model": model,
                "split": split,
                "boxes": boxes,
                "flip": flip,
                "write_results": write_results and str(write_results),
            },
        )
    evaluation = flow.evaluate_model(
        model=Path(model),
        data=options.source(),
        split=split,
        boxes=boxes,
        flip=flip,
        device=ctx.device,
        write_results=write_results,
        progress=ctx.progress,
    )
    files = (str(write_results),) if write_results else ()
    return Answer(document=evaluation, text=(evaluation_line(model, evaluation),), files=files)


def _scores(scores: dict[str, Any]) -> Answer:
    rows = [(name, number(scores[name], 4)) for name in SCORES]
    return Answer(document=scores, text=("plain COCOeval: no rescoring, no NMS", *pairs(rows)))

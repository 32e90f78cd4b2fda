"""The `rank` command, and its table: how well each score orders networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from posesearch.cli.context import Ctx
from posesearch.cli.options import DataOptions, Store
from posesearch.cli.output import Answer, Grid, conditions_text, counted, millions, number
from posesearch.cli.results import plan_lines
from posesearch.report.ranking import ranking_phrase, read_ranking

SCORE_NAMES = {
    "supernet_ap": "supernet AP",
    "uncalibrated_ap": "supernet AP, one set of BN statistics",
    "supernet_loss": "supernet loss (lower is better)",
    "macs": "MACs",
    "params": "parameters",
}


def rank(
    *,
    nets: int = 24,
    second_seeds: int = 8,
    epochs: int | None = None,
    start: str = "scratch",
    trained_in: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    data: DataOptions | None = None,
    store: Store = "auto",
    run: str | None = None,
    ctx: Ctx,
) -> Answer:
    """Measures how well the supernet ranks: trains a few networks alone and compares; running it again goes on.

    Args:
        nets: Networks to train alone, spread over four sizes.
        second_seeds: How many of them are trained with a second seed, which tells the noise.
        epochs: Length of each training; by default that of the run's recipe.
        start: Weights each network begins with: scratch, supernet (what it inherits), or a supernet or model file that
            all are cut from.
        trained_in: Use the trainings that this run has done under the same settings too; may be repeated.
        data: The run's data set, where it was moved.
        store: Where the images are kept: gpu, host (memory), jpeg (files, decoded at each use); auto goes by free memory.
        run: Name of the run; the newest by default.
        ctx: Global options.
    """
    from posesearch.flows import rank as flow

    result = flow.rank(
        run=run,
        nets=nets,
        second_seeds=second_seeds,
        epochs=epochs,
        start=start,
        data=(data or DataOptions()).source(),
        trained_in=trained_in,
        store=store,
        seed=ctx.seed,
        device=ctx.device,
        dry_run=ctx.dry_run,
        progress=ctx.progress,
    )
    document = result.to_plain()
    if ctx.dry_run:
        return Answer(document=document, text=plan_lines(result.plan))
    quality = document["quality"]
    return Answer(
        document=document,
        text=(
            agreement_grid(quality, result.nets, document["conditions"]),
            regret_grid(quality),
            *noise_lines(quality["noise"]),
            quality["sentence"],
        ),
        files=(str(result.folder / "result.json"), str(result.folder / "standalone.jsonl")),
        next_command=result.next_command,
    )


def ranking_line(search_folder: Path) -> str:
    """Returns what is known of the order that a search went by, in one line.

    Raises:
        DataError: What `rank` left in the run is damaged.
    """
    run_folder = search_folder.parent
    return ranking_phrase(run_folder.name, read_ranking(run_folder))


def agreement_grid(quality: Mapping[str, Any], nets: tuple[Any, ...], conditions: Mapping[str, Any]) -> Grid:
    """Returns how each score agrees with the APs of the networks trained alone."""
    aps = [sum(net["alone"]) / len(net["alone"]) for net in nets]
    return Grid(
        title="Agreement with training alone",
        columns=("score", "tau-b", "95 %", "Spearman", "95 %", "tau-b, like size", "95 %"),
        right=("tau-b", "Spearman", "tau-b, like size"),
        rows=tuple(
            (
                SCORE_NAMES[name],
                *(
                    cell
                    for key in ("tau", "spearman", "within_bins")
                    for cell in (number(told[key]["value"], 2), _range(told[key]))
                ),
            )
            for name, told in quality["agreements"].items()
        ),
        caption=(
            f"{counted(quality['nets'], 'network')}, trained alone to AP {min(aps):.3f} to {max(aps):.3f} "
            f"({conditions_text(conditions)}).",
            "tau-b, like size: mean over four bins of MACs; intervals: bootstrap over networks.",
            f"supernet AP less MACs: tau-b {number(quality['lead']['value'], 2)} ({_range(quality['lead'])}).",
        ),
    )


def regret_grid(quality: Mapping[str, Any]) -> Grid:
    """Returns what choosing by supernet AP loses under budgets."""
    return Grid(
        title="AP lost by choosing with the supernet",
        columns=("budget", "networks within", "first choice", "best of its first three"),
        right=("networks within", "first choice", "best of its first three"),
        rows=tuple(
            (
                f"{millions(round(row['limit']))} MACs"
                if row["kind"] == "macs"
                else f"~{row['limit']:.2f} ms (predicted)",
                str(row["nets"]),
                number(float(row["top1"])),
                number(float(row["top3"])),
            )
            for row in quality["regrets"]
        ),
        caption=("stand-alone AP of the best network within the budget, less that of the chosen one.",),
    )


def noise_lines(noise: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns what the second seeds say."""
    if not noise["pairs"]:
        return (
            "seeds: no network was trained with a second seed (--second-seeds 8), so the noise is not known.",
        )
    ratio = "infinitely many" if noise["ratio"] is None else f"{noise['ratio']:.1f}"
    return (
        f"seeds: {counted(noise['pairs'], 'network')} trained twice differ by {noise['sd']:.4f} AP (standard deviation); "
        f"the networks' APs spread {noise['spread']:.4f}, {ratio} times that (4 or more are wanted).",
        f"ceiling: two seeds agree to tau-b {number(noise['tau']['value'], 2)} ({_range(noise['tau'])}); a score that knew "
        f"every true AP would reach about {number(noise['expected_ceiling'], 2)}.",
    )


def _range(told: Mapping[str, Any]) -> str:
    return "-" if told["low"] is None else f"{told['low']:.2f} to {told['high']:.2f}"

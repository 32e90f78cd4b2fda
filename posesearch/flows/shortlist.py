"""`extract --shortlist`: the most promising members of the front are trained alone for a few epochs before one is picked.

Shared weights rank architectures with an error; a short training of each alone is a second opinion on the few that
matter. For a pick, its own rule is applied to the front again and again (the best, then the best of the rest; the
knee, then the knee without it) until the list is full. What is on a list is trained from its slice of the weights that
the search used, with the run's recipe cut to a few epochs, on the images the supernet was trained on, and evaluated on
the search split, never on the validation set. The rule then decides anew by these APs; the knee's chord needs the ends of
the front, so these are trained for it too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from posesearch.errors import UsageError
from posesearch.files import write_json_atomic
from posesearch.flows.material import Material
from posesearch.flows.picks import Choice
from posesearch.flows.runs import RunSettings
from posesearch.flows.standalone import Standalone, Training, TrainingSetup, standalone_settings
from posesearch.flows.weights import open_start
from posesearch.progress import Progress
from posesearch.run import Run
from posesearch.search.candidate import FrontMember
from posesearch.search.front import Point, best, fastest, knee
from posesearch.search.limit import figure_ms
from posesearch.search.outcome import SearchOutcome
from posesearch.spaces import Architecture, SearchSpace
from posesearch.train.recipe import Recipe
from posesearch.train.split_loss import SplitLoss

TABLE = "shortlist.json"
TRAININGS = "shortlist"
"""Folder of the trainings, in the search folder."""

EPOCHS_SHARE = 0.25
"""Of the recipe's epochs, where their number is not given."""

Points = Sequence[Point]
RULES: Mapping[str, Callable[[Points], int]] = {"knee": knee, "best": best}


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortlist:
    """What is asked.

    Attributes:
        size: Members of the front on each list, at least 2.
        epochs: Epochs each is trained for; None takes a quarter of the recipe's.
    """

    size: int
    epochs: int | None = None

    def __post_init__(self) -> None:
        if self.size < 2:
            raise UsageError(
                f"--shortlist {self.size}: expected 0 (no short list) or at least 2 networks to choose between. "
                "Try --shortlist 4."
            )
        if self.epochs is not None and self.epochs < 1:
            raise UsageError(
                f"--shortlist-epochs {self.epochs}: expected at least 1. Leave it out, or give more."
            )

    def recipe(self, recipe: Recipe) -> Recipe:
        """Returns the run's recipe cut to a short training."""
        epochs = self.epochs or max(1, math.ceil(EPOCHS_SHARE * recipe.epochs))
        return replace(recipe, epochs=epochs, evaluate_every=0)


def shortlist_of(size: int, epochs: int | None) -> Shortlist | None:
    """Returns what `--shortlist` and `--shortlist-epochs` ask for; None for none.

    Raises:
        UsageError: A number is out of range, or there are epochs and no short list.
    """
    if size == 0 and epochs is not None:
        raise UsageError(
            f"--shortlist-epochs {epochs} needs a short list. Add --shortlist 4, or leave it out."
        )
    return Shortlist(size=size, epochs=epochs) if size else None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Bench:
    """What the networks are trained with.

    Attributes:
        opened: The run, held by this process.
        settings: Its settings.
        space: Its search space.
        weights: The file of the weights the search used.
        material: The run's images.
        device: Where to train and evaluate.
        progress: Where to report.
        stop: Asked after each step; True saves and ends.
    """

    opened: Run
    settings: RunSettings
    space: SearchSpace
    weights: Path
    material: Material
    device: torch.device
    progress: Progress
    stop: Callable[[], bool]


def check_picks(choices: Sequence[Choice]) -> None:
    """Refuses a short list where no accuracy decides.

    Raises:
        UsageError: None of the choices is the knee or the best of a front.
    """
    if not any(choice.pick in RULES for choice in choices):
        asked = ", ".join(choice.pick for choice in choices)
        raise UsageError(
            f"--shortlist decides between members of the front for the picks {' and '.join(RULES)}; asked for is "
            f"{asked}. Leave --shortlist out, or pick one of these."
        )


def decide(
    bench: Bench, outcome: SearchOutcome, choices: Sequence[Choice], asked: Shortlist
) -> tuple[tuple[Choice, ...], dict[str, Any]]:
    """Returns the choices with the members that their short lists decide for, and the table of how.

    Networks that were trained before under the same settings are read from `search/shortlist/standalone.jsonl`.

    Args:
        bench: What to train with.
        outcome: The search result.
        choices: As picked by the supernet's APs; those that are no knee or best stay.
        asked: Size and epochs.

    Raises:
        DataError: The log of the trainings is damaged.
        Interrupted: The user stopped it; everything is saved.
    """
    front, percentile = outcome.front, outcome.question.percentile
    supernet_points = [(m.ap, figure_ms(m.latency, percentile)) for m in front]
    lists = {c.pick: _listed(c.pick, supernet_points, asked.size) for c in choices if c.pick in RULES}
    wanted = sorted({index for listed in lists.values() for index in listed})
    recipe = asked.recipe(bench.settings.recipe)
    aps = _trained(bench, [front[index].candidate.arch for index in wanted], recipe)
    chosen, tables = [], []
    for choice in choices:
        if choice.pick not in lists:
            chosen.append(choice)
            continue
        listed = lists[choice.pick]
        points = [(aps[front[index].candidate.arch], supernet_points[index][1]) for index in listed]
        member = front[listed[RULES[choice.pick](points)]]
        chosen.append(replace(choice, arch=member.candidate.arch, member=member))
        rows = [_row(index, front[index], point, member) for index, point in zip(listed, points, strict=True)]
        tables.append({"pick": choice.pick, "name": choice.name, "rows": rows})
    split = bench.material.held.dataset
    table = {
        "epochs": recipe.epochs,
        "recipe": recipe.name,
        "persons": len(split),
        "split": "search",
        "picks": tables,
    }
    write_json_atomic(bench.opened.path("search", TABLE), table)
    return tuple(chosen), table


def _listed(pick: str, points: Points, size: int) -> list[int]:
    """Returns the short list of a pick, as indices of the front, fastest first."""
    ends = {fastest(points), best(points)} if pick == "knee" else set()
    left = list(range(len(points)))
    listed: list[int] = []
    while left and len(listed) < size:
        index = left[RULES[pick]([points[i] for i in left])]
        if index in ends and len(left) > len(ends):
            # No knee is left above the chord: the fastest of the rest comes next.
            index = next(i for i in left if i not in ends)
        left.remove(index)
        listed.append(index)
    return sorted({*listed, *ends})


def _trained(bench: Bench, archs: Sequence[Architecture], recipe: Recipe) -> dict[Architecture, float]:
    """Returns the AP of each architecture on the search split after the short training, made where it is not known."""
    material, held = bench.material, bench.material.held
    start = open_start(bench.weights)
    standalone = Standalone(
        bench.opened.path("search", TRAININGS),
        standalone_settings(recipe, material.fit_part, held.dataset, start),
    )
    split_ratio = bench.space.head.split_ratio
    setup = TrainingSetup(
        recipe=recipe,
        material=material,
        loss=SplitLoss(held.dataset, held.crops, recipe.loss, split_ratio=split_ratio),
        start=start,
        device=bench.device,
    )
    aps = {}
    for number, arch in enumerate(archs, start=1):
        training = Training(arch=arch, seed=bench.settings.seed)
        row = standalone.row(training)
        if row is None:
            bench.progress.message(
                f"short list: network {number} of {len(archs)}, {arch}: {recipe.epochs} epoch{'s' if recipe.epochs > 1 else ''} alone."
            )
            row = standalone.train(training, setup, stop=bench.stop, progress=bench.progress)
        aps[arch] = float(row["evaluation"]["AP"])
    return aps


def _row(index: int, member: FrontMember, point: tuple[float, float], chosen: FrontMember) -> dict[str, Any]:
    return {
        "rank": index + 1,
        "arch_id": member.candidate.arch.id,
        "code": member.candidate.arch.code,
        "latency_ms": point[1],
        "AP_supernet": member.ap,
        "AP_short": point[0],
        "chosen": member is chosen,
    }

"""`search --refine`: a copy of the supernet is trained on with what the search visited, and the search goes on with it.

After Supernet Shifting (Zhang et al., arXiv 2403.11380), which updates the supernet while an evolutionary search draws from
it, so that it ranks the architectures near the front better. Here the search ends first, so that its result is whole
with and without: then half of the draws or more are members of the front it found, the others what else it visited
within the budgets, beside the largest and the smallest subnet, which teach and hold the ends (`sampling.revisit`).

The supernet's own file is never written to. The refined weights lie in `refined/ID/`, where ID stands for the supernet,
the settings of the refinement and the question of the search: asked again, it is read, not made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from posesearch.checkpoint import ModelInfo, weights_id, write_model_file
from posesearch.config import to_plain
from posesearch.errors import DataError, Interrupted, NoFeasibleArchitecture, UsageError
from posesearch.files import read_json_object, to_json, write_json_atomic
from posesearch.flows.header import supernet_header
from posesearch.flows.material import Material
from posesearch.flows.runs import RunSettings
from posesearch.flows.supernet import SUPERNET_FILE, load_supernet
from posesearch.keypoints.skeleton import Skeleton
from posesearch.models.cost import cost
from posesearch.progress import Progress
from posesearch.run import Run
from posesearch.search.earlier import Earlier, read_studies
from posesearch.search.memo import AccuracyMemo
from posesearch.search.outcome import RESULT, SearchOutcome, read_outcome
from posesearch.search.refinement import Refinement
from posesearch.search.search import EVALUATIONS
from posesearch.spaces import Architecture, SearchSpace
from posesearch.spaces.arch import canonical_id
from posesearch.supernet import Supernet
from posesearch.supernet.sampling import SubnetDraw, revisit
from posesearch.train.loop import fit
from posesearch.train.recipe import Recipe
from posesearch.train.state import CHECKPOINT
from posesearch.train.tasks import SupernetTask

LR_SHARE = 0.1
"""Peak learning rate over that of the recipe."""

VISITED = "visited.json"
WEIGHTS = "supernet.safetensors"

Searched = Callable[[Supernet, Earlier | None, Refinement | None], SearchOutcome]
"""Searches with these weights: what is asked first, and what the result says of the weights."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Workshop:
    """What trains and evaluates the weights of a run.

    Attributes:
        opened: The run, held by this process.
        info: Header of its supernet.
        settings: Its settings.
        material: Its images.
        device: Where to train and evaluate.
        evaluate: Gives the evaluation of a subnet, recalibrated, on the search split.
        progress: Where to report.
        stop: Asked after each step; True saves and ends.
    """

    opened: Run
    info: ModelInfo
    settings: RunSettings
    material: Material
    device: torch.device
    evaluate: Callable[[Supernet, Architecture], Mapping[str, Any]]
    progress: Progress
    stop: Callable[[], bool]


def check_epochs(epochs: int) -> None:
    """Refuses a negative number of epochs.

    Raises:
        UsageError: It is negative.
    """
    if epochs < 0:
        raise UsageError(f"--refine {epochs}: expected 0 (no refinement) or more epochs. Try --refine 2.")


def search_refined(
    shop: Workshop,
    supernet: Supernet,
    searched: Searched,
    earlier: Earlier | None,
    *,
    epochs: int,
    asked: Mapping[str, Any],
) -> SearchOutcome:
    """Searches, refines, and searches again with the refined weights, as many evaluations as before.

    Each of the three steps goes on where it was stopped. Once the refinement has begun, the first search is over: asking
    for more evaluations goes on with the second.

    Args:
        shop: The run and what it works with.
        supernet: Its supernet; left as it is.
        searched: Searches with given weights.
        earlier: What the first search asks of earlier ones.
        epochs: Passes over the training data, at least 1.
        asked: The question of the search in plain values; another question is refined for anew.

    Raises:
        DataError: A file of the refinement is damaged.
        Interrupted: The user stopped it; everything is saved.
    """
    opened, space = shop.opened, supernet.space
    recipe = refinement_recipe(shop.settings.recipe, epochs)
    from_id = weights_id(supernet.state_dict())
    settings = {"from": from_id, "recipe": to_plain(recipe), "seed": shop.settings.seed, "asked": dict(asked)}
    folder = opened.path("refined", canonical_id(to_json(settings)))
    if not (folder / VISITED).is_file():
        found = searched(supernet, earlier, None)
        _note_visited(folder / VISITED, found, opened.path("search"), space)
    front, others = _read_visited(folder / VISITED, space)
    if not (folder / WEIGHTS).is_file():
        shop.progress.message(
            f"refining a copy of the supernet for {epochs} epoch{'s' if epochs > 1 else ''} on {len(front)} architectures "
            f"of the front and {len(others)} others that the search visited."
        )
        _train(shop, supernet, recipe, folder, front, others, settings)
    file = str((folder / WEIGHTS).relative_to(opened.folder))
    refined, _ = load_supernet(opened, file)
    refined.to(shop.device)
    refinement = Refinement(
        epochs=epochs, file=file, weights_id=weights_id(refined.state_dict()), from_weights_id=from_id,
        front=len(front), visited=len(others),
    )  # fmt: skip
    first = Earlier(choice="refined", archs=tuple((arch, opened.name) for arch in front))
    return _with_before(shop, supernet, searched(refined, first, refinement))


def refinement_recipe(recipe: Recipe, epochs: int) -> Recipe:
    """Returns the recipe of a refinement: how the run's own recipe ends, at a tenth of its learning rate.

    The augmentation is that of the last epochs, the small subnets learn as in the second half, and the learning rate
    falls by a cosine from the start.
    """
    config = recipe.supernet
    return replace(
        recipe,
        epochs=epochs,
        augment=recipe.final_augment if recipe.final_epochs else recipe.augment,
        evaluate_every=0,
        optimizer=replace(recipe.optimizer, lr=LR_SHARE * recipe.optimizer.lr),
        schedule=replace(recipe.schedule, flat_fraction=0.0),
        supernet=replace(
            config, random_subnets=max(1, config.random_subnets), distil_start=config.distil_end
        ),
    )


def load_searched(opened: Run) -> tuple[Supernet, ModelInfo, Path]:
    """Loads the weights that the run's search result was found with; those of the supernet where there is none.

    Returns:
        The weights, their header, and their file.

    Raises:
        DataError: The file is missing, damaged, or holds other weights.
    """
    folder = opened.path("search")
    refined = read_outcome(folder).refined if (folder / RESULT).is_file() else None
    if refined is None:
        return *load_supernet(opened), opened.path(SUPERNET_FILE)
    path = opened.path(refined.file)
    again = "Restore it, or search again: posesearch search --refine"
    if not path.is_file():
        raise DataError(
            f"{path} is missing: the search result was found with these refined weights. {again} {refined.epochs}."
        )
    supernet, info = load_supernet(opened, refined.file)
    found = weights_id(supernet.state_dict())
    if found != refined.weights_id:
        raise DataError(
            f"{path} holds weights {found}, the search result was found with {refined.weights_id}. {again} "
            f"{refined.epochs}."
        )
    return supernet, info, path


def _train(
    shop: Workshop,
    supernet: Supernet,
    recipe: Recipe,
    folder: Path,
    front: Sequence[Architecture],
    others: Sequence[Architecture],
    settings: Mapping[str, Any],
) -> None:
    """Trains a copy and writes it; the checkpoint goes when the weights are there."""
    space, seed = supernet.space, shop.settings.seed
    copy = Supernet(space)
    copy.load_state_dict(supernet.state_dict())

    def draws(step: int) -> tuple[SubnetDraw, ...]:
        return revisit(space, front, others, seed, step, recipe.supernet.random_subnets)

    visited = {"front": [arch.code for arch in front], "others": [arch.code for arch in others]}
    result = fit(
        SupernetTask(copy, recipe.supernet, recipe.loss, seed=seed, draws=draws),
        shop.material.fit_part,
        shop.material.store,
        recipe.for_supernet(),
        folder=folder,
        fingerprint={**settings, "visited": visited},
        seed=seed,
        device=shop.device,
        progress=shop.progress,
        stop=shop.stop,
    )
    header = supernet_header(
        space,
        name=shop.opened.name,
        skeleton=Skeleton.from_plain(shop.info.skeleton),
        metrics=(),
        provenance={
            **shop.info.provenance,
            "refined": {**settings, "visited": visited, "steps": result.steps},
        },
    )
    write_model_file(folder / WEIGHTS, copy.state_dict(), header)
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _note_visited(path: Path, found: SearchOutcome, search_folder: Path, space: SearchSpace) -> None:
    front = [member.candidate.arch for member in found.front]
    if not front:
        raise NoFeasibleArchitecture(found.reason)
    candidates = read_studies(search_folder, space).get(found.study, [])
    others = [c.arch for c in candidates if c.feasible and c.arch not in front]
    write_json_atomic(
        path,
        {
            "study": found.study,
            "front": [arch.code for arch in front],
            "others": [arch.code for arch in others],
        },
    )


def _read_visited(
    path: Path, space: SearchSpace
) -> tuple[tuple[Architecture, ...], tuple[Architecture, ...]]:
    remedy = f"Delete the folder {path.parent} and search again: it is refined anew."
    plain = read_json_object(path, "list of visited architectures", remedy)
    try:
        front, others = (tuple(map(space.arch_from_code, plain[key])) for key in ("front", "others"))
    except (KeyError, TypeError, AttributeError, UsageError) as error:
        raise DataError(f"{path} is damaged ({type(error).__name__}: {error}). {remedy}") from error
    if not front:
        raise DataError(f"{path}: key 'front' is empty. Allowed: one architecture or more. {remedy}")
    return front, others


def _with_before(shop: Workshop, supernet: Supernet, outcome: SearchOutcome) -> SearchOutcome:
    """Adds to the result what the front had with the weights before; evaluates what the first search did not visit."""
    refined = outcome.refined
    assert refined is not None
    archs = [member.candidate.arch for member in outcome.front]
    if refined.ap_before.keys() == {arch.id for arch in archs}:
        return outcome
    folder = shop.opened.path("search")

    def evaluate(arch: Architecture) -> Mapping[str, Any]:
        if shop.stop():
            raise Interrupted(
                "search stopped while its front was evaluated with the weights before the refinement; the result is "
                "written, the same command adds that."
            )
        return shop.evaluate(supernet, arch)

    memo = AccuracyMemo(folder / EVALUATIONS, refined.from_weights_id, evaluate, cost)
    before = {arch.id: memo.ap(arch) for arch in archs}
    outcome = replace(outcome, refined=refined.with_before(before))
    outcome.write(folder)
    return outcome

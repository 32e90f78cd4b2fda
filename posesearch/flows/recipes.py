"""Which recipe a command means, and a word about it before minutes are spent on it."""

from __future__ import annotations

from posesearch.data.source import DataSource
from posesearch.flows.inputs import is_generated
from posesearch.progress import Progress
from posesearch.train.recipe import Recipe, load_recipe

SMALL_DATA_PERSONS = 20_000
"""Below this the published recipe's 128 persons a step leave too few steps; COCO has 149,813 training persons."""

FEW_SEARCH_PERSONS = 100
"""Below this the AP of a split moves by whole points with a single person."""


def choose_recipe(name: str | None, overrides: tuple[str, ...], data: DataSource | None) -> Recipe | None:
    """Returns the recipe that can be known before the data is read: a typo is reported before anything is written.

    Args:
        name: Name or path, or None for the default.
        overrides: `key=value` changes.
        data: The data, or None for generated people.

    Returns:
        The recipe, or None where it depends on how much data there is.

    Raises:
        UsageError: No such recipe, or a malformed override.
        ConfigError: Faults in the recipe or the overrides.
    """
    if name is None and (data is None or is_generated(data)):
        name = "demo"
    if name is None:
        load_recipe("starnet-pose", overrides)  # the overrides must fit whichever recipe is chosen
        return None
    return load_recipe(name, overrides)


def recipe_for(persons: int, overrides: tuple[str, ...]) -> Recipe:
    """Returns the default recipe for own data of that many training persons."""
    return load_recipe("small-data" if persons < SMALL_DATA_PERSONS else "starnet-pose", overrides)


def announce(recipe: Recipe, persons: int, progress: Progress, *, search_persons: int | None = None) -> None:
    """Says what is about to be trained, and warns where the numbers will mean little."""
    steps = recipe.epochs * max(1, persons // recipe.batch_size)
    progress.message(
        f"recipe '{recipe.name}': {recipe.epochs} epochs of {persons:,} persons, {min(recipe.batch_size, persons)} a "
        f"step, {steps:,} steps."
    )
    if search_persons is not None and search_persons < FEW_SEARCH_PERSONS:
        progress.message(
            f"warning: the search will rank on {search_persons} persons only; its AP will be rough. Use more data, or a "
            f"larger share (--set search_fraction=0.3; now {recipe.search_fraction:g})."
        )

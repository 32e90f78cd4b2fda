"""What the trials of a shared study tell: evaluations that hold for all workers, and which proposals have been made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

CLAIMED = "claimed"
"""Marks a trial given up because another worker evaluates its architecture; its key stays used."""


def evaluations(trials: Sequence[FrozenTrial]) -> dict[str, Mapping[str, Any]]:
    """Returns the evaluations that trials carry, by architecture id."""
    return {
        trial.user_attrs["candidate"]["arch_id"]: trial.user_attrs["evaluation"]
        for trial in trials
        if "evaluation" in trial.user_attrs and "candidate" in trial.user_attrs
    }


def free_key(trials: Sequence[FrozenTrial]) -> int:
    """Returns the smallest key that no proposal has, of those answered, waiting or in progress.

    A trial that failed is asked again with its key. Trials of a search with one worker have none: they are counted, as
    that search does.
    """
    asked = [trial for trial in trials if trial.state != TrialState.FAIL or CLAIMED in trial.user_attrs]
    taken = {trial.user_attrs["key"] for trial in asked if "key" in trial.user_attrs}
    key = sum("key" not in trial.user_attrs for trial in asked)
    while key in taken:
        key += 1
    return key

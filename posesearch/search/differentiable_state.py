"""What a differentiable search leaves on disk: its state while it runs, its result when it is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from posesearch.checkpoint import load_training_state, save_training_state
from posesearch.errors import DataError, listed
from posesearch.files import read_json_object, to_json
from posesearch.search.bilevel import Bilevel
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace
from posesearch.train.state import differences


@dataclass(frozen=True, kw_only=True, slots=True)
class DifferentiableResult:
    """What a differentiable search found.

    Attributes:
        archs: The most probable architecture within the budget, then drawn ones; empty when none was found.
        distributions: Probability of each choice by gene.
        history: One row an epoch: losses, temperature, entropy, expectations.
        collapsed: The epoch after which it ended because all depths were at their smallest; 0 when it did not.
        steps: Steps of the weights that were made.
    """

    archs: tuple[Architecture, ...]
    distributions: dict[str, list[float]]
    history: tuple[dict[str, float], ...]
    collapsed: int
    steps: int

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dict."""
        return {**asdict(self), "archs": [arch.code for arch in self.archs], "history": list(self.history)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], space: SearchSpace) -> DifferentiableResult:
        """Rebuilds the value `to_plain` gave."""
        return cls(
            archs=tuple(space.arch_from_code(code) for code in plain["archs"]),
            distributions={name: list(map(float, values)) for name, values in plain["distributions"].items()},
            history=tuple(plain["history"]),
            collapsed=int(plain["collapsed"]),
            steps=int(plain["steps"]),
        )


class SearchState:
    """Where a differentiable search is.

    Args:
        path: The checkpoint.
        identity: What a checkpoint must agree on to be resumed.
        bilevel: Weights and distributions.

    Attributes:
        step: Steps of the weights that were made.
        collapsed: The epoch after which the search ended early; 0 while it goes on.
        history: One row an epoch.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], bilevel: Bilevel) -> None:
        self._path, self._identity, self._bilevel = path, identity, bilevel
        self.step = self.collapsed = 0
        self.history: list[dict[str, float]] = []
        self._sums: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> None:
        """Adds a figure of this step to those of its epoch."""
        total, count = self._sums.get(name, (0.0, 0))
        self._sums[name] = [total + value, count + 1]

    def means(self) -> dict[str, float]:
        """Returns the mean figures of the epoch so far."""
        return {name: total / count for name, (total, count) in self._sums.items()}

    def end_epoch(self, epoch: int) -> None:
        """Adds the epoch's row to the history."""
        self.history.append({"epoch": epoch, "step": self.step, **self.means(), **self._bilevel.figures()})
        self._sums = {}

    def save(self) -> None:
        """Writes the checkpoint, all of it or nothing."""
        position = {
            "step": self.step,
            "collapsed": self.collapsed,
            "history": self.history,
            "sums": self._sums,
        }
        identity = json.dumps(to_json(self._identity))
        save_training_state(self._path, {"identity": identity, "position": position, **self._bilevel.state()})

    def load(self) -> None:
        """Takes over the checkpoint, if there is one."""
        for left_by_a_kill in self._path.parent.glob(f".{self._path.name}.*.tmp"):
            left_by_a_kill.unlink(missing_ok=True)
        if not self._path.is_file():
            return
        stored = load_training_state(self._path)
        try:
            check_identity(self._path, json.loads(stored["identity"]), self._identity)
            self._bilevel.restore(stored)
            position = stored["position"]
            self.step, self.collapsed = position["step"], position["collapsed"]
            self.history, self._sums = position["history"], position["sums"]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise DataError(
                f"checkpoint {self._path} cannot be resumed ({error}). It was written by another version of posesearch or "
                "changed since. Delete it to begin the differentiable search again."
            ) from error


def stored_result(path: Path, identity: Mapping[str, Any], space: SearchSpace) -> DifferentiableResult:
    """Reads the result of a finished search.

    Raises:
        DataError: It is damaged, or of another search.
    """
    plain = read_json_object(path, "differentiable search", "Delete it to search again.")
    try:
        check_identity(path, plain["identity"], identity)
        return DifferentiableResult.from_plain(plain, space)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}). Delete it to search again.") from error


def check_identity(path: Path, stored: Any, now: Mapping[str, Any]) -> None:
    """Refuses what another search has left.

    Raises:
        DataError: It differs; the values are named.
    """
    problems = differences(stored, to_json(now))
    if problems:
        raise DataError(
            f"{path} belongs to another differentiable search:\n{listed(problems)}\nDelete its folder to search again."
        )

"""`search --storage`: this process as one of several workers, or alone: what it shares, and whose turn it is to time."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import torch

from posesearch.data.dataset import PoseDataset
from posesearch.errors import UsageError
from posesearch.flows.differentiable import SAMPLE, Strategy
from posesearch.latency.meter import Meter
from posesearch.latency.turns import DeviceTurns, MeterInTurn
from posesearch.progress import Progress
from posesearch.search.storage import STORAGE, Address, parse_address
from posesearch.search.workers import Workers

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, slots=True)
class Crew:
    """The workers of a search as one of them sees them.

    Attributes:
        address: The storage they share; None for a search alone.
        device: Where this one evaluates and times.
    """

    address: Address | None
    device: torch.device

    @property
    def several(self) -> bool:
        """Whether there may be others."""
        return self.address is not None

    @property
    def shown(self) -> str | None:
        """The storage as it may be printed."""
        return self.address.shown if self.address else None

    def greet(self, progress: Progress) -> None:
        """Says what being one of several means."""
        if self.several:
            progress.message(
                f"search: one of several workers on {self.shown}. Latency is timed while no worker on this device times or "
                "evaluates: they wait for each other."
            )

    def computing(self, call: Callable[P, R]) -> Callable[P, R]:
        """Returns `call` such that nobody times on this device while it runs."""
        if not self.several:
            return call
        turns = DeviceTurns(self.device)

        @functools.wraps(call)
        def in_turn(*arguments: P.args, **options: P.kwargs) -> R:
            with turns.computing():
                return call(*arguments, **options)

        return in_turn

    def timing(self, call: Callable[P, R]) -> Callable[P, R]:
        """Returns `call` such that nobody times or computes on this device while it runs."""
        if not self.several:
            return call
        turns = DeviceTurns(self.device)

        @functools.wraps(call)
        def in_turn(*arguments: P.args, **options: P.kwargs) -> R:
            with turns.timing():
                return call(*arguments, **options)

        return in_turn

    def meter(self, make: Callable[[], Meter]) -> Meter:
        """Returns the meter that `make` makes, which times its yardstick first, such that it times in its turn."""
        if not self.several:
            return make()
        return MeterInTurn(self.timing(make)(), DeviceTurns(self.device))

    def workers(self, run: str, held: PoseDataset) -> Workers | None:
        """Returns what the search shares with others.

        Args:
            run: Name of the run.
            held: The persons it ranks on.
        """
        if self.address is None:
            return None
        return Workers(address=self.address, run=run, split=split_id(held))


def crew_of(
    storage: str | None, folder: Path, device: torch.device, *, refine: int, strategy: Strategy
) -> Crew:
    """Returns the crew that `--storage` means.

    Args:
        storage: "sqlite", a URL, or None for a search alone.
        folder: The search folder.
        device: Where this worker evaluates and times.
        refine: Epochs of a refinement, 0 for none.
        strategy: What goes before the sampler.

    Raises:
        UsageError: The storage cannot be read, or something was asked for that one worker has to do alone.
    """
    if storage is None:
        return Crew(address=None, device=device)
    alone = (
        f"--refine {refine}"
        if refine
        else f"--strategy {strategy.name}"
        if strategy.name != SAMPLE.name
        else ""
    )
    if alone:
        raise UsageError(
            f"{alone} trains, which one worker does alone, not each of several. Leave --storage out and run that search "
            "by itself; or leave the other out and start workers."
        )
    return Crew(address=parse_address(storage, folder / STORAGE), device=device)


def split_id(people: PoseDataset) -> str:
    """Returns the first 12 hex digits of the SHA-256 over the persons and what they are scored against."""
    digest = hashlib.sha256()
    for column in (people.image_id_N, people.annotation_id_N, people.bbox_xywh_N4, people.keypoints_NK3):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:12]

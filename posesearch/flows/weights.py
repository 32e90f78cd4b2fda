"""Weights to start from (`--init`, or those of an extracted model), read once and known by their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from posesearch.checkpoint import weights_id
from posesearch.errors import DataError
from posesearch.keypoints.skeleton import Skeleton
from posesearch.progress import Progress
from posesearch.supernet import StartingWeights, Supernet, read_starting_weights, warm_start

FRESH_WEIGHTS = "fresh weights"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Start:
    """Weights a training begins with.

    Attributes:
        file: Where they came from.
        weights: The tensors, under our names.
        label: What a run notes about them; the same for a file that was moved, or whose header has changed.
    """

    file: Path
    weights: StartingWeights
    label: str

    def fill(self, module: nn.Module, skeleton: Skeleton, progress: Progress) -> None:
        """Fills a supernet or a network with whatever fits, and says what did.

        Channels of a network that was trained alone are sorted by importance before they become the leading, shared
        ones of a supernet. A head for other joints is left out even where their number is the same.

        Raises:
            DataError: Nothing fits.
        """
        info = self.weights.info
        report = warm_start(
            module,
            self.weights.state,
            sort=self.weights.sort and isinstance(module, Supernet),
            include_head=info is None or tuple(info.skeleton.get("names", ())) == skeleton.names,
        )
        progress.message(f"{self.file}: {report.summary()}")


def open_start(file: Path | None) -> Start | None:
    """Reads weights to start from; None for None.

    Raises:
        DataError: The file is missing, damaged, or neither ours nor published StarNet weights.
    """
    if file is None:
        return None
    if not Path(file).is_file():
        raise DataError(
            f"--init {file} not found. Give a supernet or model file of posesearch, or published StarNet weights."
        )
    weights = read_starting_weights(file)
    return Start(file=file, weights=weights, label=f"weights {weights_id(weights.state)}")

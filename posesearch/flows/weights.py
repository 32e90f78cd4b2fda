"""Weights to start from (`--init`): a supernet or model file of posesearch, or published StarNet weights."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from posesearch.errors import DataError
from posesearch.files import file_id
from posesearch.keypoints.skeleton import Skeleton
from posesearch.progress import Progress
from posesearch.supernet import Supernet, read_starting_weights, warm_start


def start_from(module: nn.Module, init: Path, skeleton: Skeleton, progress: Progress) -> None:
    """Fills `module` with whatever of the file fits, and says what did.

    Channels of a network that was trained alone are sorted by importance before they become the leading, shared ones of
    a supernet. A head for other joints is left out even where their number is the same.

    Args:
        module: A supernet or a network; filled in place.
        init: The file.
        skeleton: The joints `module` is to predict.
        progress: Where to report.

    Raises:
        DataError: The file is missing, damaged, or nothing in it fits.
    """
    start = read_starting_weights(init)
    same_joints = start.info is None or tuple(start.info.skeleton.get("names", ())) == skeleton.names
    report = warm_start(
        module, start.state, sort=start.sort and isinstance(module, Supernet), include_head=same_joints
    )
    progress.message(f"{init}: {report.summary()}")


def starting_point(init: Path | None) -> str:
    """Returns what a run notes about its start: the file's name and identity, so that a moved file is the same.

    Raises:
        DataError: There is no such file.
    """
    if init is None:
        return "fresh weights"
    if not Path(init).is_file():
        raise DataError(
            f"--init {init} not found. Give a supernet or model file of posesearch, or published StarNet weights."
        )
    return f"{Path(init).name} ({file_id(init)})"

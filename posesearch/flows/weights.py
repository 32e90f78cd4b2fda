"""Weights to start from (`--init`): a supernet or model file of posesearch, or published StarNet weights."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from posesearch.checkpoint import read_model_file
from posesearch.errors import DataError
from posesearch.models.published import load_published
from posesearch.progress import Progress
from posesearch.supernet import Supernet, warm_start


def start_from(module: nn.Module, init: Path, progress: Progress) -> None:
    """Fills `module` with whatever of the file fits, and says what did.

    Channels of networks that were trained alone are sorted by importance first, so that the leading ones, which all
    subnets share, are the best; those of a supernet or of its subnets are in that order already.

    Raises:
        DataError: The file is missing, damaged, or nothing in it fits.
    """
    weights, trained_alone = _read(init)
    report = warm_start(module, weights, sort=trained_alone and isinstance(module, Supernet))
    progress.message(f"{init}: {report.summary()}")


def _read(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Returns tensors under our names, and whether they were trained without weight sharing."""
    if not Path(path).is_file():
        raise DataError(
            f"--init {path} not found. Give a .safetensors file of posesearch or published StarNet weights."
        )
    if Path(path).suffix == ".safetensors":
        try:
            weights, info = read_model_file(path)
        except DataError as error:
            if "without posesearch's header" not in str(error):
                raise
        else:
            return weights, info.kind == "model" and info.space_id is None
    return load_published(Path(path)), True

"""A network as the bytes of an ONNX file, for the runtimes that read one."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

OPSET = 17
"""ONNX operator set: ONNX Runtime reads it since 1.12, TensorRT since 8.6."""

INPUT = "images"


def onnx_bytes(model: nn.Module, images_BCHW: Tensor, output_names: tuple[str, ...]) -> bytes:
    """Exports a network at the fixed shape of `images_BCHW`.

    By torch's TorchScript exporter: 0.8 s for StarNet-Pose-S where the newer one (`dynamo=True`) takes 7.1 s, with the
    same graph; it needs no further package. Torch 2.11 and 2.13 have both.

    Args:
        model: In evaluation mode.
        images_BCHW: A batch on the network's device, of its number format.
        output_names: One name an output.
    """
    with (
        tempfile.TemporaryDirectory(prefix="posesearch-") as folder,
        torch.inference_mode(),
        warnings.catch_warnings(),
    ):
        file = Path(folder) / "model.onnx"
        # Each export would announce the newer exporter again.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model, (images_BCHW,), file, dynamo=False, opset_version=OPSET,
            input_names=[INPUT], output_names=list(output_names),
        )  # fmt: skip
        return file.read_bytes()


def output_names(count: int) -> tuple[str, ...]:
    """Returns names for the outputs: x and y for the two of a pose network."""
    return ("x", "y") if count == 2 else tuple(f"output_{index}" for index in range(count))

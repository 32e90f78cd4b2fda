"""From a model file to a network that is ready to use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from posesearch.checkpoint import ModelInfo, read_model_file
from posesearch.errors import DataError, listed
from posesearch.models.pose import PoseModel
from posesearch.spaces.arch import Architecture


def load_model(path: Path | str) -> PoseModel:
    """Loads a model written by `extract` or `train`.

    Args:
        path: The `.safetensors` file; nothing else is needed.

    Returns:
        The network on the CPU, in evaluation mode, with the file's header as `.info`.

    Raises:
        DataError: The file is missing, damaged or foreign, holds a supernet, or its weights are not those of the
            architecture in its header.
    """
    weights, info = read_model_file(Path(path))
    if info.kind != "model" or info.arch is None:
        raise DataError(
            f"{path} holds a {info.kind}, not one network. Take a network out of it with: posesearch extract"
        )
    return build_model(weights, info, str(path))


def build_model(weights: dict[str, Tensor], info: ModelInfo, source: str) -> PoseModel:
    """Builds the network of a header and fills it, strictly.

    Args:
        weights: Parameters and buffers by name.
        info: The header; its `arch` says what to build.
        source: Where the weights come from, for messages.

    Raises:
        DataError: A weight is missing, unknown or of another shape.
    """
    arch = Architecture.from_plain(info.arch, f"architecture in {source}")
    # Without memory first: a damaged header may ask for any amount of it.
    with torch.device("meta"):
        problems = weight_faults(PoseModel(arch), weights)
    if problems:
        raise DataError(
            f"{source}: the weights are not those of architecture {arch} in its header:\n{listed(problems)}\n"
            "The file was changed or put together by hand. Extract or train the model again."
        )
    model = PoseModel(arch)
    model.load_state_dict(weights)
    model.info = info
    return model.eval()


def weight_faults(module: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """Returns one sentence for each tensor that is missing, unknown or of another shape than the module's."""
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is unknown" for name in found if name not in expected]
    problems += [
        f"{name} has shape {found[name]}, expected {shape}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    return problems

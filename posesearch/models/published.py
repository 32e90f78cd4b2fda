"""Published weights and ours: key names, the classifier, and the gain of coordinate attention.

Ours are named `backbone.*` and `head.*` as in an MMPose checkpoint. Official StarNet files (and timm's) have bare names, in
which `head.*` and `norm.*` are the ImageNet classifier, not a pose head. Published coordinate attention has gain 1, ours
4: the convolution after it, `dwconv2`, is linear, so W_published = 4 W_ours (bias unchanged), exactly, since 4 is a power
of two.
"""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor

from posesearch.checkpoint import STATE_FORMAT, not_finite
from posesearch.errors import DataError
from posesearch.models.blocks import CA_GAIN

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Where files keep the weights, best first: averaged weights are the ones that published numbers belong to."""

TORCH_STARTS = (b"PK\x03\x04", b"\x80")
"""First bytes of what `torch.save` writes: an archive today, a pickle in the old format."""

OUTER_PREFIXES = ("module.", "_orig_mod.")
CLASSIFIER_PREFIXES = ("norm.", "head.")


def load_published(path: Path) -> dict[str, Tensor]:
    """Reads StarNet, timm or MMPose StarNet-Pose weights and returns them under our names and gain.

    Args:
        path: `.safetensors`, or anything `torch.save` wrote; nothing in it is executed.

    Raises:
        DataError: the file is missing, broken, would run code, or holds no StarNet.
    """
    try:
        state = from_published(read_weights(path))
    except KeyError as error:
        raise DataError(
            f"{path} holds no StarNet weights: {error.args[0]} "
            "Give an official StarNet file (s1 to s4), timm's, or an MMPose StarNet-Pose checkpoint."
        ) from error
    if broken := not_finite(state):
        raise DataError(
            f"{path}: {broken} holds NaN or infinite numbers. Fetch the file again, or give another."
        )
    return state


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads the tensors of a weight file, unwrapped from `state_dict` and the like.

    Raises:
        DataError: the file is missing, broken or would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"Weight file not found: {path}. Check the path.")
    try:
        if path.suffix == ".safetensors":
            # From bytes on purpose: a memory map would crash the process if the file were cut later.
            return dict(load_tensors(path.read_bytes()))
        with path.open("rb") as stream:
            if not stream.read(4).startswith(TORCH_STARTS):
                raise ValueError("its start is not that of a file torch wrote")
        # The official files carry their training arguments beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about plain pickles, which are refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Damaged archives raise half a dozen unrelated types.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, pickle.UnpicklingError) and "nsupported" in str(error):
            # torch's own text advises to load it all the same.
            named = re.search(r"GLOBAL ([\w.]+)", str(error))
            what = f"it names {named[1]}" if named else "it is a plain pickle"
            raise DataError(
                f"{path} holds more than tensors and is not opened, because that could run code ({what}). "
                "Allowed: .safetensors, or a file with tensors only. Save its 'state_dict' again, alone, with the "
                "tool that wrote it."
            ) from error
        raise DataError(
            f"{path} cannot be read as a weight file ({reason}). Allowed: .safetensors, .pth, .pt, .tar. "
            "It may be cut off: fetch it again."
        ) from error
    return _tensors(content, path)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if isinstance(content, Mapping) and content.get("format") == STATE_FORMAT:
        raise DataError(
            f"{path} is the checkpoint of an unfinished training. Give the .safetensors file that the training ends with."
        )
    if not isinstance(content, Mapping):
        raise DataError(
            f"{path} holds a {type(content).__name__}, not weights by name. "
            f"Allowed: a state dict, bare or below one of {', '.join(WRAPPERS)}."
        )
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames published tensors to ours, leaves out a classifier and unfolds the gain.

    Args:
        state: tensors under official, timm or MMPose names, with or without `module.`.

    Raises:
        KeyError: it is not a StarNet.
    """
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        for prefix in OUTER_PREFIXES:
            name = name.removeprefix(prefix)
        if name.startswith("keypoint_head."):
            name = "head." + name.removeprefix("keypoint_head.")
        renamed[name] = value
    if not any(name.startswith("backbone.") for name in renamed):
        renamed = {
            f"backbone.{name}": value
            for name, value in renamed.items()
            if not name.startswith(CLASSIFIER_PREFIXES)
        }
    ours = {name: value for name, value in renamed.items() if name.startswith(("backbone.", "head."))}
    for needed in ("backbone.stem.0.conv.weight", "backbone.stages.0.1.f1.conv.weight"):
        if needed not in ours:
            found = ", ".join(list(state)[:3]) or "nothing"
            raise KeyError(f"'{needed.removeprefix('backbone.')}' is missing, it has {found}...")
    return _scale_attention(ours, 1.0 / CA_GAIN)


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Folds the gain of coordinate attention into `dwconv2.weight`; names stay `backbone.*` and `head.*`.

    Args:
        state: state dict of a `PoseModel`.
    """
    return _scale_attention(dict(state), CA_GAIN)


def _scale_attention(state: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
    for name in [name for name in state if name.endswith(".ca.conv_reduce.weight")]:
        convolution = name.removesuffix("ca.conv_reduce.weight") + "dwconv2.conv.weight"
        state[convolution] = state[convolution] * factor
    return state

"""Weights on disk: the state of an unfinished training, and model files that explain themselves.

A training state is torch's own format, read back with `weights_only=True`. A model file is safetensors, whose header
carries one JSON entry with everything needed to use the weights. Neither format can run code when it is read.
"""

from __future__ import annotations

import hashlib
import json
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from posesearch.config import parse_stored, to_plain
from posesearch.errors import DataError, EnvironmentFault
from posesearch.files import atomic_path, to_json, write_bytes_atomic

STATE_FORMAT = "posesearch training state 1"
HEADER_KEY = "posesearch"
# The largest real header (1,100 tensors, 50 evaluations) is 0.2 MB; more is a damaged or hostile file.
HEADER_LIMIT_BYTES = 16 << 20
ZIP_START = b"PK\x03\x04"


def save_training_state(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a training state, all of it or nothing.

    Args:
        path: The checkpoint.
        state: Tensors, numbers, texts, and lists and dicts of them.

    Raises:
        EnvironmentFault: It cannot be written, e.g. because the disk is full; an older checkpoint is intact.
    """
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            torch.save({"format": STATE_FORMAT, **state}, stream)
    except RuntimeError as error:
        # torch's zip writer turns a failed write into a RuntimeError of its own.
        raise EnvironmentFault(
            f"cannot write {path}: {getattr(error.__context__, 'strerror', None) or error}. The file that was there before is unchanged. "
            "Free some space, then run the same command again."
        ) from error


def load_training_state(path: Path) -> dict[str, Any]:
    """Reads a training state onto the CPU.

    Raises:
        DataError: The file is missing, cut off, damaged, or not a training state.
    """
    _require_file(path, "checkpoint")
    problem = "it is not a posesearch checkpoint"
    with path.open("rb") as stream:
        is_zip = stream.read(4) == ZIP_START
    state: Any = None
    if is_zip:
        try:
            # torch reads numbers without looking at the archive's checksums.
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()
            if broken is not None:
                raise ValueError(f"checksum of {broken}")
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            # torch reports a damaged archive with half a dozen unrelated exception types.
            problem = f"it is cut off or damaged ({repr(error)[:160]})"
    if not isinstance(state, dict) or state.get("format") != STATE_FORMAT:
        raise DataError(
            f"checkpoint {path} cannot be used: {problem}. Allowed: a checkpoint.pt written by posesearch. Delete "
            "it to train from the start, or restore it from a copy."
        )
    return state


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelInfo:
    """What a model file says about its weights; plain values only, so that any program can read it.

    Attributes:
        format: Version of this header.
        kind: "model" for one network, "supernet" for the shared weights of a space.
        name: The model's name, e.g. "T".
        arch: The architecture of a model; None for a supernet.
        space: The search space of a supernet, or the one a model came from.
        space_id: Its id.
        input_size: (height, width) of the crop in pixels.
        mean: Subtracted from RGB pixels in 0..255.
        std: Then divided by this.
        skeleton: Joint names, flip pairs, sigmas, limbs.
        codec: How the outputs become coordinates.
        metrics: Evaluations of these weights, each naming its boxes, flip test, split.
        latency: Measured latencies, each naming its device, runtime, precision.
        provenance: Where the weights came from: run, recipe, data, seed, versions.
    """

    format: int = 1
    kind: Literal["model", "supernet"]
    name: str
    arch: dict[str, Any] | None = None
    space: dict[str, Any] | None = None
    space_id: str | None = None
    input_size: tuple[int, int]
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    skeleton: dict[str, Any]
    codec: dict[str, Any]
    metrics: tuple[dict[str, Any], ...] = ()
    latency: tuple[dict[str, Any], ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dicts and lists."""
        plain: dict[str, Any] = to_json(to_plain(self))
        return plain

    def with_metrics(self, *evaluations: Mapping[str, Any]) -> ModelInfo:
        """Returns the header with further evaluations."""
        return replace(self, metrics=(*self.metrics, *map(dict, evaluations)))

    def with_latency(self, *measured: Mapping[str, Any]) -> ModelInfo:
        """Returns the header with further latencies."""
        return replace(self, latency=(*self.latency, *map(dict, measured)))


def write_model_file(path: Path, weights: Mapping[str, Tensor], info: ModelInfo) -> None:
    """Writes weights and header as one safetensors file, all of it or nothing.

    Raises:
        EnvironmentFault: The disk is full or the folder cannot be written; an older file is intact.
    """
    # A copy each: safetensors refuses views of one storage and permuted memory.
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in weights.items()}
    header = {HEADER_KEY: json.dumps(info.to_plain(), ensure_ascii=False, allow_nan=False)}
    write_bytes_atomic(path, save_tensors(tensors, metadata=header))


def read_model_info(path: Path) -> ModelInfo:
    """Reads the header of a model file without its weights.

    Raises:
        DataError: As for `read_model_file`.
    """
    _require_file(path, "model file")
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(HEADER_LIMIT_BYTES, size - 8):
            raise _unusable(path, "it is not a safetensors file, or its start is damaged")
        text = stream.read(length)
    try:
        header = json.loads(text)
        values = json.loads(header["__metadata__"][HEADER_KEY])
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        missing = 8 + length + max(ends, default=0) - size
    except (ValueError, RecursionError):
        raise _unusable(path, "it is not a safetensors file, or its header is damaged") from None
    except (KeyError, TypeError, IndexError):
        raise _unusable(path, "it is a safetensors file without posesearch's header") from None
    if missing:
        problem = (
            f"it is cut off, {missing} bytes are missing"
            if missing > 0
            else f"it is {-missing} bytes too long"
        )
        raise _unusable(path, problem)
    if isinstance(values, dict) and values.get("format") != 1:
        raise _unusable(path, f"its header has format {values.get('format')!r}, this posesearch reads 1")
    return parse_stored(ModelInfo, values, f"header of {path}")


def read_model_file(path: Path) -> tuple[dict[str, Tensor], ModelInfo]:
    """Reads a model file onto the CPU.

    Returns:
        Weights by name, and the header.

    Raises:
        DataError: The file is missing, cut off, damaged, of another format, lacks posesearch's header, or holds numbers
            that are not finite.
    """
    path = Path(path)
    info = read_model_info(path)
    try:
        with warnings.catch_warnings():
            # Reading from bytes is on purpose: a memory map would crash the process if the file were cut later.
            warnings.simplefilter("ignore")
            weights = load_tensors(path.read_bytes())
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise _unusable(path, f"it is cut off or damaged ({error})") from error
    if broken := not_finite(weights):
        raise _unusable(path, f"{broken} holds NaN or infinite numbers")
    return weights, info


def not_finite(weights: Mapping[str, Tensor]) -> str | None:
    """Returns the name of the first tensor with NaN or infinite numbers, or None."""
    return next((name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())), None)


def weights_id(weights: Mapping[str, Tensor]) -> str:
    """Returns 12 hex digits that name these numbers, wherever they lie and whatever header they have."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


def _unusable(path: Path, problem: str) -> DataError:
    return DataError(
        f"model file {path} cannot be used: {problem}. Allowed: a .safetensors file written by posesearch "
        "(supernet-train, extract, train). Check the path, or fetch or write the file again."
    )


def _require_file(path: Path, what: str) -> None:
    if not Path(path).is_file():
        kind = "is a folder, not a file" if Path(path).is_dir() else "not found"
        raise DataError(f"{what} {path} {kind}. Check the path.")

"""Starting from given weights: whatever fits by name is copied, the rest keeps its fresh start, and a report says which.

Sizes may differ: leading channels and the centre of kernels are shared, locked axes (joints, bins, map positions) must agree
or the parameter is left alone. A supernet has no running statistics, so those of the file are ignored there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from posesearch.checkpoint import HEADER_KEY, ModelInfo, read_model_file
from posesearch.errors import DataError
from posesearch.models.axes import AxisRule, Centre, Locked, Segments, declared_rules
from posesearch.models.published import load_published
from posesearch.supernet.channels import sort_channels


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmStartReport:
    """What became of every tensor; all are names.

    Attributes:
        copied: taken over whole.
        cut: taken from a larger tensor.
        grown: smaller in the file: its part is filled, the rest is fresh.
        kept: fresh, because the file has no tensor that fits.
        ignored: in the file, but without a place here.
    """

    copied: tuple[str, ...]
    cut: tuple[str, ...]
    grown: tuple[str, ...]
    kept: tuple[str, ...]
    ignored: tuple[str, ...]

    def summary(self) -> str:
        """One line for the log."""
        return (
            f"warm start: {len(self.copied)} tensors copied, {len(self.cut)} cut, {len(self.grown)} grown, "
            f"{len(self.kept)} left fresh, {len(self.ignored)} of the file not used"
        )


class StartingWeights(NamedTuple):
    """Weights to start from.

    Attributes:
        state: tensors under our names.
        sort: whether their channels are still to be put in order of importance.
        info: the header, when the file is one of ours.
    """

    state: dict[str, Tensor]
    sort: bool
    info: ModelInfo | None


def read_starting_weights(path: Path) -> StartingWeights:
    """Reads a file to start from: one of our model files (network or supernet), or published StarNet weights.

    Raises:
        DataError: the file is missing, damaged, or holds neither.
    """
    path = Path(path)
    if path.suffix == ".safetensors" and path.is_file():
        with path.open("rb") as stream:
            ours = f'"{HEADER_KEY}"'.encode() in stream.read(4096)
        if ours:
            state, info = read_model_file(path)
            # A network of a space was cut from a supernet: its leading channels already are the shared ones.
            return StartingWeights(state, sort=info.space_id is None, info=info)
    return StartingWeights(load_published(path), sort=True, info=None)


@torch.no_grad()
def warm_start(
    module: nn.Module, state: Mapping[str, Tensor], *, sort: bool, include_head: bool = True
) -> WarmStartReport:
    """Copies weights into a supernet or a PoseModel.

    Args:
        module: filled in place.
        state: tensors under our names (`models.published.load_published` for published files).
        sort: put the file's channels in order of importance first: right for a network trained alone, wrong for one
            whose leading channels already are the shared ones (another supernet, or a subnet of it).
        include_head: False leaves the whole head fresh, for another joint set of the same size.

    Raises:
        DataError: nothing fits.
    """
    source = sort_channels(state) if sort else dict(state)
    rules = declared_rules(module)
    groups: dict[str, list[str]] = {"copied": [], "cut": [], "grown": [], "kept": []}
    targets = dict(module.named_parameters()) | dict(module.named_buffers())
    for name, target in targets.items():
        wanted = name in source and (include_head or not name.startswith("head."))
        verdict = (
            _transfer(target, source[name], rules[name][1] if name in rules else ()) if wanted else "kept"
        )
        groups[verdict].append(name)
    if not groups["copied"] and not groups["cut"] and not groups["grown"]:
        raise DataError(
            f"None of the {len(source)} tensors given to start from fits this network (first: {next(iter(source), 'none')}). "
            "Expected names below backbone.* and head.*. Give weights of the same family."
        )
    ignored = tuple(name for name in source if name not in targets)
    return WarmStartReport(**{key: tuple(names) for key, names in groups.items()}, ignored=ignored)


def _transfer(target: Tensor, source: Tensor, rules: tuple[AxisRule, ...]) -> str:
    """Copies the part two tensors share and says how: "copied", "cut", "grown" or (no part at all) "kept"."""
    if target.shape == source.shape:
        target.copy_(source)
        return "copied"
    if target.dim() != source.dim():
        return "kept"
    into: list[slice] = []
    out_of: list[slice] = []
    border: list[slice] = []
    for axis, (here, there) in enumerate(zip(target.shape, source.shape, strict=True)):
        rule = next((rule for rule in rules if rule.axis == axis), None)
        shared = min(here, there)
        if here != there and (isinstance(rule, Locked | Segments) or (axis >= 2 and rule is None)):
            return "kept"
        centred = isinstance(rule, Centre)
        start_here, start_there = ((here - shared) // 2, (there - shared) // 2) if centred else (0, 0)
        into.append(slice(start_here, start_here + shared))
        out_of.append(slice(start_there, start_there + shared))
        border.append(slice(0, here) if centred else into[-1])
    # A kernel that grows gets a zero border, so that it computes what it did before.
    target[tuple(border)] = 0
    target[tuple(into)] = source[tuple(out_of)].to(target)
    return "grown" if any(h > t for h, t in zip(target.shape, source.shape, strict=True)) else "cut"

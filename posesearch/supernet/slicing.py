"""The one slicing rule: how every parameter of a subnet is cut from the supernet's parameter of the same name.

Leading entries on each axis, except where a module declares otherwise (`models.axes`): the centre of an odd kernel, each
part of a concatenated axis on its own, or an axis that must not change at all. Nothing here knows a family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from posesearch.models.axes import AxisRule, Centre, Locked, Segments, declared_rules

Pieces = tuple[tuple[int, int], ...]
"""(start, length) of each run of entries kept on an axis."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How one parameter is cut: the pieces kept on every axis that shrinks; no axes when it is kept whole."""

    name: str
    axes: tuple[tuple[int, Pieces], ...]

    def __call__(self, parameter: Tensor) -> Tensor:
        """Returns the kept entries, contiguous; the parameter itself when all are kept. Gradients flow back."""
        for axis, pieces in self.axes:
            if len(pieces) == 1:
                parameter = parameter.narrow(axis, *pieces[0])
            else:
                parameter = torch.cat([parameter.narrow(axis, *piece) for piece in pieces], dim=axis)
        # Only a cut off axis 0 leaves gaps; convolution kernels copy strided weights anyway, but less visibly.
        return parameter.contiguous() if self.axes else parameter


CutPlan = tuple[Cut, ...]


def plan_cuts(source: nn.Module, target: nn.Module, prefix: str = "") -> CutPlan:
    """Compares two networks (or parts) of one family and says how each parameter of `target` is cut from `source`.

    Args:
        source: the network that holds the parameters (may be on the meta device).
        target: the smaller network (may be on the meta device).
        prefix: put before every name of the plan, when both are the same part of larger networks.

    Raises:
        ValueError: a parameter is missing in `source`, is larger in `target`, or differs on a locked axis.
    """
    source_shapes = {name: tuple(parameter.shape) for name, parameter in source.named_parameters()}
    source_rules, target_rules = declared_rules(source), declared_rules(target)
    cuts = []
    for name, parameter in target.named_parameters():
        if name not in source_shapes:
            raise ValueError(f"{name} does not exist in the supernet.")
        owner, rules = target_rules.get(name, (None, ()))
        source_owner = source_rules.get(name, (None, ()))[0]
        axes = []
        for axis, (large, small) in enumerate(zip(source_shapes[name], parameter.shape, strict=True)):
            rule = next((rule for rule in rules if rule.axis == axis), None)
            pieces = _pieces(name, axis, large, small, rule, source_owner, owner)
            if sum(length for _, length in pieces) < large:
                axes.append((axis, pieces))
        cuts.append(Cut(prefix + name, tuple(axes)))
    return tuple(cuts)


def _pieces(
    name: str,
    axis: int,
    large: int,
    small: int,
    rule: AxisRule | None,
    source_owner: nn.Module | None,
    target_owner: nn.Module | None,
) -> Pieces:
    what = f"{name}, axis {axis}: {small} of {large}"
    if isinstance(rule, Segments):
        return _segment_pieces(what, rule, source_owner, target_owner)
    if small == large:
        return ((0, small),)
    if small > large:
        raise ValueError(f"{what}: the subnet's is larger than the supernet's.")
    if isinstance(rule, Centre):
        if large % 2 == 0 or small % 2 == 0:
            raise ValueError(f"{what}: only odd kernels have a common centre.")
        return (((large - small) // 2, small),)
    if isinstance(rule, Locked) or axis >= 2:
        raise ValueError(f"{what}: this axis cannot be cut, its sizes must be equal.")
    return ((0, small),)


def _segment_pieces(
    what: str, rule: Segments, source_owner: nn.Module | None, target_owner: nn.Module | None
) -> Pieces:
    pieces, start = [], 0
    for attribute in rule.sizes:
        large, small = getattr(source_owner, attribute), getattr(target_owner, attribute)
        if small > large:
            raise ValueError(f"{what}: segment {attribute} is {small}, the supernet's is {large}.")
        pieces.append((start, small))
        start += large
    return tuple(pieces)


def cut_parameters(parameters: Mapping[str, Tensor], plan: CutPlan) -> dict[str, Tensor]:
    """Cuts every parameter of a plan.

    Args:
        parameters: the supernet's parameters by name.
        plan: from `plan_cuts`.

    Returns:
        The subnet's parameters by name; tensors that are kept whole or cut on axis 0 only share memory with the
        supernet's.
    """
    return {cut.name: cut(parameters[cut.name]) for cut in plan}

"""How one axis of a parameter relates to the same axis in a wider network of the same family.

A module class that needs more than "leading channels" carries a literal `AXIS_RULES`, from parameter names relative to
the module to the rules of its axes. The rules are read in one place, `supernet.slicing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, slots=True)
class Centre:
    """An odd kernel axis: the smaller kernel is the centre of the larger one."""

    axis: int


@dataclass(frozen=True, slots=True)
class Segments:
    """An axis that concatenates parts, each cut to its own leading entries.

    `sizes` names the attributes of the owning module that hold the parts' sizes, in order.
    """

    axis: int
    sizes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Locked:
    """An axis that means something fixed (joints, bins, positions of the map): equal sizes or no transfer at all."""

    axis: int


AxisRule = Centre | Segments | Locked
AxisRules = Mapping[str, tuple[AxisRule, ...]]


def declared_rules(module: nn.Module) -> dict[str, tuple[nn.Module, tuple[AxisRule, ...]]]:
    """All declared rules below `module`: full parameter name -> (owning module, rules)."""
    found: dict[str, tuple[nn.Module, tuple[AxisRule, ...]]] = {}
    for prefix, owner in module.named_modules():
        rules: AxisRules = getattr(type(owner), "AXIS_RULES", {})
        for name, axis_rules in rules.items():
            found[f"{prefix}.{name}" if prefix else name] = (owner, axis_rules)
    return found

"""Static networks without weights, put together from parts that are built once.

Random subnets rarely repeat, but their parts do: a space of thousands of millions of networks has some hundred different
parts at each place. Building a network of the `starnet` space takes 32 ms of Python; putting known parts together 0.4 ms.
Parts are shared between templates, which is sound because a call only lends them its tensors while it runs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from posesearch.models.blocks import Statistics
from posesearch.models.pose import PoseModel
from posesearch.spaces.arch import Architecture
from posesearch.supernet.slicing import CutPlan, plan_cuts

TEMPLATES_KEPT = 64
PARTS_KEPT = 2048
"""A part is some 54 kB of Python objects; the `starnet` space has 1,570 (85 MB)."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Template:
    """A PoseModel on the meta device, to be called with parameters (and buffers) of its own shapes.

    Attributes:
        model: the network; its own tensors hold no data.
        plan: how its parameters are cut from the supernet's.
    """

    model: PoseModel
    plan: CutPlan


class Recent(Generic[Value]):
    """The values used last, at most `capacity` of them."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Returns the value of `key`, made on first use; the one unused for longest makes room."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        self._kept[key] = value = make()
        if len(self._kept) > self.capacity:
            self._kept.popitem(last=False)
        return value


class TemplateCache:
    """The templates and parts used last. A copy of a supernet starts with an empty cache."""

    def __init__(self, templates: int = TEMPLATES_KEPT, parts: int = PARTS_KEPT) -> None:
        self.templates: Recent[Template] = Recent(templates)
        self.parts: Recent[tuple[nn.Module, CutPlan]] = Recent(parts)

    def __deepcopy__(self, memo: object) -> TemplateCache:
        return TemplateCache(self.templates.capacity, self.parts.capacity)

    def get(self, source: nn.Module, arch: Architecture, statistics: Statistics) -> Template:
        """Returns the template of `arch`, put together on first use.

        Args:
            source: the supernet the parameters are cut from; always the same one for a cache.
            arch: the architecture.
            statistics: "batch" for training, "running" for evaluation with given buffers.
        """
        return self.templates.get((arch, statistics), lambda: self._assemble(source, arch, statistics))

    def _assemble(self, source: nn.Module, arch: Architecture, statistics: Statistics) -> Template:
        plan: list[CutPlan] = []

        def build(place: str, kind: Any, /, *args: Any, **options: Any) -> nn.Module:
            def make() -> tuple[nn.Module, CutPlan]:
                with torch.device("meta"):
                    part: nn.Module = kind(*args, **options)
                part.train(statistics == "batch")
                return part, plan_cuts(source.get_submodule(place), part, f"{place}.")

            key = (place, kind, statistics, args, tuple(options.items()))
            part, part_plan = self.parts.get(key, make)
            plan.append(part_plan)
            return part

        model = PoseModel(arch, statistics=statistics, build=build)
        return Template(model, tuple(cut for part_plan in plan for cut in part_plan))


def fresh_buffers(model: nn.Module, like: Tensor) -> dict[str, Tensor]:
    """New BatchNorm statistics for `model` (mean 0, variance 1, count 0) on the device and in the dtype of `like`."""
    buffers = {}
    for prefix, module in model.named_modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            buffers[f"{prefix}.running_mean"] = like.new_zeros(module.num_features)
            buffers[f"{prefix}.running_var"] = like.new_ones(module.num_features)
            buffers[f"{prefix}.num_batches_tracked"] = torch.zeros((), dtype=torch.long, device=like.device)
    return buffers

"""Static networks without weights, put together from parts that are built once.

Random subnets rarely repeat, but their parts do: a space of thousands of millions of networks has some hundred different
parts at each place. Building a network of the `starnet` space takes 32 ms of Python; putting known parts together 0.4 ms.
Parts are shared between templates, which is sound because a call only lends them its tensors while it runs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from posesearch.models.blocks import Statistics
from posesearch.models.pose import PoseModel
from posesearch.spaces.arch import Architecture
from posesearch.supernet.compiled import BlockCompiler
from posesearch.supernet.slicing import CutPlan, plan_cuts

TEMPLATES_KEPT = 64
PARTS_KEPT = 2048
"""A part is some 54 kB of Python objects; the `starnet` space has 1,570 (85 MB)."""

Value = TypeVar("Value")

Places = Mapping[str, tuple[dict[str, Any], str]]
"""Where a network looks up its tensors, by their names: a dict of the module that owns the tensor, and the key in it."""


@dataclass(frozen=True, slots=True)
class Template:
    """A PoseModel on the meta device, to be called while parameters (and buffers) of its own shapes are `lent` to it.

    Attributes:
        model: the network; its own tensors hold no data.
        plan: how its parameters are cut from the supernet's.
        places: where `model` looks up its parameters and buffers.
    """

    model: PoseModel
    plan: CutPlan
    places: Places


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
    """The templates and parts used last. A copy of a supernet starts with an empty cache.

    Args:
        templates: how many networks are kept.
        parts: how many parts are kept.
        compiler: compiles the backbone's parts of the networks that are trained; None leaves them as they are.
    """

    def __init__(
        self,
        templates: int = TEMPLATES_KEPT,
        parts: int = PARTS_KEPT,
        compiler: BlockCompiler | None = None,
    ) -> None:
        self.templates: Recent[Template] = Recent(templates)
        self.parts: Recent[tuple[nn.Module, CutPlan]] = Recent(parts)
        self.compiler = compiler

    def __deepcopy__(self, memo: object) -> TemplateCache:
        return TemplateCache(self.templates.capacity, self.parts.capacity, self.compiler)

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
                if self.compiler is not None and statistics == "batch" and place.startswith("backbone."):
                    part.forward = self.compiler(part)
                return part, plan_cuts(source.get_submodule(place), part, f"{place}.")

            key = (place, kind, statistics, args, tuple(options.items()))
            part, part_plan = self.parts.get(key, make)
            plan.append(part_plan)
            return part

        model = PoseModel(arch, statistics=statistics, build=build)
        return Template(model, tuple(cut for part_plan in plan for cut in part_plan), places_of(model))


def places_of(model: nn.Module) -> Places:
    """Returns where `model` looks up its parameters and buffers."""
    return {
        f"{prefix}.{key}" if prefix else key: (registry, key)
        for prefix, module in model.named_modules()
        for registry in (module._parameters, module._buffers)
        for key, tensor in registry.items()
        if tensor is not None
    }


@contextmanager
def lent(places: Places, tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Lets a network compute with the given tensors while the block runs; it has its own again afterwards.

    This is `torch.func.functional_call` with the search for every module by its name done once: with that, forward and
    backward of three subnets of the `demo` space at batch 2 took 1.16 to 1.35 times what the networks by themselves take,
    with this 1.08 to 1.23.
    """
    lending = [(*places[name], tensor) for name, tensor in tensors.items()]
    own = [registry[key] for registry, key, _ in lending]
    try:
        for registry, key, tensor in lending:
            registry[key] = tensor
        yield
    finally:
        for (registry, key, _), tensor in zip(lending, own, strict=True):
            registry[key] = tensor


def fresh_buffers(model: nn.Module, like: Tensor) -> dict[str, Tensor]:
    """New BatchNorm statistics for `model` (mean 0, variance 1, count 0) on the device and in the dtype of `like`."""
    buffers = {}
    for prefix, module in model.named_modules():
        if isinstance(module, _BatchNorm) and module.track_running_stats:
            buffers[f"{prefix}.running_mean"] = like.new_zeros(module.num_features)
            buffers[f"{prefix}.running_var"] = like.new_ones(module.num_features)
            buffers[f"{prefix}.num_batches_tracked"] = torch.zeros((), dtype=torch.long, device=like.device)
    return buffers

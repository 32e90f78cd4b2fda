"""The supernet: one set of weights, and every architecture of a space as a view of it.

`supernet(images, arch)` is the whole interface: the architecture is an argument, never a state. A forward takes the
plain network of `arch`, cuts the shared parameters to its shapes and calls it with them, so an extracted network is the
same computation by construction. Shape letters: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from posesearch.errors import UsageError
from posesearch.models.heads import PoseOutput
from posesearch.models.pose import PoseModel
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace
from posesearch.supernet.compiled import Backend, BlockCompiler
from posesearch.supernet.slicing import cut_parameters
from posesearch.supernet.templates import Template, TemplateCache, fresh_buffers, lent


class Supernet(nn.Module):
    """The shared weights of a search space: the parameters of its largest architecture, under the same names.

    It keeps no BatchNorm statistics. In training mode a call uses the statistics of its batch; an evaluated subnet brings
    its own from `recalibrate`. In evaluation mode without them it has those of a fresh network (mean 0, variance 1), as
    `extract_subnet` gives without them: the two agree, and neither is fit to be used. No call writes to the supernet.

    Args:
        space: the search space.
        seed: key of the initial weights.

    Example:
        >>> from posesearch.spaces import load_space
        >>> space = load_space("demo")
        >>> supernet = Supernet(space)
        >>> output = supernet(torch.zeros(2, 3, *space.input_size), space.smallest())
        >>> output.x.shape[:2] == (2, space.num_joints)
        True
    """

    def __init__(self, space: SearchSpace, *, seed: int = 0) -> None:
        super().__init__()
        self.space = space
        largest = PoseModel(space.largest(), seed=seed, statistics="batch")
        self.backbone = largest.backbone
        self.head = largest.head
        self.templates = TemplateCache()

    def forward(
        self,
        images_BCHW: Tensor,
        arch: Architecture,
        *,
        buffers: Mapping[str, Tensor] | None = None,
        drop_path: Mapping[str, Tensor] | None = None,
    ) -> PoseOutput:
        """Runs the subnet of `arch`.

        Args:
            images_BCHW: normalised RGB images of the space's input size.
            arch: a member of the space.
            buffers: running statistics of this subnet by name (from `recalibrate`), used as in evaluation and never
                written to; None uses the statistics of the batch in training mode, fresh ones in evaluation mode.
            drop_path: drop masks by block, see `supernet.droppath`; None keeps every block.

        Raises:
            UsageError: `arch` is not in the space, or `buffers` belong to another subnet.
        """
        running = buffers is not None or not self.training
        template = self.template(arch, running=running)
        tensors = cut_parameters(dict(self.named_parameters()), template.plan)
        if running:
            if buffers is None:
                buffers = fresh_buffers(template.model, next(iter(tensors.values())))
            check_buffers(arch, template, buffers)
            tensors.update(buffers)
        with lent(template.places, tensors):
            output: PoseOutput = template.model(images_BCHW, drop_path)
        return output

    def subnet_parameters(self, arch: Architecture) -> dict[str, Tensor]:
        """Returns the parameters of `arch`, cut from the shared ones and connected to them for gradients.

        Raises:
            UsageError: `arch` is not in the space.
        """
        template = self.template(arch, running=False)
        return cut_parameters(dict(self.named_parameters()), template.plan)

    def compile_blocks(self, backend: Backend = "inductor") -> None:
        """Compiles the backbone's blocks in training, each kind of block once; evaluation and head stay as they are.

        Args:
            backend: of `torch.compile`.
        """
        self.templates = TemplateCache(compiler=BlockCompiler(backend))

    def template(self, arch: Architecture, *, running: bool) -> Template:
        """Returns the weightless network of `arch` and how its parameters are cut.

        Raises:
            UsageError: `arch` is not in the space; the message names the gene.
        """
        problems = self.space.problems(arch)
        if problems:
            raise UsageError(
                f"Architecture {arch} is not in space '{self.space.name}': {' '.join(problems)} "
                "Choose a member of the space, or the nearest one with `space.nearest(arch)`."
            )
        return self.templates.get(self, arch, "running" if running else "batch")


def check_buffers(arch: Architecture, template: Template, buffers: Mapping[str, Tensor]) -> None:
    """Refuses statistics that are not exactly those of this subnet.

    Raises:
        UsageError: a buffer is missing, unknown, or of another shape.
    """
    expected = dict(template.model.named_buffers())
    wrong = [name for name in expected if name not in buffers or buffers[name].shape != expected[name].shape]
    wrong += [name for name in buffers if name not in expected]
    if wrong:
        raise UsageError(
            f"The BatchNorm statistics do not belong to architecture {arch}: {wrong[0]} is missing, unknown or of another "
            f"shape ({len(wrong)} of {len(expected)} differ). Use the ones that `recalibrate` gave for this architecture."
        )


def extract_subnet(
    supernet: Supernet, arch: Architecture, buffers: Mapping[str, Tensor] | None = None
) -> PoseModel:
    """Returns the stand-alone network of `arch` with a copy of its weights.

    Args:
        supernet: the shared weights.
        arch: a member of the space.
        buffers: its running statistics from `recalibrate`; None leaves them at mean 0 and variance 1, which is only fit
            for training or recalibration.

    Raises:
        UsageError: `arch` is not in the space, or `buffers` belong to another subnet.
    """
    parameters = supernet.subnet_parameters(arch)
    like = next(iter(parameters.values()))
    model = PoseModel(arch).to(device=like.device, dtype=like.dtype)
    state = model.state_dict()
    state.update({name: parameter.detach() for name, parameter in parameters.items()})
    if buffers is not None:
        check_buffers(arch, supernet.template(arch, running=True), buffers)
        state.update(buffers)
    with torch.no_grad():
        model.load_state_dict(state, strict=True)
    return model

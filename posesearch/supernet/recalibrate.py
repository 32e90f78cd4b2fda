"""BatchNorm recalibration: the statistics a subnet needs before it is evaluated, measured on training images.

Shared weights have no statistics that fit every width (the star product is quadratic in them), so each evaluated network
gets its own: the size-weighted average over fixed batches, collected in training mode without gradients and without drop
path. The supernet is never written to.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from posesearch.errors import UsageError
from posesearch.models.pose import PoseModel
from posesearch.spaces.arch import Architecture
from posesearch.supernet.slicing import cut_parameters
from posesearch.supernet.supernet import Supernet
from posesearch.supernet.templates import Places, fresh_buffers, lent, places_of


def recalibrate(supernet: Supernet, arch: Architecture, image_batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Measures the BatchNorm statistics of one subnet.

    Args:
        supernet: the shared weights; left exactly as they are.
        arch: a member of the space.
        image_batches: normalised images (B, 3, height, width), evaluation transform, fixed order.

    Returns:
        Buffers for `supernet(images, arch, buffers=...)` and `extract_subnet`, by name.

    Raises:
        UsageError: `arch` is not in the space, or there are fewer than two images.
    """
    template = supernet.template(arch, running=True)
    parameters = {
        name: value.detach()
        for name, value in cut_parameters(dict(supernet.named_parameters()), template.plan).items()
    }
    buffers = fresh_buffers(template.model, next(iter(parameters.values())))
    _collect(template.model, template.places, parameters, buffers, image_batches)
    return buffers


def recalibrate_model(model: PoseModel, image_batches: Iterable[Tensor]) -> None:
    """Replaces the BatchNorm statistics of a stand-alone network in place; weights, mode and momenta stay.

    Args:
        model: the network.
        image_batches: as in `recalibrate`.

    Raises:
        UsageError: there are fewer than two images.
    """
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    buffers = fresh_buffers(model, next(iter(parameters.values())))
    _collect(model, places_of(model), parameters, buffers, image_batches)
    own = dict(model.named_buffers())
    for name, value in buffers.items():
        own[name].copy_(value)


def _collect(
    model: PoseModel,
    places: Places,
    parameters: dict[str, Tensor],
    buffers: dict[str, Tensor],
    image_batches: Iterable[Tensor],
) -> None:
    """Fills `buffers` by running `model` on `parameters`; the module itself ends as it began."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    modes = [(module, module.training) for module in model.modules()]
    tensors = parameters | buffers
    device_type = next(iter(parameters.values())).device.type
    model.train()
    images_seen = 0
    # A head without norms has nothing to measure.
    measured: nn.Module = model if any(norm in norms for norm in model.head.modules()) else model.backbone
    try:
        # Half precision loses the variance of near-constant channels; statistics are always full precision.
        with torch.no_grad(), torch.autocast(device_type, enabled=False), lent(places, tensors):
            for images_BCHW in image_batches:
                batch = len(images_BCHW)
                if batch < 2:
                    # One image on a 1x1 map has no variance, and torch refuses it.
                    continue
                images_seen += batch
                for norm in norms:
                    # n_b / n_so_far: torch's own update then is the average over all images.
                    norm.momentum = batch / images_seen
                measured(images_BCHW)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, training in modes:
            module.training = training
    if not images_seen:
        raise UsageError(
            "BatchNorm recalibration got no batch of at least 2 images. Statistics need several images. "
            "Give it more training images (64 or more are advised)."
        )

"""The network that is timed: in the form its runtime runs fastest, checked to compute what the network computes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from posesearch.errors import DataError
from posesearch.latency.types import Conditions
from posesearch.models.deploy import DeployForm, deployed
from posesearch.models.pose import PoseModel

TOLERANCE = 1e-4
"""Largest allowed difference of a logit; float32 rounding of a folded and merged StarNet-Pose-S stays near 1e-5."""


def timed_form(conditions: Conditions) -> DeployForm:
    """Returns the form in which networks are timed, and should be deployed, under `conditions`.

    Merging f1 and f2 saves an operator a block, which is what counts where the host launches operators one by one: 7 to 18 %
    in eager mode on a CPU. ONNX Runtime on a CPU splits the merged map again by copying it and is 9 to 13 % slower with it, so
    there the branches stay apart (`posesearch bench deploy`).
    """
    on_cpu = torch.device(conditions.device).type == "cpu"
    return "folded" if on_cpu and conditions.runtime == "onnxruntime" else "merged"


def deploy(
    model: PoseModel, conditions: Conditions, *, seed: int = 0, tolerance: float = TOLERANCE
) -> PoseModel:
    """Returns the deploy form of `model` after comparing both on one random image.

    Args:
        model: On any device, in float32; it is not changed.
        conditions: Where the form is going to run; they decide which it is.
        seed: Key of the random image.
        tolerance: Largest allowed absolute difference of a logit.

    Raises:
        DataError: The outputs differ by more than `tolerance`, or are not finite.
    """
    fast = deployed(model, form=timed_form(conditions))
    reference = next(model.parameters())
    height, width = model.arch.input_size
    image_BCHW = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    difference = max_difference(model, fast, image_BCHW.to(reference.device, reference.dtype))
    if not difference <= tolerance:
        raise DataError(
            f"{model.arch}: the deploy form differs from the network by {difference:.3g}, allowed is "
            f"{tolerance:g}. The weights hold extreme or non-finite values: recalibrate or train it again."
        )
    return fast


def max_difference(first: nn.Module, second: nn.Module, images_BCHW: Tensor) -> float:
    """Returns the largest absolute difference between the outputs of two networks in evaluation mode."""
    was_training = first.training, second.training
    with torch.inference_mode():
        outputs = [network.eval()(images_BCHW) for network in (first, second)]
    first.train(was_training[0])
    second.train(was_training[1])
    return max(float((a - b).abs().max()) for a, b in zip(*outputs, strict=True))

"""The proof that an extracted network is the subnet it was cut from: the same outputs, in both modes.

Extraction is the same cut as a subnet's forward, so on a CPU the difference is exactly 0. On a GPU the library may
choose another algorithm for the same convolution, hence the tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from posesearch.errors import DataError
from posesearch.models.pose import PoseModel
from posesearch.supernet import Supernet

# Relative to the largest output. fp32 with another summation order differs by about 1e-6 (measured: 6.5e-7).
TOLERANCE = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """Largest absolute differences between subnet and extracted network, in logits.

    Attributes:
        evaluation: In evaluation mode, with the same recalibrated statistics.
        training: In training mode, with the statistics of the batch.
        largest_logit: The scale to read them by.
    """

    evaluation: float
    training: float
    largest_logit: float

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as a JSON-ready dict with `max_abs_diff`."""
        return {
            "max_abs_diff": max(self.evaluation, self.training),
            "evaluation": self.evaluation,
            "training": self.training,
            "largest_logit": self.largest_logit,
        }


@torch.no_grad()
def check_parity(
    supernet: Supernet, network: PoseModel, buffers: Mapping[str, Tensor], images_BCHW: Tensor
) -> Parity:
    """Compares a subnet with the network extracted from it.

    Args:
        supernet: The shared weights.
        network: The extracted network; left as it is.
        buffers: The statistics it was extracted with.
        images_BCHW: Normalised images.

    Raises:
        DataError: They differ by more than rounding.
    """
    arch = network.arch
    copy = deepcopy(network)
    was_training = supernet.training
    # TF32 keeps 10 bits of a product: two algorithms for one convolution would differ by more than the tolerance.
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        evaluation, scale = _difference(
            supernet(images_BCHW, arch, buffers=buffers), copy.eval()(images_BCHW)
        )
        training, _ = _difference(supernet.train()(images_BCHW, arch), copy.train()(images_BCHW))
    supernet.train(was_training)
    worst = max(evaluation, training)
    if not worst <= TOLERANCE * max(1.0, scale):
        raise DataError(
            f"the extracted network {arch} differs from its subnet by {worst:.3g} (logits up to {scale:.3g}, allowed "
            f"{TOLERANCE:g} of that). Its file was not written. Please report this with the run's run.json."
        )
    return Parity(evaluation=evaluation, training=training, largest_logit=scale)


def _difference(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> tuple[float, float]:
    pairs = list(zip(first, second, strict=True))
    return max(float((a - b).abs().max()) for a, b in pairs), max(float(a.abs().max()) for a, _ in pairs)

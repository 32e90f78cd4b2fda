"""The usual objects of a top-down data pipeline: per-sample random numbers, and a data-sample object for each person.

Part of the baseline of `bench pipeline`: written for the purpose after the published structure of MMPose 1.3 (transforms that
draw their own numbers, InstanceData and PoseDataSample with checked fields), not copied from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import truncnorm
from torch import Tensor

from posesearch.data.augment import AugmentConfig, AugmentDraws


class SampleDraws(Protocol):
    """Where the transforms of one sample take their random numbers from."""

    def flip(self) -> bool:
        """Mirror the image."""

    def half_body(self) -> tuple[bool, bool]:
        """Try a half-body crop; prefer the upper half."""

    def box(self) -> tuple[NDArray[np.float64], float, float]:
        """Shift (x, y) as a share of the box, factor on the box, rotation in degrees."""

    def hsv(self) -> NDArray[np.int16] | None:
        """Changes of hue, saturation and value; None to leave the image as it is."""

    def blur(self) -> int:
        """Box-blur kernel in pixels, 0 for none."""

    def median(self) -> int:
        """Median-blur kernel in pixels, 0 for none."""

    def hole(self, height: int, width: int) -> tuple[int, int, int, int] | None:
        """(left, top, width, height) of the black rectangle."""


class OwnDraws:
    """Numbers drawn one by one when a transform asks, as MMPose's transforms do.

    Args:
        config: Probabilities and ranges.
        seed: Start of the legacy generator that such transforms use.
    """

    def __init__(self, config: AugmentConfig, seed: int) -> None:
        self.config, self.random = config, np.random.RandomState(seed)

    def flip(self) -> bool:
        """See `SampleDraws`; a choice among directions, not a comparison."""
        share = self.config.flip_probability
        return bool(self.random.choice(["horizontal", "none"], p=[share, 1 - share]) == "horizontal")

    def half_body(self) -> tuple[bool, bool]:
        """See `SampleDraws`."""
        config = self.config
        return (
            self.random.rand() <= config.half_body_probability,
            self.random.rand() < config.half_body_prefer_upper,
        )

    def box(self) -> tuple[NDArray[np.float64], float, float]:
        """See `SampleDraws`; the truncated normal numbers come from scipy, as in MMPose."""
        config = self.config
        values = truncnorm.rvs(-1.0, 1.0, size=(1, 4), random_state=self.random).astype(np.float32)
        shift = np.where(self.random.rand(1, 1) < config.shift_probability, values[:, :2] * config.shift, 0.0)
        scale = np.where(
            self.random.rand(1, 1) < config.scale_probability, 1 + values[:, 2:3] * config.scale, 1.0
        )
        rotation = np.where(
            self.random.rand(1) < config.rotation_probability, values[:, 3] * config.rotation_deg, 0.0
        )
        return shift[0], float(scale[0, 0]), float(rotation[0])

    def hsv(self) -> NDArray[np.int16]:
        """See `SampleDraws`."""
        config = self.config
        gains = self.random.uniform(-1, 1, 3) * [config.hue, config.saturation, config.value]
        gains *= self.random.randint(0, 2, 3)
        return gains.astype(np.int16)

    def blur(self) -> int:
        """See `SampleDraws`."""
        return self._kernel(self.config.blur_probability)

    def median(self) -> int:
        """See `SampleDraws`."""
        return self._kernel(self.config.median_blur_probability)

    def hole(self, height: int, width: int) -> tuple[int, int, int, int] | None:
        """See `SampleDraws`."""
        if self.random.rand() >= self.config.dropout_probability:
            return None
        wide = int(self.random.uniform(*self.config.dropout_size) * width)
        high = int(self.random.uniform(*self.config.dropout_size) * height)
        left, top = self.random.randint(0, width - wide + 1), self.random.randint(0, height - high + 1)
        return int(left), int(top), wide, high

    def _kernel(self, probability: float) -> int:
        return int(self.random.choice((3, 5, 7))) if self.random.rand() < probability else 0


class GivenDraws:
    """The numbers of one row of a batch of ours: the same draws, so that the crops can be compared.

    Args:
        draws: The batch's numbers.
        row: Which person.
    """

    def __init__(self, draws: AugmentDraws, row: int) -> None:
        self.draws, self.row = draws, row

    def flip(self) -> bool:
        """See `SampleDraws`."""
        return bool(self.draws.flip_B[self.row])

    def half_body(self) -> tuple[bool, bool]:
        """See `SampleDraws`."""
        return bool(self.draws.half_body_B[self.row]), bool(self.draws.upper_B[self.row])

    def box(self) -> tuple[NDArray[np.float64], float, float]:
        """See `SampleDraws`."""
        draws, row = self.draws, self.row
        return draws.shift_B2[row], float(draws.scale_B[row]), float(draws.rotation_B[row])

    def hsv(self) -> NDArray[np.int16] | None:
        """See `SampleDraws`; None where all are 0: ours saves the way to HSV and back, which costs up to four levels."""
        hsv_3 = self.draws.hsv_B3[self.row]
        return hsv_3 if hsv_3.any() else None

    def blur(self) -> int:
        """See `SampleDraws`."""
        return int(self.draws.blur_B[self.row])

    def median(self) -> int:
        """See `SampleDraws`."""
        return int(self.draws.median_B[self.row])

    def hole(self, height: int, width: int) -> tuple[int, int, int, int] | None:
        """See `SampleDraws`."""
        left, top, wide, high = (int(value) for value in self.draws.hole_B4[self.row])
        return (left, top, wide, high) if wide else None


class Fields:
    """Named arrays or tensors of equally many instances, each checked when it is set (after mmengine's InstanceData)."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def set_field(self, value: Any, name: str) -> None:
        """Sets one field.

        Raises:
            ValueError: Its length differs from that of the others.
        """
        if not isinstance(value, np.ndarray | Tensor | list):
            raise ValueError(f"field '{name}' is a {type(value).__name__}. Allowed: arrays, tensors, lists.")
        if self.names and len(value) != len(self):
            raise ValueError(f"field '{name}' has {len(value)} instances. Allowed: {len(self)}.")
        setattr(self, name, value)
        self.names.add(name)

    def __len__(self) -> int:
        """Returns the number of instances."""
        return len(getattr(self, next(iter(self.names)))) if self.names else 0

    def to_tensor(self) -> Fields:
        """Returns a copy whose arrays are tensors."""
        made = Fields()
        for name in self.names:
            value = getattr(self, name)
            made.set_field(torch.from_numpy(value) if isinstance(value, np.ndarray) else value, name)
        return made


class DataSample:
    """One person with its annotation, its labels and what is known about its image (after PoseDataSample).

    Attributes:
        gt_instances: Boxes and joints as arrays.
        gt_instance_labels: Labels as tensors.
        metainfo: Facts that travel with the sample to the metric.
    """

    def __init__(self) -> None:
        self.gt_instances, self.gt_instance_labels = Fields(), Fields()
        self.metainfo: dict[str, Any] = {}

    def set_metainfo(self, facts: Mapping[str, Any]) -> None:
        """Sets facts, as attributes too."""
        for name, value in facts.items():
            self.metainfo[name] = value
            setattr(self, name, value)


INSTANCE_FIELDS = {
    "bbox": "bboxes",
    "bbox_score": "bbox_scores",
    "bbox_center": "bbox_centers",
    "bbox_scale": "bbox_scales",
    "keypoints": "keypoints",
    "keypoints_visible": "keypoints_visible",
}
LABEL_FIELDS = ("keypoint_x_labels", "keypoint_y_labels", "keypoint_weights")
META_FIELDS = (
    *("id", "img_id", "img_path", "category_id", "ori_shape", "img_shape", "input_size", "input_center"),
    *("input_scale", "flip", "flip_direction", "flip_indices", "raw_ann_info", "dataset_name"),
)


def pack(results: dict[str, Any]) -> dict[str, Any]:
    """Turns a sample's dict into the network input, images_CHW uint8 BGR, and a data sample."""
    image = torch.from_numpy(np.ascontiguousarray(results["img"].transpose(2, 0, 1)))
    sample = DataSample()
    instances, labels = Fields(), Fields()
    for key, name in INSTANCE_FIELDS.items():
        if key in results:
            instances.set_field(results[key], name)
    for key in LABEL_FIELDS:
        labels.set_field(results[key], key)
    sample.gt_instances = instances
    sample.gt_instance_labels = labels.to_tensor()
    sample.set_metainfo({key: results[key] for key in META_FIELDS if key in results})
    return {"inputs": image, "data_samples": sample}


def list_collate(samples: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Puts a batch together as lists, one entry a sample: nothing is stacked before the training process does it."""
    return {key: [sample[key] for sample in samples] for key in samples[0]}

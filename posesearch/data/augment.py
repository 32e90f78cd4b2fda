"""The published augmentation recipe: which random numbers it draws, and the one matrix per person they become.

Parameters of a whole batch are drawn at once from a keyed generator. Flip, half-body crop, shift, scale and
rotation all end up in a single affine matrix, so an image is resampled once.

The steps and numbers are those of the StarNet-Pose / RTMPose training pipeline (MMPose RandomFlip, RandomHalfBody,
RandomBBoxTransform, TopdownAffine without UDP, YOLOXHSVRandomAug; Albumentations Blur, MedianBlur, CoarseDropout).

Shape suffixes: B persons of a batch, K joints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from posesearch.errors import ConfigError

BOX_PADDING = 1.25


@dataclass(frozen=True, kw_only=True, slots=True)
class AugmentConfig:
    """Probabilities and ranges; the defaults are the published first stage.

    Attributes:
        flip_probability: Horizontal flip of the whole image.
        half_body_probability: Crop to the upper or lower body, for persons with enough labelled joints.
        half_body_min_labelled: Labelled joints a person needs for it.
        half_body_min_upper: Labelled joints the upper half needs to be chosen.
        half_body_min_lower: The same for the lower half.
        half_body_prefer_upper: Chance of the upper half where both are possible.
        half_body_padding: Factor on the box of the chosen joints.
        shift: Largest shift, as a share of the padded box.
        shift_probability: Chance of a shift.
        scale: Largest change of size: the factor lies in [1 - scale, 1 + scale].
        scale_probability: Chance of a change of size.
        rotation_deg: Largest rotation, in degrees.
        rotation_probability: Chance of a rotation.
        hue: Largest change of hue, in OpenCV's units of 2 degrees; each of the three channels is left
            alone half of the time.
        saturation: Largest change of saturation, in grey levels.
        value: Largest change of brightness, in grey levels.
        blur_probability: Box blur with a kernel of 3, 5 or 7 pixels.
        median_blur_probability: Median blur with such a kernel.
        dropout_probability: One black rectangle inside the crop, before normalisation; joints under it stay labelled.
        dropout_size: Range of its sides, as shares of the crop's height and width.
    """

    flip_probability: float = 0.5
    half_body_probability: float = 0.3
    half_body_min_labelled: int = 9
    half_body_min_upper: int = 2
    half_body_min_lower: int = 3
    half_body_prefer_upper: float = 0.7
    half_body_padding: float = 1.5
    shift: float = 0.16
    shift_probability: float = 0.3
    scale: float = 0.4
    scale_probability: float = 1.0
    rotation_deg: float = 80.0
    rotation_probability: float = 0.6
    hue: float = 5.0
    saturation: float = 30.0
    value: float = 30.0
    blur_probability: float = 0.1
    median_blur_probability: float = 0.1
    dropout_probability: float = 1.0
    dropout_size: tuple[float, float] = (0.2, 0.4)

    def __post_init__(self) -> None:
        """Refuses values outside their ranges.

        Raises:
            ConfigError: Lists every one of them.
        """
        problems = [
            f"{name}: got {getattr(self, name)}, expected a probability in [0, 1]."
            for name in self.__slots__
            if (name.endswith("probability") or name == "half_body_prefer_upper")
            and not 0 <= getattr(self, name) <= 1
        ]
        limits = {"shift": 10.0, "scale": 0.99, "rotation_deg": 180.0}
        limits |= {"hue": 90.0, "saturation": 255.0, "value": 255.0}
        problems += [
            f"{name}: got {getattr(self, name)}, expected a number in [0, {limit:g}]."
            for name, limit in limits.items()
            if not 0 <= getattr(self, name) <= limit
        ]
        if not self.half_body_padding > 0:
            problems.append(f"half_body_padding: got {self.half_body_padding}, expected a number above 0.")
        for name in ("half_body_min_labelled", "half_body_min_upper", "half_body_min_lower"):
            if getattr(self, name) < 1:
                problems.append(f"{name}: got {getattr(self, name)}, expected 1 or more.")
        if not 0 < self.dropout_size[0] <= self.dropout_size[1] <= 1:
            problems.append(f"dropout_size: got {self.dropout_size}, expected 0 < smallest <= largest <= 1.")
        if problems:
            raise ConfigError("augmentation", problems)


STAGE1 = AugmentConfig()
# The last epochs: no shift, gentler size and rotation, the rectangle only half of the time.
STAGE2 = replace(STAGE1, shift=0.0, scale=0.25, rotation_deg=60.0, dropout_probability=0.5)


class AugmentDraws(NamedTuple):
    """The random numbers of one batch.

    Attributes:
        flip_B: Mirror the image.
        half_body_B: Try a half-body crop.
        upper_B: Prefer the upper half.
        shift_B2: Shift as a share of the padded box (x, y).
        scale_B: Factor on the box.
        rotation_B: Degrees.
        hsv_B3: Whole-number changes of hue, saturation and value; 0 leaves a channel alone.
        blur_B: Box-blur kernel in pixels, 0 for none.
        median_B: Median-blur kernel in pixels, 0 for none.
        hole_B4: (left, top, width, height) of the black rectangle in crop pixels; zero size for none.
    """

    flip_B: NDArray[np.bool_]
    half_body_B: NDArray[np.bool_]
    upper_B: NDArray[np.bool_]
    shift_B2: NDArray[np.float64]
    scale_B: NDArray[np.float64]
    rotation_B: NDArray[np.float64]
    hsv_B3: NDArray[np.int16]
    blur_B: NDArray[np.int64]
    median_B: NDArray[np.int64]
    hole_B4: NDArray[np.int64]


def truncated_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Returns standard normal numbers, those outside [-1, 1] drawn again (MMPose's truncnorm(-1, 1))."""
    values = rng.standard_normal(shape)
    outside = np.abs(values) > 1
    while outside.any():
        values[outside] = rng.standard_normal(int(outside.sum()))
        outside = np.abs(values) > 1
    return values


def draw(
    config: AugmentConfig, count: int, input_size: tuple[int, int], rng: np.random.Generator
) -> AugmentDraws:
    """Draws the parameters of `count` persons.

    Every number is drawn whatever its probability, so switching one augmentation off leaves the others as they were.

    Args:
        config: Probabilities and ranges.
        count: Batch size.
        input_size: (height, width) of the crop.
        rng: A keyed generator; the same key gives the same parameters.
    """

    def happens(probability: float) -> NDArray[np.bool_]:
        return rng.random(count) < probability

    def kernel(probability: float) -> NDArray[np.int64]:
        return np.where(happens(probability), rng.choice((3, 5, 7), count), 0)

    flip, half_body, upper = (
        happens(p)
        for p in (config.flip_probability, config.half_body_probability, config.half_body_prefer_upper)
    )
    shift = truncated_normal(rng, (count, 2)) * config.shift * happens(config.shift_probability)[:, None]
    scale = 1 + truncated_normal(rng, (count,)) * config.scale * happens(config.scale_probability)
    rotation = truncated_normal(rng, (count,)) * config.rotation_deg * happens(config.rotation_probability)
    gains = rng.uniform(-1, 1, (count, 3)) * (config.hue, config.saturation, config.value)
    # int16 cuts towards zero, as YOLOX's own code does.
    hsv = (gains * rng.integers(0, 2, (count, 3))).astype(np.int16)
    return AugmentDraws(
        flip_B=flip,
        half_body_B=half_body,
        upper_B=upper,
        shift_B2=shift,
        scale_B=scale,
        rotation_B=rotation,
        hsv_B3=hsv,
        blur_B=kernel(config.blur_probability),
        median_B=kernel(config.median_blur_probability),
        hole_B4=_draw_holes(config, happens(config.dropout_probability), input_size, rng),
    )


def _draw_holes(
    config: AugmentConfig, wanted_B: NDArray[np.bool_], input_size: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.int64]:
    height, width = input_size
    share_B2 = rng.uniform(*config.dropout_size, (len(wanted_B), 2))
    size_B2 = (share_B2 * (width, height)).astype(np.int64)
    # The rectangle lies fully inside: its corner is uniform over all places where it fits.
    corner_B2 = rng.integers(0, np.array((width, height)) - size_B2 + 1)
    return np.concatenate((corner_B2, size_B2), axis=1) * wanted_B[:, None]

"""An augmentation that moves people and leaves every pixel value as it is, for tests that follow pixels."""

from __future__ import annotations

from dataclasses import replace

from posesearch.data.augment import STAGE1

GEOMETRY = replace(
    STAGE1,
    hue=0.0,
    saturation=0.0,
    value=0.0,
    blur_probability=0.0,
    median_blur_probability=0.0,
    dropout_probability=0.0,
)

"""All pairs of a detection and an annotated person that are alike enough to match, with their OKS.

The OKS is COCOeval's: over the labelled joints of the person; for a person without any, over all
joints, with the distance to the person's box enlarged to three times its sides.

Shapes: D detections (image by image, by descending score), G persons (image by image), K joints,
P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from posesearch.keypoints.oks import joint_terms, mean_of_visible, variances

# Pairs worked on at a time: the tables of 4,096 x 17 numbers stay in the cache (and a million pairs in memory).
_CHUNK = 4096

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs:
    """Pairs of one image, by ascending detection.

    Attributes:
        detection_P: index into the detections.
        person_P: index into the persons.
        oks_P: their OKS, at least the lowest asked for.
    """

    detection_P: IntArray
    person_P: IntArray
    oks_P: FloatArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Persons:
    """What the OKS needs to know of the annotated persons, image by image.

    Attributes:
        keypoints_GK3: (x, y, visibility).
        bbox_G4: (left, top, width, height).
        area_G: square pixels.
    """

    keypoints_GK3: FloatArray
    bbox_G4: FloatArray
    area_G: FloatArray


def find_pairs(
    points_DK2: FloatArray,
    persons: Persons,
    person_range_D2: IntArray,
    sigmas: Sequence[float],
    lowest: float,
) -> Pairs:
    """All pairs with an OKS of at least `lowest`, each OKS to the last bit as pycocotools has it.

    Args:
        points_DK2: (x, y) of the detections.
        persons: the annotated persons.
        person_range_D2: the first and the last + 1 of the persons of each detection's image.
        sigmas: the K constants.
        lowest: smallest OKS of interest, in (0, 1).
    """
    points_2DK = np.ascontiguousarray(points_DK2.transpose(2, 0, 1))
    true_2GK = np.ascontiguousarray(persons.keypoints_GK3[..., :2].transpose(2, 0, 1))
    visible_GK = persons.keypoints_GK3[..., 2] > 0
    boxed_G = np.logical_not(visible_GK.any(axis=1))
    visible_GK |= boxed_G[:, None]
    corner_G2, sides_G2 = persons.bbox_G4[:, :2], persons.bbox_G4[:, 2:]
    box = _Extents((corner_G2 - sides_G2).T, (corner_G2 + sides_G2 * 2).T)
    joints = _extents(true_2GK, visible_GK)
    person = _Extents(
        np.where(boxed_G, box.low_2N, joints.low_2N), np.where(boxed_G, box.high_2N, joints.high_2N)
    )
    margin_G = _reach(persons.area_G, sigmas, lowest)
    detection_P, person_P = _near(_extents(points_2DK), person.grown(margin_G), person_range_D2)

    oks_P = np.zeros(len(person_P))
    for start in range(0, len(person_P), _CHUNK):
        part = slice(start, start + _CHUNK)
        detection, those = detection_P[part], person_P[part]
        inbox = np.flatnonzero(boxed_G[those])
        squared_PK = np.zeros((len(those), points_DK2.shape[1]))
        for axis in (0, 1):
            value_PK = points_2DK[axis, detection]
            difference_PK = value_PK - true_2GK[axis, those]
            low, high = box.low_2N[axis, those[inbox], None], box.high_2N[axis, those[inbox], None]
            difference_PK[inbox] = np.maximum(0, low - value_PK[inbox]) + np.maximum(
                0, value_PK[inbox] - high
            )
            squared_PK += np.square(difference_PK, out=difference_PK)
        terms_PK = joint_terms(squared_PK, persons.area_G[those], variances(sigmas))
        visible_PK = visible_GK[those]
        # A plain sum, good to 1e-12, spares most pairs the exact one.
        sum_P = np.einsum("pk,pk->p", terms_PK, visible_PK)
        alike = np.flatnonzero(sum_P >= (lowest - 1e-9) * np.count_nonzero(visible_PK, axis=1))
        oks_P[start + alike] = mean_of_visible(terms_PK[alike], visible_PK[alike])
    alike_P = oks_P >= lowest
    return Pairs(detection_P=detection_P[alike_P], person_P=person_P[alike_P], oks_P=oks_P[alike_P])


class _Extents(NamedTuple):
    """Axis-parallel rectangles: smallest and largest (x, y)."""

    low_2N: FloatArray
    high_2N: FloatArray

    def grown(self, margin_N: FloatArray) -> _Extents:
        return _Extents(self.low_2N - margin_N, self.high_2N + margin_N)


def _extents(points_2NK: FloatArray, counts_NK: BoolArray | None = None) -> _Extents:
    """Of the joints that count, all where not given; (inf, -inf) of none."""
    # Joint by joint in memory: minima over joints are then whole-row operations, four times as fast.
    points_2KN = np.ascontiguousarray(points_2NK.transpose(0, 2, 1))
    if counts_NK is None:
        return _Extents(points_2KN.min(axis=1, initial=np.inf), points_2KN.max(axis=1, initial=-np.inf))
    return _Extents(
        np.where(counts_NK.T, points_2KN, np.inf).min(axis=1, initial=np.inf),
        np.where(counts_NK.T, points_2KN, -np.inf).max(axis=1, initial=-np.inf),
    )


def _near(detections: _Extents, persons: _Extents, person_range_D2: IntArray) -> tuple[IntArray, IntArray]:
    """Pairs of one image whose extents overlap. Most pairs of an image are strangers far apart."""
    count_D = person_range_D2[:, 1] - person_range_D2[:, 0]
    detection_P = np.repeat(np.arange(len(count_D)), count_D)
    person_P = _ranges(person_range_D2[:, 0], count_D)
    for axis in (0, 1):
        overlap_P = (detections.high_2N[axis][detection_P] >= persons.low_2N[axis][person_P]) & (
            detections.low_2N[axis][detection_P] <= persons.high_2N[axis][person_P]
        )
        detection_P, person_P = detection_P[overlap_P], person_P[overlap_P]
    return detection_P, person_P


def _reach(area_G: FloatArray, sigmas: Sequence[float], lowest: float) -> FloatArray:
    """Pixels: with no joint as near as this, every term of the mean is below `lowest`, hence the OKS is.

    For 0.5 and COCO's hips that is 0.252 sqrt(area). One part in a million is added against rounding.
    """
    return (
        np.sqrt(-2 * np.log(lowest) * variances(sigmas).max() * (area_G + np.spacing(1))) * (1 + 1e-6) + 1e-9
    )


def _ranges(first_N: IntArray, count_N: IntArray) -> IntArray:
    """first, first + 1, ... (count of them), one range after the other."""
    return np.arange(count_N.sum()) + np.repeat(first_N - (np.cumsum(count_N) - count_N), count_N)

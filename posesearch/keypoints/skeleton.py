"""What a joint set is: names, OKS constants, mirror pairs, limbs, body halves.

Four published sets are written out (COCO-17, LSP-14, CrowdPose-14, MPII-16). Any other set
is built from the joint names of its annotation file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posesearch.errors import DataError

# Joint kind -> OKS constant in tenths, as COCO publishes them. They are divided by ten where they are
# used: pycocotools does so too, and .26 / 10 is one ulp above .026, so only this gives its exact numbers.
_COCO_SIGMA_TENTHS: Mapping[str, float] = {
    "nose": 0.26,
    "eye": 0.25,
    "ear": 0.35,
    "shoulder": 0.79,
    "elbow": 0.72,
    "wrist": 0.62,
    "hip": 1.07,
    "knee": 0.87,
    "ankle": 0.89,
    # The four below are not COCO's: neck and head top are CrowdPose's values, thorax and pelvis are
    # those of the joints they lie between.
    "neck": 0.79,
    "head": 0.79,
    "thorax": 0.79,
    "pelvis": 1.07,
}
# A joint of unknown kind is taken to be as hard to place as a shoulder or a neck: .079 lies in the upper
# half of COCO's range (.025 to .107), so an unknown joint is scored leniently rather than as an eye.
_UNKNOWN_SIGMA_TENTHS = 0.79
_LOWER_BODY_KINDS = frozenset({"hip", "pelvis", "knee", "ankle", "foot", "heel", "toe"})
_SIDE_PATTERNS = (
    re.compile(r"(?:im)?(?P<side>left|right)[_\- ]*(?P<part>.+)", re.IGNORECASE),
    re.compile(r"(?P<part>.+?)[_\- ]*(?P<side>left|right)", re.IGNORECASE),
    re.compile(r"(?P<side>[lr])[_\- ]+(?P<part>.+)", re.IGNORECASE),
    re.compile(r"(?P<part>.+?)[_\- ]+(?P<side>[lr])", re.IGNORECASE),
    re.compile(r"(?P<side>[lrLR])(?P<part>[A-Z].+)"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Skeleton:
    """One joint set, in the joint order of the annotations and of every model output.

    Attributes:
        names: K joint names.
        sigmas: K OKS constants (fractions of the square root of a person's area).
        flip_pairs: pairs of joint indices that change places in a mirrored image.
        limbs: pairs of joint indices joined by a line when drawn (0-based).
        upper_body: indices above the hips, for half-body augmentation.
        lower_body: the other indices.
    """

    names: tuple[str, ...]
    sigmas: tuple[float, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    limbs: tuple[tuple[int, int], ...]
    upper_body: tuple[int, ...]
    lower_body: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuses a set whose parts disagree.

        Raises:
            DataError: no joints, repeated names, a wrong number of sigmas, a sigma that is not
                positive, an index outside the joints, or a joint in two flip pairs.
        """
        count = len(self.names)
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        indices = [*self.upper_body, *self.lower_body]
        for pair in (*self.flip_pairs, *self.limbs):
            indices.extend(pair)
        paired = [joint for pair in self.flip_pairs for joint in pair]
        if count == 0:
            problem = "it has no joints. A skeleton needs at least one joint name"
        elif repeated:
            problem = f"the joint names {repeated} occur more than once. Names must differ"
        elif len(self.sigmas) != count or not all(sigma > 0 for sigma in self.sigmas):
            problem = (
                f"{len(self.sigmas)} OKS sigmas for {count} joints. One positive sigma a joint is needed"
            )
        elif any(not 0 <= index < count for index in indices):
            problem = f"it names joint {max(indices, key=abs)}. Indices run from 0 to {count - 1}"
        elif len(set(paired)) != len(paired):
            problem = "a joint is in two flip pairs. Each joint has at most one mirror image"
        else:
            return
        raise DataError(f"The joint set {list(self.names)} is unusable: {problem}. Correct the joint set.")

    @property
    def num_joints(self) -> int:
        """The number of joints, K."""
        return len(self.names)

    @property
    def flip_index(self) -> NDArray[np.int64]:
        """flip_index_K: joint k of a mirrored person is joint flip_index_K[k] of the original."""
        index_K = np.arange(len(self.names), dtype=np.int64)
        for left, right in self.flip_pairs:
            index_K[left], index_K[right] = right, left
        return index_K

    def to_plain(self) -> dict[str, list[object]]:
        """The skeleton as JSON-able lists; `from_plain` reads it back equal."""
        return {
            "names": list(self.names),
            "sigmas": list(self.sigmas),
            "flip_pairs": [list(pair) for pair in self.flip_pairs],
            "limbs": [list(pair) for pair in self.limbs],
            "upper_body": list(self.upper_body),
            "lower_body": list(self.lower_body),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Sequence]) -> Skeleton:
        """The skeleton written by `to_plain`.

        Raises:
            DataError: a field is missing or is not a list of the right kind.
        """
        try:
            return cls(
                names=tuple(str(name) for name in plain["names"]),
                sigmas=tuple(float(sigma) for sigma in plain["sigmas"]),
                flip_pairs=tuple((int(left), int(right)) for left, right in plain["flip_pairs"]),
                limbs=tuple((int(start), int(end)) for start, end in plain["limbs"]),
                upper_body=tuple(int(index) for index in plain["upper_body"]),
                lower_body=tuple(int(index) for index in plain["lower_body"]),
            )
        except (KeyError, TypeError, ValueError) as fault:
            raise DataError(
                f"The joint set in this file cannot be read ({fault!r}). It needs the lists "
                f"{', '.join(cls.__slots__)}. Write the file again with this version of posesearch."
            ) from fault


def skeleton_from_category(names: Sequence[str], limbs: Sequence[Sequence[int]] = ()) -> Skeleton:
    """The skeleton of a COCO category.

    A set with the names of a published one (case, blanks and hyphens aside) is that one. For
    any other, mirror pairs come from the sides in the names (`left_knee`/`right_knee`,
    `l_knee`/`r_knee`, `LKnee`/`RKnee`, `knee_left`, ...), OKS constants and body halves from
    the joint kinds; joints of unknown kind get .079.

    Args:
        names: the category's "keypoints".
        limbs: the category's "skeleton", 1-based pairs. Pairs outside the joints are left out:
            CrowdPose's own files carry the 17-joint limbs of COCO beside 14 joints.

    Raises:
        DataError: no names, or repeated ones.
    """
    canonical = tuple(_canonical(name) for name in names)
    for known in SKELETONS.values():
        if canonical == known.names:
            return known
    drawable = tuple(
        (start - 1, end - 1) for start, end in limbs if 1 <= min(start, end) <= max(start, end) <= len(names)
    )
    return _build(tuple(names), drawable)


def _build(names: tuple[str, ...], limbs: tuple[tuple[int, int], ...]) -> Skeleton:
    """A skeleton whose sigmas, pairs and halves follow from the joint names (limbs 0-based)."""
    lower = tuple(index for index, name in enumerate(names) if not _LOWER_BODY_KINDS.isdisjoint(_words(name)))
    return Skeleton(
        names=names,
        sigmas=tuple(_sigma(name) for name in names),
        flip_pairs=_flip_pairs(names),
        limbs=limbs,
        upper_body=tuple(index for index in range(len(names)) if index not in lower),
        lower_body=lower,
    )


def _canonical(name: str) -> str:
    return re.sub(r"[ \-]+", "_", name.strip().lower())


def _words(name: str) -> list[str]:
    """The words of a joint name without its side: "left_big_toe" and "LBig-Toe" are ["big", "toe"]."""
    sided = _side_and_part(name)
    return (sided[1] if sided else _canonical(name)).split("_")


def _sigma(name: str) -> float:
    """The OKS constant of the joint kind in the name. Whole words only: a forearm is no ear."""
    tenths = (_COCO_SIGMA_TENTHS[word] for word in _words(name) if word in _COCO_SIGMA_TENTHS)
    return next(tenths, _UNKNOWN_SIGMA_TENTHS) / 10


def _side_and_part(name: str) -> tuple[str, str] | None:
    for pattern in _SIDE_PATTERNS:
        match = pattern.fullmatch(name)
        if match:
            return match["side"][0].lower(), _canonical(match["part"])
    return None


def _flip_pairs(names: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """(left, right) index pairs, in the order in which the pairs first appear."""
    sided = {side: index for index, name in enumerate(names) if (side := _side_and_part(name))}
    parts = dict.fromkeys(part for _, part in sided)
    return tuple(
        (sided["l", part], sided["r", part])
        for part in parts
        if ("l", part) in sided and ("r", part) in sided
    )


COCO17 = _build(
    (
        *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
        *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
        *("left_knee", "right_knee", "left_ankle", "right_ankle"),
    ),
    (
        *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8)),
        *((7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    ),
)
LSP14 = _build(
    (
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
        *("neck", "head_top"),
    ),
    (
        *((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 12), (12, 9), (9, 10), (10, 11)),
        *((12, 13), (2, 8), (3, 9)),
    ),
)
CROWDPOSE14 = _build(
    (
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head", "neck"),
    ),
    (
        *((12, 13), (13, 0), (13, 1), (0, 2), (1, 3), (2, 4), (3, 5), (0, 6), (1, 7), (6, 7)),
        *((6, 8), (7, 9), (8, 10), (9, 11)),
    ),
)
MPII16 = _build(
    (
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("pelvis", "thorax", "neck", "head_top", "right_wrist", "right_elbow", "right_shoulder"),
        *("left_shoulder", "left_elbow", "left_wrist"),
    ),
    (
        *((0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (7, 12), (12, 11)),
        *((11, 10), (7, 13), (13, 14), (14, 15)),
    ),
)
SKELETONS: Mapping[str, Skeleton] = {
    "coco17": COCO17,
    "lsp14": LSP14,
    "crowdpose14": CROWDPOSE14,
    "mpii16": MPII16,
}

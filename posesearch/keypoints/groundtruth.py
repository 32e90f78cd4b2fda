"""Annotated and detected people as arrays: the two sides of an evaluation.

Both are read from COCO's JSON structures and follow its tools: persons keep the order of the
file, and a detection's area is that of pycocotools' `loadRes`.

Shapes: I images, G annotated persons, D detections, K joints. Points are (x, y) in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posesearch.errors import DataError
from posesearch.keypoints.records import Record, id_column, number_column, require

# CrowdPose and generated sets have boxes but no segmentation; this is CrowdPose's own stand-in for its area.
_AREA_OF_BOX = 0.53


@dataclass(frozen=True, kw_only=True, slots=True)
class GroundTruth:
    """The annotations of one category.

    Attributes:
        image_ids_I: ids of all images, annotated or not, ascending.
        image_id_G: the image of each person, one of image_ids_I.
        keypoints_GK3: (x, y, visibility 0 unlabelled, 1 hidden, 2 visible).
        bbox_G4: (left, top, width, height).
        area_G: square pixels, of the segmentation.
        iscrowd_G: True for a region of uncounted people.
        num_keypoints_G: labelled joints as the file states them; 0 means "ignore".
        annotation_id_G: unique ids.
    """

    image_ids_I: NDArray[np.int64]
    image_id_G: NDArray[np.int64]
    keypoints_GK3: NDArray[np.float64]
    bbox_G4: NDArray[np.float64]
    area_G: NDArray[np.float64]
    iscrowd_G: NDArray[np.bool_]
    num_keypoints_G: NDArray[np.int64]
    annotation_id_G: NDArray[np.int64]

    @property
    def num_joints(self) -> int:
        """The number of joints, K."""
        return self.keypoints_GK3.shape[1]

    @property
    def num_persons(self) -> int:
        """Persons that count in an evaluation: not a crowd, with a labelled joint."""
        return int(np.count_nonzero(~self.iscrowd_G & (self.num_keypoints_G > 0)))

    @classmethod
    def from_coco(
        cls, coco: Mapping[str, Any], *, source: str = "annotations", category_id: int | None = None
    ) -> GroundTruth:
        """The annotations of one category of a COCO keypoint file.

        As in COCOeval, annotations of images that are not listed under "images" are left out. Beyond
        COCOeval, "num_keypoints" may be missing (then v > 0 is counted) and so may "area" (then
        0.53 of the box, CrowdPose's rule).

        Args:
            coco: the parsed JSON.
            source: the file, for messages.
            category_id: which category; where not given the file must have exactly one with joints.

        Raises:
            DataError: a missing or wrong entry (with its annotation id), joints that differ in number
                from the category's names, repeated ids, or several categories to choose from.
        """
        require(coco, dict, "the document", source)
        for key in ("images", "annotations", "categories"):
            require(coco.get(key), list, f'"{key}"', source)
        names = _category(keypoint_categories(coco, source=source), category_id, source)
        image_ids_I = np.unique(id_column(coco["images"], "id", source=f"{source}, images"))
        where = f"{source}, annotations"
        rows: Sequence[Record] = coco["annotations"]
        chosen = (id_column(rows, "category_id", source=where) == names.id) & np.isin(
            id_column(rows, "image_id", source=where), image_ids_I
        )
        rows = [rows[index] for index in np.flatnonzero(chosen).tolist()]
        annotation_id_G = id_column(rows, "id", source=where)
        values, counts = np.unique(annotation_id_G, return_counts=True)
        if (counts > 1).any():
            raise DataError(
                f"{where}: id {values[counts > 1][0]} occurs {counts.max()} times. "
                "Annotation ids must be unique. Number the annotations anew."
            )
        joints = _num_joints(rows, names.joints)
        flat_G = number_column(rows, "keypoints", source=where, width=3 * joints)
        keypoints_GK3 = flat_G.reshape(len(rows), joints, 3)
        bbox_G4 = number_column(rows, "bbox", source=where, width=4)
        labelled = [
            row if "num_keypoints" in row else {"num_keypoints": int(count)}
            for row, count in zip(rows, np.count_nonzero(keypoints_GK3[..., 2] > 0, axis=1), strict=True)
        ]
        sized = [
            row if "area" in row else {"area": _AREA_OF_BOX * width * height}
            for row, (_, _, width, height) in zip(rows, bbox_G4.tolist(), strict=True)
        ]
        return cls(
            image_ids_I=image_ids_I,
            image_id_G=id_column(rows, "image_id", source=where),
            keypoints_GK3=keypoints_GK3,
            bbox_G4=bbox_G4,
            area_G=number_column(sized, "area", source=where),
            iscrowd_G=np.array([bool(row.get("iscrowd", 0)) for row in rows], dtype=np.bool_),
            num_keypoints_G=id_column(labelled, "num_keypoints", source=where),
            annotation_id_G=annotation_id_G,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Detections:
    """Predicted people, in the order of their file: of equal scores COCO's tools put the first one first.

    Attributes:
        image_id_D: the image of each detection.
        keypoints_DK3: (x, y, joint score).
        score_D: score of the person.
        area_D: square pixels: of the box where there is one, else of the joints' extent.
        bbox_D4: (left, top, width, height), or None.
    """

    image_id_D: NDArray[np.int64]
    keypoints_DK3: NDArray[np.float64]
    score_D: NDArray[np.float64]
    area_D: NDArray[np.float64]
    bbox_D4: NDArray[np.float64] | None

    @classmethod
    def from_arrays(
        cls,
        image_id_D: ArrayLike,
        keypoints_DK3: ArrayLike,
        score_D: ArrayLike,
        bbox_D4: ArrayLike | None = None,
    ) -> Detections:
        """Detections with the areas that `loadRes` would give them (they decide AP(M) and AP(L) only)."""
        keypoints_DK3 = np.asarray(keypoints_DK3, dtype=np.float64)
        if bbox_D4 is None:
            low_D2 = keypoints_DK3[..., :2].min(axis=1, initial=np.inf)
            sides_D2 = keypoints_DK3[..., :2].max(axis=1, initial=-np.inf) - low_D2
        else:
            bbox_D4 = np.asarray(bbox_D4, dtype=np.float64).reshape(-1, 4)
            sides_D2 = bbox_D4[:, 2:]
        return cls(
            image_id_D=np.asarray(image_id_D, dtype=np.int64),
            keypoints_DK3=keypoints_DK3,
            score_D=np.asarray(score_D, dtype=np.float64),
            area_D=sides_D2[:, 0] * sides_D2[:, 1],
            bbox_D4=bbox_D4,
        )

    @classmethod
    def from_results(
        cls,
        rows: Sequence[Mapping[str, Any]],
        num_joints: int,
        *,
        source: str = "results",
        category_id: int | None = None,
    ) -> Detections:
        """Detections of a COCO keypoint result list.

        As in `loadRes`, the *first* row decides for all whether areas come from "bbox".

        Args:
            rows: {"image_id", "category_id", "keypoints", "score"} and maybe "bbox", parsed from JSON.
            num_joints: K; each "keypoints" must hold 3 K numbers.
            source: the file, for messages.
            category_id: keep only these rows; all where not given.

        Raises:
            DataError: a missing or wrong entry, with the position of its row.
        """
        require(rows, list, "the document", source)
        categories_D = id_column(rows, "category_id", source=source)
        image_id_D = id_column(rows, "image_id", source=source)
        score_D = number_column(rows, "score", source=source)
        flat_D = number_column(rows, "keypoints", source=source, width=3 * num_joints)
        bbox_D4 = None
        if rows and rows[0].get("bbox"):
            bbox_D4 = number_column(rows, "bbox", source=source, width=4)
        chosen_D = np.full(len(rows), True) if category_id is None else categories_D == category_id
        return cls.from_arrays(
            image_id_D[chosen_D],
            flat_D.reshape(len(rows), num_joints, 3)[chosen_D],
            score_D[chosen_D],
            None if bbox_D4 is None else bbox_D4[chosen_D],
        )

    def to_results(self, category_id: int = 1) -> list[dict[str, Any]]:
        """The detections as a COCO keypoint result list, ready for JSON, in full precision."""
        flat_D = self.keypoints_DK3.reshape(len(self.score_D), 3 * self.keypoints_DK3.shape[1]).tolist()
        columns = zip(self.image_id_D.tolist(), flat_D, self.score_D.tolist(), strict=True)
        rows: list[dict[str, Any]] = [
            {"image_id": image_id, "category_id": category_id, "keypoints": keypoints, "score": score}
            for image_id, keypoints, score in columns
        ]
        if self.bbox_D4 is not None:
            for row, bbox in zip(rows, self.bbox_D4.tolist(), strict=True):
                row["bbox"] = bbox
        return rows


@dataclass(frozen=True, kw_only=True, slots=True)
class KeypointCategory:
    """One category of an annotation file: its id and, where the file gives them, its joint names and limbs."""

    id: int
    joints: tuple[str, ...]
    limbs: tuple[tuple[int, ...], ...]


def keypoint_categories(
    coco: Mapping[str, Any], *, source: str = "annotations"
) -> tuple[KeypointCategory, ...]:
    """The categories that have joint names; all of them in a file where none has.

    Raises:
        DataError: "categories" is no list of objects with whole-number ids, or it is empty, or joint
            names are no text.
    """
    require(coco, dict, "the document", source)
    require(coco.get("categories"), list, '"categories"', source)
    rows = coco["categories"]
    ids = id_column(rows, "id", source=f"{source}, categories").tolist()
    found = tuple(
        KeypointCategory(
            id=identity,
            joints=_joint_names(row.get("keypoints") or [], f"{source}, category {identity}"),
            limbs=_limbs(row.get("skeleton")),
        )
        for identity, row in zip(ids, rows, strict=True)
    )
    if not found:
        raise DataError(
            f'{source}: "categories" is empty. It must hold the category of the annotated people, with '
            'its joint names under "keypoints". Add it.'
        )
    return tuple(category for category in found if category.joints) or found


def _joint_names(names: Any, source: str) -> tuple[str, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise DataError(
            f'{source}: "keypoints" is {names!r:.80}. It must be a list of joint names. Correct the category.'
        )
    return tuple(names)


def _limbs(stated: Any) -> tuple[tuple[int, ...], ...]:
    """Limbs that are no pair of numbers are left out: they are only drawn."""
    return tuple(
        tuple(limb)
        for limb in (stated if isinstance(stated, list) else [])
        if isinstance(limb, list) and len(limb) == 2 and all(isinstance(joint, int) for joint in limb)
    )


def _category(categories: Sequence[KeypointCategory], wanted: int | None, source: str) -> KeypointCategory:
    matching = [category for category in categories if wanted is None or category.id == wanted]
    if len(matching) == 1:
        return matching[0]
    ids = ", ".join(str(category.id) for category in categories)
    asked = "none was chosen" if wanted is None else f"category {wanted} was asked for"
    raise DataError(
        f"{source}: {asked}, and the categories with joints are {ids}. "
        "One is evaluated at a time. Give one of these ids or a file with a single one."
    )


def _num_joints(rows: Sequence[Record], names: tuple[str, ...]) -> int:
    """From the category's names, else from the first annotation."""
    if names:
        return len(names)
    first = rows[0].get("keypoints") if rows else None
    return len(first) // 3 if isinstance(first, list) else 0

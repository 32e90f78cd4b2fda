"""The people of one split as flat arrays: one row per person, one record per image.

Nothing here holds pixels. Augmentation, crops and evaluation all index the same rows, so a batch is a list of row
numbers and nothing else has to travel between threads.

Shape suffixes: N persons, K joints, I images, G annotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posesearch.errors import DataError
from posesearch.keypoints.groundtruth import GroundTruth
from posesearch.keypoints.skeleton import Skeleton
from posesearch.rng import generator

GROUND_TRUTH_BOXES = "gt"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageRecord:
    """One image of the annotation file.

    Attributes:
        id: The file's image id.
        path: Where the image lies; always inside the image folder.
        height: In pixels, as the annotation file states it.
        width: In pixels, as the annotation file states it.
    """

    id: int
    path: Path
    height: int
    width: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PoseDataset:
    """Persons usable for top-down pose estimation, and the full ground truth they are scored against.

    Attributes:
        name: The annotation set, e.g. "person_keypoints" or "lspet_coco17".
        split: "train", "val", or a part of one such as "train-held-out".
        boxes: "gt" for boxes of the annotation file, else the name of the detector file.
        annotation_file: The COCO JSON that was read.
        category_id: The category whose keypoints are used.
        images: Every image of the annotation file, in its order.
        skeleton: Joint names, flip pairs, sigmas and limbs.
        image_index_N: Row in `images` of each person.
        image_id_N: The file's image id of each person.
        image_size_N2: (height, width) of each person's image, in pixels.
        bbox_xywh_N4: Boxes in COCO pixels (x, y, width, height), as the file gives them.
        keypoints_NK3: (x, y, v) with v 0 unlabelled, 1 occluded, 2 visible; all zero for detector boxes.
        area_N: Object area in square pixels (OKS normaliser).
        annotation_id_N: Annotation ids; for detector boxes the row in the detector file.
        box_score_N: 1.0 for ground truth, else the detector's score.
        ground_truth: All annotations of the file, crowds and unlabelled persons included.
    """

    name: str
    split: str
    boxes: str = GROUND_TRUTH_BOXES
    annotation_file: Path
    category_id: int
    images: tuple[ImageRecord, ...]
    skeleton: Skeleton
    image_index_N: NDArray[np.int64]
    image_id_N: NDArray[np.int64]
    image_size_N2: NDArray[np.int64]
    bbox_xywh_N4: NDArray[np.float64]
    keypoints_NK3: NDArray[np.float64]
    area_N: NDArray[np.float64]
    annotation_id_N: NDArray[np.int64]
    box_score_N: NDArray[np.float64]
    ground_truth: GroundTruth

    def __len__(self) -> int:
        """Returns the number of persons."""
        return len(self.image_index_N)

    def crop_boxes(self, person_index: NDArray[np.integer] | None = None) -> NDArray[np.float64]:
        """Returns bbox_xywh_B4 as crops use them: ground-truth boxes clipped to the image, detector boxes as given.

        MMPose clips while it reads annotations, to [0, width - 1] x [0, height - 1], and leaves detector boxes.
        """
        index = slice(None) if person_index is None else np.asarray(person_index)
        boxes_B4 = self.bbox_xywh_N4[index]
        if self.boxes != GROUND_TRUTH_BOXES:
            return boxes_B4.copy()
        return clip_boxes(boxes_B4, self.image_size_N2[index])

    def subset(self, person_index: NDArray[np.integer], *, split: str | None = None) -> PoseDataset:
        """Returns the given persons, scored against themselves only.

        The ground truth keeps their own annotations and, in their images, those that scoring ignores anyway
        (crowds, persons without labelled joints): a person left out is not counted as missed. With detector
        boxes the rows are not annotations, so every annotation of the images concerned stays.

        Args:
            person_index: Rows to keep, in the order wanted.
            split: A new split name; by default the old one.
        """
        rows = np.asarray(person_index, dtype=np.int64)
        images = np.unique(self.image_id_N[rows])
        left_out = np.empty(0, dtype=np.int64)
        if self.boxes == GROUND_TRUTH_BOXES:
            left_out = np.setdiff1d(self.annotation_id_N, self.annotation_id_N[rows])
        return self._rows(rows, truth_of(self.ground_truth, images, left_out), split or self.split)

    def split_by_image(self, fraction: float, seed: int) -> tuple[PoseDataset, PoseDataset]:
        """Splits off a share of the images, so that no image is on both sides.

        Args:
            fraction: Share of the images with persons that is held out, in (0, 1).
            seed: Key of the choice; the same seed gives the same split on every machine.

        Returns:
            (the rest, the held-out part), with "-fit" and "-held-out" added to the split name.

        Raises:
            DataError: One side would be empty.
        """
        used_I = np.unique(self.image_index_N)
        count = round(len(used_I) * fraction)
        if not 0 < count < len(used_I):
            raise DataError(
                f"cannot hold out {fraction:g} of {len(used_I)} images of {self.annotation_file}: one side "
                "would be empty. Allowed: a share in (0, 1) that leaves at least one image on each side. "
                "Use more images or another share."
            )
        held_I = generator(seed, "split-by-image").permutation(used_I)[:count]
        held_N = np.isin(self.image_index_N, held_I)
        held_ids = np.unique(self.image_id_N[held_N])
        fit_ids = np.setdiff1d(self.ground_truth.image_ids_I, held_ids)
        truth = self.ground_truth
        return (
            self._rows(np.flatnonzero(~held_N), truth_of(truth, fit_ids), f"{self.split}-fit"),
            self._rows(np.flatnonzero(held_N), truth_of(truth, held_ids), f"{self.split}-held-out"),
        )

    def _rows(self, person_index: NDArray[np.int64], truth: GroundTruth, split: str) -> PoseDataset:
        return replace(
            self,
            split=split,
            image_index_N=self.image_index_N[person_index],
            image_id_N=self.image_id_N[person_index],
            image_size_N2=self.image_size_N2[person_index],
            bbox_xywh_N4=self.bbox_xywh_N4[person_index],
            keypoints_NK3=self.keypoints_NK3[person_index],
            area_N=self.area_N[person_index],
            annotation_id_N=self.annotation_id_N[person_index],
            box_score_N=self.box_score_N[person_index],
            ground_truth=truth,
        )


def truth_of(
    truth: GroundTruth, image_ids: NDArray[np.int64], left_out: NDArray[np.int64] | Sequence[int] = ()
) -> GroundTruth:
    """Returns the ground truth of some images, without the annotations whose ids are left out."""
    keep_G = np.isin(truth.image_id_G, image_ids) & ~np.isin(truth.annotation_id_G, np.asarray(left_out))
    return replace(
        truth,
        image_ids_I=image_ids,
        image_id_G=truth.image_id_G[keep_G],
        keypoints_GK3=truth.keypoints_GK3[keep_G],
        bbox_G4=truth.bbox_G4[keep_G],
        area_G=truth.area_G[keep_G],
        iscrowd_G=truth.iscrowd_G[keep_G],
        num_keypoints_G=truth.num_keypoints_G[keep_G],
        annotation_id_G=truth.annotation_id_G[keep_G],
    )


def clip_boxes(bbox_xywh_N4: NDArray[np.float64], image_size_N2: NDArray[np.integer]) -> NDArray[np.float64]:
    """Returns the parts of boxes that lie inside their images; width or height is 0 where nothing does.

    Args:
        bbox_xywh_N4: Boxes in pixels.
        image_size_N2: (height, width) of each box's image.
    """
    last_N2 = image_size_N2[:, ::-1] - 1
    low_N2 = np.clip(bbox_xywh_N4[:, :2], 0, last_N2)
    high_N2 = np.clip(bbox_xywh_N4[:, :2] + bbox_xywh_N4[:, 2:], 0, last_N2)
    return np.concatenate((low_N2, np.maximum(high_N2 - low_N2, 0)), axis=1)

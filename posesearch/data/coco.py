"""Reading a COCO keypoint file: one JSON and one image folder become a `PoseDataset`, or one full list of faults.

The joint set is whatever the file's category names (COCO-17, LSP-14, ...). Persons used for training and crops
follow MMPose's rules: no crowds, at least one labelled joint, a box that is positive inside the image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posesearch.data.coco_checks import (
    check_annotations,
    check_files_exist,
    check_images,
    check_structure,
    is_id,
    keypoint_categories,
)
from posesearch.data.dataset import ImageRecord, PoseDataset, clip_boxes
from posesearch.data.faults import Fault, error, errors_of, raise_errors
from posesearch.errors import DataError
from posesearch.files import read_json
from posesearch.keypoints.groundtruth import GroundTruth
from posesearch.keypoints.skeleton import Skeleton, skeleton_from_category

# Where a file has no `area` (CrowdPose), MMPose takes this share of the box; it is the usual body/box ratio.
AREA_OF_BOX = 0.53
REMEDY = "Correct the file or export it again; `posesearch data check` lists every fault."


def read_coco(
    annotation_file: Path, image_root: Path, *, what: str, name: str | None = None, split: str | None = None
) -> PoseDataset:
    """Reads one annotation file and checks it against its image folder.

    Args:
        annotation_file: COCO keypoint JSON.
        image_root: Folder that `file_name` is relative to; no path may leave it.
        what: What the file is, for messages: "training annotations".
        name: Name of the annotation set; by default the file name without its split ending.
        split: Name of the split; by default the ending of the file name ("train", "val", ...).

    Raises:
        DataError: File or folder missing, JSON cut off, or any fault of `coco_checks`; the first five faults are
            listed with ids, and the number of them.
    """
    annotation_file, image_root = Path(annotation_file), Path(image_root)
    document = read_json(annotation_file, what)
    if not image_root.is_dir():
        raise DataError(
            f"image folder not found: {image_root} (for {what} {annotation_file}). Allowed: the folder that "
            "the file names in the JSON are relative to. Check the path or give the folder with the images."
        )
    subject = f"{what} {annotation_file}"
    parts, faults = parse_coco(document, image_root)
    raise_errors(faults, subject, REMEDY)
    assert parts is not None, "parse_coco returns parts when it finds no error"
    stem_name, stem_split = split_stem(annotation_file.stem)
    dataset = build_dataset(
        parts, annotation_file, name=name or stem_name, split=split or stem_split, subject=subject
    )
    check_used_files(dataset, subject)
    return dataset


def split_stem(stem: str) -> tuple[str, str]:
    """Returns (name, split) of a file stem: "person_keypoints_val2017" -> ("person_keypoints", "val")."""
    match = re.fullmatch(r"(.+?)[_-](train|val|test|minival|trainval)(?:\d{4})?", stem)
    return (match.group(1), match.group(2)) if match else (stem, stem)


@dataclass(frozen=True, kw_only=True, slots=True)
class CocoParts:
    """A checked document: the chosen category, its images and its annotations."""

    category: Mapping[str, Any]
    images: tuple[ImageRecord, ...]
    annotations: Sequence[Mapping[str, Any]]


def parse_coco(document: object, image_root: Path) -> tuple[CocoParts | None, list[Fault]]:
    """Checks a document and picks its keypoint category.

    Returns:
        The parts (None when a fault is an error) and all faults. Whether image files exist is not checked here.
    """
    faults = check_structure(document)
    if faults:
        return None, faults
    assert isinstance(document, dict)
    category, faults = _pick_category(document["categories"])
    faults += check_images(document["images"])
    ids = {image["id"] for image in document["images"] if isinstance(image, dict) and is_id(image.get("id"))}
    if category is None:
        return None, faults
    # Entries of other categories (COCO's "instances" files mix them) are not ours; broken ones stay to be reported.
    annotations = [
        entry
        for entry in document["annotations"]
        if not isinstance(entry, dict) or entry.get("category_id", category["id"]) == category["id"]
    ]
    if not annotations:
        text = f"no annotation has the keypoint category {category['id']} ('{category.get('name')}')"
        faults.append(error("file", f"{text}. Allowed: at least one person"))
    faults += check_annotations(annotations, ids, len(category["keypoints"]))
    if errors_of(faults):
        return None, faults
    images = tuple(
        ImageRecord(
            id=image["id"],
            path=image_root / image["file_name"],
            height=image["height"],
            width=image["width"],
        )
        for image in document["images"]
    )
    return CocoParts(category=category, images=images, annotations=annotations), faults


def _pick_category(categories: Sequence[object]) -> tuple[dict[str, Any] | None, list[Fault]]:
    found = keypoint_categories(categories)
    persons = [category for category in found if category.get("name") == "person"]
    if len(found) == 1 or len(persons) == 1:
        chosen = found[0] if len(found) == 1 else persons[0]
        names = chosen["keypoints"]
        if len(set(names)) != len(names):
            return None, [error(f"category {chosen['id']}", "key 'keypoints' names a joint twice")]
        return chosen, []
    if not found:
        text = (
            "no category lists its keypoints. Allowed: one category with an integer 'id' and the joint names"
        )
        return None, [error("file", f"key 'categories': {text} in 'keypoints'")]
    ids = ", ".join(f"{category['id']} ('{category.get('name')}')" for category in found)
    text = f"categories {ids} all list keypoints. Allowed: one such category, or one called 'person'"
    return None, [error("file", f"key 'categories': {text}")]


def category_skeleton(category: Mapping[str, Any]) -> Skeleton:
    """Returns the skeleton of a category; limbs that are no pair of numbers are left out (they are only drawn)."""
    stated = category.get("skeleton")
    limbs = [
        limb
        for limb in (stated if isinstance(stated, list) else [])
        if isinstance(limb, list) and len(limb) == 2 and all(isinstance(joint, int) for joint in limb)
    ]
    return skeleton_from_category(category["keypoints"], limbs)


def build_dataset(
    parts: CocoParts, annotation_file: Path, *, name: str, split: str, subject: str
) -> PoseDataset:
    """Turns checked parts into arrays.

    Raises:
        DataError: No person is usable.
    """
    annotations = [_complete(annotation, parts.category["id"]) for annotation in parts.annotations]
    row_of = {image.id: row for row, image in enumerate(parts.images)}
    size_I2 = np.array([(image.height, image.width) for image in parts.images], dtype=np.int64)
    image_index = np.array([row_of[entry["image_id"]] for entry in annotations], dtype=np.int64)
    bbox_xywh = np.array([entry["bbox"] for entry in annotations], dtype=np.float64)
    keypoints = np.array([entry["keypoints"] for entry in annotations], dtype=np.float64)
    keypoints = keypoints.reshape(len(annotations), -1, 3)
    stated = np.array([entry.get("num_keypoints", 1) for entry in annotations])
    crowd = np.array([entry.get("iscrowd", 0) for entry in annotations]) == 1
    labelled = ((keypoints[..., 2] > 0) & (keypoints[..., :2] > 0).any(axis=-1)).any(axis=1)
    positive = (clip_boxes(bbox_xywh, size_I2[image_index])[:, 2:] > 0).all(axis=1)
    usable = ~crowd & (stated > 0) & labelled & positive
    keep = np.flatnonzero(usable)
    if not len(keep):
        raise DataError(
            f"{subject}: none of its {len(annotations)} annotations is a usable person. Allowed: iscrowd 0, at "
            "least one labelled keypoint, a box of positive size inside the image. Check how it was exported."
        )
    return PoseDataset(
        name=name,
        split=split,
        annotation_file=annotation_file,
        category_id=parts.category["id"],
        images=parts.images,
        skeleton=category_skeleton(parts.category),
        image_index_N=image_index[keep],
        image_id_N=np.array([parts.images[row].id for row in image_index[keep]], dtype=np.int64),
        image_size_N2=size_I2[image_index[keep]],
        bbox_xywh_N4=bbox_xywh[keep],
        keypoints_NK3=keypoints[keep],
        area_N=np.array([entry["area"] for entry in annotations], dtype=np.float64)[keep],
        annotation_id_N=np.array([entry["id"] for entry in annotations], dtype=np.int64)[keep],
        box_score_N=np.ones(len(keep)),
        ground_truth=GroundTruth.from_coco(
            {
                "images": [{"id": image.id} for image in parts.images],
                "annotations": annotations,
                "categories": [{"id": parts.category["id"], "keypoints": parts.category["keypoints"]}],
            },
            source=subject,
        ),
    )


def _complete(annotation: Mapping[str, Any], category_id: int) -> Mapping[str, Any]:
    """Fills in what COCO itself always has and smaller sets leave out."""
    missing: dict[str, Any] = {}
    if "area" not in annotation:
        width, height = annotation["bbox"][2:]
        missing["area"] = AREA_OF_BOX * abs(width * height)
    if "num_keypoints" not in annotation:
        missing["num_keypoints"] = sum(flag > 0 for flag in annotation["keypoints"][2::3])
    if "category_id" not in annotation:
        missing["category_id"] = category_id
    return {**annotation, **missing} if missing else annotation


def check_used_files(dataset: PoseDataset, subject: str) -> None:
    """Checks that every image with a person in use exists; other images of the file are never opened.

    Raises:
        DataError: Files are missing.
    """
    used = [dataset.images[row] for row in np.unique(dataset.image_index_N)]
    faults = check_files_exist((image.id, image.path) for image in used)
    raise_errors(
        faults, subject, "Put the images there, or give the folder that the file names are relative to."
    )

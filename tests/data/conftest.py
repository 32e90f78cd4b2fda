"""A small COCO folder on disk that a test can break in one place."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from posesearch.data.augment import AugmentDraws
from posesearch.data.coco import read_coco
from posesearch.data.dataset import PoseDataset
from posesearch.keypoints.skeleton import COCO17


def person(
    annotation_id: int, image_id: int, seed: int, width: int = 80, height: int = 100
) -> dict[str, Any]:
    """An annotation with 17 labelled joints spread over its box."""
    rng = np.random.default_rng(seed)
    box = [10.0, 8.0, width * 0.6, height * 0.8]
    points = np.round(rng.uniform(0.1, 0.9, (17, 2)) * box[2:] + box[:2], 1)
    keypoints = [value for x, y in points.tolist() for value in (x, y, 2)]
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": 1,
        "bbox": box,
        "area": box[2] * box[3] * 0.6,
        "iscrowd": 0,
        "num_keypoints": 17,
        "keypoints": keypoints,
        "segmentation": [],
    }


def coco_document(num_images: int = 4, persons_per_image: int = 2) -> dict[str, Any]:
    """A sound document: images of 80 x 100 (width x height) pixels."""
    images = [
        {"id": 10 + i, "file_name": f"{i:04d}.jpg", "width": 80, "height": 100} for i in range(num_images)
    ]
    annotations = [
        person(100 + i * persons_per_image + j, 10 + i, seed=i * 7 + j)
        for i in range(num_images)
        for j in range(persons_per_image)
    ]
    category = {"id": 1, "name": "person", "keypoints": list(COCO17.names), "skeleton": [[16, 14], [1, 2]]}
    return {"images": images, "annotations": annotations, "categories": [category]}


@dataclass
class CocoFolder:
    """A folder with images/ and annotations/people_train.json."""

    root: Path
    document: dict[str, Any] = field(default_factory=coco_document)

    @property
    def annotation_file(self) -> Path:
        return self.root / "annotations" / "people_train.json"

    @property
    def image_root(self) -> Path:
        return self.root / "images"

    def write(self) -> CocoFolder:
        self.image_root.mkdir(parents=True, exist_ok=True)
        self.annotation_file.parent.mkdir(exist_ok=True)
        for image in self.document["images"]:
            pixels = np.random.default_rng(image["id"]).integers(0, 256, (10, 8, 3), dtype=np.uint8)
            size = (image["width"], image["height"])
            cv2.imwrite(str(self.image_root / image["file_name"]), cv2.resize(pixels, size))
        return self.write_json()

    def write_json(self) -> CocoFolder:
        self.annotation_file.write_text(json.dumps(self.document))
        return self

    def read(self) -> PoseDataset:
        return read_coco(self.annotation_file, self.image_root, what="training annotations")


@pytest.fixture
def folder(tmp_path: Path) -> CocoFolder:
    """A sound folder: 4 images with 2 persons each."""
    return CocoFolder(tmp_path / "set").write()


def neutral_draws(count=1, **changes) -> AugmentDraws:
    zeros = np.zeros(count, dtype=np.int64)
    neutral = AugmentDraws(
        flip_B=zeros > 0,
        half_body_B=zeros > 0,
        upper_B=zeros == 0,
        shift_B2=np.zeros((count, 2)),
        scale_B=np.ones(count),
        rotation_B=np.zeros(count),
        hsv_B3=np.zeros((count, 3), dtype=np.int16),
        blur_B=zeros,
        median_B=zeros,
        hole_B4=np.zeros((count, 4), dtype=np.int64),
    )
    return neutral._replace(**{key: np.asarray(value) for key, value in changes.items()})


@pytest.fixture
def draws_of():
    """Random numbers that change nothing, apart from those given by name."""
    return neutral_draws

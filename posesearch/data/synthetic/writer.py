"""Writer: generated scenes as a real COCO keypoint folder, complete or visibly not.

    DIR/annotations/person_keypoints_train2017.json    DIR/train2017/000000000001.jpg ...
    DIR/annotations/person_keypoints_val2017.json      DIR/val2017/000000000002.jpg ...
    DIR/dataset.json                                   what was asked for, and whether it is finished

Train uses the even scene numbers, val the odd ones, so the two never share a scene and asking for more images
of one split changes none of the others. `dataset.json` says `"complete": false` until everything else is on
the disk: a folder left by an interruption is written again, never taken for complete.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from posesearch.data.synthetic.difficulty import Difficulty, DifficultyName, find_difficulty
from posesearch.data.synthetic.scene import PersonLabel, Scene, make_scene
from posesearch.errors import DataError, EnvironmentFault, UsageError
from posesearch.files import read_json, write_json_atomic, write_text_atomic
from posesearch.keypoints.skeleton import COCO17
from posesearch.progress import Progress, SilentProgress

GENERATOR_VERSION = 1
"""Raised whenever the same seed gives other pictures or labels."""

MANIFEST_NAME = "dataset.json"
_SPLITS = ("train", "val")
_JPEG_QUALITY = 92
_LEAST_SIDE = 32  # px; below it a person is a few pixels wide and joints fall on each other.
_MOST_SIDE = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticSummary:
    """What is in the folder.

    Attributes:
        train_images, val_images: pictures a split.
        train_people, val_people: people with at least one labelled joint.
        reused: True when the folder already held exactly this data set and nothing was written.
    """

    directory: Path
    train_images: int
    val_images: int
    train_people: int
    val_people: int
    reused: bool


def write_coco(
    directory: Path | str,
    *,
    seed: int,
    num_train: int = 1000,
    num_val: int = 200,
    difficulty: DifficultyName = "default",
    image_size: tuple[int, int] = (192, 160),
    progress: Progress | None = None,
) -> SyntheticSummary:
    """Writes a generated data set in COCO's layout; the same arguments give the same bytes.

    A folder that already holds this very data set is left alone and reported as reused.

    Args:
        directory: new, empty, or left by an earlier call with the same arguments.
        seed: 0 to 2**32 - 1.
        num_train: pictures (not people) in train2017.
        num_val: pictures in val2017.
        difficulty: a name in `DIFFICULTIES`.
        image_size: (height, width) of every picture, pixels.
        progress: where to report; nothing is shown without it.

    Raises:
        UsageError: an argument out of range, or the folder is in use for something else.
        DataError: the folder's finished data set was changed afterwards.
        EnvironmentFault: the disk is full or the folder cannot be written.
    """
    directory = Path(directory)
    level = find_difficulty(difficulty)
    _check_arguments(seed, num_train, num_val, image_size)
    request = {
        "generator": "posesearch synthetic people",
        "version": GENERATOR_VERSION,
        "seed": seed,
        "difficulty": difficulty,
        "image_size": list(image_size),
        "num_train": num_train,
        "num_val": num_val,
    }
    existing = _existing(directory, request)
    if existing is not None:
        return _summary(directory, existing, reused=True)
    write_json_atomic(directory / MANIFEST_NAME, {**request, "complete": False})
    counts = {"train": num_train, "val": num_val}
    splits = {}
    for offset, split in enumerate(_SPLITS):
        indices = range(offset, 2 * counts[split] + offset, 2)
        splits[split] = _write_split(directory, split, indices, seed, level, image_size, progress)
    manifest = {**request, "complete": True, "splits": splits}
    write_json_atomic(directory / MANIFEST_NAME, manifest)
    return _summary(directory, manifest, reused=False)


def _check_arguments(seed: int, num_train: int, num_val: int, image_size: tuple[int, int]) -> None:
    if not 0 <= seed < 2**32:
        raise UsageError(f"seed {seed} is out of range. Allowed: 0 to {2**32 - 1}. Choose another seed.")
    for name, value in (("num_train", num_train), ("num_val", num_val)):
        if not 1 <= value <= 10**6:
            option = name.replace("num_", "--")
            raise UsageError(
                f"{name} {value} is out of range. Allowed: 1 to 1000000 images. Change {option}."
            )
    if not all(_LEAST_SIDE <= side <= _MOST_SIDE for side in image_size):
        raise UsageError(
            f"image_size {image_size[0]}x{image_size[1]} (height x width) is out of range. "
            f"Allowed: {_LEAST_SIDE} to {_MOST_SIDE} pixels a side. Change image_size."
        )


def _existing(directory: Path, request: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of a finished identical data set, or None when it is to be written."""
    remedy = f"Choose another folder, or delete {directory} first."
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file. A folder is needed. {remedy}")
    if not directory.exists() or not any(directory.iterdir()):
        return None
    path = directory / MANIFEST_NAME
    if not path.exists():
        raise UsageError(
            f"{directory} is not empty and has no {MANIFEST_NAME}, so it is not a generated data set. "
            f"Only a new or empty folder is written to. {remedy}"
        )
    manifest = read_json(path, "data set manifest")
    if not isinstance(manifest, dict):
        raise DataError(f"data set manifest {path} is not a JSON object. {remedy}")
    differing = [
        f"{key} {manifest.get(key)!r}, not {value!r}"
        for key, value in request.items()
        if manifest.get(key) != value
    ]
    if differing:
        raise UsageError(
            f"{directory} holds another data set ({'; '.join(differing)}). "
            f"A folder holds one data set. {remedy}"
        )
    if manifest.get("complete") is not True:
        return None
    recorded = manifest.get("splits")
    for split in _SPLITS:
        entry = recorded.get(split) if isinstance(recorded, dict) else None
        if not isinstance(entry, dict) or entry.get("fingerprint") != _fingerprint(directory, split):
            raise DataError(
                f"the {split} files in {directory} were changed after they were written "
                f"({path} says what they were). A finished data set is not written over. {remedy}"
            )
    return manifest


def _summary(directory: Path, manifest: dict[str, Any], *, reused: bool) -> SyntheticSummary:
    splits = manifest["splits"]
    return SyntheticSummary(
        directory=directory,
        train_images=manifest["num_train"],
        val_images=manifest["num_val"],
        train_people=splits["train"]["people"],
        val_people=splits["val"]["people"],
        reused=reused,
    )


def _annotation_path(directory: Path, split: str) -> Path:
    return directory / "annotations" / f"person_keypoints_{split}2017.json"


def _fingerprint(directory: Path, split: str) -> str:
    """Hash of the annotation file and of every image's name and size: fast, and sees missing or cut files."""
    digest = hashlib.sha256()
    annotations, folder = _annotation_path(directory, split), directory / f"{split}2017"
    if annotations.is_file():
        digest.update(annotations.read_bytes())
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
    return digest.hexdigest()


def _write_split(
    directory: Path,
    split: str,
    indices: range,
    seed: int,
    difficulty: Difficulty,
    image_size: tuple[int, int],
    progress: Progress | None,
) -> dict[str, Any]:
    folder = directory / f"{split}2017"
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with (progress or SilentProgress()).task(f"people {split}", len(indices)) as task:
        for index in indices:
            scene = make_scene(seed, index, difficulty, image_size)
            image_id = index + 1
            name = f"{image_id:012d}.jpg"
            _write_jpeg(folder / name, scene)
            images.append(_image_row(image_id, name, image_size))
            for label in scene.people:
                annotations.append(_annotation_row(label, image_id, len(annotations) + 1))
            task.advance()
    document = {
        "info": {
            "description": f"Generated people, {split} split",
            "url": "",
            "version": str(GENERATOR_VERSION),
            "year": 2017,
            "contributor": "posesearch",
            "date_created": "2017/01/01",
        },
        "licenses": [{"url": "", "id": 1, "name": "Generated pictures, no rights reserved"}],
        "images": images,
        "annotations": annotations,
        "categories": [_category()],
    }
    text = json.dumps(document, separators=(",", ":"))
    write_text_atomic(_annotation_path(directory, split), text + "\n")
    people = sum(row["num_keypoints"] > 0 for row in annotations)
    return {"people": people, "fingerprint": _fingerprint(directory, split)}


def _write_jpeg(path: Path, scene: Scene) -> None:
    # No fsync per image (2 ms each, a third of the time to make one): the manifest's fingerprint finds a
    # file that a power cut shortened.
    _, data = cv2.imencode(".jpg", scene.picture, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise EnvironmentFault(
            f"cannot write {path}: {error.strerror or error}. Free some space or choose a folder you can "
            "write to, then run the same command again: it starts over."
        ) from error


def _image_row(image_id: int, name: str, image_size: tuple[int, int]) -> dict[str, Any]:
    height, width = image_size
    return {
        "license": 1,
        "file_name": name,
        "coco_url": "",
        "height": height,
        "width": width,
        "date_captured": "2017-01-01 00:00:00",
        "flickr_url": "",
        "id": image_id,
    }


def _annotation_row(label: PersonLabel, image_id: int, annotation_id: int) -> dict[str, Any]:
    keypoints: list[float] = []
    for x, y, flag in label.keypoints_K3.tolist():
        keypoints += (x, y, int(flag))
    return {
        "segmentation": [list(polygon) for polygon in label.polygons],
        "num_keypoints": int((label.keypoints_K3[:, 2] > 0).sum()),
        "area": label.area,
        "iscrowd": 0,
        "keypoints": keypoints,
        "image_id": image_id,
        "bbox": list(label.bbox_xywh),
        "category_id": 1,
        "id": annotation_id,
    }


def _category() -> dict[str, Any]:
    return {
        "supercategory": "person",
        "id": 1,
        "name": "person",
        "keypoints": list(COCO17.names),
        "skeleton": [[first + 1, second + 1] for first, second in COCO17.limbs],
    }

"""Where the data lies: from what the user wrote to one annotation file and one image folder per split.

Three layouts are understood: COCO's own (`annotations/person_keypoints_val2017.json`, `val2017/`), the short form
(`annotations/NAME_val.json`, `images/`), and any explicit pair of a JSON file and a folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from posesearch.data.coco import read_coco, split_stem
from posesearch.data.dataset import PoseDataset
from posesearch.errors import DataError, UsageError, did_you_mean

COCO_NAME = "person_keypoints"
WHAT = {"train": "training annotations", "val": "validation annotations"}


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitFiles:
    """The two places of one split."""

    annotation_file: Path
    image_root: Path
    name: str
    split: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSource:
    """What the user said about the data; nothing is read until `resolve` or `load`.

    Attributes:
        data: Folder of a data set.
        annotations: Name of the annotation set inside it, where there are several ("lspet_coco17").
        train_annotations: A JSON file to use for training, whatever the layout.
        val_annotations: The same for validation.
        images: Image folder of both splits, where it cannot be found from the layout.
        train_images: Image folder of the training split only.
        val_images: Image folder of the validation split only.
    """

    data: str | None = None
    annotations: str | None = None
    train_annotations: str | None = None
    val_annotations: str | None = None
    images: str | None = None
    train_images: str | None = None
    val_images: str | None = None

    def __post_init__(self) -> None:
        """Refuses a source that names no data.

        Raises:
            UsageError: Neither a folder nor an annotation file is given.
        """
        if not (self.data or self.train_annotations or self.val_annotations):
            raise UsageError(
                "no data given. Allowed: a data folder, or an annotation file and an image folder. Give "
                "`--data DIR`, or make a data set with `posesearch data synth DIR`."
            )

    def resolve(self, split: str) -> SplitFiles:
        """Finds the files of a split.

        Args:
            split: "train" or "val".

        Raises:
            DataError: Folder or file missing, or more than one annotation set to choose from.
        """
        if split not in WHAT:
            raise UsageError(f"split {split!r} is unknown. Allowed: train, val.")
        explicit = self.train_annotations if split == "train" else self.val_annotations
        annotation_file = Path(explicit) if explicit else self._find_annotations(split)
        if explicit and not annotation_file.is_file():
            raise DataError(f"{WHAT[split]} not found: {annotation_file}. Check the path.")
        return SplitFiles(
            annotation_file=annotation_file,
            image_root=self._find_images(split, annotation_file),
            name=split_stem(annotation_file.stem)[0],
            split=split,
        )

    def load(self, split: str) -> PoseDataset:
        """Reads a split.

        Raises:
            DataError: As `resolve` and `read_coco`.
        """
        files = self.resolve(split)
        return read_coco(
            files.annotation_file, files.image_root, what=WHAT[split], name=files.name, split=split
        )

    def to_plain(self) -> dict[str, str]:
        """Returns what was given, as a JSON-able mapping."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> DataSource:
        """Returns the source that `to_plain` wrote.

        Raises:
            DataError: A key is unknown or a value is not text.
        """
        known = [field.name for field in fields(cls)]
        for key, value in plain.items():
            if key not in known or not isinstance(value, str):
                raise DataError(
                    f"data source: {key!r} is {value!r}. Allowed: text under the keys {', '.join(known)}."
                    f"{did_you_mean(key, known)} Correct the entry."
                )
        return cls(**plain)

    def _folder(self, split: str) -> Path:
        folder = Path(self.data or "")
        if not self.data:
            raise DataError(
                f"no {WHAT[split]} given. Give the data folder with --data DIR, or the file with "
                f"--{split}-annotations FILE."
            )
        if not folder.is_dir():
            raise DataError(
                f"data folder not found: {folder}. Allowed: a folder with "
                "annotations/person_keypoints_train2017.json, annotations/person_keypoints_val2017.json and the "
                "image folders train2017/ and val2017/. Check the path, or make a data set with "
                "`posesearch data synth DIR`."
            )
        return folder

    def _find_annotations(self, split: str) -> Path:
        folder = self._folder(split)
        if not (folder / "annotations").is_dir():
            raise DataError(
                f"{folder} has no folder 'annotations'. Allowed: the COCO layout (annotations/NAME_{split}.json or "
                f"NAME_{split}2017.json beside the image folders). Check the path, or give the annotation files and "
                "the image folder one by one."
            )
        files = sorted((folder / "annotations").glob("*.json"))
        found = {split_stem(file.stem)[0]: file for file in files if split_stem(file.stem)[1] == split}
        name = self.annotations or (COCO_NAME if COCO_NAME in found else None)
        if name is None and len(found) == 1:
            return next(iter(found.values()))
        if name in found:
            return found[name]
        names = ", ".join(found) or "none"
        if name is None and found:
            raise DataError(
                f"{folder / 'annotations'} holds {len(found)} annotation sets for the split '{split}'. Allowed: "
                f"one of {names}. Choose it by name: --annotations {next(iter(found))}."
            )
        wanted = f"{name}_{split}.json" if name else f"NAME_{split}.json"
        raise DataError(
            f"{folder / 'annotations'} holds no {wanted} (or with 2017). Sets found for '{split}': {names}."
            f"{did_you_mean(name or '', found)} Add the file or choose another set."
        )

    def _find_images(self, split: str, annotation_file: Path) -> Path:
        given = (self.train_images if split == "train" else self.val_images) or self.images
        if given:
            if not Path(given).is_dir():
                raise DataError(f"image folder not found: {given} (for {annotation_file}). Check the path.")
            return Path(given)
        root = Path(self.data) if self.data else annotation_file.parent.parent
        names = (f"{split}2017", f"images/{split}2017", f"images/{split}", split, "images")
        for name in names:
            if (root / name).is_dir():
                return root / name
        if not self.data and annotation_file.parent.name != "annotations":
            return annotation_file.parent  # images beside their JSON
        raise DataError(
            f"no image folder for {annotation_file}: looked for {', '.join(names)} in {root}. Allowed: one of "
            "these, or any folder given by name. Put the images there, or give their folder with --images."
        )

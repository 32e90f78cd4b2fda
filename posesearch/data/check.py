"""Looking over a data set before training on it: counts, every fault with its id, and oddities worth a look."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posesearch.data.coco import CocoParts, build_dataset, parse_coco
from posesearch.data.coco_checks import check_files_exist
from posesearch.data.dataset import PoseDataset
from posesearch.data.decode import decode_image, map_threads
from posesearch.data.faults import Fault, error, errors_of, warning
from posesearch.data.source import WHAT, DataSource, SplitFiles
from posesearch.errors import DataError, UsageError
from posesearch.files import read_json
from posesearch.progress import Progress, SilentProgress
from posesearch.rng import generator

# Among upright persons the right shoulder lies on the image's left in 75.7 % (COCO val) and 77.5 % (LSPET) of the
# cases, in 4 % of PARSE, whose sides are the observer's. Outside these bounds sides are probably not the person's.
SIDE_SHARE = (0.5, 0.93)
SIDE_MIN_PERSONS = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitCounts:
    """What one split holds.

    Attributes:
        images: Image records.
        images_with_persons: Images with a usable person.
        annotations: Annotations of the keypoint category.
        persons: Usable persons.
        joints: Joints of the category.
        labelled_joints: Labelled joints of the usable persons.
        images_decoded: Images that were opened by the check.
    """

    images: int
    images_with_persons: int
    annotations: int
    persons: int
    joints: int
    labelled_joints: int
    images_decoded: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DataReport:
    """Result of a check.

    Attributes:
        counts: By split; a split that could not be read is absent.
        faults: Every fault, errors first; `where` starts with the split.
    """

    counts: dict[str, SplitCounts]
    faults: tuple[Fault, ...]

    @property
    def ok(self) -> bool:
        """Whether the data can be used (there may be warnings)."""
        return not errors_of(self.faults)

    def to_plain(self) -> dict[str, Any]:
        """Returns the report as JSON-able values."""
        return {
            "ok": self.ok,
            "counts": {split: asdict(counts) for split, counts in self.counts.items()},
            "faults": [asdict(fault) for fault in self.faults],
        }


def check_dataset(
    source: DataSource, *, sample: int | None = None, progress: Progress | None = None
) -> DataReport:
    """Checks both splits of a source without stopping at a fault.

    Args:
        source: Where the data lies.
        sample: Open at most this many images per split (a seeded choice); None opens all of them.
        progress: Where to report; by default nowhere.

    Raises:
        UsageError: `sample` is negative.
    """
    if sample is not None and sample < 0:
        raise UsageError(
            f"--sample {sample}: expected a number of images, 0 or more. Leave it out to open all."
        )
    counts: dict[str, SplitCounts] = {}
    faults: list[Fault] = []
    for split in WHAT:
        if _absent(source, split):
            continue
        try:
            files = source.resolve(split)
            found, split_counts = _check_split(files, sample, progress)
        except DataError as fault:
            found, split_counts = [error("file", str(fault))], None
        if split_counts:
            counts[split] = split_counts
        faults += [Fault(severity=f.severity, where=f"{split}: {f.where}", text=f.text) for f in found]
    faults.sort(key=lambda fault: fault.severity != "error")
    return DataReport(counts=counts, faults=tuple(faults))


def _absent(source: DataSource, split: str) -> bool:
    """Returns whether a source without a folder simply does not name this split."""
    named = source.train_annotations if split == "train" else source.val_annotations
    return source.data is None and named is None


def _check_split(
    files: SplitFiles, sample: int | None, progress: Progress | None
) -> tuple[list[Fault], SplitCounts | None]:
    what = WHAT[files.split]
    document = read_json(files.annotation_file, what)
    parts, faults = parse_coco(document, files.image_root)
    if parts is None:
        return faults, None
    subject = f"{what} {files.annotation_file}"
    dataset = build_dataset(parts, files.annotation_file, name=files.name, split=files.split, subject=subject)
    used = np.unique(dataset.image_index_N)
    missing = check_files_exist((dataset.images[row].id, dataset.images[row].path) for row in used)
    faults += missing + _unused_missing(dataset, used)
    faults += _odd_boxes(parts) + _odd_keypoints(dataset) + _odd_sides(dataset)
    gone = {fault.where for fault in missing}
    present = np.array([row for row in used if f"image {dataset.images[row].id}" not in gone], dtype=np.int64)
    if sample is not None and sample < len(present):
        present = np.sort(generator(0, "data-check", sample).choice(present, sample, replace=False))
    faults += _decode_faults(dataset, present, progress)
    counts = SplitCounts(
        images=len(dataset.images),
        images_with_persons=len(used),
        annotations=len(parts.annotations),
        persons=len(dataset),
        joints=dataset.skeleton.num_joints,
        labelled_joints=int((dataset.keypoints_NK3[..., 2] > 0).sum()),
        images_decoded=len(present),
    )
    return faults, counts


def _decode_faults(dataset: PoseDataset, rows: NDArray[np.int64], progress: Progress | None) -> list[Fault]:
    def open_one(row: int) -> Fault | None:
        image = decode_image(dataset.images[row])
        return image if isinstance(image, Fault) else None

    faults = []
    with (progress or SilentProgress()).task(f"opening {dataset.split} images", len(rows)) as task:
        for fault in map_threads(open_one, [int(row) for row in rows], None):
            faults += [fault] if fault else []
            task.advance()
    return faults


def _unused_missing(dataset: PoseDataset, used: NDArray[np.int64]) -> list[Fault]:
    others = np.setdiff1d(np.arange(len(dataset.images)), used)
    missing = check_files_exist((dataset.images[row].id, dataset.images[row].path) for row in others)
    return [
        warning(fault.where, f"{fault.text} (no usable person is on it, so training does not need it)")
        for fault in missing
    ]


def _odd_boxes(parts: CocoParts) -> list[Fault]:
    return [
        warning(
            f"annotation {annotation['id']}",
            f"key 'bbox' {annotation['bbox']} has no positive size; the person is left out",
        )
        for annotation in parts.annotations
        if min(annotation["bbox"][2:]) <= 0 and not annotation.get("iscrowd", 0)
    ]


def _odd_keypoints(dataset: PoseDataset) -> list[Fault]:
    """Labelled joints more than one pixel outside their image (rounding and 1-based files reach its edge)."""
    width_height_N12 = dataset.image_size_N2[:, None, ::-1]
    points_NK2 = dataset.keypoints_NK3[..., :2]
    outside_NK = ((points_NK2 < -1) | (points_NK2 > width_height_N12)).any(axis=2)
    outside_NK &= dataset.keypoints_NK3[..., 2] > 0
    return [
        warning(
            f"annotation {dataset.annotation_id_N[row]}",
            f"{outside_NK[row].sum()} labelled joints lie outside the image, first "
            f"'{dataset.skeleton.names[int(outside_NK[row].argmax())]}'",
        )
        for row in np.flatnonzero(outside_NK.any(axis=1))
    ]


def right_on_left_share(dataset: PoseDataset) -> tuple[float, int]:
    """Returns how often the right shoulder is left of the left one in upright persons, and how many those are.

    Upright: shoulders above hips by at least the shoulders' distance.
    """
    places = []
    for part in ("shoulder", "hip"):
        for side in ("right", "left"):
            rows = [k for k, name in enumerate(dataset.skeleton.names) if part in name and side in name]
            if len(rows) != 1:
                return float("nan"), 0
            places.append(rows[0])
    joints_N43 = dataset.keypoints_NK3[:, places]
    labelled_N = (joints_N43[..., 2] > 0).all(axis=1)
    shoulders_N22, hips_N22 = joints_N43[:, :2, :2], joints_N43[:, 2:, :2]
    drop_N = hips_N22[..., 1].mean(axis=1) - shoulders_N22[..., 1].mean(axis=1)
    span_N = np.hypot(*(shoulders_N22[:, 0] - shoulders_N22[:, 1]).T)
    upright_N = labelled_N & (drop_N > np.maximum(span_N, 1))
    if not upright_N.any():
        return float("nan"), 0
    on_left_N = shoulders_N22[:, 0, 0] < shoulders_N22[:, 1, 0]
    return float(on_left_N[upright_N].mean()), int(upright_N.sum())


def _odd_sides(dataset: PoseDataset) -> list[Fault]:
    share, count = right_on_left_share(dataset)
    if count < SIDE_MIN_PERSONS or SIDE_SHARE[0] <= share <= SIDE_SHARE[1]:
        return []
    return [
        warning(
            "file",
            f"the right shoulder is on the image's left in {share:.0%} of {count} upright persons; about 76 % is "
            "usual when left and right are the person's own. Check that sides are not swapped or the observer's",
        )
    ]

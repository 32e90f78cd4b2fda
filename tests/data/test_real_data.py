"""Real images: the shipped COCO, LSP and PARSE subsets read, decode and crop as their notes say."""

from __future__ import annotations

import numpy as np
import pytest

from posesearch.data.augment import STAGE1
from posesearch.data.batch import crops, make_batch
from posesearch.data.check import check_dataset
from posesearch.data.coco import read_coco
from posesearch.data.detections import read_detections
from posesearch.data.source import DataSource
from posesearch.data.store import ImageStore
from posesearch.errors import DataError
from posesearch.keypoints.skeleton import COCO17, LSP14


@pytest.mark.parametrize(
    ("name", "skeleton", "labelled"),
    [("lspet14", LSP14, (38163, 7676)), ("lspet_coco17", COCO17, (32734, 6585))],
)
def test_lspet(data_root, name, skeleton, labelled):
    source = DataSource(data=str(data_root / "lspet"), annotations=name)
    for split, persons, joints in (("train", 3000, labelled[0]), ("val", 600, labelled[1])):
        dataset = source.load(split)
        assert len(dataset) == persons
        assert dataset.skeleton == skeleton
        assert (dataset.keypoints_NK3[..., 2] > 0).sum() == joints
    part = dataset.subset(np.arange(0, 600, 40))
    batch = make_batch(part, ImageStore.build(part), np.arange(15), (256, 192), STAGE1, 0, 0)
    assert batch.images_BHWC.std() > 20


def test_lspet_needs_a_name(data_root):
    with pytest.raises(DataError, match=r"Allowed: one of lspet14, lspet_coco17"):
        DataSource(data=str(data_root / "lspet")).resolve("train")


def test_coco17_mini(data_root):
    source = DataSource(data=str(data_root / "coco17_mini"))
    train, val = source.load("train"), source.load("val")
    assert (len(train), len(val)) == (196, 204)
    assert (len(train.images), len(val.images)) == (70, 77)
    assert len(val.ground_truth.annotation_id_G) == 306
    assert check_dataset(source, sample=5).ok
    found = crops(val, ImageStore.build(val), (128, 96))
    assert found.images_NHWC.shape == (204, 128, 96, 3)


def test_annotations_without_their_images(data_root):
    root = data_root / "coco17_mini"
    with pytest.raises(
        DataError, match=r"(?s)faults in .*gt_only.*image \d+: the file .* does not exist.*more"
    ):
        read_coco(root / "annotations/gt_only_val2017_subset.json", root / "images", what="annotations")


def test_coco_slice_with_detector_boxes(data_root):
    folder = data_root / "mmpose_slices" / "coco"
    dataset = DataSource(val_annotations=str(folder / "test_coco.json")).load("val")
    assert (len(dataset), len(dataset.ground_truth.annotation_id_G)) == (12, 14)
    found = read_detections(folder / "test_coco_det_AP_H_56.json", dataset)
    assert len(found) == 118
    assert found.boxes == "test_coco_det_AP_H_56.json"
    assert len(read_detections(folder / "test_coco_det_AP_H_56.json", dataset, score_threshold=0.5)) < 118
    assert len(crops(found, ImageStore.build(found), (128, 96))) == 118


def test_crowdpose_slice_has_no_area_and_foreign_limbs(data_root):
    folder = data_root / "mmpose_slices" / "crowdpose"
    dataset = read_coco(folder / "test_crowdpose.json", folder, what="annotations")
    assert (len(dataset), dataset.skeleton.num_joints) == (4, 14)
    width, height = dataset.bbox_xywh_N4[0, 2:]
    assert dataset.area_N[0] == pytest.approx(0.53 * width * height)
    assert max(max(limb) for limb in dataset.skeleton.limbs) < 14


def test_mpii_is_not_coco(data_root):
    folder = data_root / "mmpose_slices" / "mpii"
    with pytest.raises(DataError, match=r"the JSON holds a list. Allowed: an object with images"):
        read_coco(folder / "test_mpii.json", folder, what="annotations")


def test_parse_sides_are_the_observers(data_root):
    report = check_dataset(DataSource(data=str(data_root / "parse")), sample=0)
    assert report.ok
    assert [fault.where for fault in report.faults] == ["train: file", "val: file"]
    assert all("left and right are the person's own" in fault.text for fault in report.faults)

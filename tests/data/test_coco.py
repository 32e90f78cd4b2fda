"""Reading COCO files: what becomes of a sound one."""

from __future__ import annotations

import numpy as np
import pytest

from posesearch.data.check import check_dataset
from posesearch.data.coco import split_stem
from posesearch.data.source import DataSource
from posesearch.keypoints.skeleton import COCO17, LSP14


def test_arrays_follow_the_file(folder):
    dataset = folder.read()
    first = folder.document["annotations"][0]
    assert (dataset.name, dataset.split, dataset.boxes) == ("people", "train", "gt")
    assert dataset.skeleton == COCO17
    assert len(dataset) == 8
    assert dataset.image_index_N.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert dataset.image_id_N.tolist() == [10, 10, 11, 11, 12, 12, 13, 13]
    assert (dataset.image_size_N2 == (100, 80)).all()
    assert dataset.keypoints_NK3[0].reshape(-1).tolist() == first["keypoints"]
    assert dataset.bbox_xywh_N4[0].tolist() == first["bbox"]
    assert dataset.box_score_N.tolist() == [1.0] * 8
    assert dataset.ground_truth.annotation_id_G.tolist() == [a["id"] for a in folder.document["annotations"]]


@pytest.mark.parametrize(
    "change",
    [
        {"iscrowd": 1},
        {"keypoints": [0, 0, 0] * 17, "num_keypoints": 0},
        {"bbox": [10, 10, 0, 30]},
        {"bbox": [200, 10, 30, 30]},
        {"bbox": [10, 10, 30, -5]},
    ],
    ids=["crowd", "nothing labelled", "no width", "outside the image", "negative height"],
)
def test_unusable_persons_stay_in_the_ground_truth_only(folder, change):
    folder.document["annotations"][3].update(change)
    dataset = folder.write_json().read()
    assert len(dataset) == 7
    assert 103 not in dataset.annotation_id_N
    assert 103 in dataset.ground_truth.annotation_id_G


def test_optional_keys_get_their_defaults(folder):
    for annotation in folder.document["annotations"]:
        for key in ("area", "iscrowd", "num_keypoints", "segmentation", "category_id"):
            del annotation[key]
    dataset = folder.write_json().read()
    boxes = dataset.bbox_xywh_N4
    assert np.allclose(dataset.area_N, 0.53 * boxes[:, 2] * boxes[:, 3])
    assert np.allclose(dataset.ground_truth.area_G, dataset.area_N)
    assert (dataset.ground_truth.num_keypoints_G == 17).all()


def test_any_joint_set_comes_from_the_category(folder):
    category = folder.document["categories"][0]
    category["keypoints"] = list(LSP14.names)
    for annotation in folder.document["annotations"]:
        annotation["keypoints"] = annotation["keypoints"][: 3 * 14]
        annotation["num_keypoints"] = 14
    assert folder.write_json().read().skeleton == LSP14
    category["keypoints"] = [
        "nose",
        *(f"{side}_p{i}" for i in range(6) for side in ("left", "right")),
        "tail",
    ]
    skeleton = folder.write_json().read().skeleton
    assert skeleton.num_joints == 14
    assert skeleton.flip_pairs == tuple((i, i + 1) for i in range(1, 13, 2))


def test_annotations_of_other_categories_are_left_alone(folder):
    folder.document["categories"].append({"id": 2, "name": "dog"})
    folder.document["annotations"].append({"id": 900, "image_id": 10, "category_id": 2, "bbox": None})
    dataset = folder.write_json().read()
    assert len(dataset.ground_truth.annotation_id_G) == len(dataset) == 8


def test_images_without_persons_need_no_file(folder):
    folder.document["images"].append({"id": 99, "file_name": "absent.jpg", "width": 5, "height": 5})
    assert len(folder.write_json().read().images) == 5


@pytest.mark.parametrize(
    ("stem", "parts"),
    [
        ("person_keypoints_val2017", ("person_keypoints", "val")),
        ("lspet_coco17_train", ("lspet_coco17", "train")),
        ("people-val", ("people", "val")),
        ("test_coco", ("test_coco", "test_coco")),
    ],
)
def test_split_stem(stem, parts):
    assert split_stem(stem) == parts


def test_generated_people_are_a_sound_coco_folder(people_dir):
    report = check_dataset(DataSource(data=str(people_dir)))
    assert [str(fault) for fault in report.faults if fault.severity == "error"] == []
    assert report.counts["train"].images_with_persons == 48
    assert report.counts["val"].images_with_persons == 24

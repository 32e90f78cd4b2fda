"""Reading annotations and results: COCO's conventions, and what is refused with which words."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from posesearch.errors import DataError
from posesearch.keypoints import Detections, GroundTruth, keypoint_categories


@pytest.fixture
def coco(crowd):
    return crowd(6, most_persons=4)[0]


@pytest.fixture
def rows(crowd):
    return crowd(6, most_persons=4)[1]


def test_arrays_are_the_file(coco):
    truth = GroundTruth.from_coco(coco)
    rows = coco["annotations"]
    assert truth.image_ids_I.tolist() == sorted(image["id"] for image in coco["images"])
    assert truth.annotation_id_G.tolist() == [row["id"] for row in rows]
    assert truth.keypoints_GK3.reshape(len(rows), -1).tolist() == [row["keypoints"] for row in rows]
    assert truth.area_G.tolist() == [row["area"] for row in rows]
    assert truth.iscrowd_G.tolist() == [bool(row["iscrowd"]) for row in rows]
    assert truth.num_persons == sum(row["num_keypoints"] > 0 and not row["iscrowd"] for row in rows)
    assert truth.num_joints == 17


def test_missing_area_and_count_are_filled(coco):
    row = coco["annotations"][0]
    del row["area"], row["num_keypoints"]
    row["bbox"] = [3, 4, 10, 20]
    truth = GroundTruth.from_coco(coco)
    assert truth.area_G[0] == pytest.approx(0.53 * 200)
    assert truth.num_keypoints_G[0] == sum(value > 0 for value in row["keypoints"][2::3])


def test_annotations_of_unlisted_images_and_other_categories_are_left_out(coco):
    before = GroundTruth.from_coco(coco)
    coco["annotations"][0]["image_id"] = 123_456
    coco["annotations"][1]["category_id"] = 2
    after = GroundTruth.from_coco(coco)
    assert after.annotation_id_G.tolist() == before.annotation_id_G[2:].tolist()


def test_categories_without_joints_do_not_count(coco):
    coco["categories"].append({"id": 7, "name": "kite"})
    assert [category.id for category in keypoint_categories(coco)] == [1]
    coco["categories"].append({"id": 9, "name": "dog", "keypoints": ["nose"]})
    with pytest.raises(DataError, match=r"none was chosen, and the categories with joints are 1, 9\. One is"):
        GroundTruth.from_coco(coco)
    assert len(GroundTruth.from_coco(coco, category_id=9).area_G) == 0
    with pytest.raises(DataError, match="category 4 was asked for"):
        GroundTruth.from_coco(coco, category_id=4)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "bbox",
            [1, 2, float("nan"), 4],
            r'"bbox" of entry 3 \(id \d+\) is a list of 4: .*must be a list of 4 finite',
        ),
        (
            "keypoints",
            [1.0] * 50,
            r'"keypoints" of entry 3 \(id \d+\) is a list of 50.*a list of 51 finite numbers',
        ),
        ("keypoints", "none", r"is 'none'\. It must be a list of 51"),
        ("area", None, r'"area" of entry 3 \(id \d+\) is None\. It must be a finite number'),
        ("image_id", "000", r'"image_id" of entry 3 \(id \d+\) is \'000\'\. It must be a whole number'),
        ("category_id", 1.5, r'"category_id" of entry 3 .* is 1\.5\. It must be a whole number'),
    ],
)
def test_wrong_entries_are_named(coco, key, value, message):
    coco["annotations"][3][key] = value
    with pytest.raises(DataError, match=rf"^here\.json, annotations: .*{message}"):
        GroundTruth.from_coco(coco, source="here.json")


def test_missing_entries_and_repeated_ids(coco):
    spoiled = copy.deepcopy(coco)
    del spoiled["annotations"][2]["bbox"]
    with pytest.raises(DataError, match=r'entry 2 \(id \d+\) has no "bbox"\. It must be a list of 4'):
        GroundTruth.from_coco(spoiled)
    spoiled = copy.deepcopy(coco)
    spoiled["annotations"][2]["id"] = spoiled["annotations"][1]["id"] = 5000
    with pytest.raises(DataError, match=r"id 5000 occurs 2 times\. Annotation ids must be unique"):
        GroundTruth.from_coco(spoiled)
    spoiled["annotations"][2] = [1]
    with pytest.raises(DataError, match=r"entry 2 is list \[1\]\. It must be an object"):
        GroundTruth.from_coco(spoiled)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], r"the document is list \[\]\. It must be an object"),
        ({"images": [], "annotations": []}, r'"categories" is NoneType None\. It must be a list'),
        ({"images": [], "annotations": [], "categories": []}, r'"categories" is empty'),
    ],
)
def test_documents_of_another_kind(document, message):
    with pytest.raises(DataError, match=message):
        GroundTruth.from_coco(document)


@pytest.mark.parametrize("boxes", [False, True])
def test_detection_areas_are_those_of_load_res(crowd, boxes):
    coco, rows = crowd(9, boxes=boxes)
    truth = COCO()
    truth.dataset = copy.deepcopy(coco)
    truth.createIndex()
    expected = [row["area"] for row in truth.loadRes(copy.deepcopy(rows)).dataset["annotations"]]
    assert Detections.from_results(rows, 17).area_D.tolist() == expected


def test_the_first_row_decides_about_boxes(rows):
    boxed = [{**rows[0], "bbox": [0, 0, 3, 4]}, *rows[1:]]
    with pytest.raises(DataError, match=r'results: entry 1 has no "bbox"'):
        Detections.from_results(boxed, 17)
    assert Detections.from_results(boxed[::-1], 17).bbox_D4 is None


@pytest.mark.parametrize("boxes", [False, True])
def test_results_come_back_as_they_were(crowd, boxes):
    _, rows = crowd(10, boxes=boxes)
    written = json.loads(json.dumps(Detections.from_results(rows, 17).to_results()))
    assert written == rows


def test_rows_of_other_categories_are_dropped(rows):
    rows[0]["category_id"] = 3
    kept = Detections.from_results(rows, 17, category_id=1)
    assert len(kept.score_D) == len(rows) - 1 and len(Detections.from_results(rows, 17).score_D) == len(rows)


def test_wrong_result_rows(rows):
    with pytest.raises(DataError, match=r"the document is dict .* It must be a list"):
        Detections.from_results({"annotations": []}, 17)
    with pytest.raises(DataError, match=r'"score" of entry 1 is nan'):
        Detections.from_results([rows[0], rows[1] | {"score": float("nan")}], 17)
    with pytest.raises(
        DataError, match=r'"keypoints" of entry 0 is a list of 51.*a list of 42 finite numbers'
    ):
        Detections.from_results(rows, 14)


def test_crowdpose_file_without_areas(data_root: Path):
    coco = json.loads((data_root / "mmpose_slices/crowdpose/test_crowdpose.json").read_text())
    truth = GroundTruth.from_coco(coco)
    np.testing.assert_allclose(truth.area_G, 0.53 * truth.bbox_G4[:, 2] * truth.bbox_G4[:, 3])
    assert truth.num_joints == 14

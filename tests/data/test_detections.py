"""Detector boxes in place of annotated ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from posesearch.data.detections import read_detections
from posesearch.errors import DataError


def box(image_id=10, score=0.9, bbox=(1.0, 2.0, 30.0, 40.0), category_id=1):
    return {"image_id": image_id, "category_id": category_id, "bbox": list(bbox), "score": score}


@pytest.fixture
def write(folder):
    def write_boxes(*entries):
        path = folder.root / "boxes.json"
        path.write_text(json.dumps(list(entries)))
        return path

    return write_boxes


def test_boxes_and_scores(folder, write):
    path = write(box(12, 0.5), box(10, 0.2), box(77), box(10, category_id=3), box(10, bbox=(1, 1, 0, 5)))
    dataset = folder.read()
    found = read_detections(path, dataset)
    assert found.boxes == "boxes.json"
    assert found.image_id_N.tolist() == [12, 10]
    assert found.image_index_N.tolist() == [2, 0]
    assert found.box_score_N.tolist() == [0.5, 0.2]
    assert found.annotation_id_N.tolist() == [0, 1]
    assert not found.keypoints_NK3.any()
    assert found.keypoints_NK3.shape == (2, 17, 3)
    assert found.ground_truth is dataset.ground_truth
    assert len(read_detections(path, dataset, score_threshold=0.3)) == 1


def test_detector_boxes_are_not_clipped(folder, write):
    found = read_detections(write(box(bbox=(-20, -5, 200, 50))), folder.read())
    assert found.crop_boxes().tolist() == [[-20, -5, 200, 50]]
    clipped = folder.read()
    clipped.bbox_xywh_N4[0] = (-20, -5, 200, 50)
    assert clipped.crop_boxes(np.array([0])).tolist() == [[0, 0, 79, 45]]


def test_part_of_a_data_set_uses_its_own_images(folder, write):
    fit, held = folder.read().split_by_image(0.5, seed=0)
    path = write(*(box(image_id) for image_id in (10, 11, 12, 13)))
    for part in (fit, held):
        assert set(read_detections(path, part).image_id_N) == set(part.image_id_N)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (box(bbox=(float("nan"), 1, 2, 3)), "entry 1: key 'bbox' is [nan, 1, 2, 3]. Allowed: four finite"),
        (box(bbox=(1, 2, 3)), "entry 1: key 'bbox' is [1, 2, 3]"),
        (box(score=None), "entry 1: key 'score' is None. Allowed: a finite number"),
        (box(image_id="x"), "entry 1: key 'image_id' is 'x'. Allowed: an integer"),
        (7, "entry 1: 7 is not an object"),
    ],
)
def test_faults(folder, write, entry, text):
    with pytest.raises(DataError) as caught:
        read_detections(write(box(), entry), folder.read())
    assert text in str(caught.value)
    assert "1 fault in detector box file" in str(caught.value)


def test_nothing_left(folder, write):
    with pytest.raises(DataError, match=r"none of its 1 boxes has category 1, .* score of at least 0.95"):
        read_detections(write(box()), folder.read(), score_threshold=0.95)
    with pytest.raises(DataError, match=r"boxes.json holds \[\]. Allowed: a filled list of objects"):
        read_detections(write(), folder.read())

"""`data check`: every fault named, none raised, oddities pointed out, a picture drawn."""

from __future__ import annotations

import json

import cv2
import numpy as np

from posesearch.data.augment import STAGE1
from posesearch.data.check import check_dataset, right_on_left_share
from posesearch.data.draw import draw_sample_grid
from posesearch.data.source import DataSource


def source(folder):
    return DataSource(train_annotations=str(folder.annotation_file))


def texts(report):
    return [str(fault) for fault in report.faults]


def test_sound_folder(folder):
    report = check_dataset(source(folder))
    assert report.ok
    assert report.faults == ()
    counts = report.counts["train"]
    assert (counts.images, counts.annotations, counts.persons, counts.images_decoded) == (4, 8, 8, 4)
    assert counts.labelled_joints == 8 * 17
    assert list(report.counts) == ["train"]
    assert json.loads(json.dumps(report.to_plain()))["counts"]["train"]["joints"] == 17


def test_all_faults_of_an_annotation_file(folder):
    for annotation in folder.document["annotations"]:
        annotation["bbox"] = [0]
    folder.write_json()
    report = check_dataset(source(folder))
    assert not report.ok
    assert len(report.faults) == 8
    assert texts(report)[0].startswith("train: annotation 100: key 'bbox' is [0]. Allowed")
    assert report.counts == {}


def test_missing_and_broken_images_and_oddities(folder):
    annotations = folder.document["annotations"]
    annotations[7]["bbox"] = [5, 5, 0, 10]
    annotations[5]["keypoints"][:2] = [500, 20]
    annotations[4]["num_keypoints"] = 3
    folder.document["images"].append({"id": 99, "file_name": "x.jpg", "width": 5, "height": 5})
    folder.write_json()
    (folder.image_root / "0000.jpg").unlink()
    (folder.image_root / "0001.jpg").write_bytes(b"")
    report = check_dataset(source(folder))
    found = texts(report)
    assert not report.ok
    assert [fault.severity for fault in report.faults] == ["error"] * 2 + ["warning"] * 4
    assert "train: image 10: the file" in found[0]
    assert "0001.jpg is empty" in found[1]
    rest = "\n".join(found[2:])
    assert "annotation 104: key 'num_keypoints' is 3, but 17 keypoints are labelled" in rest
    assert "annotation 105: 1 labelled joints lie outside the image, first 'nose'" in rest
    assert "annotation 107: key 'bbox' [5, 5, 0, 10] has no positive size; the person is left out" in rest
    assert "image 99" in rest
    assert "training does not need it" in rest
    assert report.counts["train"].images_decoded == 3


def test_sample_opens_fewer(folder):
    assert check_dataset(source(folder), sample=2).counts["train"].images_decoded == 2


def test_a_missing_split_is_a_fault_of_that_split(folder):
    report = check_dataset(DataSource(data=str(folder.root)))
    assert list(report.counts) == ["train"]
    assert len(report.faults) == 1
    assert texts(report)[0].startswith("val: file: ")
    assert "holds no NAME_val.json" in texts(report)[0]


def upright(folder, right_x, left_x, count=60):
    """Persons with shoulders above hips, the right shoulder at `right_x`."""
    keypoints = [0, 0, 0] * 17
    places = {5: (left_x, 20), 6: (right_x, 20), 11: (left_x, 60), 12: (right_x, 60)}
    for joint, (x, y) in places.items():
        keypoints[3 * joint : 3 * joint + 3] = [x, y, 2]
    template = folder.document["annotations"][0] | {"keypoints": keypoints, "num_keypoints": 4}
    folder.document["annotations"] = [template | {"id": i} for i in range(count)]
    return folder.write_json()


def test_suspicious_sides(folder):
    upright(folder, right_x=50, left_x=30)
    assert right_on_left_share(folder.read()) == (0.0, 60)
    text = texts(check_dataset(source(folder)))
    assert len(text) == 1
    assert "right shoulder is on the image's left in 0% of 60 upright persons; about 76 % is usual" in text[0]
    assert check_dataset(source(upright(folder, right_x=50, left_x=30, count=49))).faults == ()
    assert "100% of 60" in texts(check_dataset(source(upright(folder, right_x=30, left_x=50))))[0]


def test_grid_shows_the_joints(folder, tmp_path):
    dataset = folder.read()
    path = draw_sample_grid(dataset, tmp_path / "grid.png", count=5, columns=3, input_size=(128, 96))
    grid = cv2.imread(str(path))
    assert grid.shape == (2 * 128, 3 * 96, 3)
    assert not grid[128:, 2 * 96 :].any()
    augmented = draw_sample_grid(
        dataset, tmp_path / "more.png", count=5, columns=3, input_size=(128, 96), augment=STAGE1
    )
    assert not np.array_equal(cv2.imread(str(augmented)), grid)

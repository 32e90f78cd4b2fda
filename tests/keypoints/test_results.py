"""Scoring result files: plain COCOeval, from files."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from posesearch.errors import DataError
from posesearch.keypoints import FIGURES, score_results_file


@pytest.fixture
def write(tmp_path: Path):
    def write(name, document):
        path = tmp_path / name
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    return write


@pytest.mark.parametrize("boxes", [False, True])
def test_equals_cocoeval(oracle, crowd, write, boxes):
    coco, rows = crowd(21, images=30, boxes=boxes)
    scored = score_results_file(write("results.json", rows), write("gt.json", coco))
    expected = oracle(coco, rows)
    assert list(scored) == [*FIGURES, "persons"]
    assert scored["persons"] == sum(
        row["num_keypoints"] > 0 and not row["iscrowd"] for row in coco["annotations"]
    )
    assert 0.1 < scored["AP"] < 0.9
    assert {name: scored[name] for name in FIGURES} == pytest.approx(expected, abs=1e-12)


def test_a_category_without_names_is_coco17(oracle, crowd, write):
    coco, rows = crowd(22)
    coco["categories"] = [{"id": 1, "name": "person"}]
    scored = score_results_file(write("results.json", rows), write("gt.json", coco))
    assert scored["AP"] == pytest.approx(oracle(coco, rows)["AP"], abs=1e-12)
    for row in coco["annotations"]:
        row["keypoints"] = row["keypoints"][:42]
    with pytest.raises(DataError, match=r"category 1 names no joints and its annotations have 14 of them"):
        score_results_file(write("results.json", rows), write("gt.json", coco))


def test_several_categories_are_averaged_as_by_cocoeval(oracle, crowd, write):
    coco, rows = crowd(23, images=20)
    coco["categories"].append(copy.deepcopy(coco["categories"][0]) | {"id": 2, "name": "statue"})
    coco["categories"].append(copy.deepcopy(coco["categories"][0]) | {"id": 3, "name": "never seen"})
    for index, row in enumerate((*coco["annotations"], *rows)):
        row["category_id"] = 1 + (row["image_id"] + index % 2) % 2
    scored = score_results_file(write("results.json", rows), write("gt.json", coco))
    assert {name: scored[name] for name in FIGURES} == pytest.approx(oracle(coco, rows), abs=1e-12)


def test_no_rows_score_zero(crowd, write):
    coco, _ = crowd(24)
    assert score_results_file(write("results.json", []), write("gt.json", coco))["AP"] == 0.0


def test_bad_files_are_named(crowd, write, tmp_path):
    coco, rows = crowd(25)
    good, truth = write("results.json", rows), write("gt.json", coco)
    with pytest.raises(DataError, match=r"result file not found: .*nowhere\.json"):
        score_results_file(tmp_path / "nowhere.json", truth)
    with pytest.raises(DataError, match=r"annotation file .*cut\.json is not valid JSON \(line 1"):
        score_results_file(good, write("cut.json", json.dumps(coco)[: len(json.dumps(coco)) // 2]))
    with pytest.raises(DataError, match=r"swapped\.json: the document is dict"):
        score_results_file(write("swapped.json", coco), truth)
    with pytest.raises(DataError, match=r"short\.json: \"keypoints\" of entry 1 is a list of 9"):
        score_results_file(write("short.json", [rows[0], rows[1] | {"keypoints": [0] * 9}]), truth)
    with pytest.raises(DataError, match=r"the first with image_id 424242"):
        score_results_file(write("stray.json", [rows[0] | {"image_id": 424_242}]), truth)


def test_real_file_scored_as_cocoeval_does(oracle, data_root: Path, write):
    annotations = data_root / "mmpose_slices/coco/test_coco.json"
    coco = json.loads(annotations.read_text())
    rows = [
        {key: row[key] for key in ("image_id", "category_id", "keypoints")} | {"score": 1 / row["id"]}
        for row in coco["annotations"]
        if row["num_keypoints"] and not row["iscrowd"]
    ]
    for row in rows:
        row["keypoints"] = [
            value * (1.01, 0.99, 1)[index % 3] for index, value in enumerate(row["keypoints"])
        ]
    scored = score_results_file(write("results.json", rows), annotations)
    assert scored["persons"] == 12
    assert {name: scored[name] for name in FIGURES} == pytest.approx(oracle(coco, rows), abs=1e-12)

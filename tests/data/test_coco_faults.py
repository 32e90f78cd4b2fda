"""Every fault of an annotation file: its message, the list of several, and junk anywhere."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posesearch.data.coco import build_dataset, parse_coco
from posesearch.data.faults import errors_of
from posesearch.errors import DataError


def _annotation(key, value):
    return lambda document: document["annotations"][1].update({key: value})


def _keypoint(position, value):
    return lambda document: document["annotations"][1]["keypoints"].__setitem__(position, value)


def _image(key, value):
    return lambda document: document["images"][1].update({key: value})


FAULTS = {
    "short keypoints": (
        _annotation("keypoints", [1, 2, 2] * 14),
        "annotation 101: key 'keypoints' holds 42 numbers, but the category names 17 keypoints. Allowed: 51 numbers",
    ),
    "keypoints no list": (_annotation("keypoints", "1 2 3"), "annotation 101: key 'keypoints' is '1 2 3'"),
    "keypoint NaN": (
        _keypoint(3, float("nan")),
        "annotation 101: key 'keypoints' holds nan at position 3. Allowed: finite numbers",
    ),
    "keypoint text": (_keypoint(4, "7"), "annotation 101: key 'keypoints' holds '7' at position 4"),
    "keypoint null": (_keypoint(4, None), "annotation 101: key 'keypoints' holds None at position 4"),
    "keypoint nested": (_keypoint(4, [1]), "annotation 101: key 'keypoints' holds [1] at position 4"),
    "visibility": (
        _keypoint(5, 3),
        "annotation 101: key 'keypoints' has the visibility 3 at position 5. "
        "Allowed: 0 (not labelled), 1 (occluded), 2 (visible)",
    ),
    "NaN box": (
        _annotation("bbox", [float("nan"), 2, 3, 4]),
        "annotation 101: key 'bbox' is [nan, 2, 3, 4]. Allowed: four finite numbers (x, y, width, height)",
    ),
    "infinite box": (_annotation("bbox", [1, 2, float("inf"), 4]), "key 'bbox' is [1, 2, inf, 4]"),
    "box of three": (_annotation("bbox", [1, 2, 3]), "annotation 101: key 'bbox' is [1, 2, 3]"),
    "box missing": (lambda d: d["annotations"][1].pop("bbox"), "annotation 101: key 'bbox' is None"),
    "huge box": (_annotation("bbox", [1, 2, 10**400, 4]), "annotation 101: key 'bbox' is [1, 2, 1000"),
    "area": (
        _annotation("area", -1),
        "annotation 101: key 'area' is -1. Allowed: a finite number, 0 or more",
    ),
    "crowd": (_annotation("iscrowd", "yes"), "annotation 101: key 'iscrowd' is 'yes'. Allowed: 0 or 1"),
    "crowd nested": (_annotation("iscrowd", [1]), "annotation 101: key 'iscrowd' is [1]. Allowed: 0 or 1"),
    "num_keypoints": (
        _annotation("num_keypoints", 18),
        "annotation 101: key 'num_keypoints' is 18. Allowed: an integer in 0..17",
    ),
    "unknown image": (
        _annotation("image_id", 77),
        "annotation 101: key 'image_id' is 77, which no image record has. Allowed: an image id",
    ),
    "image id text": (
        _annotation("image_id", "10"),
        "annotation 101: key 'image_id' is '10', which no image",
    ),
    "annotation id twice": (
        _annotation("id", 100),
        "annotation 100: the id is used by two annotations. Allowed: unique ids",
    ),
    "annotation without id": (_annotation("id", None), "annotations[1]: {'id': None"),
    "annotation no object": (
        lambda d: d["annotations"].__setitem__(1, 5),
        "annotations[1]: 5 has no integer 'id'",
    ),
    "image id twice": (
        _image("id", 10),
        "image 10: the id is used by two image records. Allowed: unique ids",
    ),
    "image no object": (lambda d: d["images"].__setitem__(1, "x"), "images[1]: 'x' has no integer 'id'"),
    "image id a list": (_image("id", [1]), "images[1]: {'id': [1]"),
    "height": (_image("height", 0), "image 11: key 'height' is 0. Allowed: a positive integer"),
    "width missing": (lambda d: d["images"][1].pop("width"), "image 11: key 'width' is None"),
    "file name missing": (lambda d: d["images"][1].pop("file_name"), "image 11: key 'file_name' is None"),
    "parent folder": (
        _image("file_name", "../secret.jpg"),
        "image 11: key 'file_name' '../secret.jpg' leaves the image folder. Allowed: a path inside it",
    ),
    "hidden parent": (_image("file_name", "a/../../b.jpg"), "'a/../../b.jpg' leaves the image folder"),
    "absolute": (_image("file_name", "/etc/passwd"), "'/etc/passwd' leaves the image folder"),
    "windows": (_image("file_name", "C:\\x.jpg"), "leaves the image folder"),
    "windows parent": (_image("file_name", "..\\x.jpg"), "leaves the image folder"),
    "missing file": (_image("file_name", "gone.jpg"), "gone.jpg does not exist"),
    "no annotations": (
        lambda d: d["annotations"].clear(),
        "file: key 'annotations' is an empty list. Allowed: at least one entry",
    ),
    "annotations no list": (
        lambda d: d.update(annotations={"a": 1}),
        "file: key 'annotations' is {'a': 1}. Allowed: a list of objects",
    ),
    "images missing": (
        lambda d: d.pop("images"),
        "file: key 'images' is missing (found: annotations, categories)",
    ),
    "other category": (
        lambda d: [a.update(category_id=3) for a in d["annotations"]],
        "file: no annotation has the keypoint category 1 ('person')",
    ),
    "category without joints": (
        lambda d: d["categories"][0].pop("keypoints"),
        "file: key 'categories': no category lists its keypoints",
    ),
    "two categories": (
        lambda d: d.update(
            categories=[
                {"id": 1, "name": "a", "keypoints": ["x"]},
                {"id": 2, "name": "b", "keypoints": ["y"]},
            ]
        ),
        "categories 1 ('a'), 2 ('b') all list keypoints. Allowed: one such category, or one called 'person'",
    ),
    "joint twice": (
        lambda d: d["categories"][0]["keypoints"].__setitem__(1, "nose"),
        "category 1: key 'keypoints' names a joint twice",
    ),
    "nobody usable": (
        lambda d: [a.update(iscrowd=1) for a in d["annotations"]],
        "none of its 8 annotations is a usable person. Allowed: iscrowd 0, at least one labelled keypoint",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault(folder, name):
    breaks, text = FAULTS[name]
    breaks(folder.document)
    with pytest.raises(DataError) as caught:
        folder.write_json().read()
    message = str(caught.value)
    assert text in message
    assert str(folder.annotation_file) in message
    assert message.rstrip().endswith(".")
    assert caught.value.exit_code == 4


def test_not_an_object(folder):
    folder.annotation_file.write_text("[1, 2]")
    with pytest.raises(DataError, match=r"the JSON holds a list. Allowed: an object with images"):
        folder.read()


def test_first_five_faults_and_their_number(folder):
    for annotation in folder.document["annotations"]:
        annotation["bbox"] = None
    with pytest.raises(DataError) as caught:
        folder.write_json().read()
    message = str(caught.value)
    assert message.startswith(f"8 faults in training annotations {folder.annotation_file}:")
    assert [f"annotation {i}:" in message for i in range(100, 108)] == [True] * 5 + [False] * 3
    assert "... and 3 more" in message
    assert message.endswith("`posesearch data check` lists every fault.")


def test_faults_of_different_kinds_are_listed_together(folder):
    folder.document["annotations"][0]["bbox"] = [1]
    folder.document["images"][2]["width"] = -4
    folder.document["annotations"][5]["keypoints"][0] = None
    with pytest.raises(DataError) as caught:
        folder.write_json().read()
    for text in ("3 faults", "annotation 100", "image 12", "annotation 105"):
        assert text in str(caught.value)


def test_cut_in_half(folder):
    text = folder.annotation_file.read_text()
    folder.annotation_file.write_text(text[: len(text) // 2])
    with pytest.raises(
        DataError, match=r"training annotations .*people_train.json is not valid JSON.*cut off"
    ):
        folder.read()


def test_missing_file_and_folder(folder):
    good = copy.copy(folder.annotation_file)
    folder.image_root.rename(folder.root / "elsewhere")
    with pytest.raises(DataError, match=r"image folder not found: .*images \(for training annotations"):
        folder.read()
    good.unlink()
    with pytest.raises(DataError, match=r"training annotations not found"):
        folder.read()


def test_empty_objects_in_lists(folder):
    folder.annotation_file.write_text(json.dumps({"images": [{}], "annotations": [{}], "categories": [{}]}))
    with pytest.raises(DataError, match=r"images\[0\]: \{\} has no integer 'id'"):
        folder.read()


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**25), 10**25),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.integers(-3, 3), max_size=5),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_junk_anywhere_is_a_fault_or_harmless(folder, data):
    """Whatever stands in one place of the file, reading ends in arrays or in a list of faults."""
    document = copy.deepcopy(folder.document)
    place = document
    for _ in range(data.draw(st.integers(0, 3))):
        keys = list(place) if isinstance(place, dict) else range(len(place))
        inner = [key for key in keys if isinstance(place[key], (dict, list)) and place[key]]
        if not inner:
            break
        place = place[data.draw(st.sampled_from(inner))]
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    place[data.draw(st.sampled_from(keys))] = data.draw(JUNK)
    parts, faults = parse_coco(document, Path("images"))
    assert (parts is None) == bool(errors_of(faults))
    if parts:
        try:
            dataset = build_dataset(parts, Path("a.json"), name="a", split="train", subject="a.json")
        except DataError as fault:
            assert "Allowed" in str(fault) or "Correct" in str(fault)
        else:
            assert np.isfinite(dataset.keypoints_NK3).all()
            assert np.isfinite(dataset.bbox_xywh_N4).all()

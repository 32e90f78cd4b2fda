"""Joint sets: the published ones, those built from names, and the refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.cocoeval import Params

from posesearch.errors import DataError
from posesearch.keypoints import (
    COCO17,
    CROWDPOSE14,
    LSP14,
    MPII16,
    SKELETONS,
    Skeleton,
    skeleton_from_category,
)


def test_coco_is_cocos():
    assert COCO17.sigmas == tuple(Params("keypoints").kpt_oks_sigmas.tolist())
    assert COCO17.flip_index.tolist() == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    assert COCO17.upper_body == tuple(range(11)) and COCO17.lower_body == tuple(range(11, 17))


def test_crowdpose_and_lsp_share_the_constants_of_their_joints():
    tenths = (79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89, 79, 79)
    assert [round(1000 * sigma) for sigma in CROWDPOSE14.sigmas] == list(tenths)
    aliases = {"head_top": "head"}
    for name, sigma in zip(LSP14.names, LSP14.sigmas, strict=True):
        assert sigma == CROWDPOSE14.sigmas[CROWDPOSE14.names.index(aliases.get(name, name))]


@pytest.mark.parametrize("name", SKELETONS)
def test_every_published_set_is_whole(name):
    skeleton = SKELETONS[name]
    flip = skeleton.flip_index
    np.testing.assert_array_equal(flip[flip], np.arange(skeleton.num_joints))
    for index, joint in enumerate(skeleton.names):
        other = joint.replace("left", "#").replace("right", "left").replace("#", "right")
        assert skeleton.names[flip[index]] == other
        assert skeleton.sigmas[index] == skeleton.sigmas[flip[index]]
    assert sorted((*skeleton.upper_body, *skeleton.lower_body)) == list(range(skeleton.num_joints))
    assert {joint for limb in skeleton.limbs for joint in limb} == set(range(skeleton.num_joints))
    assert Skeleton.from_plain(json.loads(json.dumps(skeleton.to_plain()))) == skeleton
    assert skeleton_from_category([joint.upper().replace("_", " ") for joint in skeleton.names]) is skeleton


def test_mpii_halves():
    assert {MPII16.names[index] for index in MPII16.lower_body} >= {"pelvis", "left_hip", "right_ankle"}
    assert "thorax" in {MPII16.names[index] for index in MPII16.upper_body}


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left_knee", "right_knee"),
        ("knee_left", "knee_right"),
        ("l_knee", "r_knee"),
        ("l-knee", "r-knee"),
        ("knee_l", "knee_r"),
        ("LKnee", "RKnee"),
        ("leftKnee", "rightKnee"),
        ("imleft_knee", "imright_knee"),
        ("Left Knee", "Right Knee"),
    ],
)
def test_sides_are_found_in_the_usual_spellings(left, right):
    skeleton = skeleton_from_category(["nose", right, left])
    assert skeleton.flip_pairs == ((2, 1),)
    assert skeleton.sigmas == pytest.approx((0.026, 0.087, 0.087))
    assert skeleton.lower_body == (1, 2)


def test_unknown_joints_and_one_sided_ones():
    skeleton = skeleton_from_category(
        ["left_forearm", "tail", "left_big_toe", "ruler"], [[1, 2], [4, 9], [0, 1]]
    )
    assert skeleton.sigmas == pytest.approx((0.079,) * 4)
    assert skeleton.flip_pairs == () and skeleton.limbs == ((0, 1),)
    assert skeleton.lower_body == (2,)


def test_categories_of_real_files(data_root: Path):
    known = {
        "coco17_mini/annotations/person_keypoints_val.json": COCO17,
        "lspet/annotations/lspet14_val.json": LSP14,
        "mmpose_slices/crowdpose/test_crowdpose.json": CROWDPOSE14,
    }
    for file, skeleton in known.items():
        category = json.loads((data_root / file).read_text())["categories"][0]
        assert skeleton_from_category(category["keypoints"], category["skeleton"]) is skeleton
    category = json.loads((data_root / "parse/annotations/parse14_val.json").read_text())["categories"][0]
    observer = skeleton_from_category(category["keypoints"], category["skeleton"])
    assert observer.sigmas == LSP14.sigmas and len(observer.flip_pairs) == 6 and len(observer.limbs) == 14


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": []}, r"it has no joints"),
        ({"names": ["a", "a"]}, r"the joint names \['a'\] occur more than once"),
        ({"sigmas": [0.1]}, r"1 OKS sigmas for 2 joints"),
        ({"sigmas": [0.1, 0]}, r"One positive sigma a joint"),
        ({"limbs": [[0, 2]]}, r"it names joint 2\. Indices run from 0 to 1"),
        ({"flip_pairs": [[0, 1], [0, 1]]}, r"a joint is in two flip pairs"),
        ({"names": None}, r"The joint set in this file cannot be read"),
    ],
)
def test_refusals(change, message):
    plain = skeleton_from_category(["a", "b"]).to_plain() | change
    with pytest.raises(DataError, match=message):
        Skeleton.from_plain(plain)

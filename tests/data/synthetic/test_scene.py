"""Scenes: the flags say what was painted, left and right are the person's own, the same key gives the same scene."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.data.synthetic import DIFFICULTIES, Scene, make_scene
from posesearch.data.synthetic.scene import OBJECT_OWNER
from posesearch.keypoints.skeleton import COCO17

SIZE = (192, 160)
NAMES = COCO17.names
scenes = st.builds(
    make_scene,
    st.integers(0, 2**32 - 1),
    st.integers(0, 10_000),
    st.sampled_from(list(DIFFICULTIES.values())),
    st.sampled_from([SIZE, (96, 128), (64, 48), (240, 320)]),
)


def plain(**changes: object) -> object:
    """The easy level with one person, nothing in front, nothing cut, and the changes asked for."""
    base = dataclasses.replace(
        DIFFICULTIES["easy"], people=(1.0,), max_occluders=0, clutter=(0, 0), postures=(("standing", 1.0),)
    )
    return dataclasses.replace(base, **changes)


@settings(max_examples=60, deadline=None)
@given(scenes)
def test_labels_are_consistent(scene: Scene) -> None:
    height, width = scene.picture.shape[:2]
    assert scene.picture.dtype == np.uint8
    assert scene.people
    for number, person in enumerate(scene.people, start=1):
        x, y, flag = person.keypoints_K3.T
        assert set(flag) <= {0, 1, 2}
        assert not person.keypoints_K3[flag == 0].any()
        assert (x >= 0).all() and (x <= width - 1).all() and (y >= 0).all() and (y <= height - 1).all()
        left, top, across, down = person.bbox_xywh
        assert left >= 0 and top >= 0 and left + across <= width and top + down <= height
        assert 0 < person.area <= across * down
        labelled = flag > 0
        # Ears stand off the silhouette under long hair, so a joint may lie a little outside the box.
        slack = 0.03 * height + 1
        assert (x[labelled] >= left - slack).all() and (x[labelled] <= left + across + slack).all()
        assert (y[labelled] >= top - slack).all() and (y[labelled] <= top + down + slack).all()
        for column, row in zip(x[flag == 2], y[flag == 2], strict=True):
            assert scene.owner[round(row), round(column)] == number


@settings(max_examples=40, deadline=None)
@given(scenes)
def test_joints_under_objects_or_other_people_are_never_visible(scene: Scene) -> None:
    for number, person in enumerate(scene.people, start=1):
        for x, y, flag in person.keypoints_K3:
            owner = scene.owner[round(y), round(x)]
            if flag and owner not in (0, number):
                assert flag == 1


def test_an_object_in_front_hides_joints_that_are_visible_without_it() -> None:
    level = plain(max_occluders=3, occluder_chance=1.0)
    hidden = 0
    for index in range(30):
        # The objects are drawn after the people, so the people are the same with and without.
        covered = make_scene(5, index, level, SIZE).people[0].keypoints_K3
        free = make_scene(5, index, plain(), SIZE).people[0].keypoints_K3
        np.testing.assert_array_equal(covered[:, :2], free[:, :2])
        assert (covered[:, 2] <= free[:, 2]).all()
        assert ((covered[:, 2] > 0) == (free[:, 2] > 0)).all()
        hidden += int((covered[:, 2] < free[:, 2]).sum())
        owner = make_scene(5, index, level, SIZE).owner
        for x, y, flag in covered[free[:, 2] == 2]:
            assert flag == (1 if owner[round(y), round(x)] == OBJECT_OWNER else 2)
    assert hidden > 30


def test_joints_outside_the_image_are_zero_and_boxes_are_cut() -> None:
    level = plain(truncated_chance=1.0)
    cut = 0
    for index in range(30):
        scene = make_scene(6, index, level, SIZE)
        person = scene.people[0]
        outside = person.keypoints_K3[:, 2] == 0
        cut += int(outside.sum())
        left, top, across, down = person.bbox_xywh
        assert left == 0 or top == 0 or left + across == SIZE[1] or top + down == SIZE[0]
    assert cut > 30


def test_people_inside_the_image_have_every_joint_labelled() -> None:
    for index in range(30):
        assert (make_scene(7, index, plain(), SIZE).people[0].keypoints_K3[:, 2] > 0).all()


@pytest.mark.parametrize(("facing", "order"), [((1.0, 0.0, 0.0), 1), ((0.0, 0.0, 1.0), -1)])
def test_left_is_the_persons_own_left(facing: tuple[float, float, float], order: int) -> None:
    # Seen from the front a person's left shoulder is on the right of the image, from the back on the left.
    for index in range(30):
        keypoints = make_scene(8, index, plain(facing=facing), SIZE).people[0].keypoints_K3
        for part in ("shoulder", "hip"):
            left, right = (keypoints[NAMES.index(f"{side}_{part}"), 0] for side in ("left", "right"))
            assert np.sign(left - right) == order


def test_faces_are_seen_from_the_front_and_hidden_from_the_back() -> None:
    face = [NAMES.index(name) for name in ("nose", "left_eye", "right_eye")]
    front, back = [], []
    for index in range(40):
        front.append(make_scene(9, index, plain(facing=(1, 0, 0)), SIZE).people[0].keypoints_K3[face, 2])
        back.append(make_scene(9, index, plain(facing=(0, 0, 1)), SIZE).people[0].keypoints_K3[face, 2])
    assert np.mean(np.concatenate(front) == 2) > 0.85
    assert np.mean(np.concatenate(back) == 1) > 0.9


def test_upright_people_have_their_head_above_their_feet() -> None:
    for index in range(20):
        y = make_scene(10, index, plain(), SIZE).people[0].keypoints_K3[:, 1]
        assert y[NAMES.index("nose")] < y[NAMES.index("left_hip")] < y[NAMES.index("left_ankle")]


def test_hard_scenes_hide_more_than_default_and_default_more_than_easy() -> None:
    share = {}
    for name, level in DIFFICULTIES.items():
        flags = np.concatenate(
            [p.keypoints_K3[:, 2] for index in range(60) for p in make_scene(11, index, level, SIZE).people]
        )
        share[name] = float(np.mean(flags < 2))
    assert share["easy"] < share["default"] < share["hard"] - 0.1


def test_levels_sum_to_one_and_name_real_postures() -> None:
    from posesearch.data.synthetic.poses import POSTURES

    for name, level in DIFFICULTIES.items():
        assert level.name == name
        assert sum(level.people) == pytest.approx(1)
        assert sum(level.facing) == pytest.approx(1)
        assert sum(weight for _, weight in level.postures) == pytest.approx(1)
        assert {posture for posture, _ in level.postures} <= set(POSTURES)


def test_same_key_same_scene_in_another_process() -> None:
    code = (
        "import hashlib; from posesearch.data.synthetic import DIFFICULTIES, make_scene\n"
        "s = make_scene(3, 4, DIFFICULTIES['hard'], (96, 80))\n"
        "print(hashlib.sha256(s.picture.tobytes() + repr([p.keypoints_K3.tolist() for p in s.people])"
        ".encode()).hexdigest())"
    )
    digests = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(digests) == 1
    first, again = (make_scene(3, 4, DIFFICULTIES["hard"], (96, 80)).picture for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, make_scene(4, 4, DIFFICULTIES["hard"], (96, 80)).picture)
    assert not np.array_equal(first, make_scene(3, 5, DIFFICULTIES["hard"], (96, 80)).picture)

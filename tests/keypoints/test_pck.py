"""PCK by hand."""

from __future__ import annotations

import numpy as np
import pytest

from posesearch.errors import DataError
from posesearch.keypoints import COCO17, LSP14, pck, skeleton_from_category, torso_normaliser


def test_share_of_counted_joints():
    true = np.zeros((2, 3, 2))
    predicted = np.array([[[3, 4], [3, 4.1], [99, 99]], [[0, 0], [0, 0], [0, 11]]], dtype=float)
    visible = [[2, 1, 0], [1, 1, 1]]
    # Exactly on the limit of .2 * 25 = 5 px is correct; the unlabelled joint does not count.
    assert pck(predicted, true, visible, [25, 50]) == pytest.approx(3 / 5)
    assert pck(predicted, true, visible, [25, 55]) == pytest.approx(4 / 5)
    assert pck(predicted, true, visible, [25, 50], threshold=0.1) == pytest.approx(2 / 5)


@pytest.mark.parametrize("length", [np.nan, 0.0, -1.0, np.inf])
def test_persons_without_a_length_do_not_count(length):
    true = np.zeros((2, 1, 2))
    assert pck(true + 1, true, [[1], [1]], [length, 100]) == 1.0
    assert pck(true, true, [[1], [1]], [length, length]) == -1.0


@pytest.mark.parametrize("skeleton", [COCO17, LSP14])
def test_torso_is_from_between_shoulders_to_between_hips(skeleton):
    keypoints = np.zeros((2, skeleton.num_joints, 3))
    places = {"left_shoulder": (20, 0), "right_shoulder": (0, 0), "left_hip": (13, 40), "right_hip": (67, 40)}
    for name, place in places.items():
        keypoints[:, skeleton.names.index(name)] = (*place, 2)
    keypoints[1, skeleton.names.index("left_hip"), 2] = 0
    np.testing.assert_allclose(torso_normaliser(keypoints, skeleton), [50, np.nan])


def test_a_set_without_a_torso_is_refused():
    with pytest.raises(DataError, match=r"this joint set has no left_hip, right_hip\. Use OKS-AP"):
        torso_normaliser(np.zeros((1, 2, 3)), skeleton_from_category(["left_shoulder", "right_shoulder"]))

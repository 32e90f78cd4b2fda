"""The loss on a split: the training loss of all crops at once, whatever the batches, beside an evaluation it leaves alone."""

import pytest
import torch

from posesearch.data.batch import crops, normalise
from posesearch.errors import DataError
from posesearch.models import PoseModel
from posesearch.train.batches import label_codec
from posesearch.train.evaluate import evaluate_forward
from posesearch.train.losses import simcc_loss, soft_labels
from posesearch.train.recipe import LossConfig
from posesearch.train.split_loss import SplitLoss

LOSS = LossConfig()


@pytest.fixture(scope="module")
def scene(people, tiny_space):
    dataset, store = people
    network = PoseModel(tiny_space.smallest()).eval()
    return dataset, crops(dataset, store, tiny_space.input_size), network


@pytest.mark.parametrize("batch_size", [7, 64])
def test_it_is_the_training_loss_of_the_plain_crops(scene, batch_size):
    dataset, evaluated, network = scene
    split = SplitLoss(dataset, evaluated, LOSS, split_ratio=2.0)
    watched = split.watching(network)
    evaluation = evaluate_forward(watched, evaluated, dataset, batch_size=batch_size)
    alone = evaluate_forward(network, evaluated, dataset, batch_size=batch_size)
    assert evaluation.figures == alone.figures
    # The same by the parts that training uses.
    codec = label_codec(evaluated.input_size, 2.0, LOSS)
    targets = codec.encode(split.points_NK2, split.visible_NK)
    labels = soft_labels(*(torch.from_numpy(array) for array in targets), LOSS.beta)
    with torch.no_grad():
        whole = simcc_loss(network(normalise(evaluated.pixels_NHWC)), labels, LOSS.beta)
    assert watched.value() == pytest.approx(float(whole), rel=1e-5)


def test_labels_are_where_the_joints_are(scene):
    dataset, evaluated, _ = scene
    split = SplitLoss(dataset, evaluated, LOSS, split_ratio=2.0)
    last_row = [[[0.0, 0.0, 1.0]]]
    import numpy as np

    matrices = np.concatenate((evaluated.inverse_affine_N23, np.tile(last_row, (len(dataset), 1, 1))), axis=1)
    wanted = np.linalg.inv(matrices)[:, :2]
    ones = np.ones((*dataset.keypoints_NK3.shape[:2], 1))
    points = np.einsum("nij,nkj->nki", wanted, np.concatenate((dataset.keypoints_NK3[..., :2], ones), -1))
    seen = dataset.keypoints_NK3[..., 2] > 0
    assert np.abs(points - split.points_NK2)[seen].max() < 1e-3
    assert (split.points_NK2[~seen] == 0).all()


def test_half_a_split_has_no_loss(scene):
    dataset, evaluated, network = scene
    watched = SplitLoss(dataset, evaluated, LOSS, split_ratio=2.0).watching(network)
    watched(normalise(evaluated.pixels_NHWC[:3]))
    with pytest.raises(DataError, match=rf"loss of a split: 3 of {len(dataset)} crops were run"):
        watched.value()

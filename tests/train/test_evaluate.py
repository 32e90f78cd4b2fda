"""Evaluation: exact decoding, flip test, conditions named, one path for subnets and models."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from posesearch.data.batch import crops
from posesearch.errors import DataError
from posesearch.keypoints import FIGURES, apply_affine
from posesearch.keypoints.skeleton import LSP14, Skeleton
from posesearch.models import PoseModel
from posesearch.models.heads import PoseOutput
from posesearch.supernet import Supernet, extract_subnet, recalibrate
from posesearch.train.calibrate import CalibrationImages
from posesearch.train.evaluate import crops_a_forward, evaluate_forward, evaluate_many, predict_crops

SIZE = (64, 48)


@pytest.fixture(scope="module")
def scene(people):
    dataset, store = people
    return dataset, crops(dataset, store, SIZE)


class Oracle:
    """Logits that peak at the true joints, for persons asked for in order."""

    def __init__(self, dataset, evaluated):
        last_row_N13 = np.tile([[[0.0, 0.0, 1.0]]], (len(dataset), 1, 1))
        to_crop_N33 = np.linalg.inv(np.concatenate((evaluated.inverse_affine_N23, last_row_N13), axis=1))
        self.points = apply_affine(to_crop_N33[:, :2], dataset.keypoints_NK3[..., :2])

    def answer(self, start, count):
        height, width = SIZE
        bins = torch.from_numpy(np.rint(self.points[start : start + count] * 2)).long()
        x = torch.zeros(*bins.shape[:2], 2 * width)
        y = torch.zeros(*bins.shape[:2], 2 * height)
        x.scatter_(2, bins[..., :1].clamp(0, 2 * width - 1), 1.0)
        y.scatter_(2, bins[..., 1:].clamp(0, 2 * height - 1), 1.0)
        return PoseOutput(x, y)


def oracle_forward(dataset, evaluated):
    oracle, done = Oracle(dataset, evaluated), []

    def forward(images_BCHW):
        start = sum(done)
        done.append(len(images_BCHW))
        return oracle.answer(start, len(images_BCHW))

    return forward, oracle


def test_perfect_logits_are_decoded_to_a_quarter_of_a_crop_pixel(scene):
    dataset, evaluated = scene
    forward, oracle = oracle_forward(dataset, evaluated)
    predicted = predict_crops(forward, evaluated, dataset.skeleton, batch_size=7)
    zoom_N = np.abs(evaluated.inverse_affine_N23[:, 0, 0])
    inside = (dataset.keypoints_NK3[..., 2] > 0) & (
        (oracle.points >= 0) & (oracle.points <= np.array((SIZE[1], SIZE[0])) - 0.5)
    ).all(-1)
    error = np.abs(predicted.points_NK2 - dataset.keypoints_NK3[..., :2]).max(-1) / zoom_N[:, None]
    assert inside.sum() > 300
    assert error[inside].max() <= 0.25 + 1e-6
    assert (predicted.scores_NK[inside] == 1.0).all()


def test_perfect_logits_score_high_and_everything_is_named(scene):
    dataset, evaluated = scene
    forward, _ = oracle_forward(dataset, evaluated)
    evaluation = evaluate_forward(forward, evaluated, dataset, batch_size=16)
    plain = evaluation.to_plain()
    assert set(plain) == {*FIGURES, "PCK", "boxes", "flip", "input_size", "persons", "split"}
    assert plain["AP"] == evaluation.ap > 0.9
    assert plain["PCK"] > 0.95
    assert (plain["boxes"], plain["flip"], plain["input_size"], plain["persons"], plain["split"]) == (
        "gt", False, [64, 48], len(dataset), "train",
    )  # fmt: skip


def test_flip_test_swaps_sides_and_reverses_x(scene):
    dataset, evaluated = scene
    oracle = Oracle(dataset, evaluated)
    flip_index = dataset.skeleton.flip_index
    calls = []

    def forward(images_BCHW):
        start = sum(calls[::2]) if len(calls) % 2 == 0 else sum(calls[:-1:2])
        calls.append(len(images_BCHW))
        output = oracle.answer(start, len(images_BCHW))
        if len(calls) % 2:
            return output
        # What a perfect network says about the mirrored crop, bin by bin.
        return PoseOutput(output.x.flip(-1)[:, flip_index], output.y[:, flip_index])

    flipped = predict_crops(forward, evaluated, dataset.skeleton, flip=True, batch_size=9)
    forward_once, _ = oracle_forward(dataset, evaluated)
    once = predict_crops(forward_once, evaluated, dataset.skeleton, batch_size=9)
    np.testing.assert_array_equal(flipped.points_NK2, once.points_NK2)
    np.testing.assert_array_equal(flipped.scores_NK, once.scores_NK)


def test_flip_test_shows_the_network_the_mirrored_crop(scene):
    dataset, evaluated = scene
    seen = []

    def forward(images_BCHW):
        seen.append(images_BCHW.clone())
        return PoseOutput(torch.rand(len(images_BCHW), 17, 96), torch.rand(len(images_BCHW), 17, 128))

    predict_crops(forward, evaluated, dataset.skeleton, flip=True, batch_size=32)
    assert torch.equal(seen[1], seen[0].flip(-1))


def test_batch_size_does_not_matter(scene, tiny_space):
    dataset, evaluated = scene
    model = PoseModel(tiny_space.smallest(), seed=4).eval()
    one = evaluate_forward(model, evaluated, dataset, batch_size=5, flip=True)
    other = evaluate_forward(model, evaluated, dataset, batch_size=64, flip=True)
    np.testing.assert_allclose(one.predictions.scores_NK, other.predictions.scores_NK, rtol=1e-3)
    assert one.to_plain() == other.to_plain()


@pytest.mark.parametrize(
    ("size", "crops"), [((128, 96), 64), ((256, 192), 16), ((64, 48), 256), ((512, 384), 8)]
)
def test_a_forward_on_a_cpu_has_a_bounded_number_of_pixels(size, crops):
    assert crops_a_forward(size, "cpu") == crops
    assert crops_a_forward(size, "cuda:1") == 256


def test_chosen_batch_size_changes_no_pose(scene, tiny_space):
    dataset, evaluated = scene
    model, sizes = PoseModel(tiny_space.smallest(), seed=4).eval(), []

    def forward(images_BCHW):
        sizes.append(len(images_BCHW))
        return model(images_BCHW)

    chosen = predict_crops(forward, evaluated, dataset.skeleton)
    assert sizes == [len(dataset)]
    seven = predict_crops(forward, evaluated, dataset.skeleton, batch_size=7)
    assert max(sizes[1:]) == 7
    np.testing.assert_array_equal(chosen.points_NK2, seven.points_NK2)


def test_subnet_and_extracted_model_are_evaluated_alike(people, scene, tiny_space):
    dataset, evaluated = scene
    supernet = Supernet(tiny_space, seed=3)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    arch = tiny_space.sample(np.random.default_rng(0))
    images = CalibrationImages(*people, SIZE, persons=20, seed=0, batch_size=8)
    buffers = recalibrate(supernet, arch, images)
    model = extract_subnet(supernet, arch, buffers).eval()
    of_subnet = evaluate_forward(lambda x: supernet(x, arch, buffers=buffers), evaluated, dataset)
    of_model = evaluate_forward(model, evaluated, dataset)
    assert of_subnet.to_plain() == of_model.to_plain()
    np.testing.assert_array_equal(of_subnet.predictions.points_NK2, of_model.predictions.points_NK2)


def test_many_are_evaluated_as_one_by_one_and_made_when_needed(scene, tiny_space):
    dataset, evaluated = scene
    models = {seed: PoseModel(tiny_space.smallest(), seed=seed).eval() for seed in (4, 2, 3)}
    made = []

    def forwards():
        for seed, model in models.items():
            made.append(seed)
            yield seed, model

    found = evaluate_many(forwards(), evaluated, dataset, flip=True, batch_size=16)
    assert made == []
    first, evaluation = next(found)
    # The second was run while the first was scored; the third has not been asked for.
    assert (first, made) == (4, [4, 2])
    rest = dict(found)
    assert list(rest) == [2, 3]
    for seed, many in {4: evaluation, **rest}.items():
        alone = evaluate_forward(models[seed], evaluated, dataset, flip=True, batch_size=16)
        assert many.to_plain() == alone.to_plain()
        np.testing.assert_array_equal(many.predictions.points_NK2, alone.predictions.points_NK2)
    assert list(evaluate_many([], evaluated, dataset)) == []


def test_a_fault_among_many_is_the_fault_of_its_network(scene, tiny_space):
    dataset, evaluated = scene
    fourteen = PoseModel(tiny_space.with_joints(14).smallest()).eval()
    with pytest.raises(DataError, match="predicts 14 joints"):
        list(evaluate_many([("wrong", fourteen)], evaluated, dataset))


def test_result_rows_are_coco_results(scene, tiny_space):
    dataset, evaluated = scene
    evaluation = evaluate_forward(PoseModel(tiny_space.smallest()).eval(), evaluated, dataset)
    rows = evaluation.results()
    assert 0 < len(rows) <= len(dataset)
    assert {"image_id", "category_id", "keypoints", "score"} <= set(rows[0])
    assert len(rows[0]["keypoints"]) == 3 * 17
    assert {row["category_id"] for row in rows} == {dataset.category_id}


def test_joint_sets_must_agree(scene):
    dataset, evaluated = scene
    fourteen = replace(dataset, skeleton=LSP14)
    with pytest.raises(
        DataError, match=r"predicts 17 joints, the data set has 14 .* Both must have one joint set"
    ):
        evaluate_forward(oracle_forward(dataset, evaluated)[0], evaluated, fourteen)


def test_pck_leaves_out_persons_without_torso_and_is_none_where_it_cannot_be(scene):
    dataset, evaluated = scene
    forward, _ = oracle_forward(dataset, evaluated)
    keypoints = dataset.keypoints_NK3.copy()
    hip = dataset.skeleton.names.index("left_hip")
    keypoints[: len(dataset) // 2, hip, 2] = 0
    partly = evaluate_forward(forward, evaluated, replace(dataset, keypoints_NK3=keypoints))
    assert partly.pck > 0.9
    keypoints[:, hip, 2] = 0
    forward, _ = oracle_forward(dataset, evaluated)
    assert evaluate_forward(forward, evaluated, replace(dataset, keypoints_NK3=keypoints)).pck is None
    forward, _ = oracle_forward(dataset, evaluated)
    assert evaluate_forward(forward, evaluated, replace(dataset, boxes="boxes.json")).pck is None
    other = dataset.skeleton.to_plain() | {"names": [f"joint{i}" for i in range(17)]}
    forward, _ = oracle_forward(dataset, evaluated)
    named = replace(dataset, skeleton=Skeleton.from_plain(other))
    assert evaluate_forward(forward, evaluated, named).pck is None


def test_calibration_images_are_fixed_seeded_and_repeatable(people):
    first = CalibrationImages(*people, SIZE, persons=20, seed=1, batch_size=8)
    again = CalibrationImages(*people, SIZE, persons=20, seed=1, batch_size=8)
    other = CalibrationImages(*people, SIZE, persons=20, seed=2, batch_size=8)
    assert len(first) == 20
    assert [len(batch) for batch in first] == [8, 8, 4]
    for _ in range(2):
        for one, two in zip(first, again, strict=True):
            assert torch.equal(one, two)
    assert not torch.equal(next(iter(first)), next(iter(other)))
    assert len(CalibrationImages(*people, SIZE, persons=10_000, seed=1)) == len(people[0])

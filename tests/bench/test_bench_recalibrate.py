"""Recalibration and the naive evaluation: the same statistics, the same figures, honest computed ratios."""

import numpy as np
import pytest
import torch
from bench_world import CPU, check_result, quick_context

from posesearch.bench import recalibrate
from posesearch.bench.baseline_metric import metric_step
from posesearch.bench.recalibrate_naive import NaiveEvaluation
from posesearch.supernet import extract_subnet


@pytest.fixture(scope="module")
def subnet(people_dir):
    return recalibrate.make_subnet(quick_context(people_dir), 8, batch_size=4)


@pytest.fixture(scope="module")
def naive(subnet):
    return NaiveEvaluation(
        subnet.dataset, subnet.dataset, subnet.arch.input_size, device=CPU, batch_size=4, workers=0
    )


def test_quick_run_gives_every_ratio(people_dir):
    result = recalibrate.run(quick_context(people_dir))
    check_result(
        result,
        "recalibrate",
        ratios=(
            *("recalibration", "recalibration_at_full_size", "ours_over_naive"),
            *("ours_over_naive_channels_last", "memory_kept", "non_forward_share"),
        ),
        goals=[("recalibration_at_full_size", 0.08, True), ("ours_over_naive_channels_last", 1.1, False)],
    )
    figures = result.figures
    computed = (
        1024 * figures["recalibration_ms_per_person"] / (6352 * figures["flipped_evaluation_ms_per_person"])
    )
    assert result.ratios["recalibration_at_full_size"] == pytest.approx(computed)
    assert "computed from these costs" in result.notes[0]
    share = figures["persons_at_goal"] / 1024 * result.ratios["recalibration_at_full_size"]
    assert share == pytest.approx(0.08, rel=0.01)
    assert figures["mean_image_megapixels"] > 0
    assert figures["calibration_persons"] == figures["evaluated_persons"] == 8


def test_naive_script_reaches_our_statistics(subnet, naive):
    # The same persons in another order of batches: only all of them in one batch agree to rounding.
    whole = NaiveEvaluation(
        subnet.dataset, subnet.dataset, subnet.arch.input_size, device=CPU, batch_size=8, workers=0
    )
    network = extract_subnet(subnet.supernet, subnet.arch)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    copy = extract_subnet(subnet.supernet, subnet.arch)
    whole._set_running_statistics(copy)
    subnet.calibration.batch_size = 8
    ours = subnet.recalibrated()
    subnet.calibration.batch_size = 4
    theirs = dict(copy.named_buffers())
    for name, value in ours.items():
        if name.endswith("running_var"):
            torch.testing.assert_close(value, theirs[name], rtol=0.02, atol=1e-3, msg=name)
    naive(network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_naive_script_reaches_our_poses_and_figures(subnet, naive):
    buffers = subnet.recalibrated()
    network = extract_subnet(subnet.supernet, subnet.arch, buffers)
    rows = naive._predictions(network)
    ours = subnet.evaluated(buffers, flip=False)
    assert recalibrate.share_of_equal_joints(ours, rows) >= recalibrate.SAME
    moved = [{**row, "keypoints": row["keypoints"] + 2.0} for row in rows]
    assert recalibrate.share_of_equal_joints(ours, moved) < 0.1
    figures = naive(network)
    # An untrained network scores about nothing; that poses agree is what makes the two comparable.
    assert figures["AP"] == pytest.approx(ours.figures["AP"], abs=0.02)


def test_a_script_that_finds_other_poses_is_not_timed(people_dir, monkeypatch):
    real = NaiveEvaluation.poses

    def other(self, network):
        return [{**row, "keypoints": row["keypoints"] + 2.0} for row in real(self, network)]

    monkeypatch.setattr(NaiveEvaluation, "poses", other)
    with pytest.raises(AssertionError, match="of the joints lie where the naive script finds them"):
        recalibrate.run(quick_context(people_dir))


@pytest.mark.parametrize("channels_last", [False, True])
def test_naive_script_runs_in_the_memory_order_it_is_asked_for(subnet, channels_last):
    evaluation = NaiveEvaluation(
        subnet.dataset,
        subnet.dataset,
        subnet.arch.input_size,
        device=CPU,
        batch_size=4,
        workers=0,
        channels_last=channels_last,
    )
    images = evaluation._preprocess(next(iter(evaluation._loader(subnet.dataset))))
    assert images.is_contiguous(memory_format=torch.channels_last) == channels_last
    assert images.is_contiguous() != channels_last
    assert images.shape == (4, 3, *subnet.arch.input_size)


def test_naive_figures_are_those_of_pycocotools_on_right_poses(subnet, naive):
    """The true poses score 1, so the way from poses to figures is whole."""
    dataset = subnet.dataset
    rows = [
        {
            "id": row,
            "img_id": int(dataset.image_id_N[row]),
            "keypoints": dataset.keypoints_NK3[row][None, :, :2],
            "keypoint_scores": np.ones((1, 17)),
            "bbox_scores": np.ones(1),
            "areas": np.ones(1) * 1e4,
        }
        for row in range(len(dataset))
    ]
    figures = metric_step(rows, naive.coco, dataset.skeleton.sigmas)
    assert figures["AP"] == pytest.approx(1.0)


def test_forwards_are_those_of_one_evaluation(subnet, monkeypatch):
    """Half of them as for statistics, half in evaluation mode, on as many images."""
    seen = []
    real = subnet.supernet.forward

    def watched(images, arch, *, buffers=None, drop_path=None):
        seen.append((len(images), subnet.supernet.training, buffers is not None))
        return real(images, arch, buffers=buffers, drop_path=drop_path)

    monkeypatch.setattr(subnet.supernet, "forward", watched)
    buffers = subnet.recalibrated()
    subnet.forwards(torch.randn(4, 3, *subnet.arch.input_size), buffers)
    assert seen == [(4, True, False), (4, True, False), (4, False, True), (4, False, True)]

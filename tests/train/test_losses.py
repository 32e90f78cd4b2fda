"""Losses: equal to a literal sum, to the published formula up to its known factor, and blind to batch size."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.models import PoseModel
from posesearch.models.heads import PoseOutput
from posesearch.train.losses import joint_maps, map_loss, simcc_loss, soft_labels

BETA = 10.0


def random_batch(seed, batch=3, joints=4, x_bins=24, y_bins=32):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(shape, generator=generator, dtype=torch.float32)

    output = PoseOutput(x=draw(batch, joints, x_bins) - 0.3, y=draw(batch, joints, y_bins) - 0.3)
    weight = (draw(batch, joints) > 0.4).float()
    weight[0, 0] = 1.0
    return output, draw(batch, joints, x_bins), draw(batch, joints, y_bins), weight


def literal(output, x, y, weight, beta):
    """Sum over bins, mean over (image, visible joint), x + y, one number at a time."""
    total, count = 0.0, 0.0
    for b in range(weight.shape[0]):
        for k in range(weight.shape[1]):
            if not weight[b, k]:
                continue
            count += 1
            for logits, labels in ((output.x[b, k], x[b, k]), (output.y[b, k], y[b, k])):
                q = [math.exp(beta * v) for v in labels.tolist()]
                p = [math.exp(beta * v) for v in logits.tolist()]
                for qi, pi in zip(q, p, strict=True):
                    total += qi / sum(q) * math.log((qi / sum(q)) / (pi / sum(p)))
    return total / count


@given(seed=st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_equals_the_literal_sum(seed):
    output, x, y, weight = random_batch(seed)
    loss = simcc_loss(output, soft_labels(x, y, weight, BETA), BETA)
    assert loss.item() == pytest.approx(literal(output, x, y, weight, BETA), rel=2e-5)


def test_is_mmpose_formula_times_known_factors():
    # MMPose's KLDiscretLoss: mean over bins, sum over the batch, divided by K.
    output, x, y, weight = random_batch(1)
    joints = weight.shape[1]

    def mmpose(logits, labels):
        prediction = torch.log_softmax(logits * BETA, -1)
        target = torch.softmax(labels * BETA, -1)
        rows = torch.nn.KLDivLoss(reduction="none")(prediction, target).mean(-1)
        return (rows * weight).sum() / joints

    expected = (mmpose(output.x, x) * x.shape[-1] + mmpose(output.y, y) * y.shape[-1]) * joints / weight.sum()
    assert simcc_loss(output, soft_labels(x, y, weight, BETA), BETA).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_golden_peak_probability_of_published_label():
    # starnet recipe: sigma 4.9 bins over 384 bins, beta 10 -> the peak has probability .245 when it is centred.
    bins = torch.arange(384.0)
    label = torch.exp(-((bins - 192) ** 2) / (2 * 4.9**2)).view(1, 1, -1)
    soft = soft_labels(label, label, torch.ones(1, 1), BETA)
    assert soft.x_BKX.exp().max().item() == pytest.approx(0.245, abs=5e-4)


@given(seed=st.integers(0, 10_000), copies=st.integers(2, 5))
@settings(max_examples=10, deadline=None)
def test_batch_size_changes_nothing(seed, copies):
    output, x, y, weight = random_batch(seed)

    def repeat(tensor):
        return tensor.repeat(copies, *[1] * (tensor.dim() - 1))

    once = simcc_loss(output, soft_labels(x, y, weight, BETA), BETA)
    more = simcc_loss(
        PoseOutput(repeat(output.x), repeat(output.y)),
        soft_labels(repeat(x), repeat(y), repeat(weight), BETA),
        BETA,
    )
    assert more.item() == pytest.approx(once.item(), rel=1e-5)


def test_hard_loss_and_distillation_share_the_reduction():
    # A teacher whose logits are the labels themselves gives the hard loss exactly.
    output, x, y, weight = random_batch(3)
    labels = soft_labels(x, y, weight, BETA)
    teacher = soft_labels(*PoseOutput(x, y), weight, BETA)
    assert torch.equal(simcc_loss(output, labels, BETA), simcc_loss(output, teacher, BETA))


def test_perfect_prediction_costs_nothing_and_hidden_joints_do_not_count():
    output, x, y, weight = random_batch(4)
    assert simcc_loss(PoseOutput(x, y), soft_labels(x, y, weight, BETA), BETA).item() == pytest.approx(
        0, abs=1e-5
    )
    before = simcc_loss(output, soft_labels(x, y, weight, BETA), BETA)
    changed = PoseOutput(
        torch.where(weight[..., None] > 0, output.x, output.x + torch.rand_like(output.x)), output.y
    )
    assert torch.equal(before, simcc_loss(changed, soft_labels(x, y, weight, BETA), BETA))


def test_no_visible_joint_gives_zero_loss_and_zero_gradient():
    output, x, y, weight = random_batch(5)
    logits = output.x.clone().requires_grad_()
    loss = simcc_loss(PoseOutput(logits, output.y), soft_labels(x, y, torch.zeros_like(weight), BETA), BETA)
    loss.backward()
    assert loss.item() == 0
    assert torch.count_nonzero(logits.grad) == 0


def test_no_gradient_reaches_the_teacher_and_half_precision_is_widened():
    output, x, y, weight = random_batch(6)
    teacher = x.clone().requires_grad_()
    loss = simcc_loss(
        PoseOutput(output.x.bfloat16(), output.y.bfloat16()), soft_labels(teacher, y, weight, BETA), BETA
    )
    assert loss.dtype == torch.float32
    assert not loss.requires_grad


def gaussian(bins, centre, sigma):
    return torch.exp(-0.5 * ((torch.arange(bins) - centre) / sigma) ** 2)


def test_map_loss_is_least_where_the_joint_is_and_asks_nothing_of_unseen_joints():
    x_BKX, y_BKY = gaussian(48, 30.0, 2.0).expand(1, 2, 48), gaussian(64, 12.0, 2.0).expand(1, 2, 64)
    weight_BK = torch.tensor([[1.0, 0.0]])

    def loss(row, column):  # a 4x3 map: 16 bins a cell; the joint is in row 0, column 1
        maps_BKHW = torch.zeros(1, 2, 4, 3)
        maps_BKHW[0, 0, row, column] = 5.0
        maps_BKHW[0, 1] = torch.randn(4, 3)
        return map_loss(maps_BKHW, x_BKX, y_BKY, weight_BK).item()

    losses = {(row, column): loss(row, column) for row in range(4) for column in range(3)}
    assert min(losses, key=losses.get) == (0, 1)
    assert losses[(0, 1)] >= 0.0
    assert map_loss(torch.zeros(1, 2, 4, 3), x_BKX, y_BKY, torch.zeros(1, 2)).item() == 0.0


def test_map_loss_of_the_label_itself_is_zero():
    x_BKX, y_BKY = gaussian(48, 20.0, 6.0).expand(1, 1, 48), gaussian(64, 40.0, 6.0).expand(1, 1, 64)
    rows = torch.nn.functional.adaptive_avg_pool1d(y_BKY, 4) + 1e-6
    columns = torch.nn.functional.adaptive_avg_pool1d(x_BKX, 3) + 1e-6
    maps_BKHW = (rows.unsqueeze(-1) * columns.unsqueeze(-2)).log()
    assert map_loss(maps_BKHW, x_BKX, y_BKY, torch.ones(1, 1)).item() == pytest.approx(0.0, abs=1e-6)


def test_joint_maps_are_those_of_the_forward_and_leave_no_hook(tiny_space):
    model = PoseModel(tiny_space.smallest()).eval()
    images_BCHW = torch.randn(2, 3, *tiny_space.input_size)
    with joint_maps(model) as maps:
        model(images_BCHW)
    model(images_BCHW)
    (found,) = maps
    torch.testing.assert_close(found, model.head.final_layer(model.backbone(images_BCHW)))

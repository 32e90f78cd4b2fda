"""BatchNorm recalibration against a full flipped evaluation, and a subnet's evaluation against a naive script.

The cost of each follows the number of its images, so besides the ratio at the sizes measured there is the one for the
published sizes, computed from the measured costs of one image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from posesearch.bench.baseline_metric import Instance
from posesearch.bench.recalibrate_naive import NaiveEvaluation
from posesearch.bench.registry import BenchContext
from posesearch.bench.result import BenchResult, Goal
from posesearch.bench.timing import compare
from posesearch.bench.workload import people, stirred
from posesearch.data.batch import EvalCrops, crops
from posesearch.data.dataset import PoseDataset
from posesearch.device import usable_cores
from posesearch.heap import memory_kept
from posesearch.spaces import load_preset, load_space
from posesearch.spaces.arch import Architecture
from posesearch.supernet.recalibrate import recalibrate
from posesearch.supernet.supernet import Supernet, extract_subnet
from posesearch.train.calibrate import CalibrationImages
from posesearch.train.evaluate import Evaluation, evaluate_forward

FULL_CALIBRATION, FULL_EVALUATION = 1024, 6352
"""Persons: what recalibration needs, and COCO val2017 with ground-truth boxes, whose evaluation is flipped."""

RECALIBRATION = Goal(key="recalibration_at_full_size", target=0.08, at_most=True)
# Held like for like: with images and weights as planes the naive script loses by memory order alone, which the goal is not about.
LIKE_FOR_LIKE = "ours_over_naive_channels_last"
OURS = {"cpu": Goal(key=LIKE_FOR_LIKE, target=1.1), "cuda": Goal(key=LIKE_FOR_LIKE, target=15.0)}
NON_FORWARD = Goal(key="non_forward_share", target=0.1, at_most=True)

SAME = 0.9
"""Share of joints that both must find within a pixel: crops differ by a grey level here and there, and the maxima of a
network that is not trained are close calls."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Subnet:
    """One subnet of a supernet and the persons it is evaluated on.

    Attributes:
        supernet: The shared weights, on their device, in evaluation mode.
        arch: The subnet.
        calibration: Crops that give its statistics.
        crops: Crops it is scored on.
        dataset: Their persons.
        device: Where it all is.
        batch_size: Crops a forward.
    """

    supernet: Supernet
    arch: Architecture
    calibration: CalibrationImages
    crops: EvalCrops
    dataset: PoseDataset
    device: torch.device
    batch_size: int

    def recalibrated(self) -> dict[str, Tensor]:
        """Returns the subnet's statistics."""
        return recalibrate(self.supernet, self.arch, self.calibration)

    @torch.no_grad()
    def evaluated(self, buffers: dict[str, Tensor], *, flip: bool) -> Evaluation:
        """Returns its figures with given statistics, as a search evaluates it."""
        return evaluate_forward(
            partial(self.supernet, arch=self.arch, buffers=buffers),
            self.crops,
            self.dataset,
            flip=flip,
            batch_size=self.batch_size,
            device=self.device,
        )

    def in_search(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Returns a function that runs as in a search: freed memory is kept for the next map."""

        def kept() -> Any:
            with memory_kept(self.device.type):
                return function()

        return kept

    @torch.no_grad()
    def forwards(self, images_BCHW: Tensor, buffers: dict[str, Tensor]) -> None:
        """Runs as many forwards as one recalibration and one evaluation, on images that are there."""
        for count, statistics in ((len(self.calibration), None), (len(self.crops), buffers)):
            self.supernet.train(statistics is None)
            for start in range(0, count, self.batch_size):
                self.supernet(
                    images_BCHW[: min(self.batch_size, count - start)], self.arch, buffers=statistics
                )
        self.supernet.eval()


def run(context: BenchContext) -> BenchResult:
    """Measures recalibration, evaluation and the naive script side by side."""
    on_gpu = context.device.type == "cuda"
    persons = 8 if context.quick else 2048 if on_gpu else 64
    subnet = make_subnet(context, persons, batch_size=512 if on_gpu else 32)
    naive, naive_in_our_order = (
        NaiveEvaluation(
            subnet.dataset,
            subnet.dataset,
            subnet.arch.input_size,
            device=context.device,
            batch_size=subnet.batch_size,
            workers=min(16, usable_cores()) if on_gpu and not context.quick else 0,
            channels_last=channels_last,
        )
        for channels_last in (False, True)
    )
    network = extract_subnet(subnet.supernet, subnet.arch)
    buffers = subnet.recalibrated()
    agreeing = share_of_equal_joints(subnet.evaluated(buffers, flip=False), naive.poses(network))
    assert agreeing >= SAME, f"only {agreeing:.0%} of the joints lie where the naive script finds them"
    height, width = subnet.arch.input_size
    resident = torch.randn(subnet.batch_size, 3, height, width, device=context.device)
    resident = resident.contiguous(memory_format=torch.channels_last)

    def ours() -> Evaluation:
        return subnet.evaluated(subnet.recalibrated(), flip=False)

    functions: dict[str, Callable[[], Any]] = {
        "recalibration": subnet.in_search(subnet.recalibrated),
        "flipped_evaluation": subnet.in_search(partial(subnet.evaluated, buffers, flip=True)),
        "ours": subnet.in_search(ours),
        "ours_memory_given_back": ours,
        "naive": partial(naive, network),
        "naive_in_our_order": partial(naive_in_our_order, network),
        "forwards": partial(subnet.forwards, resident, buffers),
    }
    repeats = 1 if context.quick else 3
    seconds = compare(functions, repeats, device=context.device, seed=context.seed)
    count = len(subnet.crops)
    recalibration_ms = 1e3 * seconds["recalibration"] / len(subnet.calibration)
    evaluation_ms = 1e3 * seconds["flipped_evaluation"] / count
    full_size = FULL_CALIBRATION * recalibration_ms / (FULL_EVALUATION * evaluation_ms)
    device = context.device.type
    return BenchResult(
        name="recalibrate",
        ratios={
            "recalibration": seconds["recalibration"] / seconds["flipped_evaluation"],
            "recalibration_at_full_size": full_size,
            "ours_over_naive": seconds["naive"] / seconds["ours"],
            "ours_over_naive_channels_last": seconds["naive_in_our_order"] / seconds["ours"],
            "memory_kept": seconds["ours_memory_given_back"] / seconds["ours"],
            "non_forward_share": max(0.0, 1.0 - seconds["forwards"] / seconds["ours"]),
        },
        figures={
            "network": f"of space {subnet.supernet.space.name}, {subnet.arch}",
            "calibration_persons": len(subnet.calibration),
            "evaluated_persons": count,
            "recalibration_ms_per_person": recalibration_ms,
            "flipped_evaluation_ms_per_person": evaluation_ms,
            "subnets_per_s": 1.0 / seconds["ours"],
            "naive_subnets_per_s": 1.0 / seconds["naive"],
            "joints_as_in_naive": agreeing,
            "persons_at_goal": int(RECALIBRATION.target * FULL_EVALUATION * evaluation_ms / recalibration_ms),
            "mean_image_megapixels": mean_megapixels(subnet.dataset),
            "repeats": repeats,
        },
        goals=(RECALIBRATION, OURS[device], *([NON_FORWARD] if on_gpu else [])),
        notes=(
            f"recalibration was measured on {len(subnet.calibration)} persons against a flipped evaluation of {count}; "
            f"recalibration_at_full_size is computed from these costs a person for {FULL_CALIBRATION:,} against "
            f"{FULL_EVALUATION:,} persons.",
            "ours and naive: statistics, forward without flip and metric of one subnet; the naive script reads files, "
            "copies the network, writes JSON and asks pycocotools. Such scripts leave images and weights as planes; "
            "ours_over_naive_channels_last gives the script our memory order, so that the rest of the difference is seen.",
            "memory_kept: what keeping freed memory (posesearch.heap), as every search does and no such script, brings to ours.",
            "persons_at_goal: so many persons may give the statistics if that is to cost the goal's share of an evaluation.",
            "Small pictures, as generated people are on, decode fast and are kind to the naive script.",
        ),
    )


def make_subnet(context: BenchContext, persons: int, *, batch_size: int) -> Subnet:
    """Returns StarNet-Pose-T inside space `starnet`, or quickly a random member of space `demo`.

    Args:
        context: Device, seed, data.
        persons: Persons that give the statistics, and that are scored, at most.
        batch_size: Crops a forward.
    """
    # Both kinds come from the training split: the networks are not trained, and it has more persons.
    on = people(context, "train", persons)
    joints = on.dataset.skeleton.num_joints
    space = load_space("demo" if context.quick else "starnet").with_joints(joints)
    arch = space.smallest() if context.quick else load_preset("starnet-pose-t", num_joints=joints)
    supernet = stirred(Supernet(space, seed=context.seed), context.seed).eval()
    supernet.to(device=context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Subnet(
        supernet=supernet,
        arch=arch,
        calibration=CalibrationImages(
            on.dataset,
            on.store,
            space.input_size,
            persons=persons,
            seed=context.seed,
            device=context.device,
            batch_size=batch_size,
        ),
        crops=crops(on.dataset, on.store, space.input_size, context.device),
        dataset=on.dataset,
        device=context.device,
        batch_size=batch_size,
    )


def mean_megapixels(dataset: PoseDataset) -> float:
    """Returns the mean size of the images that persons are on, in millions of pixels."""
    used = [dataset.images[row] for row in np.unique(dataset.image_index_N)]
    return float(np.mean([image.height * image.width for image in used])) / 1e6


def share_of_equal_joints(ours: Evaluation, naive: Sequence[Instance]) -> float:
    """Returns the share of joints that lie within a pixel of each other, in image pixels."""
    naive_NK2 = np.concatenate([instance["keypoints"] for instance in naive])
    distance_NK = np.linalg.norm(naive_NK2 - ours.predictions.points_NK2, axis=-1)
    return float(np.mean(distance_NK < 1.0))

"""From a network's logits to AP and PCK, one way for subnets, extracted models and loaded files.

The top-down protocol of MMPose: flip test by averaging logits, argmax decoding, rescoring by joint scores, OKS-NMS, COCO's
figures. Maxima are taken on the device, so that 2 numbers a joint and axis travel instead of all bins.

Shape letters: N persons, B batch, K joints, X and Y bins. Points are (x, y).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from posesearch.data.batch import EvalCrops, normalise
from posesearch.data.dataset import GROUND_TRUTH_BOXES, PoseDataset
from posesearch.errors import DataError
from posesearch.keypoints.boxes import apply_affine
from posesearch.keypoints.cocoeval import evaluate_oks
from posesearch.keypoints.groundtruth import Detections
from posesearch.keypoints.pck import pck, torso_normaliser
from posesearch.keypoints.simcc import SimCCCodec
from posesearch.keypoints.skeleton import Skeleton
from posesearch.keypoints.topdown import top_down_detections
from posesearch.models.heads import PoseOutput

Forward = Callable[[Tensor], PoseOutput]
Key = TypeVar("Key")
PCK_THRESHOLD = 0.2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Predictions:
    """Decoded poses, one row a crop.

    Attributes:
        points_NK2: (x, y) in pixels of the image.
        scores_NK: The smaller of the two largest raw logits; about 1 for a confident joint, and not bounded.
    """

    points_NK2: NDArray[np.float64]
    scores_NK: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Evaluation:
    """Figures of one network on one set of persons, and under which conditions they hold.

    Attributes:
        figures: COCO's ten figures in [0, 1], unrounded, by the names AP ... ARL.
        pck: PCK@0.2 of the torso in [0, 1]; None without ground-truth boxes, shoulders or hips.
        boxes: "gt" or the detector file.
        flip: Whether the flip test was on.
        input_size: (height, width) of the crops.
        persons: Crops evaluated.
        split: Name of the split.
        category_id: Category of the result rows.
        predictions: All poses, before suppression.
        detections: The poses that were scored.
    """

    figures: dict[str, float]
    pck: float | None
    boxes: str
    flip: bool
    input_size: tuple[int, int]
    persons: int
    split: str
    category_id: int
    predictions: Predictions
    detections: Detections

    @property
    def ap(self) -> float:
        """OKS-AP in [0, 1]."""
        return self.figures["AP"]

    def to_plain(self) -> dict[str, Any]:
        """Returns figures and conditions as a JSON-ready dict: AP ... ARL, PCK, boxes, flip, input_size, persons, split."""
        return {
            **self.figures,
            "PCK": self.pck,
            "boxes": self.boxes,
            "flip": self.flip,
            "input_size": list(self.input_size),
            "persons": self.persons,
            "split": self.split,
        }

    def results(self) -> list[dict[str, Any]]:
        """Returns COCO result rows, ready for a test server."""
        return self.detections.to_results(self.category_id)


def evaluate_forward(
    forward: Forward,
    crops: EvalCrops,
    dataset: PoseDataset,
    *,
    flip: bool = False,
    batch_size: int | None = None,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Evaluates a network in evaluation mode.

    Args:
        forward: Normalised images_BCHW to logits: a model, or a supernet with architecture and buffers bound.
        crops: The crops of `dataset`.
        dataset: Persons and ground truth.
        flip: Average with the mirrored crop's logits.
        batch_size: Crops a forward; None chooses, see `crops_a_forward`.
        device: Where the network is.

    Raises:
        DataError: The network predicts another number of joints than the data set has.
    """
    predicted = predict_crops(
        forward, crops, dataset.skeleton, flip=flip, batch_size=batch_size, device=device
    )
    return score_predictions(predicted, crops, dataset, flip=flip)


def evaluate_many(
    forwards: Iterable[tuple[Key, Forward]],
    crops: EvalCrops,
    dataset: PoseDataset,
    *,
    flip: bool = False,
    batch_size: int | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[Key, Evaluation]]:
    """Evaluates networks one after the other, each exactly as `evaluate_forward` does, and yields them in their order.

    While the next network is made ready and run, a thread scores the poses of the last one. On one core that saves next to
    nothing (1.4 ms of scoring beside 158 ms of forwards for 157 persons at 128x96); the faster the device, the more. Not
    for networks between which a latency is measured: the thread would disturb it.

    Args:
        forwards: What a network is called and the network; taken one by one, so that recalibrating belongs here.
        crops: As for `evaluate_forward`, like what follows.
        dataset: Persons and ground truth.
        flip: Average with the mirrored crop's logits.
        batch_size: Crops a forward; None chooses, see `crops_a_forward`.
        device: Where the networks are.

    Raises:
        DataError: A network predicts another number of joints than the data set has.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="posesearch-score") as pool:
        last: tuple[Key, Future[Evaluation]] | None = None
        for key, forward in forwards:
            predicted = predict_crops(
                forward, crops, dataset.skeleton, flip=flip, batch_size=batch_size, device=device
            )
            if last is not None:
                yield last[0], last[1].result()
            last = key, pool.submit(score_predictions, predicted, crops, dataset, flip=flip)
        if last is not None:
            yield last[0], last[1].result()


def score_predictions(
    predicted: Predictions, crops: EvalCrops, dataset: PoseDataset, *, flip: bool = False
) -> Evaluation:
    """Scores one pose a crop by the top-down protocol, wherever the poses come from.

    Args:
        predicted: Poses in image pixels, in the order of `dataset`.
        crops: Their crops.
        dataset: Persons and ground truth.
        flip: Whether a flip test made them; noted in the result.
    """
    # MMPose feeds an image's persons by ascending annotation id; COCOeval keeps that order among equal scores.
    order_N = np.lexsort((dataset.annotation_id_N, dataset.image_id_N))
    detections = top_down_detections(
        dataset.image_id_N[order_N],
        predicted.points_NK2[order_N],
        predicted.scores_NK[order_N],
        dataset.box_score_N[order_N],
        crops.box_area_N[order_N],
        dataset.bbox_xywh_N4[order_N],
        dataset.skeleton.sigmas,
    )
    return Evaluation(
        figures=evaluate_oks(dataset.ground_truth, detections, dataset.skeleton.sigmas),
        pck=_pck_of_torso(predicted.points_NK2, dataset),
        boxes=dataset.boxes,
        flip=flip,
        input_size=crops.input_size,
        persons=len(crops),
        split=dataset.split,
        category_id=dataset.category_id,
        predictions=predicted,
        detections=detections,
    )


@torch.no_grad()
def predict_crops(
    forward: Forward,
    crops: EvalCrops,
    skeleton: Skeleton,
    *,
    flip: bool = False,
    batch_size: int | None = None,
    device: torch.device | str = "cpu",
) -> Predictions:
    """Decodes the poses of all crops into image pixels.

    The flip test follows MMPose to the bin: mirrored x logits are reversed, which puts their peak half a pixel to the
    right; with the average this shifts x by a quarter of a pixel, uncorrected, as in all published numbers.

    Raises:
        DataError: The network predicts another number of joints than `skeleton` has.
    """
    batch_size = batch_size or crops_a_forward(crops.input_size, device)
    flip_index_K = torch.from_numpy(skeleton.flip_index).to(device)
    split_ratio = 2.0
    maxima = []
    for start in range(0, len(crops), batch_size):
        images_BHWC = crops.pixels_NHWC[start : start + batch_size]
        images_BCHW = normalise(images_BHWC, device=device, channels_last=True)
        output = forward(images_BCHW)
        _check_joints(output, skeleton)
        x_BKX, y_BKY = output.x.float(), output.y.float()
        if flip:
            mirrored = forward(images_BCHW.flip(-1))
            x_BKX = (x_BKX + mirrored.x.float()[:, flip_index_K].flip(-1)) / 2
            y_BKY = (y_BKY + mirrored.y.float()[:, flip_index_K]) / 2
        split_ratio = x_BKX.shape[-1] / crops.input_size[1]
        top_x, top_y = x_BKX.max(dim=-1), y_BKY.max(dim=-1)
        best_BK2 = torch.stack((top_x.indices, top_y.indices), dim=-1)
        maxima.append((torch.stack((top_x.values, top_y.values), dim=-1), best_BK2))
    # One transfer at the end: asking for each batch's result would make the device wait for the host.
    top_NK2 = torch.cat([top for top, _ in maxima]).cpu().numpy().astype(np.float64)
    best_NK2 = torch.cat([best for _, best in maxima]).cpu().numpy()
    codec = SimCCCodec(input_size=crops.input_size, split_ratio=split_ratio)
    points_NK2, scores_NK = codec.decode_argmax(
        best_NK2[..., 0], best_NK2[..., 1], top_NK2[..., 0], top_NK2[..., 1]
    )
    return Predictions(
        points_NK2=apply_affine(crops.inverse_affine_N23, points_NK2), scores_NK=scores_NK.astype(np.float64)
    )


def crops_a_forward(input_size: tuple[int, int], device: torch.device | str) -> int:
    """Returns how many crops to run at once: as many pixels as 64 crops of 128x96 on a CPU, 256 crops on a GPU (untried).

    With more, each layer's map has tens of megabytes, which a CPU's allocator fetches from the system and gives back in every
    layer. Largest networks, one core: `demo` (128x96) 0.84, 0.80, 1.36 ms a crop with 32, 64, 128 at once; `starnet` (256x192)
    19, 26, 35, 40 ms with 16, 32, 64, 128. The logits were the same to the bit.
    """
    if torch.device(device).type != "cpu":
        return 256
    height, width = input_size
    return max(8, 64 * 128 * 96 // (height * width))


def _check_joints(output: PoseOutput, skeleton: Skeleton) -> None:
    if output.x.shape[1] != skeleton.num_joints:
        raise DataError(
            f"the network predicts {output.x.shape[1]} joints, the data set has {skeleton.num_joints} "
            f"({', '.join(skeleton.names[:4])}, ...). Both must have one joint set. Use data annotated with the "
            "network's joints, or train a network on this data."
        )


def _pck_of_torso(points_NK2: NDArray[np.float64], dataset: PoseDataset) -> float | None:
    """PCK@0.2 over the persons whose torso is labelled; None where that cannot be."""
    if dataset.boxes != GROUND_TRUTH_BOXES:
        # A detector's box has no annotated pose of its own.
        return None
    try:
        torso_N = torso_normaliser(dataset.keypoints_NK3, dataset.skeleton)
    except DataError:
        return None
    share = pck(
        points_NK2, dataset.keypoints_NK3[..., :2], dataset.keypoints_NK3[..., 2], torso_N, PCK_THRESHOLD
    )
    return share if share >= 0 else None

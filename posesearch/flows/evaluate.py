"""`evaluate`: a model on a data set, or a COCO result file against its annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from posesearch.checkpoint import ModelInfo
from posesearch.data.dataset import GROUND_TRUTH_BOXES
from posesearch.data.detections import read_detections
from posesearch.data.source import DataSource
from posesearch.device import resolve_device
from posesearch.files import write_json_atomic
from posesearch.flows.inputs import EvaluationSet, check_joints, data_or_generated
from posesearch.heap import memory_kept
from posesearch.keypoints.results import score_results_file
from posesearch.keypoints.skeleton import Skeleton
from posesearch.models.modelfile import load_model
from posesearch.models.pose import PoseModel
from posesearch.progress import Progress
from posesearch.train.evaluate import Evaluation, evaluate_forward
from posesearch.train.meanpose import evaluate_mean_pose

MEAN_POSE = "mean-pose"
# A mean pose scales with the crop, so its size changes nothing; this is the published one.
ANY_SIZE = (256, 192)


def evaluate_model(
    *,
    model: Path,
    data: DataSource | None,
    split: str = "val",
    boxes: str = GROUND_TRUTH_BOXES,
    flip: bool = False,
    device: str = "auto",
    write_results: Path | None = None,
    progress: Progress,
) -> dict[str, Any]:
    """Evaluates a model file.

    Args:
        model: The `.safetensors` file, or "mean-pose": the average training pose in every box, the floor of a data set.
        data: The data set; None uses the one the model was trained on.
        split: "train" or "val".
        boxes: "gt", or a detector's JSON of boxes.
        flip: Average with the mirrored image.
        device: "auto", "cpu", "cuda" or "cuda:N".
        write_results: Write the poses as a COCO result file (for test servers) here.
        progress: Where to report.

    Returns:
        The figures with their conditions: AP ... ARL, PCK, boxes, flip, input_size, persons, split.

    Raises:
        DataError: The model, the data or the boxes cannot be used.
        UsageError: Unknown split.
        EnvironmentFault: No such device, or the results cannot be written.
    """
    network = None if str(model) == MEAN_POSE else load_model(model)
    place = resolve_device(device)
    info: ModelInfo | None = network.info if network is not None else None
    if data is None and info is not None and "data" in info.provenance:
        data = DataSource.from_plain(info.provenance["data"])
        named = " ".join(f"--{key.replace('_', '-')} {value}" for key, value in data.to_plain().items())
        progress.message(f"No --data given: using the data the model was trained on ({named}).")
    source = data_or_generated(data, progress)
    dataset = source.load(split)
    if info is not None:
        check_joints(Skeleton.from_plain(info.skeleton).names, model, dataset)
    if boxes != GROUND_TRUTH_BOXES:
        dataset = read_detections(Path(boxes), dataset)
    material = EvaluationSet.prepare(dataset, network.arch.input_size if network else ANY_SIZE, progress)
    if network is None:
        evaluation = evaluate_mean_pose(source.load("train"), material.dataset, material.crops)
    else:
        with memory_kept(place.type):
            evaluation = evaluate_network(network, material, place, flip)
    figures = {**evaluation.to_plain(), "model": str(model)}
    if write_results is not None:
        write_json_atomic(write_results, evaluation.results())
        figures["results"] = str(write_results)
    return figures


def evaluate_network(
    network: PoseModel, material: EvaluationSet, device: torch.device, flip: bool = False
) -> Evaluation:
    """Evaluates a network in evaluation mode; its mode is put back afterwards."""
    was_training = network.training
    network.to(device).eval()
    try:
        with torch.no_grad():
            return evaluate_forward(network, material.crops, material.dataset, flip=flip, device=device)
    finally:
        network.train(was_training)


def evaluate_results(*, results: Path, annotations: Path) -> dict[str, Any]:
    """Scores a COCO result file as plain COCOeval does: no rescoring, no suppression, unrounded.

    Raises:
        DataError: A file that is missing, cut off or wrong in an entry.
    """
    figures: dict[str, Any] = dict(score_results_file(results, annotations))
    return {**figures, "boxes": "of the result file", "flip": None, "input_size": None}

"""Scoring a COCO result file against an annotation file, as plain COCOeval does."""

from __future__ import annotations

from pathlib import Path

from posesearch.errors import DataError
from posesearch.files import read_json
from posesearch.keypoints.cocoeval import FIGURES, evaluate_oks
from posesearch.keypoints.groundtruth import Detections, GroundTruth, KeypointCategory, keypoint_categories
from posesearch.keypoints.skeleton import COCO17, skeleton_from_category


def score_results_file(results: Path, annotations: Path) -> dict[str, float]:
    """The ten figures of a result file, unrounded, without rescoring and without NMS.

    OKS constants follow the joint names of the annotation file's category; a category without names
    is scored as COCO-17, as COCOeval would. Of several categories with joints the figures are the
    means over those with persons that count, as COCOeval's are. Result rows of other categories do
    not count.

    Args:
        results: JSON list of {"image_id", "category_id", "keypoints", "score"}, maybe with "bbox".
        annotations: COCO keypoint annotations.

    Returns:
        The figures under the keys of `FIGURES`, -1 where no person counts, and "persons": the
        annotated persons that count.

    Raises:
        DataError: a file that is missing, cut off or wrong in an entry; the message names file,
            entry and key.
    """
    coco = read_json(annotations, "annotation file")
    rows = read_json(results, "result file")
    figures: list[dict[str, float]] = []
    persons = 0
    for category in keypoint_categories(coco, source=str(annotations)):
        ground_truth = GroundTruth.from_coco(coco, source=str(annotations), category_id=category.id)
        sigmas = _sigmas(category, ground_truth, annotations)
        detections = Detections.from_results(
            rows, ground_truth.num_joints, source=str(results), category_id=category.id
        )
        try:
            figures.append(evaluate_oks(ground_truth, detections, sigmas))
        except DataError as fault:
            raise DataError(f"{results} against {annotations}: {fault}") from fault
        persons += ground_truth.num_persons
    return {name: _mean([each[name] for each in figures]) for name in FIGURES} | {"persons": persons}


def _sigmas(category: KeypointCategory, ground_truth: GroundTruth, annotations: Path) -> tuple[float, ...]:
    if category.joints:
        return skeleton_from_category(category.joints, category.limbs).sigmas
    if ground_truth.num_joints == COCO17.num_joints:
        return COCO17.sigmas
    raise DataError(
        f"{annotations}: category {category.id} names no joints and its annotations have "
        f"{ground_truth.num_joints} of them. Without names only the {COCO17.num_joints} COCO joints can be scored. "
        'Add the joint names to the category, under "keypoints".'
    )


def _mean(values: list[float]) -> float:
    """The mean over categories, of those where someone counts."""
    counted = [value for value in values if value > -1]
    return sum(counted) / len(counted) if counted else -1.0

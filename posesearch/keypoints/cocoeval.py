"""The ten COCO keypoint figures, equal to pycocotools' COCOeval and some forty times faster.

AP, AP50, AP75, AP(M), AP(L), AR, AR50, AR75, AR(M), AR(L) as defined at
https://cocodataset.org/#keypoints-eval and computed by pycocotools `COCOeval(iouType="keypoints")`:
thresholds .50:.05:.95, recall at 101 points, at most 20 detections an image, areas all, medium
[32^2, 96^2] and large [96^2, 1e10].

Shapes: I images, G persons, D detections, C detections that occur in a pair, A area ranges,
T thresholds, R recall points, K joints.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from posesearch.errors import DataError
from posesearch.keypoints.groundtruth import Detections, GroundTruth
from posesearch.keypoints.matching import match
from posesearch.keypoints.pairs import Persons, find_pairs

FIGURES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
MAX_DETECTIONS = 20
_AREA_RANGES = ((0.0, 1e10), (32.0**2, 96.0**2), (96.0**2, 1e10))

FloatArray = NDArray[np.float64]


def evaluate_oks(
    ground_truth: GroundTruth, detections: Detections, sigmas: Sequence[float]
) -> dict[str, float]:
    """COCO's ten keypoint figures in [0, 1], unrounded; -1 where no person counts.

    The detections are taken as they are: rescoring and NMS come before (`top_down_detections`).
    One quirk of COCOeval is kept because its figures are the ones people compare: an annotation
    with id 0 is never found, since 0 also stands for "no match" there.

    Args:
        ground_truth: the annotated persons.
        detections: the predicted persons.
        sigmas: the K constants of the skeleton.

    Returns:
        The figures under the keys of `FIGURES`.

    Raises:
        DataError: numbers of joints that differ, or a detection on an image that the annotations
            do not list.
    """
    _check(ground_truth, detections, sigmas)
    thresholds_T = np.linspace(0.5, 0.95, 10)
    person_order_G = np.argsort(ground_truth.image_id_G, kind="stable")
    persons_image_G = ground_truth.image_id_G[person_order_G]
    order_D = np.lexsort((-detections.score_D, detections.image_id_D))
    image_D = detections.image_id_D[order_D]
    round_D = np.arange(len(order_D)) - np.searchsorted(image_D, image_D)
    order_D, image_D, round_D = (column[round_D < MAX_DETECTIONS] for column in (order_D, image_D, round_D))

    person_range_D2 = np.stack(
        (np.searchsorted(persons_image_G, image_D), np.searchsorted(persons_image_G, image_D, side="right")),
        axis=1,
    )
    persons = Persons(
        keypoints_GK3=ground_truth.keypoints_GK3[person_order_G],
        bbox_G4=ground_truth.bbox_G4[person_order_G],
        area_G=ground_truth.area_G[person_order_G],
    )
    points_DK2 = detections.keypoints_DK3[order_D, :, :2]
    pairs = find_pairs(points_DK2, persons, person_range_D2, sigmas, float(thresholds_T[0]))
    crowd_G = ground_truth.iscrowd_G[person_order_G]
    uncounted_G = crowd_G | (ground_truth.num_keypoints_G[person_order_G] == 0)
    ignored_GA = uncounted_G[:, None] | _outside(persons.area_G)
    chosen_C, person_CAT = match(pairs, round_D, ignored_GA, crowd_G, thresholds_T.tolist())

    # From here on by descending score over all images; ties stay in the order of image ids.
    by_score_D = np.argsort(-detections.score_D[order_D], kind="stable")
    place_D = np.empty_like(by_score_D)
    place_D[by_score_D] = np.arange(len(by_score_D))
    by_score_C = np.argsort(place_D[chosen_C])
    counts_in_DA = ~_outside(detections.area_D[order_D])
    precision_ATR, recall_AT = _curves(
        person_CAT[by_score_C],
        place_D[chosen_C][by_score_C],
        counts_in_DA[by_score_D],
        ignored_GA,
        ground_truth.annotation_id_G[person_order_G] == 0,
    )
    return _figures(precision_ATR, recall_AT, np.count_nonzero(~ignored_GA, axis=0))


def _check(ground_truth: GroundTruth, detections: Detections, sigmas: Sequence[float]) -> None:
    joints = {
        "annotations": ground_truth.num_joints,
        "detections": detections.keypoints_DK3.shape[1],
        "sigmas": len(sigmas),
    }
    if len(set(joints.values())) > 1 and len(detections.score_D) and len(ground_truth.area_G):
        numbers = ", ".join(f"{count} in the {name}" for name, count in joints.items())
        raise DataError(
            f"Numbers of joints differ: {numbers}. They must be equal. "
            "Use detections and sigmas of the joint set that is annotated."
        )
    unknown = np.setdiff1d(detections.image_id_D, ground_truth.image_ids_I)
    if len(unknown):
        raise DataError(
            f"{len(unknown)} images have detections but are not among the {len(ground_truth.image_ids_I)} annotated "
            f"ones, the first with image_id {unknown[0]}. Only images of the annotation file can be evaluated. "
            "Evaluate against the annotations that the detections were made for."
        )


def _outside(area_N: FloatArray) -> NDArray[np.bool_]:
    """outside_NA: True where an area lies outside an area range; the bounds belong to it."""
    low_A, high_A = np.array(_AREA_RANGES).T
    return (area_N[:, None] < low_A) | (area_N[:, None] > high_A)


def _curves(
    person_CAT: NDArray[np.int32],
    place_C: NDArray[np.int64],
    counts_in_DA: NDArray[np.bool_],
    ignored_GA: NDArray[np.bool_],
    never_found_G: NDArray[np.bool_],
) -> tuple[FloatArray, FloatArray]:
    """Interpolated precision at 101 recalls, and the largest recall, by descending score.

    Only detections in a pair can be found, and precision changes for the better at finds alone, so
    the curves are built on these C rows; the others enter through one running count an area range.

    Args:
        person_CAT: the person that a detection takes, -1 for none.
        place_C: the place of these detections among all.
        counts_in_DA: whether a detection is a false alarm if it takes no one: its area is in range.
        ignored_GA: persons that do not count.
        never_found_G: persons that COCOeval cannot find.

    Returns:
        precision_ATR and recall_AT.
    """
    num_areas = ignored_GA.shape[1]
    recall_points_R = np.linspace(0, 1, 101)
    precision_ATR = np.zeros((num_areas, person_CAT.shape[2], len(recall_points_R)))
    recall_AT = np.zeros((num_areas, person_CAT.shape[2]))
    for area in range(num_areas):
        num_persons = np.count_nonzero(~ignored_GA[:, area])
        if not num_persons or not len(place_C):
            continue
        person_TC = np.ascontiguousarray(person_CAT[:, area].T)
        # Index -1, "no one", reads the last entry: neither ignored nor found.
        ignored_TC = np.append(ignored_GA[:, area], False)[person_TC]
        found_TC = np.append(~ignored_GA[:, area] & ~never_found_G, False)[person_TC]
        counted_D = np.cumsum(counts_in_DA[:, area], dtype=np.int32)
        counts_in_C = counts_in_DA[place_C, area]
        # What a detection adds to the running count beyond what it would unmatched.
        extra_TC = (found_TC & ~counts_in_C).astype(np.int8) - (ignored_TC & counts_in_C)
        counted_TC = counted_D[place_C] + np.cumsum(extra_TC, axis=1, dtype=np.int32)
        finds_TC = np.cumsum(found_TC, axis=1, dtype=np.int32)
        precision_TC = np.where(found_TC, finds_TC / (counted_TC + np.spacing(1)), 0.0)
        envelope_TC = np.maximum.accumulate(precision_TC[:, ::-1], axis=1)[:, ::-1]
        needed_R = 1 + np.searchsorted(np.arange(1, num_persons + 1) / num_persons, recall_points_R)
        for threshold, finds_C in enumerate(finds_TC):
            row_R = np.searchsorted(finds_C, needed_R)
            reached_R = row_R < len(finds_C)
            precision_ATR[area, threshold, reached_R] = envelope_TC[threshold, row_R[reached_R]]
        recall_AT[area] = finds_TC[:, -1] / num_persons
    return precision_ATR, recall_AT


def _figures(
    precision_ATR: FloatArray, recall_AT: FloatArray, persons_A: NDArray[np.int64]
) -> dict[str, float]:
    """Means over thresholds (index 0 is .50, index 5 is .75) and recalls, -1 for an empty area range."""
    figures: list[float] = []
    for values in (precision_ATR, recall_AT):
        everyone, medium, large = values
        for area, part in ((0, everyone), (0, everyone[0]), (0, everyone[5]), (1, medium), (2, large)):
            figures.append(float(np.mean(part)) if persons_A[area] else -1.0)
    return dict(zip(FIGURES, figures, strict=True))

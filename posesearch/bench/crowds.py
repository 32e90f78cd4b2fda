"""Random annotated and detected people with the make-up of COCO val2017: what an evaluator has to work through.

Of 5,000 images a little over half show people, 11,004 in all: 6,352 with labelled joints, the others too small for them, a
few of them crowds. Detections come for ground-truth boxes, one a labelled person, or as a detector gives them,
twenty an image, several a person, most of them wrong. Scores have ties.

Shape letters: I images, G persons, D detections, K joints. Points are (x, y) in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posesearch.keypoints.groundtruth import GroundTruth
from posesearch.keypoints.skeleton import COCO17
from posesearch.rng import generator

IMAGES = 5000
"""Images of COCO val2017."""
# As in val2017: images with people, people, those with labelled joints, and crowds, each for 5,000 images.
WITH_PEOPLE, PEOPLE, LABELLED, CROWDS = 2693, 11004, 6352, 227
WIDTH, HEIGHT = 640, 480
# A detector's poses an image: near a person, and anywhere.
NEAR, STRAYS = 6, 14


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Poses:
    """Predicted poses as a top-down network gives them, one a box.

    Attributes:
        image_id_D: Their images.
        points_DK2: Joints in image pixels.
        joint_scores_DK: Scores of the joints.
        box_score_D: Scores of the boxes, 1 for ground truth.
        box_area_D: Areas of the padded boxes in square pixels.
        score_D: Scores of the persons, with ties, for an evaluation without rescoring.
    """

    image_id_D: NDArray[np.int64]
    points_DK2: NDArray[np.float64]
    joint_scores_DK: NDArray[np.float64]
    box_score_D: NDArray[np.float64]
    box_area_D: NDArray[np.float64]
    score_D: NDArray[np.float64]


def random_people(seed: int, images: int = IMAGES) -> GroundTruth:
    """Returns annotated people on `images` images.

    Args:
        seed: Key of the draw.
        images: How many images; the other numbers go with them.
    """
    rng = generator(seed, "bench-people")
    image_ids_I = np.sort(rng.choice(100 * images, images, replace=False)).astype(np.int64)
    shown, people, labelled, crowds = (
        round(images * count / IMAGES) for count in (WITH_PEOPLE, PEOPLE, LABELLED, CROWDS)
    )
    shown_S = rng.choice(image_ids_I, shown, replace=False)
    # Some images hold many: weights of an exponential law give the long tail of the counts.
    weight_S = rng.exponential(size=shown)
    more = rng.choice(shown_S, people - shown, p=weight_S / weight_S.sum())
    image_id_G = np.sort(np.concatenate((shown_S, more)))
    kind_G = rng.permutation(people)
    labelled_G, crowd_G = kind_G < labelled, kind_G >= people - crowds
    # Median areas of 100 x 100 with joints and 30 x 30 without: all three area ranges of COCO are well filled.
    side_G = np.exp(rng.normal(np.where(labelled_G, np.log(100), np.log(30)), 0.7))
    side_G = np.clip(side_G, 6, 400)
    size_G2 = np.stack((side_G * rng.uniform(0.5, 1.1, people), side_G * rng.uniform(1, 1.8, people)), axis=1)
    corner_G2 = rng.uniform(0, 1, (people, 2)) * np.maximum((WIDTH, HEIGHT) - size_G2, 1)
    points_GK2 = corner_G2[:, None] + rng.random((people, 17, 2)) * size_G2[:, None]
    share_G = rng.uniform(0.1, 1, people)
    visible_GK = np.where(rng.random((people, 17)) < share_G[:, None], rng.integers(1, 3, (people, 17)), 0)
    visible_GK[:, 0] = np.maximum(visible_GK[:, 0], 1)
    visible_GK *= labelled_G[:, None]
    keypoints_GK3 = np.concatenate((points_GK2.round(), visible_GK[..., None]), axis=2)
    keypoints_GK3[..., :2] *= keypoints_GK3[..., 2:] > 0
    return GroundTruth(
        image_ids_I=image_ids_I,
        image_id_G=image_id_G,
        keypoints_GK3=keypoints_GK3,
        bbox_G4=np.concatenate((corner_G2, size_G2), axis=1),
        area_G=size_G2.prod(axis=1) * rng.uniform(0.4, 0.8, people),
        iscrowd_G=crowd_G,
        num_keypoints_G=np.count_nonzero(visible_GK, axis=1),
        annotation_id_G=rng.permutation(people) + 1,
    )


def ground_truth_box_poses(truth: GroundTruth, seed: int) -> Poses:
    """Returns one pose for each person with labelled joints, off by an error that differs from person to person."""
    rng = generator(seed, "bench-poses-gt")
    return _poses(truth, np.flatnonzero(truth.num_keypoints_G > 0), rng, np.empty(0, dtype=np.int64), 1.0)


def detector_poses(truth: GroundTruth, seed: int) -> Poses:
    """Returns some twenty poses an image: several for each person, more of them off, and strays in every image."""
    rng = generator(seed, "bench-poses-detector")
    images = len(truth.image_ids_I)
    near = rng.integers(0, len(truth.image_id_G), NEAR * images)
    strays = rng.choice(truth.image_ids_I, STRAYS * images)
    return _poses(truth, np.sort(near), rng, strays.astype(np.int64), None)


def _poses(
    truth: GroundTruth,
    source_S: NDArray[np.int64],
    rng: np.random.Generator,
    stray_images: NDArray[np.int64],
    box_score: float | None,
) -> Poses:
    """Poses near the persons `source_S`, and one anywhere in each of `stray_images`."""
    near, strays = len(source_S), len(stray_images)
    boxes_S4 = truth.bbox_G4[source_S]
    true_SK3 = truth.keypoints_GK3[source_S]
    guess_SK2 = boxes_S4[:, None, :2] + rng.random((near, 17, 2)) * boxes_S4[:, None, 2:]
    base_SK2 = np.where(true_SK3[..., 2:] > 0, true_SK3[..., :2], guess_SK2)
    # Errors as shares of the person's size, from one that every threshold forgives to one that none does.
    error_S = np.exp(rng.normal(np.log(0.045), 0.8, near))
    side_S = np.sqrt(truth.area_G[source_S])
    points_SK2 = base_SK2 + rng.standard_normal((near, 17, 2)) * (error_S * side_S)[:, None, None]
    side = np.exp(rng.normal(np.log(80), 0.7, strays))
    corner = rng.uniform(0, 1, (strays, 2)) * (WIDTH, HEIGHT)
    stray_points = corner[:, None] + rng.random((strays, 17, 2)) * (side * 1.3)[:, None, None]
    quality = np.concatenate((np.exp(-8 * error_S), np.full(strays, 0.15)))
    joint_scores_DK = np.clip(quality[:, None] + rng.normal(0, 0.15, (near + strays, 17)), 0.01, 1.1)
    size_S2 = boxes_S4[:, 2:] * 1.25
    return Poses(
        image_id_D=np.concatenate((truth.image_id_G[source_S], stray_images)),
        points_DK2=np.concatenate((points_SK2, stray_points)),
        joint_scores_DK=joint_scores_DK,
        box_score_D=rng.uniform(0.05, 1, near + strays) if box_score is None else np.full(near, box_score),
        box_area_D=np.concatenate((size_S2.prod(axis=1), (side * 1.6) ** 2)),
        # Three digits make ties among thousands of scores.
        score_D=joint_scores_DK.mean(axis=1).round(3),
    )


def as_coco(truth: GroundTruth) -> dict[str, Any]:
    """Returns the annotations as the document that pycocotools reads."""
    people = zip(
        truth.annotation_id_G.tolist(),
        truth.image_id_G.tolist(),
        truth.iscrowd_G.astype(int).tolist(),
        truth.num_keypoints_G.tolist(),
        truth.area_G.tolist(),
        truth.bbox_G4.tolist(),
        truth.keypoints_GK3.reshape(len(truth.area_G), -1).tolist(),
        strict=True,
    )
    keys = ("id", "image_id", "iscrowd", "num_keypoints", "area", "bbox", "keypoints")
    return {
        "images": [
            {"id": image_id, "width": WIDTH, "height": HEIGHT} for image_id in truth.image_ids_I.tolist()
        ],
        "annotations": [dict(zip(keys, person, strict=True)) | {"category_id": 1} for person in people],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.names), "skeleton": []}],
    }

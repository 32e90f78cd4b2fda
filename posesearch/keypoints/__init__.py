"""Joints, boxes, codecs and metrics of 2D human pose, in numpy only.

Everywhere: points are (x, y) in pixels, sizes are (height, width), boxes (left, top, width, height).
"""

from posesearch.keypoints.boxes import affine, apply_affine, center_scale, invert_affine
from posesearch.keypoints.cocoeval import FIGURES, evaluate_oks
from posesearch.keypoints.groundtruth import Detections, GroundTruth, KeypointCategory, keypoint_categories
from posesearch.keypoints.oks import oks, oks_nms, rescore
from posesearch.keypoints.pck import pck, torso_normaliser
from posesearch.keypoints.results import score_results_file
from posesearch.keypoints.simcc import SimCCCodec, SimCCTargets
from posesearch.keypoints.skeleton import (
    COCO17,
    CROWDPOSE14,
    LSP14,
    MPII16,
    SKELETONS,
    Skeleton,
    skeleton_from_category,
)
from posesearch.keypoints.topdown import top_down_detections

__all__ = [
    "COCO17",
    "CROWDPOSE14",
    "FIGURES",
    "LSP14",
    "MPII16",
    "SKELETONS",
    "Detections",
    "GroundTruth",
    "KeypointCategory",
    "SimCCCodec",
    "SimCCTargets",
    "Skeleton",
    "affine",
    "apply_affine",
    "center_scale",
    "evaluate_oks",
    "invert_affine",
    "keypoint_categories",
    "oks",
    "oks_nms",
    "pck",
    "rescore",
    "score_results_file",
    "skeleton_from_category",
    "top_down_detections",
    "torso_normaliser",
]

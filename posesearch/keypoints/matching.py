"""Which detection takes which annotated person: COCOeval's greedy matching, for all settings at once.

COCOeval goes through images, three area ranges, ten thresholds, up to 20 detections and all persons
of an image in nested Python loops. Here the best detection of every image chooses, then the second
best of every image, and so on: at most 20 array operations instead of a million loop turns.

Shapes: D detections (image by image, by descending score), G persons (image by image), P pairs, Q
pairs of one turn, A area ranges, T thresholds, C detections that occur in a pair.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from posesearch.keypoints.pairs import Pairs

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def match(
    pairs: Pairs,
    round_D: IntArray,
    ignored_GA: BoolArray,
    crowd_G: BoolArray,
    thresholds: Sequence[float],
) -> tuple[IntArray, NDArray[np.int32]]:
    """Greedy matching under every area range and threshold.

    A detection takes, of the free persons with an OKS of at least the threshold, the one with the
    largest OKS (the last of equals), one that is not ignored before any that is. Crowds are never
    used up.

    Args:
        pairs: from `find_pairs`.
        round_D: the place of each detection within its image, 0 for the best.
        ignored_GA: persons that do not count in an area range.
        crowd_G: crowds.
        thresholds: T ascending OKS values.

    Returns:
        chosen_C: the detections that occur in a pair, ascending, and person_CAT: the person each
        takes, -1 for none.
    """
    chosen_C, place_P = np.unique(pairs.detection_P, return_inverse=True)
    num_areas, num_thresholds = ignored_GA.shape[1], len(thresholds)
    person_CAT = np.full((len(chosen_C), num_areas, num_thresholds), -1, dtype=np.int32)
    free_GAT = np.ones((len(ignored_GA), num_areas, num_thresholds), dtype=bool)
    round_P = _rounds(pairs, round_D)
    # Within a detection by ascending OKS, so that the best pair is the last one that qualifies.
    order_P = np.lexsort((pairs.person_P, pairs.oks_P, place_P, round_P))
    starts = np.searchsorted(round_P[order_P], np.unique(round_P))
    # 1 - 1e-10 is COCOeval's: without it a perfect match could miss a threshold of 1.
    limit_T = np.minimum(thresholds, 1 - 1e-10)
    for turn_P in np.split(order_P, starts[1:]) if len(order_P) else ():
        person_Q, place_Q = pairs.person_P[turn_P].astype(np.int32), place_P[turn_P]
        qualifies_QAT = free_GAT[person_Q] & (pairs.oks_P[turn_P, None] >= limit_T)[:, None, :]
        # Rank of a pair: its position, and above all ignored persons for one that counts.
        rank_QA1 = np.arange(len(turn_P), dtype=np.int32)[:, None] + np.where(
            ignored_GA[person_Q], 0, len(turn_P)
        )
        rank_QAT = np.where(qualifies_QAT, rank_QA1[:, :, None].astype(np.int32), np.int32(-1))
        first_of_place = np.flatnonzero(np.diff(place_Q, prepend=-1))
        best_CAT = np.maximum.reduceat(rank_QAT, first_of_place, axis=0)
        taken_CAT = np.where(best_CAT >= 0, person_Q[best_CAT % np.int32(len(turn_P))], np.int32(-1))
        person_CAT[place_Q[first_of_place]] = taken_CAT
        _, area, threshold = hits = np.nonzero(best_CAT >= 0)
        person = taken_CAT[hits]
        free_GAT[person, area, threshold] = crowd_G[person]
    return chosen_C, person_CAT


def _rounds(pairs: Pairs, round_D: IntArray) -> IntArray:
    """The turn in which a pair is decided: its detection's place, or at once if it has no rival pair."""
    alone_P = (np.bincount(pairs.detection_P)[pairs.detection_P] == 1) & (
        np.bincount(pairs.person_P)[pairs.person_P] == 1
    )
    return np.where(alone_P, 0, round_D[pairs.detection_P])

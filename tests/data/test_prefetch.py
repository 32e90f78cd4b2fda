"""Prefetching: order, bounds, errors, early exit."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from posesearch.data.prefetch import prefetch


@pytest.mark.parametrize(("depth", "workers"), [(1, 1), (2, 1), (3, 4), (50, 2)])
def test_everything_in_order(depth, workers):
    def slow_when_even(step):
        time.sleep(0.002 * (step % 2 == 0))
        return step * step

    found = list(prefetch(slow_when_even, range(20), depth=depth, workers=workers))
    assert found == [step * step for step in range(20)]


def test_no_more_than_depth_ahead():
    made = []
    batches = prefetch(made.append, itertools.count(), depth=3)
    next(batches)
    time.sleep(0.05)
    assert 1 <= len(made) <= 3
    batches.close()


def test_the_makers_error_arrives_at_its_step():
    def breaks(step):
        if step == 3:
            raise ValueError("step three")
        return step

    batches = prefetch(breaks, range(10), depth=4, workers=2)
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match=r"step three"):
        next(batches)


def test_leaving_early_leaves_no_thread():
    batches = prefetch(lambda step: step, itertools.count(), depth=4, workers=2)
    next(batches)
    batches.close()
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("posesearch-batch")]

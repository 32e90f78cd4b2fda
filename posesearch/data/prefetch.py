"""Preparing the next batches in background threads while the network trains on this one.

OpenCV and NumPy let go of the interpreter lock, so threads are enough: no worker processes, nothing pickled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetch(
    make: Callable[[int], T], steps: Iterable[int], *, depth: int = 2, workers: int = 1
) -> Iterator[T]:
    """Yields `make(step)` for each step, in order, computed ahead of time.

    Args:
        make: Builds the batch of one step; a pure function of the step, as several may run at once.
        steps: The steps wanted; may be endless.
        depth: Most batches made and not yet taken.
        workers: Threads that make them.

    Raises:
        Exception: Whatever `make` raised, when its step is reached. Leaving the loop early drops what is waiting.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="posesearch-batch")
    waiting: deque[Future[T]] = deque()
    try:
        for step in steps:
            waiting.append(pool.submit(make, step))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

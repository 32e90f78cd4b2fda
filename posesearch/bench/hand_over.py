"""What one batch costs the training process when it arrives from a worker process.

The other half of `bench pipeline`: batches that are ready made go through torch's DataLoader, and only the CPU time of the
process that receives them is counted.
"""

from __future__ import annotations

import copy
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader, Dataset

from posesearch.data.prefetch import prefetch

# A batch of 256 samples holds 1,024 tensors, each an open file until it is dropped; several batches are under way.
OPEN_FILES = 8192


class ReadyMade(Dataset[Any]):
    """A data set whose items are ready: fresh copies of the same ones, so that each travels anew.

    Args:
        items: The items.
        length: How many are handed out, over and over.
    """

    def __init__(self, items: list[Any], length: int) -> None:
        self.items, self.length = items, length

    def __len__(self) -> int:
        """Returns the number of items handed out."""
        return self.length

    def __getitem__(self, index: int) -> Any:
        """Returns a copy, made in the worker process at the worker's cost."""
        return copy.deepcopy(self.items[index % len(self.items)])


def receive_seconds(
    items: list[Any],
    batches: int,
    *,
    batch_size: int | None,
    collate: Callable[[list[Any]], Any] | None = None,
) -> float:
    """Returns the CPU seconds that one batch from one worker process costs this process, the smallest of several.

    Args:
        items: What the worker hands out: samples, or whole batches.
        batches: Batches timed, after one that is not; 1 or more.
        batch_size: Samples a batch; None if the items are batches.
        collate: Puts samples together, in the worker.
    """
    length = (batches + 1) * (batch_size or 1)
    loader: DataLoader[Any] = DataLoader(
        ReadyMade(items, length), batch_size=batch_size, collate_fn=collate, num_workers=1
    )
    with _many_open_files():
        received = iter(loader)
        next(received)  # the worker starts
        return min(_cpu_seconds(received, time.process_time) for _ in range(batches))


def take_seconds(batch: object, batches: int) -> float:
    """Returns the CPU seconds that taking one batch from our threads costs the training thread, the smallest of several.

    Args:
        batch: What the threads hand out: no copy is made, as in training.
        batches: Batches timed, 1 or more.
    """
    received = prefetch(lambda _: batch, range(batches + 1))
    next(received)
    return min(_cpu_seconds(received, time.thread_time) for _ in range(batches))


def _cpu_seconds(received: Iterator[Any], clock: Callable[[], float]) -> float:
    start_s = clock()
    next(received)
    return clock() - start_s


@contextmanager
def _many_open_files() -> Iterator[None]:
    """Raises this process's limit of open files for a while, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

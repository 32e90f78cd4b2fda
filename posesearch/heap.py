"""Keeping freed memory for the next map, so that a CPU computes instead of fetching pages.

The GNU C library gives blocks of some tens of megabytes back to the system when they are freed, and takes them from it again, page
by page, for the next layer's map. StarNet-Pose-T at 256x192, one core of a virtual server, ms a crop as usual and with freed memory
kept: evaluation 12.8 and 7.4 with 16 crops a forward, 14.4 and 7.5 with 32; the largest of `demo` with 64 crops 1.44 and 0.86.
What is computed is the same to the bit; a training's peak of memory was 8 % higher (space `demo`).

It is a wish, not a promise: in a bare loop over one map of 40 MB most processes took fresh pages all the same.

A latency is never measured this way: what is deployed runs as the system usually has it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Options of mallopt(3).
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4

KEPT = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1}
"""No block gets pages of its own, and none go back."""

USUAL = {MMAP_MAX: 65536, MMAP_THRESHOLD: 32 << 20, TRIM_THRESHOLD: 64 << 20}
"""Where the library's own thresholds end once a block of 32 MiB has been freed: they grow, and never shrink."""


@contextmanager
def memory_kept(device_type: str) -> Iterator[None]:
    """In the `with` block freed memory stays with this process, all its threads included; afterwards it goes back as usual.

    Does nothing for a GPU, or where the C library is not the GNU one. Blocks do not nest: the inner one's end is the end.

    Args:
        device_type: Where the network is, e.g. "cpu".
    """
    mallopt = _mallopt() if device_type == "cpu" else None
    if mallopt is None:
        yield
        return
    _set(mallopt, KEPT)
    try:
        yield
    finally:
        _set(mallopt, USUAL)


def _set(mallopt: Callable[[int, int], int], options: dict[int, int]) -> None:
    for option, value in options.items():
        mallopt(option, value)


def _mallopt() -> Callable[[int, int], int] | None:
    """Returns the library's function, or None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library.mallopt if hasattr(library, "gnu_get_libc_version") else None

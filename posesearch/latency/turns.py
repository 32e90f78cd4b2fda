"""Taking turns on a device: whoever times networks is alone on it, those who evaluate may be several.

Workers of a search that share a machine would otherwise time each other's evaluations. The lock is a file of this machine,
user and device, so it holds for workers of different runs as well; processes that cannot see each other's temporary
folder (containers) do not see the lock either.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from posesearch.latency.device import Fingerprint
from posesearch.latency.meter import Meter
from posesearch.latency.types import Measured
from posesearch.lock import turn
from posesearch.spaces.arch import Architecture


class DeviceTurns:
    """The turns of one device; a CPU is one device, whichever of its cores a worker runs on.

    Args:
        device: The device.
        folder: Where the lock files are; by default a folder of this user below the system's temporary one.
    """

    def __init__(self, device: torch.device, folder: Path | None = None) -> None:
        folder = folder or Path(tempfile.gettempdir()) / f"posesearch-{os.getuid()}"
        self._queue = folder / f"{_name(device)}.queue"
        self._device = folder / f"{_name(device)}.lock"

    @contextlib.contextmanager
    def timing(self) -> Iterator[None]:
        """Waits until nobody times or computes on the device, and keeps it so while the block runs."""
        # Whoever waits here lets no new block begin: evaluations that overlap would else keep the device for ever.
        with turn(self._queue), turn(self._device):
            yield

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Waits until nobody times on the device, and lets nobody begin to while the block runs."""
        with contextlib.ExitStack() as stack:
            with turn(self._queue, alone=False):
                stack.enter_context(turn(self._device, alone=False))
            yield


class MeterInTurn:
    """A meter that times in its turn.

    Args:
        meter: The meter.
        turns: The turns of its device.
    """

    def __init__(self, meter: Meter, turns: DeviceTurns) -> None:
        self._meter, self._turns = meter, turns

    @property
    def fingerprint(self) -> Fingerprint:
        """The circumstances all its figures share."""
        return self._meter.fingerprint

    def measure(self, arch: Architecture) -> Measured:
        """Returns the latency of an architecture; the same architecture is measured once."""
        with self._turns.timing():
            return self._meter.measure(arch)

    def anchor(self, known: Mapping[Architecture, Measured]) -> None:
        """Puts the figures to come on the scale of known ones."""
        self._meter.anchor(known)


def _name(device: torch.device) -> str:
    if device.type != "cuda":
        return device.type
    # torch's numbers follow CUDA_VISIBLE_DEVICES, which may differ between the workers.
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    return f"cuda-{uuid or device.index or 0}"

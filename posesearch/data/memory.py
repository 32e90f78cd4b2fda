"""How much memory can still be taken, on the host and on a GPU.

On the host the answer is the smallest of what the kernel calls available and what is left in each control group this
process is in: a container or a cluster's job may have a tenth of the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch


class GroupFiles(NamedTuple):
    """Where one version of control groups keeps its figures.

    Attributes:
        mount: Folder of the memory controller.
        limit: File with the limit in bytes; text that is no number means none.
        used: File with the bytes in use.
        caches: Keys of memory.stat that count pages of files, which the kernel drops when memory is wanted.
    """

    mount: str
    limit: str
    used: str
    caches: tuple[str, str]


VERSION_2 = GroupFiles("sys/fs/cgroup", "memory.max", "memory.current", ("inactive_file", "active_file"))
VERSION_1 = GroupFiles(
    "sys/fs/cgroup/memory",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    ("total_inactive_file", "total_active_file"),
)


def free_host_bytes(root: Path = Path("/")) -> int | None:
    """Returns the memory that can still be taken, or None where the system does not say (only Linux does).

    Args:
        root: Folder that holds proc and sys.
    """
    free = [
        int(line.split()[1]) * 1024
        for line in _text(root / "proc/meminfo").splitlines()
        if line.startswith("MemAvailable:")
    ]
    free += _free_in_groups(root)
    return max(0, min(free)) if free else None


def free_device_bytes(device: torch.device) -> int | None:
    """Returns the GPU memory that can still be taken, or None for a CPU. Untried: written without a GPU.

    What torch has reserved and does not use counts as free: the next tensors get it.
    """
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _free_in_groups(root: Path) -> Iterator[int]:
    """Yields what each limited control group of this process leaves, from its own group up to the mount."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        files = VERSION_1 if controllers else VERSION_2
        mount = root / files.mount
        # Inside a container the name may be the host's and lead nowhere; the mount itself is then the group.
        folder = mount / name.lstrip("/")
        while folder.is_relative_to(mount):
            limit, used = _text(folder / files.limit).strip(), _text(folder / files.used).strip()
            if limit.isdigit() and used.isdigit():
                yield int(limit) - int(used) + _cached(folder / "memory.stat", files.caches)
            folder = folder.parent


def _cached(statistics: Path, keys: tuple[str, str]) -> int:
    pairs = (line.split() for line in _text(statistics).splitlines())
    return sum(int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] in keys)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""

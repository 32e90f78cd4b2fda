"""Free memory: the smallest of what the kernel says and what control groups leave."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from posesearch.data.memory import free_device_bytes, free_host_bytes

MEMINFO = "MemTotal:  2000 kB\nMemFree:  500 kB\nMemAvailable:    1000 kB\n"


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_kernel_alone(tmp_path):
    assert free_host_bytes(machine(tmp_path, {"proc/meminfo": MEMINFO})) == 1000 * 1024


def test_silent_system(tmp_path):
    assert free_host_bytes(tmp_path) is None


@pytest.mark.parametrize("group", ["", "slurm/job_7", "job_7"])
def test_group_of_a_container_or_of_a_job(tmp_path, group):
    """The limit may stand at the group itself or above it."""
    root = machine(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "0::/slurm/job_7/step_0\n",
            f"sys/fs/cgroup/{group}/memory.max": "300000\n",
            f"sys/fs/cgroup/{group}/memory.current": "200000\n",
            "sys/fs/cgroup/slurm/memory.max": "max\n" if group != "slurm" else "",
        },
    )
    if group == "job_7":  # another job's limit
        assert free_host_bytes(root) == 1000 * 1024
    else:
        assert free_host_bytes(root) == 100_000


def test_cached_files_count_as_free(tmp_path):
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": "300000",
        "sys/fs/cgroup/memory.current": "290000",
        "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 40000\nactive_file 2000\nkernel_stack 9\n",
    }
    assert free_host_bytes(machine(tmp_path, files)) == 52_000


def test_over_its_limit_nothing_is_free(tmp_path):
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "0::/\n",
        "sys/fs/cgroup/memory.max": "300000",
        "sys/fs/cgroup/memory.current": "300001",
    }
    assert free_host_bytes(machine(tmp_path, files)) == 0


def test_groups_of_version_1(tmp_path):
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/jobs/a\n1:cpu:/\n0::/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "5",
        "sys/fs/cgroup/memory/jobs/a/memory.limit_in_bytes": "200000",
        "sys/fs/cgroup/memory/jobs/a/memory.usage_in_bytes": "100000",
        "sys/fs/cgroup/memory/jobs/a/memory.stat": "total_inactive_file 7\ninactive_file 999\n",
    }
    assert free_host_bytes(machine(tmp_path, files)) == 100_007


def test_this_machine():
    free = free_host_bytes()
    assert free is None or free > 0
    assert free_device_bytes(torch.device("cpu")) is None

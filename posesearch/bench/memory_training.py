"""`python -m posesearch.bench.memory_training`: a short supernet training in a fresh process, which tells its peak memory.

A process of its own, because the peak of a process never falls: it would be that of whatever ran before.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from posesearch.bench.workload import RECIPES
from posesearch.child import ask, serve
from posesearch.data.images import open_images
from posesearch.data.source import DataSource
from posesearch.progress import SilentProgress
from posesearch.spaces import load_space
from posesearch.supernet.supernet import Supernet
from posesearch.train.loop import fit
from posesearch.train.recipe import load_recipe
from posesearch.train.tasks import SupernetTask

LIMIT_S = 600.0


def train_in_child(data: Path, *, space: str, persons: int, epochs: int, seed: int) -> dict[str, Any]:
    """Trains in a fresh process on the CPU and returns its peaks in bytes: started, with its images, trained.

    Args:
        data: Folder of a COCO-format data set.
        space: A key of `workload.RECIPES`.
        persons: Training persons, at most.
        epochs: Passes over them.
        seed: Key of everything random.

    Raises:
        EnvironmentFault: The process died or took too long.
    """
    request = {
        "data": str(data.resolve()),
        "space": space,
        "persons": persons,
        "epochs": epochs,
        "seed": seed,
    }
    answer: dict[str, Any] = ask(
        "posesearch.bench.memory_training",
        request,
        process="training process",
        work=f"{epochs} epochs on {persons} persons",
        limit_s=LIMIT_S,
        when_late="Allowed: that time. Close other programs and run the same command again.",
        when_dead="Free memory, then run the same command again.",
    )
    return answer


def train(request: Mapping[str, Any]) -> dict[str, Any]:
    """Trains what a request asks for, in this process."""
    started_bytes = peak_resident_bytes()
    dataset = DataSource(data=request["data"]).load("train")
    dataset = dataset.subset(np.arange(min(request["persons"], len(dataset))))
    store = open_images(dataset, "cpu", progress=SilentProgress())
    with_images_bytes = peak_resident_bytes()
    space = load_space(request["space"]).with_joints(dataset.skeleton.num_joints)
    recipe = replace(load_recipe(RECIPES[request["space"]]), epochs=request["epochs"]).for_supernet()
    task = SupernetTask(
        Supernet(space, seed=request["seed"]), recipe.supernet, recipe.loss, seed=request["seed"]
    )
    with TemporaryDirectory(prefix="posesearch-bench-") as folder:
        result = fit(task, dataset, store, recipe, folder=Path(folder), seed=request["seed"])
    return {
        "started_bytes": started_bytes,
        "with_images_bytes": with_images_bytes,
        "trained_bytes": peak_resident_bytes(),
        "persons": len(dataset),
        "steps": result.steps,
        "batch_size": recipe.batch_size,
        "torch_threads": torch.get_num_threads(),
    }


def peak_resident_bytes() -> int:
    """Returns the most memory this process has held.

    From Linux's own line for this program: getrusage, used elsewhere, begins with the peak of the process that started
    this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    kibibytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kibibytes


def main() -> int:
    """Answers one request from standard input."""
    return serve(train)


if __name__ == "__main__":
    sys.exit(main())

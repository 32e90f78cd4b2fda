"""`python -m posesearch.bench.memory_training`: a short supernet training in a fresh process, which tells its peak memory.

A process of its own, because the peak of a process never falls: it would be that of whatever ran before. One JSON
request on standard input, one JSON answer on standard output.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import posesearch
from posesearch.bench.workload import RECIPES
from posesearch.data.images import open_images
from posesearch.data.source import DataSource
from posesearch.errors import EnvironmentFault, PosesearchError
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
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "posesearch.bench.memory_training"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
            # The package must be found from any working folder, also in a checkout that is not installed.
            cwd=Path(posesearch.__file__).resolve().parents[1],
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentFault(
            f"the training process did not finish {epochs} epochs on {persons} persons within {LIMIT_S:.0f} s. "
            "Allowed: that time. Close other programs and run the same command again."
        ) from None
    if ended.returncode != 0:
        tail = "\n".join(ended.stderr.strip().splitlines()[-5:]) or "(it wrote nothing)"
        raise EnvironmentFault(
            f"the training process ended with status {ended.returncode}. Its last lines:\n{tail}\n"
            "Free memory, then run the same command again."
        )
    answer: dict[str, Any] = json.loads(ended.stdout)
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
    """Answers one request from standard input; faults go to standard error in one line."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            answer = train(json.load(sys.stdin))
    except PosesearchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())

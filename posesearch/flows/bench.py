"""`bench`: run benchmarks one after the other, each result on disk as soon as it is there."""

from __future__ import annotations

import shlex
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from posesearch.bench.machine import describe_machine
from posesearch.bench.registry import Bench, BenchContext, find_benches
from posesearch.bench.write import PAGE, result_path, write_result
from posesearch.data.source import DataSource
from posesearch.data.synthetic import write_coco
from posesearch.device import resolve_device
from posesearch.errors import EnvironmentFault, UsageError
from posesearch.progress import Progress

DEFAULT_OUT = Path("bench")
GPU_BENCH = "gpu"
# Pictures drawn where no data is given, to train and to test on: enough for one batch of 256 persons.
GENERATED, GENERATED_QUICK = (400, 100), (40, 12)
# COCO's usual size, since reading and decoding are part of what is compared; the small one draws in a moment.
PICTURE_SIZE, PICTURE_SIZE_QUICK = (480, 640), (192, 160)


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchRun:
    """What was run, or with `dry_run` what would be.

    Attributes:
        plan: Benchmarks, device, data, folder and files, JSON-ready.
        documents: One result for each benchmark, as it was written.
        files: Files written.
        alone: One benchmark was asked for by name.
    """

    plan: dict[str, Any]
    documents: tuple[dict[str, Any], ...] = ()
    files: tuple[Path, ...] = ()
    alone: bool = False

    def to_plain(self) -> dict[str, Any]:
        """Returns the plan of a dry run, the result of a named benchmark, else all under "benches"."""
        if not self.documents:
            return {"dry_run": True, "command": "bench", "plan": self.plan}
        return self.documents[0] if self.alone else {"benches": list(self.documents)}


def bench(
    *,
    name: str | None = None,
    data: Path | None = None,
    quick: bool = False,
    gpu: bool = False,
    out: Path = DEFAULT_OUT,
    seed: int = 0,
    device: str = "auto",
    dry_run: bool = False,
    progress: Progress,
) -> BenchRun:
    """Runs one benchmark, or all that need no GPU.

    Args:
        name: Which; None means all that run on a CPU.
        data: Folder of a COCO-format data set; None means generated people, drawn into a temporary folder.
        quick: Small sizes: seconds, and no claims.
        gpu: Answer the questions that need a GPU instead.
        out: Folder of the results.
        seed: Key of everything random.
        device: "auto" is the CPU, or with `gpu` the first GPU; "cpu", "cuda", "cuda:N".
        dry_run: Resolve everything, write nothing.
        progress: Where to report.

    Raises:
        UsageError: No such benchmark, or a GPU benchmark on the CPU.
        EnvironmentFault: No GPU where one is needed, or a folder that cannot be written.
        DataError: The data cannot be used.
    """
    chosen = _chosen(name, gpu)
    place = _place(chosen, device)
    if data is not None:
        for split in ("train", "val"):
            DataSource(data=str(data)).resolve(split)
    shown: dict[str, Any] = {
        "benches": [one.name for one in chosen],
        "device": str(place),
        "data": _data_text(chosen, data),
        "quick": quick,
        "out": str(out),
    }
    if dry_run:
        return BenchRun(plan=shown)
    documents, files = [], []
    with ExitStack() as stack:
        folder = data
        if folder is None and any(one.needs_people for one in chosen):
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="posesearch-bench-"))) / "people"
            train, val = GENERATED_QUICK if quick else GENERATED
            size = PICTURE_SIZE_QUICK if quick else PICTURE_SIZE
            write_coco(folder, seed=seed, num_train=train, num_val=val, image_size=size, progress=progress)
        context = BenchContext(device=place, seed=seed, data=folder, quick=quick, progress=progress, out=out)
        for one in chosen:
            progress.message(f"bench {one.name}: {one.summary}")
            document = _document(one, context, _command(one, data, quick, gpu, seed, device))
            write_result(out, document)
            documents.append(document)
            files.append(result_path(out, one.name))
    return BenchRun(
        plan=shown, documents=tuple(documents), files=(*files, out / PAGE), alone=name is not None or gpu
    )


def _chosen(name: str | None, gpu: bool) -> tuple[Bench, ...]:
    if gpu and name not in (None, GPU_BENCH):
        raise UsageError(
            f"--gpu answers all GPU questions at once and does not go with benchmark '{name}'. Leave the name out, or "
            f"put one benchmark on the GPU: posesearch bench {name} --device cuda"
        )
    return find_benches(GPU_BENCH if gpu else name)


def _data_text(chosen: tuple[Bench, ...], data: Path | None) -> str:
    if not any(one.needs_people for one in chosen):
        return "none is needed"
    return str(data) if data else "generated people, drawn into a temporary folder"


def _place(chosen: tuple[Bench, ...], device: str) -> torch.device:
    """Returns the CPU unless a GPU is asked for or needed: the goals of the others are goals on a CPU core."""
    needs_gpu = any(one.gpu_only for one in chosen)
    if device == "auto":
        if needs_gpu and not torch.cuda.is_available():
            raise EnvironmentFault(
                f"the benchmark '{GPU_BENCH}' needs a GPU, and torch {torch.__version__} sees none. Allowed: a machine with a "
                "CUDA device and a CUDA build of torch. Check with 'posesearch doctor', or run the benchmarks of the "
                "CPU: posesearch bench"
            )
        return torch.device("cuda" if needs_gpu else "cpu")
    place = resolve_device(device)
    if needs_gpu and place.type != "cuda":
        raise UsageError(
            f"--device '{device}': the benchmark '{GPU_BENCH}' needs a GPU. Allowed: auto, cuda, cuda:N. Leave --device "
            "out, or choose another benchmark."
        )
    return place


def _document(one: Bench, context: BenchContext, command: str) -> dict[str, Any]:
    start_s = time.perf_counter()
    result = one.run(context).to_plain()
    return {
        **result,
        "quick": context.quick,
        "command": command,
        "seconds": round(time.perf_counter() - start_s, 1),
        "machine": describe_machine(context.device),
    }


def _command(one: Bench, data: Path | None, quick: bool, gpu: bool, seed: int, device: str) -> str:
    """Returns the line that measures this again."""
    words = ["posesearch", "bench", *(["--gpu"] if gpu else [one.name])]
    # The folder's name alone: a result is shown to others, who have other paths.
    words += ["--data", data.name] if data else []
    words += ["--quick"] if quick else []
    words += ["--seed", str(seed)] if seed else []
    words += ["--device", device] if device != "auto" else []
    return shlex.join(words)

"""Is this machine ready? One check per thing that has to work, each fault with its remedy."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

from posesearch.device import usable_cores
from posesearch.errors import PosesearchError
from posesearch.flows.installation import (
    Check,
    check_compile,
    check_libgl,
    check_onnxruntime,
    check_packages,
    check_python,
    check_recipes,
    check_spaces,
    check_tensorrt,
)

MINIMUM_FREE_GB = 4.0
# Above this share of busy cores single-thread latencies scatter by more than the few percent a budget needs.
GIGABYTE = 1e9


def doctor(*, device: str = "auto", folder: Path | None = None) -> tuple[Check, ...]:
    """Runs every check; a check that itself goes wrong is a failed check, never an exception.

    Args:
        device: Device of the tiny forward.
        folder: Where runs would be written; the working folder by default.
    """
    where = Path.cwd() if folder is None else folder
    checks = [_guarded("python", check_python), *check_packages()]
    checks += [
        _guarded("libGL", check_libgl),
        _guarded("device", lambda: check_device(device)),
        _guarded("compile", check_compile),
        _guarded("onnxruntime", check_onnxruntime),
        _guarded("tensorrt", check_tensorrt),
        _guarded("threads", check_threads),
        _guarded("load", check_load),
        _guarded("write access", lambda: check_write_access(where)),
        _guarded("search spaces", check_spaces),
        _guarded("recipes", check_recipes),
        _guarded("tiny forward", lambda: check_forward(device)),
    ]
    return tuple(checks)


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except PosesearchError as error:
        return Check(name=name, status="fail", detail=str(error), remedy="See the message.")
    except Exception as error:  # a broken installation fails in any way; the others must still be checked
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return Check(
            name=name, status="fail", detail=text, remedy="Install posesearch again in a fresh environment."
        )


def check_device(name: str) -> Check:
    """The device that commands would use."""
    import torch

    from posesearch.device import resolve_device

    device = resolve_device(name)
    if device.type == "cuda":
        memory_gb = torch.cuda.get_device_properties(device).total_memory / GIGABYTE
        return Check(
            name="device",
            status="ok",
            detail=f"{device}: {torch.cuda.get_device_name(device)}, {memory_gb:.0f} GB",
        )
    return Check(
        name="device",
        status="ok",
        detail=f"cpu (torch {torch.__version__} sees no GPU)" if name == "auto" else "cpu",
    )


def check_threads() -> Check:
    """Threads of torch against the cores this process may use."""
    import torch

    threads = torch.get_num_threads()
    cores = usable_cores()
    detail = f"torch uses {threads} threads, {cores} cores may be used"
    if threads > cores:
        return Check(
            name="threads",
            status="warn",
            detail=detail,
            remedy=f"Set OMP_NUM_THREADS={cores}: more threads than cores are slower.",
        )
    return Check(name="threads", status="ok", detail=detail)


def check_load() -> Check:
    """How busy the machine is: latency measured beside other work means little."""
    from posesearch.latency.noise import is_busy, machine_load

    load, cores = machine_load()
    detail = f"{load:.1f} over the last minute on {cores} cores"
    if is_busy(load, cores):
        return Check(
            name="load",
            status="warn",
            detail=detail,
            remedy="Stop other work before 'posesearch search': it measures latency.",
        )
    return Check(name="load", status="ok", detail=detail)


def check_write_access(folder: Path) -> Check:
    """Whether runs can be written here, and whether there is room."""
    from posesearch.files import write_text_atomic

    probe = folder / "runs" if (folder / "runs").is_dir() else folder
    file = probe / ".posesearch-doctor"
    try:
        write_text_atomic(file, "ok\n")
    except PosesearchError as error:
        return Check(
            name="write access",
            status="fail",
            detail=str(error).split(". ")[0],
            remedy="Work in a folder you can write to.",
        )
    finally:
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
    free_gb = shutil.disk_usage(probe).free / GIGABYTE
    if free_gb < MINIMUM_FREE_GB:
        return Check(
            name="write access",
            status="warn",
            detail=f"{probe}: only {free_gb:.1f} GB free",
            remedy=f"Free {MINIMUM_FREE_GB:.0f} GB: a run keeps checkpoints.",
        )
    return Check(name="write access", status="ok", detail=f"{probe}: {free_gb:.0f} GB free")


def check_forward(device: str) -> Check:
    """One tiny network, one image, one forward on the device."""
    import torch

    from posesearch.device import resolve_device
    from posesearch.models import PoseModel
    from posesearch.spaces import load_space

    arch = load_space("demo").smallest()
    place = resolve_device(device)
    model = PoseModel(arch).to(place).eval()
    with torch.no_grad():
        output = model(torch.zeros(1, 3, *arch.input_size, device=place))
    if not bool(torch.isfinite(output.x).all() and torch.isfinite(output.y).all()):
        return Check(
            name="tiny forward",
            status="fail",
            detail="the output is not finite",
            remedy="Try --device cpu; reinstall torch for this machine.",
        )
    return Check(name="tiny forward", status="ok", detail=f"{arch.code} on {place}")

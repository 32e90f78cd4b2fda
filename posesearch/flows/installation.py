"""Is posesearch installed as it should be? Python, packages, one OpenCV, runtimes to measure in, spaces and recipes."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
from dataclasses import asdict, dataclass
from typing import Any, Literal

# Distribution -> what it is imported as, where the two differ.
_MODULES = {"mmengine-lite": "mmengine", "opencv-python-headless": "cv2", "pyyaml": "yaml"}
MINIMUM_PYTHON = (3, 11)


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """The result of one check.

    Attributes:
        name: What was checked.
        status: "ok", "warn" (works, but read the remedy) or "fail".
        detail: What was found.
        remedy: What to do; empty for "ok".
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    remedy: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Returns the check as JSON-ready values."""
        return asdict(self)


def check_python() -> Check:
    """Python's version."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < MINIMUM_PYTHON:
        return Check(
            name="python",
            status="fail",
            detail=version,
            remedy="Install Python 3.11 or 3.12 and make a new environment.",
        )
    return Check(name="python", status="ok", detail=f"{version} ({sys.executable})")


def check_packages() -> tuple[Check, ...]:
    """Every required package: is it there, new enough, and does it import?"""
    from packaging.requirements import Requirement

    try:
        wanted = importlib.metadata.requires("posesearch") or []
    except importlib.metadata.PackageNotFoundError:
        return (
            Check(
                name="posesearch",
                status="warn",
                detail="used from a folder, not installed",
                remedy="Run 'pip install -e .' in the folder that holds pyproject.toml.",
            ),
        )
    requirements = [Requirement(text) for text in wanted]
    return tuple(check_package(each.name, each.specifier) for each in requirements if each.marker is None)


def check_package(distribution: str, specifier: Any) -> Check:
    """One package against the versions posesearch accepts (a `SpecifierSet`)."""
    module = _MODULES.get(distribution, distribution)
    install = f"pip install '{distribution}{specifier}'"
    try:
        importlib.import_module(module)
    except Exception as error:  # compiled packages fail to import in many ways
        text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return Check(
            name=distribution, status="fail", detail=text, remedy=_import_remedy(distribution, text, install)
        )
    version = _version(distribution, module)
    if version is None:
        return Check(name=distribution, status="ok", detail="imports; version unknown")
    if not specifier.contains(version, prereleases=True):
        return Check(name=distribution, status="fail", detail=f"{version}, needs {specifier}", remedy=install)
    return Check(name=distribution, status="ok", detail=version)


def _version(distribution: str, module: str) -> str | None:
    for name in (distribution, module, "opencv-python"):
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if name != "opencv-python" or module == "cv2":
            return found
    return None


def _import_remedy(distribution: str, text: str, install: str) -> str:
    if "libGL" in text or "libgthread" in text or "libEGL" in text:
        return (
            "The desktop build of OpenCV needs libGL. Use the headless one: "
            "pip uninstall -y opencv-python opencv-contrib-python; pip install --force-reinstall opencv-python-headless. "
            "Or install the system package (Debian: libgl1)."
        )
    if distribution == "torch":
        return f"{install} (without a GPU, install a CPU build first: see README, 'When it does not work')."
    return install


def check_libgl() -> Check:
    """Only one OpenCV: two builds share the `cv2` folder, and the last one installed wins."""
    builds = []
    for name in (
        "opencv-python",
        "opencv-contrib-python",
        "opencv-python-headless",
        "opencv-contrib-python-headless",
    ):
        try:
            builds.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    if len(builds) > 1:
        return Check(
            name="libGL",
            status="warn",
            detail=f"{len(builds)} builds in one environment: {', '.join(builds)}",
            remedy="pip uninstall all of them, then pip install opencv-python-headless.",
        )
    libgl = "headless, needs no libGL" if "headless" in "".join(builds) else "desktop build, needs libGL"
    return Check(name="libGL", status="ok", detail=f"{builds[0] if builds else 'cv2'} ({libgl})")


def check_compile() -> Check:
    """What `--runtime compile` generates code with: a C++ compiler, on a GPU Triton."""
    import torch

    from posesearch.latency.runtime_torch import compiler

    if torch.cuda.is_available():
        usable = importlib.util.find_spec("triton") is not None
        found, remedy = "triton", "pip install triton"
    else:
        usable = compiler() is not None
        found, remedy = str(compiler()), "Install a C++ compiler (Debian: apt-get install g++)."
    if not usable:
        return Check(name="compile", status="warn", detail="--runtime compile cannot be used", remedy=remedy)
    return Check(name="compile", status="ok", detail=f"torch.compile with {found}")


def check_onnxruntime() -> Check:
    """ONNX Runtime and its providers, for `--runtime onnxruntime`."""
    import torch

    try:
        import onnxruntime
    except ImportError:
        return Check(
            name="onnxruntime",
            status="warn",
            detail="--runtime onnxruntime cannot be used: not installed",
            remedy="pip install 'posesearch[onnx]' (for a GPU: pip install onnxruntime-gpu).",
        )
    providers = onnxruntime.get_available_providers()
    detail = f"{onnxruntime.__version__}: {', '.join(providers)}"
    if torch.cuda.is_available() and "CUDAExecutionProvider" not in providers:
        return Check(
            name="onnxruntime",
            status="warn",
            detail=f"{detail}; --runtime onnxruntime cannot be used on the GPU",
            remedy="pip uninstall -y onnxruntime; pip install onnxruntime-gpu",
        )
    return Check(name="onnxruntime", status="ok", detail=detail)


def check_tensorrt() -> Check:
    """TensorRT, for `--runtime tensorrt`."""
    import torch

    if not torch.cuda.is_available():
        return Check(name="tensorrt", status="ok", detail="not used: it needs an NVIDIA GPU")
    try:
        version = importlib.import_module("tensorrt").__version__
    except ImportError:
        return Check(
            name="tensorrt",
            status="warn",
            detail="--runtime tensorrt cannot be used: not installed",
            remedy="pip install tensorrt",
        )
    return Check(name="tensorrt", status="ok", detail=str(version))


def check_spaces() -> Check:
    """Which search spaces can be named, and whether they load."""
    from posesearch.flows.space import space_rows

    rows = space_rows()
    broken = [f"{row.name}: {row.problem}" for row in rows if row.problem]
    if broken:
        return Check(
            name="search spaces",
            status="fail",
            detail="; ".join(broken),
            remedy="Correct the file, or move it out of search_spaces/.",
        )
    if not rows:
        return Check(
            name="search spaces",
            status="fail",
            detail="none found",
            remedy="Install posesearch again: its own spaces are missing.",
        )
    return Check(name="search spaces", status="ok", detail=", ".join(row.name for row in rows))


def check_recipes() -> Check:
    """Whether the recipes load."""
    from posesearch.train.recipe import list_recipes, load_recipe

    names = list_recipes()
    for name in names:
        load_recipe(name)
    if not names:
        return Check(
            name="recipes",
            status="fail",
            detail="none found",
            remedy="Install posesearch again: its own recipes are missing.",
        )
    return Check(name="recipes", status="ok", detail=", ".join(names))

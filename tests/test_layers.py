"""Imports point one way, each library has its gatekeeper, and the picture of the structure is the structure."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "posesearch"
MODULES = sorted(PACKAGE.rglob("*.py"))


def structure_script():
    spec = importlib.util.spec_from_file_location("structure", ROOT / "scripts" / "structure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BASE = {
    "child",
    "errors",
    "files",
    "rng",
    "interrupt",
    "progress",
    "config",
    "configfile",
    "device",
    "heap",
    "run",
    "lock",
    "checkpoint",
}
ORDER = ("base", *structure_script().PACKAGES)
# Stricter than the order.
FORBIDDEN = {
    "data": {"models", "supernet"},
    "report": {"keypoints", "models", "supernet", "data", "train", "latency", "search", "extract"},
}
GATEKEEPERS = {
    "mmengine": ("posesearch.configfile",),
    # The baseline of `bench pipeline` is what others do with it.
    "cv2": ("posesearch.data", "posesearch.bench.baseline_pipeline"),
    "optuna": ("posesearch.search",),
    "sqlalchemy": ("posesearch.search",),
    "plotly": ("posesearch.report",),
    "pandas": ("posesearch.report",),
    "matplotlib": ("posesearch.report",),
    "cyclopts": ("posesearch.cli",),
    "rich": ("posesearch.cli",),
}
NO_TORCH = ("spaces", "keypoints", "report", "cli")
LINES_AT_MOST = 300


def module_name(path: Path) -> str:
    """Returns the dotted name of a file of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST) -> set[str]:
    """Returns every module a file imports, anywhere in it: lazily, for types only, or by a literal name."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            found.add(str(node.module))
            if node.module in ("posesearch", "posesearch.flows"):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if (
                name in ("import_module", "__import__")
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(str(node.args[0].value))
    return found


def layer(name: str) -> str:
    """Returns the layer of a module of the package; the package itself counts as base."""
    parts = name.split(".")
    if len(parts) == 1 or parts[1] in BASE or parts[1] == "__version__":
        return "base"
    return "cli" if parts[1] == "__main__" else parts[1]


def faults_of(name: str, imports: set[str]) -> list[str]:
    """Returns which imports of a module break a rule."""
    own = layer(name)
    faults = []
    for target in sorted(imports):
        if target.split(".")[0] == "posesearch":
            other = layer(target)
            if ORDER.index(other) > ORDER.index(own) or other in FORBIDDEN.get(own, set()):
                faults.append(f"{name} ({own}) imports {target} ({other})")
        gatekeepers = GATEKEEPERS.get(target.split(".")[0], ())
        if gatekeepers and not any(f"{name}.".startswith(f"{keeper}.") for keeper in gatekeepers):
            faults.append(f"{name} imports {target}, which only {' and '.join(gatekeepers)} may")
        if target.split(".")[0] == "torch" and own in NO_TORCH:
            faults.append(f"{name} imports torch, which {own} must not")
    return faults


def test_every_package_has_its_place_in_the_order() -> None:
    packages = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert packages <= set(ORDER)
    single = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert single == BASE


def test_imports_point_one_way() -> None:
    assert len(MODULES) > 60
    faults = []
    for path in MODULES:
        name = module_name(path)
        if name != "posesearch":  # its public names are loaded on first use
            faults += faults_of(name, imported(ast.parse(path.read_text(encoding="utf-8"))))
    assert faults == []


@pytest.mark.parametrize(
    ("name", "line", "fault"),
    [
        ("posesearch.spaces.arch", "from posesearch.models import x", "imports posesearch.models (models)"),
        (
            "posesearch.data.coco",
            "def f():\n    import posesearch.models.pose",
            "(data) imports posesearch.models",
        ),
        (
            "posesearch.report.page",
            "from posesearch.search.front import knee",
            "(report) imports posesearch.search",
        ),
        (
            "posesearch.flows.demo",
            "import importlib\nimportlib.import_module('optuna')",
            "only posesearch.search may",
        ),
        ("posesearch.keypoints.oks", "from torch import nn", "imports torch, which keypoints must not"),
        ("posesearch.datas", "import cv2", "only posesearch.data and"),
        (
            "posesearch.bench.step",
            "import cv2",
            "only posesearch.data and posesearch.bench.baseline_pipeline may",
        ),
    ],
)
def test_the_rule_sees_every_way_to_import(name: str, line: str, fault: str) -> None:
    module = name if name != "posesearch.datas" else "posesearch.device"
    assert any(fault in found for found in faults_of(module, imported(ast.parse(line))))


def test_one_idea_a_file() -> None:
    long = {module_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: lines for name, lines in long.items() if lines > LINES_AT_MOST} == {}


def test_every_module_says_its_idea() -> None:
    silent = [
        module_name(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert silent == []


def dangerous(tree: ast.AST) -> list[str]:
    """Returns the calls by which a file or a command line could run code."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in (
            "eval",
            "exec",
            "os.system",
            "yaml.load",
            "pickle.load",
            "pickle.loads",
            "pickle.Unpickler",
        ):
            found.append(ast.unparse(node))
        for keyword in node.keywords:
            flag = (keyword.arg, getattr(keyword.value, "value", None))
            if flag in (("shell", True), ("weights_only", False), ("allow_pickle", True)):
                found.append(ast.unparse(node))
        if called == "torch.load" and "weights_only" not in {keyword.arg for keyword in node.keywords}:
            found.append(ast.unparse(node))
    return found


def test_nothing_can_run_code_from_a_file() -> None:
    assert [call for path in MODULES for call in dangerous(ast.parse(path.read_text("utf-8")))] == []
    for line in (
        "eval(text)",
        "torch.load(path)",
        "subprocess.run(line, shell=True)",
        "np.load(p, allow_pickle=True)",
    ):
        assert dangerous(ast.parse(line)) == [line]


def test_the_picture_of_the_structure_is_the_structure() -> None:
    script = structure_script()
    text = script.DOCUMENT.read_text(encoding="utf-8")
    assert text == script.rendered(text), "run: python scripts/structure.py"
    listed = len(re.findall(r"^- `", text, flags=re.MULTILINE))
    assert listed == sum(path.name != "__init__.py" for path in MODULES)
    assert ORDER[1:] == script.PACKAGES

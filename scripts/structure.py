"""Writes docs/structure.md: every module with the idea in the first line of its docstring.

Run it after adding, removing or re-purposing a module: `python scripts/structure.py`. A test compares the two.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "structure.md"
START, END = "<!-- modules: written by scripts/structure.py -->", "<!-- end of modules -->"
# In the order of the layers: a package imports only from those above it.
PACKAGES = (
    "spaces",
    "keypoints",
    "models",
    "supernet",
    "data",
    "train",
    "latency",
    "search",
    "extract",
    "report",
    "bench",
    "flows",
    "cli",
)


def idea(path: Path) -> str:
    """Returns the first paragraph of a module's docstring, on one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def section(title: str, folder: Path, files: list[Path]) -> list[str]:
    """Returns one package as a Markdown list, headed by what the package is for."""
    package = folder / "__init__.py"
    about = f"\n{idea(package)}\n" if package.is_file() else ""
    lines = [f"- `{path.relative_to(folder).as_posix()}`: {idea(path)}" for path in files]
    return [f"### {title}", about, *lines, ""]


def modules() -> str:
    """Returns the list of all modules as Markdown."""
    package = ROOT / "posesearch"
    base = sorted(path for path in package.glob("*.py") if path.name != "__init__.py")
    lines = section("posesearch/ (base)", package, base)
    for name in PACKAGES:
        files = sorted(path for path in (package / name).rglob("*.py") if path.name != "__init__.py")
        if files:
            lines += section(f"posesearch/{name}/", package / name, files)
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


def rendered(text: str) -> str:
    """Returns the document `text` with its list of modules brought up to date."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{modules()}\n{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(rendered(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")

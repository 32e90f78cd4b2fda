"""posesearch: train one weight-shared pose supernet, get the most accurate network that fits your latency budget.

The public names are loaded on first use, so that `import posesearch` (and `posesearch --help`) does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posesearch.models import PoseModel as PoseModel
    from posesearch.models.modelfile import load_model as load_model
    from posesearch.spaces import Architecture as Architecture
    from posesearch.spaces import SearchSpace as SearchSpace
    from posesearch.spaces import load_preset as load_preset
    from posesearch.spaces import load_space as load_space
    from posesearch.supernet import Supernet as Supernet
    from posesearch.supernet import extract_subnet as extract_subnet

__version__ = "0.1.0"

_HOMES = {
    "Architecture": "posesearch.spaces",
    "PoseModel": "posesearch.models",
    "SearchSpace": "posesearch.spaces",
    "Supernet": "posesearch.supernet",
    "extract_subnet": "posesearch.supernet",
    "load_model": "posesearch.models.modelfile",
    "load_preset": "posesearch.spaces",
    "load_space": "posesearch.spaces",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'posesearch' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

"""Run folders for the report's tests, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_run_folder import build_run


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which every stage has run."""
    return build_run(tmp_path_factory.mktemp("runs") / "full", asks=160)

"""Shared fixtures: real data when it is there, generated people, and a search space small enough for a test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from posesearch.spaces import HeadArch, SearchSpace, StageSpace


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real images; tests that need it are skipped when it is not there."""
    named = os.environ.get("POSESEARCH_DATA")
    if not named:
        pytest.skip("POSESEARCH_DATA is not set: no real images on this machine")
    root = Path(named).resolve()
    if not root.is_dir():
        pytest.skip(f"POSESEARCH_DATA={named} is not a folder")
    return root


@pytest.fixture(scope="session")
def people_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small generated data set of COCO layout."""
    from posesearch.data.synthetic import write_coco

    directory = tmp_path_factory.mktemp("people")
    write_coco(directory, seed=7, num_train=48, num_val=24)
    return directory


@pytest.fixture(scope="session")
def tiny_space() -> SearchSpace:
    """Three stages at 64x48: a training step takes milliseconds."""
    common = {"depth": (1, 2), "kernel": (3, 5, 7), "ratio": (2, 3, 4), "attention": (False, True)}
    return SearchSpace(
        name="tiny",
        input_size=(64, 48),
        stem_width=8,
        head=HeadArch(hidden=32, attention_dim=16),
        stages=(
            StageSpace(width=(8, 16), **common),
            StageSpace(width=(16, 24), **common),
            StageSpace(width=(24, 32), **common),
        ),
    )

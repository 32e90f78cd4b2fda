"""A space of 24 members, for searches that see all of it."""

from __future__ import annotations

import pytest

from posesearch.spaces import HeadArch, SearchSpace, StageSpace


@pytest.fixture(scope="session")
def one_stage() -> SearchSpace:
    return SearchSpace(
        name="one",
        input_size=(64, 48),
        stem_width=8,
        head=HeadArch(hidden=32, attention_dim=16),
        stages=(
            StageSpace(width=(8, 16), depth=(1, 2), kernel=(3, 5, 7), ratio=(2,), attention=(False, True)),
        ),
    )

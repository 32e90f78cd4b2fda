"""Opening images: which store it is, the sentence about it, and what a forced place answers."""

from __future__ import annotations

import numpy as np
import pytest

from posesearch.data import images as images_module
from posesearch.data.images import open_images
from posesearch.data.store import ImageStore, JpegStore
from posesearch.errors import DataError, EnvironmentFault, UsageError
from posesearch.progress import SilentProgress


class Heard(SilentProgress):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.mark.parametrize(
    ("free", "tier", "kind", "message"),
    [
        (11_000_000_000, "auto", ImageStore, "images: 4 decoded, 0.096 MB, host memory (11 GB free)"),
        (
            11_000_000_000,
            "host",
            ImageStore,
            "images: 4 decoded, 0.096 MB, host memory (11 GB free), as asked",
        ),
        (
            11_000_000_000,
            "jpeg",
            JpegStore,
            "images: 4 checked, kept as files and decoded at each use, as asked",
        ),
        (
            100_000,
            "auto",
            JpegStore,
            "images: 4 checked, kept as files and decoded at each use, because 0.096 MB decoded is more than 70% of "
            "the 0.1 MB of free host memory",
        ),
        (None, "auto", ImageStore, "images: 4 decoded, 0.096 MB, host memory"),
    ],
)
def test_one_sentence_says_where(folder, heard, monkeypatch, free, tier, kind, message):
    monkeypatch.setattr(images_module, "free_host_bytes", lambda: free)
    store = open_images(folder.read(), "cpu", tier=tier, progress=heard)
    assert isinstance(store, kind)
    assert heard.messages == [message]


def test_gpu_without_one(folder, heard):
    with pytest.raises(UsageError, match=r"--store gpu needs a GPU, but the device is 'cpu'"):
        open_images(folder.read(), "cpu", tier="gpu", progress=heard)
    assert isinstance(open_images(folder.read(), tier="gpu"), ImageStore)  # images that are warped once


def test_forced_host_without_room(folder, monkeypatch):
    monkeypatch.setattr(images_module, "free_host_bytes", lambda: 90_000)
    with pytest.raises(
        EnvironmentFault, match=r"only 0.09 MB of host memory is free. Allowed: .* --store jpeg"
    ):
        open_images(folder.read(), tier="host")


def test_broken_images_are_told_from_every_tier(folder):
    dataset = folder.read()
    (folder.image_root / "0001.jpg").write_bytes(b"")
    for tier in ("host", "jpeg"):
        with pytest.raises(DataError, match=r"1 fault in the images of .*\n  - image 11: .*is empty"):
            open_images(dataset, tier=tier)


def test_no_person_at_all(folder, heard):
    nobody = folder.read().subset(np.array([], dtype=np.int64))
    open_images(nobody, progress=heard)
    assert heard.messages[0].startswith("images: 0 decoded, 0 MB")

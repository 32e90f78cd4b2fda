"""Where images go: by free memory, as forced, and never where there is no room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesearch.data.tiers import DEVICE_SHARE, HOST_SHARE, Tier, check_tier, choose_tier, size_text
from posesearch.errors import EnvironmentFault, UsageError

GB = 10**9
SIZES = st.integers(0, 200 * GB)
FREE = st.one_of(st.none(), SIZES)


@given(needed=SIZES, free_host=FREE, free_device=FREE)
def test_choice_has_room_and_is_the_fastest_that_has(needed, free_host, free_device):
    choice = choose_tier(needed, "cuda", free_host=free_host, free_device=free_device)
    on_device = free_device is not None and needed <= DEVICE_SHARE * free_device
    on_host = free_host is None or needed <= HOST_SHARE * free_host
    assert choice.tier == (Tier.DEVICE if on_device else Tier.HOST if on_host else Tier.JPEG)


@given(needed=SIZES, free_host=FREE, free_device=FREE, tier=st.sampled_from(list(Tier)))
def test_forced_tier_is_kept_or_refused(needed, free_host, free_device, tier):
    def ask():
        return choose_tier(needed, "cuda", forced=tier, free_host=free_host, free_device=free_device)

    free = {Tier.DEVICE: free_device, Tier.HOST: free_host, Tier.JPEG: None}[tier]
    if tier is Tier.DEVICE and free is None:
        with pytest.raises(UsageError):
            ask()
    elif free is not None and needed > free:
        with pytest.raises(EnvironmentFault):
            ask()
    else:
        assert ask().tier is tier


@pytest.mark.parametrize(
    ("needed", "free_host", "free_device", "forced", "reason"),
    [
        (GB // 5, 11 * GB, None, None, "host memory (11 GB free)"),
        (GB // 5, None, None, "auto", "host memory"),
        (GB // 5, 11 * GB, None, "host", "host memory (11 GB free), as asked"),
        (47 * GB, 60 * GB, 130 * GB, "auto", "GPU memory (130 GB free)"),
        (47 * GB, 90 * GB, 22 * GB, "auto", "host memory (90 GB free)"),
        (
            47 * GB,
            11 * GB,
            22 * GB,
            "auto",
            "kept as files and decoded at each use, because 47 GB decoded is more than 70% of the 11 GB of free host memory",
        ),
        (1, 11 * GB, 22 * GB, "jpeg", "kept as files and decoded at each use, as asked"),
    ],
)
def test_reason(needed, free_host, free_device, forced, reason):
    choice = choose_tier(needed, "cpu", forced=forced, free_host=free_host, free_device=free_device)
    assert choice.reason == reason


def test_messages():
    with pytest.raises(UsageError) as unknown:
        choose_tier(1, "cpu", forced="jpg", free_host=None, free_device=None)
    assert str(unknown.value) == (
        "--store 'jpg' is not known. Did you mean 'jpeg'? Allowed: auto, gpu, host, jpeg. "
        "Use --store auto to have it chosen by free memory."
    )
    with pytest.raises(
        UsageError, match=r"--store gpu needs a GPU, but the device is 'cpu'. Allowed here: auto, host, jpeg"
    ):
        choose_tier(1, "cpu", forced="gpu", free_host=None, free_device=None)
    for forced, place in (("host", "host"), ("gpu", "GPU")):
        with pytest.raises(
            EnvironmentFault,
            match=rf"decoded images take 47 GB, but only 8.0 GB of {place} memory is free. Allowed: .*--store jpeg",
        ):
            choose_tier(47 * GB, "cuda", forced=forced, free_host=8 * GB, free_device=8 * GB)


def test_a_gpu_that_is_none_is_refused_before_any_work():
    with pytest.raises(UsageError, match=r"--store gpu needs a GPU, but the device is 'cpu'"):
        check_tier("gpu", "cpu")
    assert [check_tier("gpu", "cuda:1"), check_tier("gpu"), check_tier("jpeg", "cpu")] == [
        "gpu",
        "gpu",
        "jpeg",
    ]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (96_000, "0.096 MB"),
        (24_000_000, "24 MB"),
        (210_000_000, "0.21 GB"),
        (4_710_000_000, "4.7 GB"),
        (47 * GB, "47 GB"),
    ],
)
def test_size(size, text):
    assert size_text(size) == text

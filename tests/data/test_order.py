"""The order of persons: fair in an epoch, different each epoch, known for any step at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.data.order import BatchOrder
from posesearch.errors import UsageError


@settings(max_examples=50, deadline=None)
@given(
    num=st.integers(1, 60), batch=st.integers(1, 60), seed=st.integers(0, 2**31), epoch=st.integers(0, 1000)
)
def test_an_epoch_shows_nobody_twice(num, batch, seed, epoch):
    batch = min(batch, num)
    order = BatchOrder(num_persons=num, batch_size=batch, seed=seed)
    steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
    seen = np.concatenate([order.batch_indices(step) for step in steps])
    assert len(seen) == len(set(seen.tolist())) == num // batch * batch
    assert set(seen.tolist()) <= set(range(num))


def test_epochs_and_seeds_differ_and_steps_repeat():
    order = BatchOrder(num_persons=100, batch_size=10, seed=1)
    assert order.steps_per_epoch == 10
    assert np.array_equal(order.batch_indices(37), order.batch_indices(37))
    assert not np.array_equal(order.epoch_order(0), order.epoch_order(1))
    other = BatchOrder(num_persons=100, batch_size=10, seed=2)
    assert not np.array_equal(order.epoch_order(0), other.epoch_order(0))


def test_the_persons_dropped_change():
    order = BatchOrder(num_persons=10, batch_size=8, seed=0)
    dropped = {frozenset(range(10)) - set(order.batch_indices(step).tolist()) for step in range(12)}
    assert len(dropped) > 3


@pytest.mark.parametrize("batch", [0, -1, 11])
def test_batch_that_does_not_fit(batch):
    with pytest.raises(
        UsageError, match=f"batch size {batch} does not fit 10 training persons. Allowed: 1 to 10"
    ):
        BatchOrder(num_persons=10, batch_size=batch, seed=0)

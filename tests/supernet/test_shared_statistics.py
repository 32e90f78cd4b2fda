"""Statistics shared by all subnets: an average over those that have the channel, cut like the norm they belong to."""

import pytest
import torch

from posesearch.supernet import recalibrate
from posesearch.supernet.sampling import random_block
from posesearch.supernet.shared_statistics import shared_statistics, uncalibrated_buffers


@pytest.fixture(scope="module")
def world(stirred, tiny_space):
    supernet = stirred(tiny_space).eval()
    images = [
        torch.randn(8, 3, *tiny_space.input_size, generator=torch.Generator().manual_seed(n)) for n in (0, 1)
    ]
    return supernet, tiny_space, images


def test_of_the_largest_alone_they_are_its_own(world):
    supernet, space, images = world
    largest = space.largest()
    shared = shared_statistics(supernet, [largest], images)
    own = recalibrate(supernet, largest, images)
    buffers = uncalibrated_buffers(supernet, largest, shared)
    assert buffers.keys() == own.keys()
    for name, value in own.items():
        if "num_batches" not in name:
            torch.testing.assert_close(buffers[name], value)


def test_each_channel_is_averaged_over_those_that_have_it(world):
    supernet, space, images = world
    largest, smallest = space.largest(), space.smallest()
    shared = shared_statistics(supernet, [largest, largest, smallest], images)
    big, small = (recalibrate(supernet, arch, images) for arch in (largest, smallest))
    name = next(name for name in small if name.endswith("running_var") and len(small[name]) < len(big[name]))
    kept = len(small[name])
    torch.testing.assert_close(shared[name][:kept], (2 * big[name][:kept] + small[name]) / 3)
    torch.testing.assert_close(shared[name][kept:], big[name][kept:])
    missing = next(name for name in big if name.endswith("running_mean") and name not in small)
    torch.testing.assert_close(shared[missing], big[missing])


def test_every_subnet_can_be_run_with_them_and_the_supernet_stays(world):
    supernet, space, images = world
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    shared = shared_statistics(supernet, [space.largest(), *random_block(space, 0, 0)[:4]], images)
    for arch in (space.smallest(), *random_block(space, 1, 0)[:4]):
        buffers = uncalibrated_buffers(supernet, arch, shared)
        with torch.no_grad():
            output = supernet(images[0], arch, buffers=buffers)
            own = supernet(images[0], arch, buffers=recalibrate(supernet, arch, images))
        assert torch.isfinite(output.x).all() and not torch.equal(output.x, own.x)
    for name, value in supernet.state_dict().items():
        assert torch.equal(value, before[name])

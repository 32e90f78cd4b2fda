"""The draws of a refinement: who is drawn how often, and that they are a function of seed and step alone."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from posesearch.spaces import SearchSpace
from posesearch.supernet.sampling import revisit


@settings(max_examples=30, deadline=None)
@given(front=st.integers(1, 5), others=st.integers(0, 12), visited=st.integers(1, 3), seed=st.integers(0, 9))
def test_the_front_has_half_of_the_draws_and_all_others_their_turn(
    tiny_space: SearchSpace, front: int, others: int, visited: int, seed: int
) -> None:
    pool = []
    generator = iter(range(10_000))
    while len(pool) < front + others:
        arch = tiny_space.sample(next(generator))
        if arch not in pool:
            pool.append(arch)
    best, rest = pool[:front], pool[front:]
    times = max(1, -(-others // front))
    steps = visited * (front * times + others)  # whole blocks
    drawn: Counter = Counter()
    for step in range(steps):
        draws = revisit(tiny_space, best, rest, seed, step, visited)
        assert [draw.kind for draw in draws] == ["largest", "smallest", *["visited"] * visited]
        assert (draws[0].arch, draws[1].arch) == (tiny_space.largest(), tiny_space.smallest())
        drawn.update(draw.arch for draw in draws[2:])
    assert {drawn[arch] for arch in best} == {times * visited * visited}
    assert {drawn[arch] for arch in rest} <= {visited * visited}
    assert sum(drawn[arch] for arch in best) >= sum(drawn[arch] for arch in rest)
    assert revisit(tiny_space, best, rest, seed, 3, visited) == revisit(
        tiny_space, best, rest, seed, 3, visited
    )


def test_seeds_order_differently(tiny_space: SearchSpace) -> None:
    pool = [tiny_space.sample(number) for number in range(8)]
    orders = {
        tuple(revisit(tiny_space, pool[:4], pool[4:], seed, step, 1)[2].arch for step in range(8))
        for seed in range(4)
    }
    assert len(orders) > 1

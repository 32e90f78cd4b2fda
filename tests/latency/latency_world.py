"""A synthetic device: latency by formula over blocks, with noise by key, so that every test takes milliseconds."""

from __future__ import annotations

import zlib

import numpy as np

from posesearch import rng
from posesearch.latency.blocks import blocks_of
from posesearch.latency.build import make_table
from posesearch.latency.chain import BlockTimes
from posesearch.latency.choose import choose_nets
from posesearch.latency.device import cpu_name, fingerprint
from posesearch.latency.journal import Journal
from posesearch.latency.survey import settings_id, survey
from posesearch.latency.types import Conditions, Measured
from posesearch.progress import SilentProgress
from posesearch.spaces import HeadArch, SearchSpace, StageSpace


def measured(p50_ms, **fields):
    values = {
        "p50_ms": p50_ms,
        "p90_ms": 1.1 * p50_ms,
        "ci_low_ms": 0.99 * p50_ms,
        "ci_high_ms": 1.01 * p50_ms,
        "runtime": "eager",
        "precision": "fp32",
        "device": cpu_name(),
        "threads": 1,
        "batch": 1,
        "rounds": 20,
        "processes": 1,
        "noise": "quiet",
    }
    return Measured(**{**values, **fields})


def small_space():
    """Two stages of 16 star blocks each: 2,304 members, and a small table."""
    stage = StageSpace(width=(8, 16), depth=(1, 2, 3), kernel=(3, 5), ratio=(2, 3), attention=(False, True))
    return SearchSpace(
        name="small",
        input_size=(32, 32),
        stem_width=8,
        head=HeadArch(hidden=16, attention_dim=8),
        stages=(stage, stage),
    )


def price_ms(block):
    """What a block costs on this device."""
    height, width = block.size
    if block.kind == "star":
        work = block.width**2 * block.ratio * 3 + 2 * block.width * block.kernel**2
        return 0.05 + 0.06 * block.attention + 2e-7 * work * height * width
    return {"stem": 0.1, "down": 0.04, "head": 0.3}[block.kind] + 1e-7 * block.in_width * height * width


class World:
    """A bench whose latency is constant_ms + slope * sum of prices, bent and blurred as asked.

    Args:
        constant_ms: What no block pays for.
        slope: Blocks in a network over blocks in a chain.
        noise: Relative standard deviation of a network's figure.
        bend: Strength of an effect that no sum of blocks holds: networks with much attention are slower still.
        drift: Factor by number of the group, the sentinel's included.
    """

    def __init__(self, *, constant_ms=0.2, slope=1.3, noise=0.0, bend=0.0, drift=None, seed=0):
        self.fingerprint = fingerprint(Conditions(), (32, 32))
        self.constant_ms, self.slope, self.noise, self.bend, self.seed = (
            constant_ms,
            slope,
            noise,
            bend,
            seed,
        )
        self.drift = drift or (lambda group: 1.0)
        self.asked, self.groups, self.dies_at = [], 0, None

    def true_ms(self, arch):
        line_ms = self.constant_ms + self.slope * sum(price_ms(b) * n for b, n in blocks_of(arch).items())
        attention = sum(stage.attention for stage in arch.stages) / len(arch.stages)
        return line_ms * (1.0 + self.bend * attention)

    def blurred_ms(self, arch, seed):
        draw = rng.generator(self.seed, "world", seed, zlib.crc32(arch.code.encode())).standard_normal()
        return self.true_ms(arch) * float(np.exp(self.noise * draw))

    def _factor(self):
        if self.groups == self.dies_at:
            raise KeyboardInterrupt
        self.groups += 1
        return self.drift(self.groups - 1)

    def time_blocks(self, blocks, seed):
        factor = self._factor()
        self.asked += list(blocks)
        return BlockTimes(cost_ms={b: factor * price_ms(b) for b in blocks}, sentinel_ms=factor * 1.0)

    def time_nets(self, archs, seed):
        factor = self._factor()
        self.asked += list(archs[1:])
        sentinel, *others = archs
        found = {arch.id: measured(factor * self.blurred_ms(arch, seed)) for arch in others}
        return {sentinel.id: measured(factor * self.true_ms(sentinel)), **found}


def build_table(space, world, folder, *, nets=40, held_out=30, seed=0):
    """Surveys the world and makes the table."""
    plan = choose_nets(space, nets=nets, held_out=held_out, seed=seed)
    journal = Journal(folder / "t.jsonl", settings_id(space, world.fingerprint, "full"))
    figures = survey(space, plan, world, journal, seed=seed, progress=SilentProgress())
    return make_table(space, plan, figures, measured_on=world.fingerprint, effort="full", seed=seed)


def as_stored(table, *, factor=lambda code: 1.0):
    """Times networks as the table has them, times a factor."""
    known = {net.code: net.runs_ms[0] for net in table.nets} | {table.sentinel: table.sentinel_ms}
    return lambda archs, _conditions: {
        arch.id: measured(factor(arch.code) * known[arch.code]) for arch in archs
    }


def quiet(_conditions):
    """Nothing disturbs the machine."""
    return ()

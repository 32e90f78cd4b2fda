"""A machine on a clock of our own, and networks whose norms and gates do something."""

from __future__ import annotations

import torch
from torch import nn

from posesearch.latency import measure
from posesearch.models.pose import PoseModel


class Clock:
    """A machine whose calls take what a function of the call's number says, in milliseconds."""

    def __init__(self, monkeypatch):
        self.ns = 0
        self.order = []
        monkeypatch.setattr(measure.time, "perf_counter_ns", lambda: self.ns)
        monkeypatch.setattr(measure.time, "perf_counter", lambda: self.ns / 1e9)

    def call(self, name, cost_ms):
        def run():
            self.order.append(name)
            self.ns += round(1e6 * (cost_ms() if callable(cost_ms) else cost_ms))

        return run


def trained(arch, seed=0):
    """A network whose norms and gates do something, unlike those of a fresh one."""
    model = PoseModel(arch)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.2, generator=generator)
                module.running_mean.normal_(0, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 2.0, generator=generator)
            elif isinstance(module, nn.Conv2d):
                module.weight.normal_(0, 0.1, generator=generator)
    return model.eval()

"""The protocol on clocks of our own, and real measurements checked for structure, never for time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from posesearch.errors import DataError, EnvironmentFault, UsageError
from posesearch.latency import device, measure, process
from posesearch.latency.deploy import deploy, max_difference
from posesearch.latency.device import fingerprint
from posesearch.latency.measure import BRIEF, FAST, measure_many, pinned_threads, time_calls
from posesearch.latency.meter import LatencyMeter
from posesearch.latency.runtimes import RUNTIMES, counterpart, prepare
from posesearch.latency.statistics import bootstrap_median, summarise
from posesearch.latency.types import Conditions, Measured
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


def test_steady_calls_give_their_time(monkeypatch):
    clock = Clock(monkeypatch)
    timings, redone = time_calls({"a": clock.call("a", 2.0), "b": clock.call("b", 3.0)}, "a", BRIEF)
    assert (timings["a"].p50_ms, timings["b"].p50_ms) == (2.0, 3.0)
    assert timings["a"].half_width == 0.0
    assert redone == 0
    assert timings["a"].rounds >= BRIEF.min_rounds


def test_rounds_are_interleaved_and_shuffled(monkeypatch):
    clock = Clock(monkeypatch)
    calls = {name: clock.call(name, 1.0) for name in "abcd"}
    time_calls(calls, "a", BRIEF, warm=frozenset("abcd"))
    visit = BRIEF.unrecorded + BRIEF.recorded
    visits = clock.order[::visit]
    rounds = [tuple(visits[i : i + 4]) for i in range(0, len(visits), 4)]
    assert all(sorted(order) == list("abcd") for order in rounds)
    assert len(set(rounds)) > 1


def test_a_disturbed_round_is_done_again(monkeypatch):
    clock = Clock(monkeypatch)
    visit = FAST.unrecorded + FAST.recorded
    # In the fifth round everything takes three times as long; both networks are measured in it.
    slow = range(4 * visit, 5 * visit)
    counts = {"a": 0, "sentinel": 0}

    def cost(name, usual_ms):
        def now():
            counts[name] += 1
            return usual_ms * (3.0 if counts[name] - 1 in slow else 1.0)

        return now

    calls = {name: clock.call(name, cost(name, ms)) for name, ms in (("a", 2.0), ("sentinel", 1.0))}
    timings, redone = time_calls(calls, "sentinel", FAST, warm=frozenset(calls))
    assert redone == 1
    assert timings["a"].p50_ms == timings["a"].p90_ms == 2.0


@pytest.mark.parametrize("factor", [1.06, 0.9])
def test_a_new_state_of_the_machine_is_what_is_reported(monkeypatch, factor):
    # After the third round everything is 6 % slower (or 10 % faster) for good; eight calls a round, of two networks.
    clock, count = Clock(monkeypatch), [0]

    def cost():
        count[0] += 1
        return 2.0 * (factor if count[0] > 3 * 2 * (BRIEF.unrecorded + BRIEF.recorded) else 1.0)

    calls = {name: clock.call(name, cost) for name in ("a", "sentinel")}
    timings, redone = time_calls(calls, "sentinel", BRIEF, warm=frozenset(calls))
    assert timings["a"].p50_ms == pytest.approx(2.0 * factor)
    assert timings["a"].half_width == 0.0
    assert BRIEF.min_rounds <= timings["a"].rounds <= BRIEF.max_rounds
    assert redone == measure.NEW_STATE_ROUNDS - 1 + 3


def test_restless_machines_still_get_the_least_number_of_rounds(monkeypatch):
    # Two states that take turns every fourth round: most rounds are disturbed, and it must end with enough of them.
    clock, count = Clock(monkeypatch), [0]
    effort = dataclasses.replace(BRIEF, max_rounds=BRIEF.min_rounds, max_s=1e9)

    def cost():
        count[0] += 1
        return 1.0 if (count[0] // (effort.unrecorded + effort.recorded)) % 8 == 0 else 1.0 + (count[0] % 97)

    timings, _ = time_calls({"a": clock.call("a", cost)}, "a", effort, warm=frozenset("a"))
    assert timings["a"].rounds == effort.min_rounds


def test_fast_takes_35_calls_of_a_slow_network(monkeypatch):
    clock = Clock(monkeypatch)
    calls = {"a": clock.call("a", 200.0), "sentinel": clock.call("sentinel", 20.0)}
    time_calls(calls, "sentinel", FAST, warm=frozenset({"sentinel"}))
    assert clock.order.count("a") == 35


def test_warm_up_is_left_out(monkeypatch):
    clock, count = Clock(monkeypatch), [0]

    def falling():
        count[0] += 1
        return 10.0 if count[0] <= 15 else 1.0

    timings, _ = time_calls({"a": clock.call("a", falling)}, "a", BRIEF)
    assert timings["a"].p90_ms == 1.0


def test_bootstrap_resamples_rounds_not_calls():
    generator = np.random.default_rng(0)
    weather = generator.normal(0, 0.2, size=(30, 1))
    calls = 3.0 + weather + generator.normal(0, 0.001, size=(30, 20))
    low, high = bootstrap_median(calls)
    # 30 rounds of sd 0.2 have a median with a standard error of about 1.25 * 0.2 / sqrt(30) = 0.046.
    assert 0.08 < high - low < 0.35
    assert low <= summarise(calls).p50_ms <= high


def test_threads_are_pinned_and_restored():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), pinned_threads(1):
        assert torch.get_num_threads() == 1
        raise RuntimeError
    assert torch.get_num_threads() == before


def test_deploy_form_is_equal_and_leaves_the_model_alone(tiny_space):
    for arch in (tiny_space.largest(), tiny_space.smallest()):
        model = trained(arch)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        folded = deploy(model)
        images = torch.randn(2, 3, *arch.input_size)
        assert max_difference(model, folded, images) < 1e-4
        assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_deploy_refuses_weights_that_are_not_numbers(tiny_space):
    model = trained(tiny_space.smallest())
    with torch.no_grad():
        model.head.cls_x.weight[0, 0] = float("nan")
    with pytest.raises(DataError, match=r"differs from the network by nan, allowed is 0.0001"):
        deploy(model)


def test_unknown_runtime(tiny_space):
    model = PoseModel(tiny_space.smallest())
    with pytest.raises(
        UsageError, match=r"--runtime 'egaer' is not known. Did you mean 'eager'\? Allowed: eager, cud"
    ):
        prepare(model, (64, 48), Conditions(runtime="egaer"))
    assert set(RUNTIMES) == {"eager", "cudagraph"}


def test_cudagraph_without_a_gpu_names_the_remedy(tiny_space):
    with pytest.raises(
        EnvironmentFault, match=r"--runtime cudagraph needs a CUDA GPU.*Use --runtime eager"
    ) as e:
        prepare(PoseModel(tiny_space.smallest()), (64, 48), Conditions(runtime="cudagraph"))
    assert e.value.exit_code == 5


def test_two_networks_measured_for_real(tiny_space):
    archs = {"large": tiny_space.largest(), "small": tiny_space.smallest()}
    found = measure_many(
        {name: deploy(PoseModel(arch)) for name, arch in archs.items()},
        input_size=(64, 48),
        conditions=Conditions(),
        effort=FAST,
    )
    assert found.keys() == archs.keys()
    for latency in found.values():
        assert isinstance(latency, Measured)
        assert 0 < latency.ci_low_ms <= latency.p50_ms <= latency.p90_ms
        assert latency.p50_ms <= latency.ci_high_ms
        assert latency.rounds >= FAST.min_rounds
        assert (latency.runtime, latency.threads, latency.processes) == ("eager", 1, 0)


def test_meter_measures_an_architecture_once(tiny_space):
    meter = LatencyMeter(Conditions(), tiny_space.smallest())
    first = meter.measure(tiny_space.largest())
    assert meter.measure(tiny_space.largest()) is first
    assert first.drift == 1.0 or first.noise == "noisy"
    assert meter.fingerprint.id == fingerprint(Conditions(), (64, 48)).id


def test_meter_divides_a_drifting_sentinel_out(tiny_space, monkeypatch):
    # Every call takes 2 ms while the yardstick is laid and 3 ms ever after: the machine became half as slow again.
    clock, cost = Clock(monkeypatch), [2.0]
    monkeypatch.setattr("posesearch.latency.meter.prepare", lambda *_: clock.call("x", lambda: cost[0]))
    meter = LatencyMeter(Conditions(), tiny_space.smallest())
    steady = meter.measure(tiny_space.smallest())
    cost[0] = 3.0
    drifted = meter.measure(tiny_space.largest())
    assert (steady.p50_ms, steady.drift, steady.noise) == (2.0, 1.0, "quiet")
    assert (drifted.p50_ms, drifted.drift, drifted.noise) == (2.0, 1.5, "noisy")


def faked(tiny_space, monkeypatch, cost):
    """A meter whose every call takes `cost[0]` milliseconds."""
    clock = Clock(monkeypatch)
    monkeypatch.setattr("posesearch.latency.meter.prepare", lambda *_: clock.call("x", lambda: cost[0]))
    return LatencyMeter(Conditions(), tiny_space.smallest())


def test_meter_started_in_a_busy_moment_does_not_inflate(tiny_space, monkeypatch):
    cost = [4.0]
    meter = faked(tiny_space, monkeypatch, cost)
    cost[0] = 2.0
    quiet = meter.measure(tiny_space.smallest())
    cost[0] = 3.0
    busy = meter.measure(tiny_space.largest())
    assert (quiet.p50_ms, quiet.drift, quiet.noise, quiet.yardstick_ms) == (2.0, 1.0, "quiet", 2.0)
    assert (busy.p50_ms, busy.drift, busy.yardstick_ms) == (2.0, 1.5, 2.0)


def test_meter_resumed_in_a_busy_moment_keeps_the_scale(tiny_space, monkeypatch):
    cost = [2.0]
    stored = {tiny_space.largest(): faked(tiny_space, monkeypatch, cost).measure(tiny_space.largest())}
    cost[0] = 3.0
    resumed = faked(tiny_space, monkeypatch, cost)
    resumed.anchor(stored)
    assert resumed.measure(tiny_space.largest()).p50_ms == 2.0
    without = faked(tiny_space, monkeypatch, cost)
    without.anchor({})
    assert without.measure(tiny_space.largest()).p50_ms == 3.0


def test_meter_is_anchored_by_a_confirmed_sentinel_only_downwards(tiny_space, monkeypatch):
    cost = [4.0]
    meter = faked(tiny_space, monkeypatch, cost)
    plain = dataclasses.replace(meter.measure(tiny_space.largest()), yardstick_ms=0.0, p50_ms=2.0)
    meter.anchor({tiny_space.largest(): plain})
    assert meter.measure(tiny_space.smallest()).p50_ms == 4.0
    again = faked(tiny_space, monkeypatch, cost)
    again.anchor({tiny_space.smallest(): plain})
    again.anchor({tiny_space.smallest(): dataclasses.replace(plain, p50_ms=9.0)})
    assert again.measure(tiny_space.smallest()).p50_ms == 2.0


def test_fingerprint_knows_the_input_and_is_stable(tiny_space):
    one = fingerprint(Conditions(batch=2), (64, 48))
    assert one == fingerprint(Conditions(batch=2), (64, 48))
    assert one.input_shape == (2, 3, 64, 48)
    assert one.id != fingerprint(Conditions(batch=2), (64, 64)).id
    assert (one.driver, one.gpu_memory_mib, one.sm_count, one.compute_capability) == ("none", 0, 0, "none")
    assert LatencyMeter(Conditions(), tiny_space.smallest()).fingerprint.input_shape == (1, 3, 64, 48)


def test_facts_of_a_gpu(monkeypatch):
    class Properties:
        total_memory, multi_processor_count, major, minor = 24 << 30, 128, 8, 9

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    monkeypatch.setattr(
        device.Path,
        "read_text",
        lambda *_, **__: "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Fri\nGCC",
    )
    facts = device.gpu_facts(torch.device("cuda:1"))
    assert facts == {
        "driver": "570.86.15", "gpu_memory_mib": 24576, "sm_count": 128, "compute_capability": "8.9"
    }  # fmt: skip


def test_counterpart_is_the_other_runtime_of_a_gpu():
    assert counterpart(Conditions()) is None
    eager = Conditions(device="cuda:1", precision="fp16")
    graph = counterpart(eager)
    assert graph == Conditions(device="cuda:1", precision="fp16", runtime="cudagraph")
    assert counterpart(graph) == eager


def test_fingerprint_tells_conditions_apart():
    one, two = fingerprint(Conditions()), fingerprint(Conditions(threads=2))
    assert one.id == fingerprint(Conditions()).id
    assert one.id != two.id
    assert one.torch == torch.__version__
    assert one.device


def test_fresh_processes(tiny_space):
    found = process.measure_fresh(
        [tiny_space.smallest(), tiny_space.smallest()], Conditions(), processes=2, effort="fast"
    )
    (latency,) = found.values()
    assert found.keys() == {tiny_space.smallest().id}
    assert latency.processes == 2
    assert latency.ci_low_ms <= latency.p50_ms <= latency.ci_high_ms
    assert latency.process_spread >= 0


def test_nothing_to_measure_starts_no_process():
    assert process.measure_fresh([], Conditions()) == {}


def test_a_dying_process_is_reported_with_its_last_words(tiny_space):
    with pytest.raises(EnvironmentFault, match=r"ended with status 5.*\n.*needs a CUDA GPU") as e:
        process.measure_fresh([tiny_space.smallest()], Conditions(runtime="cudagraph"), processes=1)
    assert e.value.exit_code == 5


def test_combined_interval_spans_all_processes():
    def one(p50_ms):
        return Measured(
            p50_ms=p50_ms, p90_ms=p50_ms + 1, ci_low_ms=p50_ms - 0.01, ci_high_ms=p50_ms + 0.01, runtime="eager",
            precision="fp32", device="d", threads=1, batch=1, rounds=20, processes=0, noise="quiet",
        )  # fmt: skip

    both = process.combine([one(2.0), one(2.4)])
    assert (both.p50_ms, both.ci_low_ms, both.ci_high_ms) == pytest.approx((2.2, 1.99, 2.41))
    assert (both.processes, both.rounds, both.noise) == (2, 40, "noisy")
    assert both.process_spread == pytest.approx(0.4 / 2.2)
    assert process.combine([one(2.0), one(2.01)]).noise == "quiet"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_graph_and_eager_on_a_gpu(tiny_space):
    for runtime in ("eager", "cudagraph"):
        conditions = Conditions(device="cuda:0", runtime=runtime)
        meter = LatencyMeter(conditions, tiny_space.smallest())
        assert meter.measure(tiny_space.largest()).p50_ms > 0

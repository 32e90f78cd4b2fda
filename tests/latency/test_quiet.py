"""Quiet or not: what is seen of load, of other processes on a GPU, and of its clocks."""

from __future__ import annotations

import os
import subprocess

import pytest
import torch

from posesearch.latency import nvidia, quiet
from posesearch.latency.quiet import busy_reasons, gpu_notes
from posesearch.latency.types import Conditions

GPU = Conditions(device="cuda:0")


@pytest.fixture
def machine(monkeypatch):
    """Sets load, cores in use by others, and what nvidia-smi answers."""

    def set_up(load, in_use, *, cores=2, rows=()):
        monkeypatch.setattr(quiet, "machine_load", lambda: (load, cores))
        monkeypatch.setattr(quiet, "cores_in_use", lambda: in_use)
        monkeypatch.setattr(nvidia, "ask", lambda *_: [list(row) for row in rows])
        monkeypatch.setattr(nvidia, "selector", lambda _device: "--id=0")

    return set_up


def test_a_quiet_machine(machine):
    machine(0.3, 0.0)
    assert busy_reasons(Conditions()) == ()


def test_a_busy_machine_is_named(machine):
    machine(6.2, 2.0)
    assert busy_reasons(Conditions()) == ("busy: load 6.2 over the last minute on 2 cores",)


def test_a_load_that_is_over_does_not_count(machine):
    machine(6.2, 0.1)
    assert busy_reasons(Conditions()) == ()


def test_other_processes_on_the_gpu(machine):
    own, init = os.getpid(), 1
    machine(0.0, 0.0, rows=[(str(own),), (str(os.getppid()),), (str(init),), ("99999999",), ("[N/A]",)])
    expected = () if os.getppid() == init else ("busy: 1 other processes compute on the GPU (process ids 1)",)
    assert busy_reasons(GPU) == expected
    assert busy_reasons(Conditions()) == ()


def test_the_state_of_a_gpu_in_words(machine):
    machine(0, 0, rows=[("1980", "2619", "61", "402.1", "Not Active", "Not Active", "Not Active")])
    assert gpu_notes(GPU) == (("GPU: 1980 SM MHz, 2619 memory MHz, 61 C, 402.1 W, throttling: none",), False)
    machine(0, 0, rows=[("900", "2619", "92", "402.1", "Active", "Not Active", "Active")])
    (words,), throttles = gpu_notes(GPU)
    assert throttles
    assert words.endswith("throttling: power cap, thermal slowdown")
    assert gpu_notes(Conditions()) == ((), False)


@pytest.mark.parametrize("rows", [[], [("1980",)], [("a", "b"), ("c", "d")]])
def test_a_tool_that_says_something_else_is_not_believed(machine, rows):
    machine(0, 0, rows=rows)
    assert gpu_notes(GPU) == ((), False)
    if len(rows) != 1 or len(rows[0]) != 2:
        assert nvidia.facts(torch.device("cuda:0")) == {"mig_mode": "unknown", "power_limit_w": "unknown"}


def test_the_tool_is_asked_and_its_faults_are_silence(monkeypatch):
    monkeypatch.setattr(nvidia.shutil, "which", lambda _name: None)
    assert nvidia.ask("--query-gpu=power.limit") == []
    monkeypatch.setattr(nvidia.shutil, "which", lambda _name: "/bin/nvidia-smi")

    def answer(line, **__):
        assert line == ["/bin/nvidia-smi", "--query-gpu=a,b", "--format=csv,noheader,nounits"]
        return subprocess.CompletedProcess(line, code[0], "Disabled, 450.00\n\n", "")

    code = [0]
    monkeypatch.setattr(nvidia.subprocess, "run", answer)
    assert nvidia.ask("--query-gpu=a,b") == [["Disabled", "450.00"]]
    code[0] = 9
    assert nvidia.ask("--query-gpu=a,b") == []

    def slow(*_, **__):
        raise subprocess.TimeoutExpired("nvidia-smi", 10)

    monkeypatch.setattr(nvidia.subprocess, "run", slow)
    assert nvidia.ask("--query-gpu=a,b") == []


def test_a_gpu_is_asked_for_by_its_uuid(monkeypatch):
    properties = type("Properties", (), {"uuid": "1-2-3"})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: properties)
    assert nvidia.selector(torch.device("cuda:1")) == "--id=GPU-1-2-3"
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: object())
    assert nvidia.selector(torch.device("cuda:1")) == "--id=1"


def test_cores_in_use_are_those_not_idle(monkeypatch):
    # user nice system idle iowait irq softirq steal
    lines = iter(["cpu 100 0 0 100 0 0 0 0 7 7\ncpu0", "cpu 130 0 20 140 10 0 0 0 9 9\ncpu0"])
    monkeypatch.setattr(quiet.Path, "read_text", lambda *_, **__: next(lines))
    monkeypatch.setattr(quiet.time, "sleep", lambda _s: None)
    monkeypatch.setattr(quiet.os, "cpu_count", lambda: 4)
    assert quiet.cores_in_use() == pytest.approx(2.0)  # 50 of 100 ticks were not idle


def test_cores_in_use_where_nothing_tells(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(quiet.Path, "read_text", missing)
    monkeypatch.setattr(quiet.time, "sleep", lambda _s: None)
    monkeypatch.setattr(quiet.os, "cpu_count", lambda: 4)
    assert quiet.cores_in_use() == 4.0

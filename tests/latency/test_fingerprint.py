"""The fingerprint: what it holds, and which differences refuse a table."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from posesearch.config import parse_stored
from posesearch.latency import device, nvidia
from posesearch.latency.device import differing, fingerprint
from posesearch.latency.meter import LatencyMeter
from posesearch.latency.types import Conditions


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
    monkeypatch.setattr(nvidia, "ask", lambda *_: [["Disabled", "450.00"]])
    facts = device.gpu_facts(torch.device("cuda:1"))
    assert facts == {
        "driver": "570.86.15", "gpu_memory_mib": 24576, "sm_count": 128, "compute_capability": "8.9",
        "mig_mode": "Disabled", "power_limit_w": "450.00",
    }  # fmt: skip


def test_fingerprint_tells_conditions_apart():
    one, two = fingerprint(Conditions()), fingerprint(Conditions(threads=2))
    assert one.id == fingerprint(Conditions()).id
    assert one.id != two.id
    assert one.torch == torch.__version__
    assert one.device


ON_GPU = dataclasses.replace(
    fingerprint(Conditions(runtime="cudagraph"), (64, 48)),
    device="GPU A", cuda="12.8", cudnn="90100", driver="570.86.15", gpu_memory_mib=24576, sm_count=128,
    compute_capability="8.9", mig_mode="Disabled", power_limit_w="450.00",
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"device": "GPU B"}, "device: GPU A stored, GPU B here"),
        ({"torch": "2.11.0"}, "2.11.0 here"),
        ({"driver": "580.10"}, "driver, major: 570 stored, 580 here"),
        ({"power_limit_w": "300.00"}, "power limit, W: 450.00 stored, 300.00 here"),
        ({"mig_mode": "Enabled"}, "MIG mode: Disabled stored, Enabled here"),
        ({"sm_count": 60}, "SM count: 128 stored, 60 here"),
        ({"gpu_memory_mib": 1}, "GPU memory, MiB: 24576 stored, 1 here"),
        ({"compute_capability": "9.0"}, "compute capability: 8.9 stored, 9.0 here"),
        ({"cuda": "13.0"}, "CUDA: 12.8 stored, 13.0 here"),
        ({"cudnn": "91000"}, "cuDNN: 90100 stored, 91000 here"),
        ({"tf32": True}, "TF32: off stored, on here"),
        ({"cudnn_benchmark": True}, "cudnn.benchmark: off stored, on here"),
        ({"input_shape": (1, 3, 8, 8)}, "input shape: 1x3x64x48 stored, 1x3x8x8 here"),
        ({"deploy_form": "as trained"}, "as trained here"),
        ({"block_source": "0123"}, "0123 here"),
        ({"tf32_matmul": True}, "TF32 of matrix products: off stored, on here"),
        ({"cpu_capability": "AVX2"}, "AVX2 here"),
        ({"engine": "x 2"}, "runtime version: none stored, x 2 here"),
        ({"protocol": "v2"}, "protocol: v1 stored, v2 here"),
    ],
)
def test_each_hard_fact_is_named_with_both_values(change, fault):
    (found,) = differing(ON_GPU, dataclasses.replace(ON_GPU, **change))
    assert fault in found
    assert found.partition(": ")[2].count(" stored, ") == 1


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"precision": "fp16"}, "precision: fp32 stored, fp16 here"),
        ({"memory_format": "channels_last"}, "memory format: contiguous stored, channels_last here"),
        ({"batch": 4}, "batch: 1 stored, 4 here"),
        ({"threads": 2}, "threads: 1 stored, 2 here"),
        ({"runtime": "tensorrt"}, "runtime: cudagraph stored, tensorrt here"),
    ],
)
def test_conditions_are_hard_facts(change, fault):
    other = dataclasses.replace(ON_GPU, conditions=dataclasses.replace(ON_GPU.conditions, **change))
    assert differing(ON_GPU, other) == (fault,)


def test_equal_fingerprints_do_not_differ():
    elsewhere = dataclasses.replace(ON_GPU.conditions, device="cuda:1")
    assert differing(ON_GPU, ON_GPU) == ()
    assert differing(ON_GPU, dataclasses.replace(ON_GPU, conditions=elsewhere)) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"driver": "570.99.1"},
        {"conditions": dataclasses.replace(ON_GPU.conditions, device="cuda")},
        {"power_limit_w": "unknown"},
        {"mig_mode": "unknown"},
        {"cpu": "another", "python": "3.99"},  # a CUDA graph is launched by neither
    ],
)
def test_what_refuses_no_table_changes_no_identity(change):
    other = dataclasses.replace(ON_GPU, **change)
    assert differing(ON_GPU, other) == ()
    assert other.id == ON_GPU.id


def test_instructions_kept_from_torch_are_in_it(monkeypatch):
    for name in device.ISA_LIMITS:
        monkeypatch.delenv(name, raising=False)
    free = fingerprint(Conditions(), (64, 48))
    assert free.cpu_capability == torch.backends.cpu.get_cpu_capability()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    limited = fingerprint(Conditions(), (64, 48))
    (found,) = differing(free, limited)
    assert found.endswith("ONEDNN_MAX_CPU_ISA=SSE41 here")
    assert free.id != limited.id


def test_what_nobody_knows_refuses_nothing():
    unknown = dataclasses.replace(ON_GPU, mig_mode="unknown", power_limit_w="unknown", driver="unknown")
    assert differing(ON_GPU, unknown) == differing(unknown, ON_GPU) == ()


@pytest.mark.parametrize(
    ("runtime", "hard"),
    [
        ("eager", {"host CPU", "Python"}),
        ("compile", {"host CPU", "Python"}),
        ("onnxruntime", {"host CPU"}),
        ("cudagraph", set()),
        ("tensorrt", set()),
    ],
)
def test_the_host_counts_where_it_launches(runtime, hard):
    stored = dataclasses.replace(
        ON_GPU, conditions=dataclasses.replace(ON_GPU.conditions, runtime=runtime), cpu="A", python="3.11"
    )
    present = dataclasses.replace(stored, cpu="B", python="3.12", driver="570.99.1")
    assert {text.partition(":")[0] for text in differing(stored, present)} == hard
    assert (stored.id == present.id) == (not hard)


def test_the_block_code_is_in_it(monkeypatch):
    assert len(device.block_source()) == 12
    device.block_source.cache_clear()
    monkeypatch.setattr(device, "BLOCK_SOURCES", ("blocks",))
    only_blocks = device.block_source()
    device.block_source.cache_clear()
    monkeypatch.undo()
    assert device.block_source() != only_blocks


def test_comments_and_docstrings_are_no_block_code():
    bare = "def f(x):\n    return [x, 'a']\n"
    told = '"""File."""\n\n\ndef f(x):  # why\n    """Docs."""\n    return [x,\n        "a"]\n'
    assert device.code_of(told) == device.code_of(bare)
    assert device.code_of(bare.replace("'a'", "'b'")) != device.code_of(bare)
    assert device.code_of(bare.replace("x]", "y]").replace("[x", "[y")) != device.code_of(bare)
    assert "pose" in device.BLOCK_SOURCES


def test_compile_on_a_gpu_names_triton(monkeypatch):
    monkeypatch.setattr(
        device.importlib, "import_module", lambda name: type("M", (), {"__version__": f"of {name}"})
    )
    assert device.engine_version("compile", on_gpu=True) == "triton of triton"
    assert device.engine_version("compile") == "none"


def test_the_engine_is_named():
    assert device.engine_version("eager") == "none"
    assert device.engine_version("tensorrt") in ("tensorrt is not installed",) or device.engine_version(
        "tensorrt"
    ).startswith("tensorrt ")
    onnxruntime = pytest.importorskip("onnxruntime")
    assert device.engine_version("onnxruntime") == f"onnxruntime {onnxruntime.__version__}"


def test_a_table_of_merged_branches_is_refused_for_onnx_runtime_on_a_cpu():
    present = fingerprint(Conditions(runtime="onnxruntime"), (64, 48))
    older = dataclasses.replace(present, deploy_form="norms folded, f1|f2 merged")
    assert differing(older, present) == ("deploy form: norms folded, f1|f2 merged stored, norms folded here",)
    assert older.id != present.id
    # What other runtimes time has not changed, and neither has what they are known by.
    assert fingerprint(Conditions(), (64, 48)).deploy_form == "norms folded, f1|f2 merged"


def test_a_stored_fingerprint_is_read_back():
    assert parse_stored(type(ON_GPU), json.loads(json.dumps(ON_GPU.to_plain())), "table") == ON_GPU

"""TensorRT without one: the refusals, the command that is printed, and how an engine is asked for of a stand-in."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from posesearch.errors import EnvironmentFault
from posesearch.latency import runtime_tensorrt
from posesearch.latency.runtimes import check_conditions, check_runtime
from posesearch.latency.types import Conditions


@pytest.mark.parametrize(
    ("precision", "flag"), [("fp32", "model.onnx --noD"), ("fp16", "--fp16"), ("bf16", "--bf16")]
)
def test_tensorrt_gives_the_trtexec_line(monkeypatch, precision, flag):
    monkeypatch.setattr(runtime_tensorrt, "installed", lambda: False)
    with pytest.raises(EnvironmentFault, match=rf"trtexec --onnx=model.onnx.*{flag}|{flag}.*"):
        check_conditions(Conditions(runtime="tensorrt", precision=precision, device="cuda:0"))
    assert flag in runtime_tensorrt.trtexec_line(precision)


def test_tensorrt_on_a_cpu(monkeypatch):
    monkeypatch.setattr(runtime_tensorrt, "installed", lambda: True)
    with pytest.raises(EnvironmentFault, match="--runtime tensorrt needs a CUDA GPU, the device is 'cpu'"):
        check_runtime("tensorrt", torch.device("cpu"))


class FakeTensorRT:
    """Answers as TensorRT 10 does, and notes which flags were set and cleared."""

    __version__ = "10.9"
    BuilderFlag = SimpleNamespace(FP16="fp16", BF16="bf16", TF32="tf32")

    def __init__(self, *, parses=True, plan=b"plan"):
        self.flags = []
        self.parser = SimpleNamespace(
            parse=lambda model: parses and model == b"onnx",
            num_errors=1,
            get_error=lambda _i: "no such operator",
        )
        config = SimpleNamespace(
            set_flag=lambda flag: self.flags.append(f"+{flag}"),
            clear_flag=lambda flag: self.flags.append(f"-{flag}"),
        )
        self.builder = SimpleNamespace(
            create_network=lambda _flags: "network",
            create_builder_config=lambda: config,
            build_serialized_network=lambda _network, _config: plan,
        )
        self.Logger = type("Logger", (), {"ERROR": 2, "__init__": lambda *_: None})

    def Builder(self, _logger):
        return self.builder

    def OnnxParser(self, _network, _logger):
        return self.parser

    def Runtime(self, _logger):
        return SimpleNamespace(deserialize_cuda_engine=lambda plan: f"engine of {plan.decode()}")


@pytest.mark.parametrize(
    ("precision", "tf32", "flags"),
    [
        ("fp32", True, []),
        ("fp32", False, ["-tf32"]),
        ("fp16", True, ["+fp16"]),
        ("bf16", False, ["+bf16", "-tf32"]),
    ],
)
def test_an_engine_gets_the_number_formats_it_may_use(monkeypatch, precision, tf32, flags):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
    trt = FakeTensorRT()
    assert runtime_tensorrt.build_engine(trt, b"onnx", precision) == "engine of plan"
    assert trt.flags == flags
    assert ("--noTF32" in runtime_tensorrt.trtexec_line(precision)) is not tf32


def test_a_network_it_cannot_read_or_build_is_a_fault_with_the_command_to_see_why():
    with pytest.raises(
        EnvironmentFault, match=r"10.9 cannot read the network: no such operator.*trtexec --onnx"
    ):
        runtime_tensorrt.build_engine(FakeTensorRT(parses=False), b"onnx", "fp32")
    with pytest.raises(EnvironmentFault, match=r"10.9 cannot build an engine.*--fp16.*--verbose"):
        runtime_tensorrt.build_engine(FakeTensorRT(plan=None), b"onnx", "fp16")

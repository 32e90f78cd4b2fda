"""Runtimes: what each computes, what each refuses, and what is shown beside it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from fake_machine import trained
from torch import nn

from posesearch.errors import DataError, EnvironmentFault, UsageError
from posesearch.latency import runtime_onnx, runtime_tensorrt, runtime_torch, runtimes
from posesearch.latency.call import Call, check_same, tolerance
from posesearch.latency.deploy import deploy
from posesearch.latency.meter import LatencyMeter
from posesearch.latency.runtimes import RUNTIMES, check_conditions, check_runtime, counterpart, prepare
from posesearch.latency.types import Conditions
from posesearch.models.pose import PoseModel

HAS_ORT = runtime_onnx.installed()
needs_ort = pytest.mark.skipif(not HAS_ORT, reason="needs onnxruntime")


def outputs(call):
    with torch.inference_mode():
        return call.launch()


def test_the_runtimes():
    assert tuple(RUNTIMES) == ("eager", "cudagraph", "compile", "onnxruntime", "tensorrt")


def test_unknown_runtime(tiny_space):
    model = PoseModel(tiny_space.smallest())
    with pytest.raises(
        UsageError, match=r"--runtime 'egaer' is not known. Did you mean 'eager'\? Allowed: eager, cud"
    ):
        prepare(model, (64, 48), Conditions(runtime="egaer"))


def test_cudagraph_without_a_gpu_names_the_remedy(tiny_space):
    with pytest.raises(
        EnvironmentFault, match=r"--runtime cudagraph needs a CUDA GPU.*Use --runtime eager"
    ) as e:
        prepare(PoseModel(tiny_space.smallest()), (64, 48), Conditions(runtime="cudagraph"))
    assert e.value.exit_code == 5


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_eager_takes_every_precision_and_layout(tiny_space, precision, memory_format):
    model = deploy(trained(tiny_space.smallest()), Conditions())
    with torch.inference_mode():
        expected = model(prepare_images(tiny_space, batch=2))
    conditions = Conditions(precision=precision, memory_format=memory_format, batch=2)
    call = prepare(model, (64, 48), conditions)
    found = outputs(call)
    assert {tensor.dtype for tensor in found} == {runtimes.DTYPES[precision]}
    weight = next(p for p in model.parameters() if p.dim() == 4 and p.shape[1] > 1)
    assert weight.is_contiguous(memory_format=runtimes.LAYOUTS[memory_format])
    check_same(found, expected, conditions)
    assert call.first_call_ms > 0
    assert call.device_ms() is None


def prepare_images(space, batch):
    return torch.randn(batch, 3, *space.input_size, generator=torch.Generator().manual_seed(0))


@needs_ort
@pytest.mark.parametrize("batch", [1, 2])
def test_onnxruntime_computes_what_eager_computes(tiny_space, batch):
    conditions = Conditions(runtime="onnxruntime", batch=batch, threads=2)
    trained_model = trained(tiny_space.largest())
    model = deploy(trained_model, conditions)
    with torch.inference_mode():
        expected = trained_model.eval()(prepare_images(tiny_space, batch))
    call = prepare(model, (64, 48), conditions)
    for _ in range(2):  # bound buffers are filled anew
        for ours, eager in zip(outputs(call), expected, strict=True):
            assert float((ours - eager).abs().max()) < 1e-4
            with torch.inference_mode():
                ours.zero_()
    assert call.stream is None


@needs_ort
def test_sessions_have_the_threads_they_were_given(tiny_space, monkeypatch):
    import onnxruntime

    seen = []
    make = onnxruntime.InferenceSession

    def watched(model, settings, **options):
        seen.append(
            (settings.intra_op_num_threads, settings.inter_op_num_threads, options["providers"][0][0])
        )
        return make(model, settings, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", watched)
    conditions = Conditions(runtime="onnxruntime", threads=2)
    prepare(deploy(PoseModel(tiny_space.smallest()), conditions), (64, 48), conditions)
    assert seen == [(2, 1, "CPUExecutionProvider")]


@needs_ort
def test_a_silent_fallback_is_refused(tiny_space, monkeypatch):
    import onnxruntime

    class Fallen:
        def __init__(self, *_, **__):
            pass

        def get_providers(self):
            return ["CPUExecutionProvider"]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Fallen)
    with pytest.raises(
        EnvironmentFault, match=r"wanted CUDAExecutionProvider, found CPUExecutionProvider.*onnxruntime-gpu"
    ) as e:
        runtime_onnx.make_session(b"", "CUDAExecutionProvider", 1, {})
    assert e.value.exit_code == 5


@needs_ort
def test_a_provider_that_is_not_in_the_package_is_refused_for_real():
    model = nn.Conv2d(3, 4, 1).eval()
    file = runtime_onnx.onnx_bytes(model, torch.zeros(1, 3, 4, 4), ("x",))
    with (
        pytest.warns(UserWarning, match="ROCM"),
        pytest.raises(EnvironmentFault, match="wanted ROCMExecutionProvider, found an error"),
    ):
        runtime_onnx.make_session(file, "ROCMExecutionProvider", 1, {})


@needs_ort
@pytest.mark.skipif(torch.cuda.is_available(), reason="looks at a machine without a GPU")
def test_onnxruntime_without_its_gpu_package_names_both_providers():
    with pytest.raises(EnvironmentFault, match=r"wanted CUDAExecutionProvider, found .*CPUExecutionProvider"):
        check_runtime("onnxruntime", torch.device("cuda:0"))


@pytest.mark.parametrize("module", [runtime_onnx, runtime_tensorrt])
def test_a_missing_package_names_what_to_install(monkeypatch, module):
    monkeypatch.setattr(module, "installed", lambda: False)
    name = module.__name__.rpartition("_")[2].replace("onnx", "onnxruntime")
    remedy = {"onnxruntime": r"pip install 'posesearch\[onnx\]'", "tensorrt": "pip install tensorrt"}[name]
    with pytest.raises(EnvironmentFault, match=f"--runtime {name} needs the package {name}.*{remedy}"):
        check_runtime(name, torch.device("cpu"))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_onnxruntime_refuses_what_its_cpu_kernels_cannot(precision):
    with pytest.raises(
        UsageError,
        match=rf"--precision {precision} cannot be run by --runtime onnxruntime on 'cpu'. Allowed: fp32",
    ):
        check_conditions(Conditions(runtime="onnxruntime", precision=precision))


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorrt"])
def test_runtimes_that_order_memory_themselves_refuse_a_layout(runtime):
    with pytest.raises(
        UsageError, match=f"--memory-format channels_last has no meaning for --runtime {runtime}"
    ):
        check_conditions(Conditions(runtime=runtime, memory_format="channels_last"))


def test_compile_without_a_compiler(monkeypatch):
    monkeypatch.setattr(runtime_torch.shutil, "which", lambda _name: None)
    with pytest.raises(EnvironmentFault, match=r"needs a C\+\+ compiler.*apt-get install g\+\+"):
        check_runtime("compile", torch.device("cpu"))


class Small(nn.Module):
    """Stands in for a pose network where compiling one would take half a minute."""

    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU6(), nn.Conv2d(width, 4, 1))

    def forward(self, x_BCHW):
        return self.layers(x_BCHW).mean((2, 3)), x_BCHW.flatten(1)[:, :2]


@pytest.mark.slow
@pytest.mark.skipif(runtime_torch.compiler() is None, reason="needs a C++ compiler")
def test_compile_computes_what_eager_computes():
    prepare(Small(4).eval(), (16, 16), Conditions(runtime="compile"))  # compares


def test_more_networks_than_torch_recompiles_of_one_function(monkeypatch):
    # "eager" is the compiler that compiles nothing: what is tested is Dynamo's limit of 8 for one code object.
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, mode, **options: compile_(f, backend="eager", **options))
    monkeypatch.setattr(runtime_torch, "compiler", lambda: "a compiler")
    calls = [prepare(Small(width), (16, 16), Conditions(runtime="compile")) for width in range(4, 14)]
    assert all(call.first_call_ms > 0 for call in calls)


def test_a_failing_compiler_is_not_a_traceback(monkeypatch):
    def broken(*_, **__):
        def call(_images):
            raise torch._dynamo.exc.TorchDynamoException("no such compiler")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr(runtime_torch, "compiler", lambda: "a compiler")
    with pytest.raises(EnvironmentFault, match=r"torch.compile failed: no such compiler. Check .*doctor"):
        prepare(Small(4), (16, 16), Conditions(runtime="compile"))


def test_a_runtime_that_computes_something_else_is_refused(tiny_space, monkeypatch):
    def wrong(model, images, _conditions):
        return Call(launch=lambda: tuple(out + 0.01 for out in model(images)), device=images.device)

    monkeypatch.setitem(
        RUNTIMES, "compile", dataclasses.replace(RUNTIMES["compile"], prepare=wrong, check=lambda _: None)
    )
    with pytest.raises(
        DataError, match=r"--runtime compile in fp32 differs from eager float32 by 0.01, allowed"
    ):
        prepare(
            deploy(PoseModel(tiny_space.smallest()), Conditions()), (64, 48), Conditions(runtime="compile")
        )


def test_check_same_sees_shapes_and_numbers_that_are_none():
    x = torch.ones(1, 2)
    with pytest.raises(
        DataError, match=r"outputs of shapes \[\(1, 2\)\], eager gives \[\(1, 2\), \(1, 2\)\]"
    ):
        check_same((x,), (x, x), Conditions(runtime="compile"))
    with pytest.raises(DataError, match="differs from eager float32 by nan"):
        check_same((x * float("nan"),), (x,), Conditions(runtime="compile"))
    assert tolerance(Conditions()) == 1e-4
    assert tolerance(Conditions(precision="bf16")) > tolerance(Conditions(precision="fp16")) > 1e-4


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_counterpart_on_a_gpu(precision):
    eager = Conditions(device="cuda:1", precision=precision)
    graph = counterpart(eager)
    assert graph == dataclasses.replace(eager, runtime="cudagraph")
    assert counterpart(graph) == eager
    for runtime in ("compile", "onnxruntime", "tensorrt"):
        assert counterpart(dataclasses.replace(eager, runtime=runtime)) == graph


def test_counterpart_on_a_cpu(monkeypatch):
    eager = Conditions(threads=2)
    monkeypatch.setattr(runtimes, "onnxruntime_installed", lambda: True)
    other = counterpart(eager)
    assert other == Conditions(runtime="onnxruntime", threads=2)
    assert counterpart(other) == eager
    assert counterpart(Conditions(runtime="compile", threads=2)) == other
    assert counterpart(Conditions(precision="bf16")) is None
    assert counterpart(Conditions(memory_format="channels_last")) is None
    monkeypatch.setattr(runtimes, "onnxruntime_installed", lambda: False)
    assert counterpart(eager) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("runtime", list(RUNTIMES))
def test_every_runtime_on_a_gpu(tiny_space, runtime, precision):
    conditions = Conditions(device="cuda:0", runtime=runtime, precision=precision)
    try:
        check_conditions(conditions)
    except EnvironmentFault as fault:
        pytest.skip(str(fault))
    model = deploy(PoseModel(tiny_space.largest()), conditions)
    call = prepare(model, (64, 48), conditions)  # compares with eager
    with torch.inference_mode():
        assert (call.device_ms() is None) == (runtime == "onnxruntime")
    meter = LatencyMeter(conditions, tiny_space.smallest())
    assert meter.measure(tiny_space.largest()).p50_ms > 0

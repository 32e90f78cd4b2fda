"""TensorRT: the exported network built into an engine. Untried: written against the API of TensorRT 10 without one."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor, nn

from posesearch.errors import EnvironmentFault, UsageError
from posesearch.latency.call import Call, as_tensors
from posesearch.latency.onnx_bytes import INPUT, onnx_bytes, output_names
from posesearch.latency.types import Conditions


def installed() -> bool:
    """Says whether the package is there, without loading it."""
    return importlib.util.find_spec("tensorrt") is not None


def trtexec_line(precision: str, onnx_file: str = "model.onnx") -> str:
    """Returns the command that times an exported network with TensorRT's own tool.

    Its "GPU Compute Time" excludes the host and its throughput overlaps calls; "Latency" is what compares with ours,
    here without the copies from and to the host. TF32 is allowed as torch allows it.
    """
    flags = {"fp32": [], "fp16": ["--fp16"], "bf16": ["--bf16"]}[precision]
    if not torch.backends.cudnn.allow_tf32:
        flags = [*flags, "--noTF32"]
    return " ".join(
        (
            "trtexec",
            f"--onnx={onnx_file}",
            *flags,
            "--noDataTransfers",
            "--useSpinWait",
            "--warmUp=500",
            "--duration=3",
        )
    )


def check_tensorrt(conditions: Conditions) -> None:
    """Refuses what TensorRT cannot do here.

    Raises:
        UsageError: A memory format; TensorRT chooses its own.
        EnvironmentFault: The device is not a CUDA GPU, or the package is missing.
    """
    if conditions.memory_format != "contiguous":
        raise UsageError(
            f"--memory-format {conditions.memory_format} has no meaning for --runtime tensorrt, which orders memory "
            "itself. Allowed: contiguous. Leave --memory-format out, or use --runtime eager."
        )
    line = (
        f"Or time an exported ONNX file on a machine that has TensorRT: {trtexec_line(conditions.precision)}"
    )
    if not installed():
        raise EnvironmentFault(
            "--runtime tensorrt needs the package tensorrt, which is not installed. "
            f"pip install tensorrt (NVIDIA GPU), or use --runtime eager. {line}"
        )
    if torch.device(conditions.device).type != "cuda":
        raise EnvironmentFault(
            f"--runtime tensorrt needs a CUDA GPU, the device is '{conditions.device}'. "
            f"Use --runtime onnxruntime, or choose a GPU with --device cuda. {line}"
        )


def build_engine(trt: Any, model: bytes, precision: str) -> Any:
    """Builds an engine from an ONNX file.

    In float16 or bfloat16 the builder may use that format where it is faster; inputs and outputs stay float32.

    Args:
        trt: The module `tensorrt`.
        model: The ONNX file.
        precision: "fp32", "fp16" or "bf16".

    Raises:
        EnvironmentFault: TensorRT cannot read the network or build it.
    """
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        faults = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise engine_fault(trt, f"cannot read the network: {faults}", precision)
    config = builder.create_builder_config()
    if precision != "fp32":
        config.set_flag(trt.BuilderFlag.FP16 if precision == "fp16" else trt.BuilderFlag.BF16)
    if not torch.backends.cudnn.allow_tf32:
        config.clear_flag(trt.BuilderFlag.TF32)  # allowed unless cleared
    plan = builder.build_serialized_network(network, config)
    engine = None if plan is None else trt.Runtime(logger).deserialize_cuda_engine(plan)
    if engine is None:
        raise engine_fault(trt, "cannot build an engine (its reasons are in the lines above)", precision)
    return engine


def engine_fault(trt: Any, what: str, precision: str) -> EnvironmentFault:
    """Returns the refusal for a network that TensorRT does not take."""
    return EnvironmentFault(
        f"--runtime tensorrt: TensorRT {trt.__version__} {what}. Use TensorRT 10 or --runtime cudagraph. "
        f"What it says in full: {trtexec_line(precision)} --verbose"
    )


def prepare_tensorrt(model: nn.Module, images_BCHW: Tensor, conditions: Conditions) -> Call:
    """Exports in float32, builds an engine, and enqueues it on a stream of ours with torch's memory bound. Untried."""
    import tensorrt as trt

    device = images_BCHW.device
    with torch.cuda.device(device):
        outputs = tuple(torch.empty_like(output).contiguous() for output in as_tensors(model(images_BCHW)))
        names = output_names(len(outputs))
        engine = build_engine(trt, onnx_bytes(model, images_BCHW, names), conditions.precision)
        context = engine.create_execution_context()
        context.set_tensor_address(INPUT, images_BCHW.data_ptr())
        for name, output in zip(names, outputs, strict=True):
            context.set_tensor_address(name, output.data_ptr())
        # On the default stream TensorRT would synchronise more than needed.
        stream = torch.cuda.Stream(device)

    def launch() -> tuple[Tensor, ...]:
        context.execute_async_v3(stream.cuda_stream)
        return outputs

    return Call(launch=launch, device=device, stream=stream, keeps=(engine, images_BCHW))

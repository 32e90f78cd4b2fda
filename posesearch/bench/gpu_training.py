"""Training questions for a GPU: memory layout, images a second eager and compiled, the usual loop, the supernet.

Everything here also runs on a CPU, in float32 and on few images; on a GPU it is untried. The estimates that the figures
stand beside are from counted memory traffic and other people's measurements on other cards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from posesearch.bench import recalibrate, sandwich, step
from posesearch.bench.gpu_loop import usual_loop
from posesearch.bench.gpu_questions import Clock, Part
from posesearch.bench.registry import BenchContext
from posesearch.bench.result import BenchResult, Goal
from posesearch.bench.timing import compare
from posesearch.bench.workload import Steps, people
from posesearch.models.layers import Conv2d
from posesearch.train.batches import TrainBatch

ESTIMATED_IMAGES_PER_S = {"training, eager": (8e3, 10e3), "training, compiled": (19e3, 25e3)}
"""One H200, a network of StarNet-Pose-T's size."""

DEPTHWISE = ((24, 64, 48), (48, 32, 24), (96, 16, 12), (192, 8, 6))
"""The maps of StarNet-Pose-T's depthwise convolutions at 256x192: channels, height, width."""

LAYOUTS = {"planes": torch.contiguous_format, "channels_last": torch.channels_last}
SETTLING_STEPS = 3
LOSS_TOLERANCE = 0.02
"""Relative, between a compiled and an eager step in bfloat16."""


def layout_parts(context: BenchContext, _clock: Clock) -> Mapping[str, Part]:
    """Times planes (NCHW) against channels_last: depthwise convolutions by themselves, then T's whole gradients."""
    sizes = (7,) if context.quick else (7, 5, 3)
    alone = {f"depthwise {size}x{size}": partial(_depthwise, context, size) for size in sizes}
    return {**alone, "gradients of T": partial(_gradients_by_layout, context)}


def _depthwise(context: BenchContext, size: int) -> BenchResult:
    dtype = torch.bfloat16 if context.device.type == "cuda" else torch.float32
    batch = 2 if context.quick else 256
    functions: dict[str, Callable[[], object]] = {}
    for name, layout in LAYOUTS.items():
        layers = []
        for channels, height, width in DEPTHWISE:
            layer = Conv2d(channels, channels, size, 1, size // 2, groups=channels)
            nn.init.normal_(layer.weight)
            nn.init.zeros_(layer.get_parameter("bias"))
            layer = layer.to(context.device, dtype).to(memory_format=layout)  # type: ignore[call-overload]
            x_BCHW = torch.randn(batch, channels, height, width, device=context.device)
            layers.append((layer, x_BCHW.to(dtype, memory_format=layout).requires_grad_()))
        functions[name] = partial(_forward_backward, layers)
    return _layout_result(context, functions, batch)


def _forward_backward(layers: list[tuple[nn.Module, Tensor]]) -> None:
    for layer, x_BCHW in layers:
        layer(x_BCHW).sum().backward()


def _gradients_by_layout(context: BenchContext) -> BenchResult:
    on = people(context, "train", _batch_sizes(context)[0])
    functions: dict[str, Callable[[], object]] = {}
    for name, layout in LAYOUTS.items():
        trainer = step.plain_steps(context, on, len(on.dataset))
        trainer.task.module.to(memory_format=layout)  # type: ignore[call-overload]
        batch = trainer.make(0).to(context.device, channels_last=True)
        batch = replace(batch, images=batch.images.contiguous(memory_format=layout))
        functions[name] = partial(
            trainer.task.backward, batch, step=0, total_steps=1, bf16=context.device.type == "cuda"
        )
    return _layout_result(context, functions, len(on.dataset))


def _layout_result(
    context: BenchContext, functions: Mapping[str, Callable[[], object]], batch: int
) -> BenchResult:
    for function in functions.values():
        for _ in range(1 if context.quick else SETTLING_STEPS):
            function()
    seconds = compare(functions, 1 if context.quick else 10, device=context.device, seed=context.seed)
    return BenchResult(
        name="layout",
        ratios={"planes_over_channels_last": seconds["planes"] / seconds["channels_last"]},
        figures={"batch_size": batch, **{f"{name}_ms": 1e3 * value for name, value in seconds.items()}},
    )


def throughput_parts(context: BenchContext, _clock: Clock) -> Mapping[str, Part]:
    """Whole training steps of T: eager by batch size, real persons, the usual loop, compiled blocks."""
    return {
        "eager": partial(_eager, context),
        "step": partial(step.run, context),
        "usual loop": partial(usual_loop, context),
        "compiled": partial(_compiled, context),
    }


def _batch_sizes(context: BenchContext) -> tuple[int, ...]:
    return (4,) if context.quick else (128, 256, 512)


def _eager(context: BenchContext) -> BenchResult:
    sizes = _batch_sizes(context)
    on = people(context, "train", max(sizes))
    images_per_s = {}
    for size in sizes:
        trainer = step.plain_steps(context, on, size)
        images_per_s[size] = _images_per_s(context, trainer, trainer.make(0))
    return BenchResult(
        name="eager",
        ratios={},
        figures={
            "images_per_s": {str(size): value for size, value in images_per_s.items()},
            "estimated_images_per_s": ESTIMATED_IMAGES_PER_S["training, eager"],
        },
        notes=("A batch that is ready, normalised on the device in every step.",),
    )


def _images_per_s(context: BenchContext, trainer: Steps, batch: TrainBatch) -> float:
    steps = 1 if context.quick else 20
    for number in range(1 if context.quick else SETTLING_STEPS):
        trainer.step(batch, number)
    seconds = compare(
        {"": lambda: [trainer.step(batch, number) for number in range(steps)]},
        1 if context.quick else 3,
        device=context.device,
    )
    return steps * len(batch.annotation_id_B) / seconds[""]


def _compiled(context: BenchContext) -> BenchResult:
    """T with its blocks compiled, as `compile_blocks` in a recipe does it, against T as it is."""
    size = _batch_sizes(context)[-1]
    on = people(context, "train", size)
    trainers = {name: step.plain_steps(context, on, size) for name in ("eager", "compiled")}
    batch = trainers["eager"].make(0)
    return compiled_result(
        context, trainers, {name: partial(trainer.step, batch, 0) for name, trainer in trainers.items()}
    )


def compiled_parts(context: BenchContext, _clock: Clock) -> Mapping[str, Part]:
    """A sandwich step of space `demo` with its blocks compiled; four networks at least mean a graph a kind of block."""
    return {"sandwich": partial(_compiled_sandwich, context)}


def _compiled_sandwich(context: BenchContext) -> BenchResult:
    size = _batch_sizes(context)[-1]
    on = people(context, "train", size)
    pairs = {name: sandwich.make_pair(context, "demo", size, on) for name in ("eager", "compiled")}
    return compiled_result(
        context,
        {name: pair.supernet for name, pair in pairs.items()},
        {name: partial(pair.supernet_step, 0) for name, pair in pairs.items()},
    )


def compiled_result(
    context: BenchContext,
    trainers: Mapping[str, Steps],
    steps: Mapping[str, Callable[[], dict[str, float]]],
) -> BenchResult:
    """Compiles the blocks of one of two trainings, compares their losses, then times both.

    Args:
        context: Device, seed and quickness.
        trainers: "eager" and "compiled", with equal weights.
        steps: A step of each, always the same one.
    """
    # On a CPU Inductor takes minutes: there the graphs are made, and run without generated code.
    trainers["compiled"].task.compile_blocks("inductor" if context.device.type == "cuda" else "aot_eager")
    counters.clear()
    began_s = time.monotonic()
    losses = {name: call()["loss"] for name, call in steps.items()}
    compiling_s = time.monotonic() - began_s
    difference = abs(losses["eager"] - losses["compiled"])
    assert difference <= LOSS_TOLERANCE * losses["eager"], f"the steps differ: {losses}"
    graphs = counters["stats"]["unique_graphs"]
    for _ in range(SETTLING_STEPS):
        for call in steps.values():
            call()
    seconds = compare(steps, 1 if context.quick else 10, device=context.device, seed=context.seed)
    return BenchResult(
        name="compiled",
        ratios={"compiled_over_eager": seconds["eager"] / seconds["compiled"]},
        figures={
            "batch_size": trainers["eager"].order.batch_size,
            "images_per_s": {
                name: trainers["eager"].order.batch_size / value for name, value in seconds.items()
            },
            "estimated_images_per_s_of_t": ESTIMATED_IMAGES_PER_S["training, compiled"],
            "compiling_s": compiling_s,
            "graphs": graphs,
            "graphs_later": counters["stats"]["unique_graphs"] - graphs,
        },
        goals=(
            Goal(key="compiled_over_eager", target=1.6),
            Goal(key="graphs", target=40, at_most=True),
            Goal(key="graphs_later", target=0, at_most=True),
        ),
        notes=("compiled_over_eager: steps a second with compiled blocks over steps a second without.",),
    )


def supernet_parts(context: BenchContext, _clock: Clock) -> Mapping[str, Part]:
    """A step of four subnets against a plain one."""
    return {"sandwich": partial(sandwich.run, context)}


def evaluation_parts(context: BenchContext, _clock: Clock) -> Mapping[str, Part]:
    """The evaluation of one subnet."""
    return {"recalibrate": partial(recalibrate.run, context)}

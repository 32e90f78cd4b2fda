"""Compiled blocks compute the same, in few graphs that are used again; evaluation is never compiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.backends.debugging import aot_eager

from posesearch.errors import EnvironmentFault, compile_reason
from posesearch.models import PoseModel
from posesearch.spaces import Architecture, SearchSpace
from posesearch.supernet import Supernet, drop_path_masks, recalibrate
from posesearch.supernet.compiled import BlockCompiler, blocks_of, running_compiled

Stirred = Callable[..., Supernet]
Gradients = dict[str, Tensor | None]

DYNAMO_LIMIT = 8
"""Graphs after which torch gives a function up."""


class Counting:
    """A backend that counts the graphs it gets and runs them as they are.

    Args:
        inner: makes a graph callable; None runs its operators.
    """

    def __init__(self, inner: Callable[..., Callable[..., object]] | None = None) -> None:
        self.inner, self.graphs = inner, 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        self.graphs += 1
        return self.inner(graph, inputs) if self.inner else graph.forward


@pytest.fixture(autouse=True)
def forget_graphs() -> None:
    torch.compiler.reset()


def images_for(space: SearchSpace) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, *space.input_size, generator=generator)
    return images.contiguous(memory_format=torch.channels_last)


def variant(arch: Architecture, **genes: object) -> Architecture:
    """`arch` with the same genes in every stage."""
    return replace(arch, stages=tuple(replace(stage, **genes) for stage in arch.stages))


def results(
    net: Supernet, images: Tensor, arch: Architecture, drop_path: dict[str, Tensor] | None
) -> tuple[Tensor, Tensor, Gradients]:
    net.zero_grad(set_to_none=True)
    output = net(images, arch, drop_path=drop_path)
    (output.x.square().sum() + output.y.square().sum()).backward()
    return output.x, output.y, {name: parameter.grad for name, parameter in net.named_parameters()}


def test_compiled_is_eager_to_the_bit(stirred: Stirred, tiny_space: SearchSpace) -> None:
    largest, smallest = tiny_space.largest(), tiny_space.smallest()
    plain, compiled = (stirred(tiny_space).to(memory_format=torch.channels_last) for _ in range(2))
    backend = Counting(aot_eager)
    compiled.compile_blocks(backend)
    images = images_for(tiny_space)
    masks = drop_path_masks(largest, largest, 0.5, 2, torch.Generator().manual_seed(3))
    for arch, drop_path in ((largest, masks), (smallest, None), (largest, None)):
        expected_x, expected_y, expected = results(plain, images, arch, drop_path)
        x, y, found = results(compiled, images, arch, drop_path)
        assert torch.equal(x, expected_x) and torch.equal(y, expected_y), arch
        for name, gradient in expected.items():
            other = found[name]
            assert (gradient is None) == (other is None), name
            assert gradient is None or other is None or torch.equal(other, gradient), name
    assert backend.graphs > 0


def test_networks_of_known_blocks_need_no_new_graph(stirred: Stirred, tiny_space: SearchSpace) -> None:
    net, images = stirred(tiny_space), images_for(tiny_space)
    net.compile_blocks(backend := Counting())
    base = tiny_space.smallest()
    pure = [
        variant(base, kernel=kernel, ratio=ratio, attention=attention, depth=2)
        for kernel, ratio, attention in ((3, 2, False), (3, 3, False), (5, 2, True), (7, 4, True))
    ]
    for arch in pure:
        net(images, arch)
    graphs = backend.graphs
    compiler = net.templates.compiler
    assert compiler is not None
    # Stem, a downsampling a stage, four blocks a stage: at two places, in one graph.
    assert graphs == len(compiler) == 1 + 3 + 4 * 3
    assert graphs > DYNAMO_LIMIT
    mixed = [
        replace(base, stages=(pure[a].stages[0], pure[b].stages[1], replace(pure[c].stages[2], depth=1)))
        for a, b, c in ((0, 1, 2), (3, 2, 1), (1, 3, 0), (2, 0, 3))
    ]
    assert not set(mixed) & set(pure)
    for arch in (*mixed, *pure):
        net(images, arch)
    assert backend.graphs == graphs


def test_evaluation_and_recalibration_are_not_compiled(stirred: Stirred, tiny_space: SearchSpace) -> None:
    net, arch, images = stirred(tiny_space), tiny_space.smallest(), images_for(tiny_space)
    net.compile_blocks(backend := Counting())
    buffers = recalibrate(net, arch, [images])
    with torch.no_grad():
        net(images, arch, buffers=buffers)
    assert backend.graphs == 0
    net(images, arch)
    assert backend.graphs > 0


def test_blocks_of_a_network_have_their_own_forward_back(tiny_space: SearchSpace) -> None:
    model, images = PoseModel(tiny_space.largest(), seed=1).train(), images_for(tiny_space)
    blocks = blocks_of(model)
    covered = {parameter for block in blocks for parameter in block.parameters()}
    assert covered == set(model.backbone.parameters())
    expected = model(images)
    compiler = BlockCompiler(backend := Counting(aot_eager))
    forwards = {block: compiler(block) for block in blocks}
    with pytest.raises(ZeroDivisionError), running_compiled(forwards):
        assert torch.equal(model(images).x, expected.x)
        raise ZeroDivisionError
    graphs = backend.graphs
    assert graphs > 0
    assert not any("forward" in vars(block) for block in blocks)
    assert torch.equal(model(images).x, expected.x)
    assert backend.graphs == graphs


def test_a_block_that_cannot_be_compiled_says_what_to_do() -> None:
    def broken(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        raise RuntimeError("no C compiler found")

    forward = BlockCompiler(broken)(nn.Sequential(nn.ReLU()))
    with pytest.raises(EnvironmentFault) as caught:
        forward(torch.ones(1))
    message = str(caught.value)
    assert "a Sequential could not be compiled: " in message
    assert "no C compiler found" in message
    assert "--set compile_blocks=false" in message
    assert caught.value.exit_code == 5


COMPILER_FAILED = """C++ compile error

Command:
g++ -Werror -march=native main.cpp

Output:
main.cpp: In function 'kernel':
main.cpp:3:10: fatal error: Python.h: No such file or directory
    3 | #include <Python.h>
compilation terminated."""


def test_a_compiler_that_fails_is_quoted() -> None:
    def broken(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        raise RuntimeError(COMPILER_FAILED)

    forward = BlockCompiler(broken)(nn.Sequential(nn.ReLU()))
    with pytest.raises(EnvironmentFault) as caught:
        forward(torch.ones(1))
    message = str(caught.value)
    assert (
        "C++ compile error: main.cpp:3:10: fatal error: Python.h: No such file or directory. The" in message
    )
    assert "march=native" not in message and "TORCHDYNAMO_VERBOSE" not in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "RuntimeError"),
        ("one\n  two", "one two"),
        ("one\n\nSet TORCH_LOGS for more", "one"),
        (
            "one\n\nptxas fatal   : Unresolved extern function 'f'",
            "one: ptxas fatal   : Unresolved extern function 'f'",
        ),
        ("one\n\na.cu(3): error: first\na.cu(4): error: second", "one: a.cu(3): error: first"),
        ("one\n\nerror: " + "x" * 900, "one: error: " + "x" * 293),
    ],
)
def test_the_useful_lines_of_a_failed_compilation(text: str, reason: str) -> None:
    assert compile_reason(RuntimeError(text)) == reason

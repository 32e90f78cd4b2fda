"""All questions that only a GPU can answer, in one run of under eight minutes; untried, no GPU was at hand.

The dearest answers come last within a question, the surest questions first, and what does not fit is named as not
reached. Each question runs on a CPU as well, which is how it is tested.
"""

from __future__ import annotations

from posesearch.bench import gpu_latency, gpu_training
from posesearch.bench.gpu_questions import Question, ask
from posesearch.bench.registry import BenchContext
from posesearch.bench.result import BenchResult

BUDGET_S = 460.0
"""Under eight minutes, start and data included."""

QUESTIONS = (
    Question(
        name="runtimes",
        asks="T and S in eager, CUDA graph and compile, fp32 and fp16",
        budget_s=80.0,
        longest_s=30.0,
        parts=gpu_latency.runtime_parts,
    ),
    Question(
        name="kernels",
        asks="kernels of one forward against the reference",
        budget_s=20.0,
        longest_s=20.0,
        parts=gpu_latency.kernel_parts,
    ),
    Question(
        name="layout",
        asks="bf16 and 7x7 depthwise: planes or channels_last",
        budget_s=30.0,
        longest_s=20.0,
        parts=gpu_training.layout_parts,
    ),
    Question(
        name="training",
        asks="images a second of T, eager and compiled, real and fixed batches",
        budget_s=100.0,
        longest_s=60.0,
        parts=gpu_training.throughput_parts,
    ),
    Question(
        name="supernet",
        asks="sandwich against plain, in time and memory",
        budget_s=40.0,
        longest_s=40.0,
        parts=gpu_training.supernet_parts,
    ),
    Question(
        name="evaluation",
        asks="recalibration and evaluation of a subnet, against a naive script",
        budget_s=40.0,
        longest_s=40.0,
        parts=gpu_training.evaluation_parts,
    ),
    Question(
        name="noise",
        asks="how far fresh processes disagree",
        budget_s=40.0,
        longest_s=40.0,
        parts=gpu_latency.noise_parts,
    ),
    Question(
        name="predictor",
        asks="error of a latency table in graph mode",
        budget_s=150.0,
        longest_s=40.0,
        parts=gpu_latency.predictor_parts,
    ),
    Question(
        name="compiled",
        asks="a supernet's step with compiled blocks",
        budget_s=120.0,
        longest_s=100.0,
        parts=gpu_training.compiled_parts,
    ),
)


def run(context: BenchContext) -> BenchResult:
    """Asks all questions."""
    answers = ask(QUESTIONS, context, budget_s=BUDGET_S)
    figures = {**answers.figures, "unanswered": answers.open}
    notes = [f"{place}: {reason}" for place, reason in answers.open.items()]
    return BenchResult(
        name="gpu",
        ratios=answers.ratios,
        figures=figures,
        goals=tuple(answers.goals),
        notes=(*answers.notes, *notes),
    )

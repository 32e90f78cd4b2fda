"""GPU questions on a CPU: budgets hold, what is not answered says why, and every question's code runs."""

import numpy as np
import pytest
import torch
from bench_world import CPU, quick_context

from posesearch.bench import gpu, gpu_latency, gpu_loop, gpu_questions, gpu_training, step
from posesearch.bench.baseline_samples import list_collate
from posesearch.bench.gpu_questions import NOT_REACHED, Clock, Question, ask
from posesearch.bench.pipeline import baseline_loader
from posesearch.bench.result import BenchResult, Goal
from posesearch.bench.workload import people
from posesearch.errors import EnvironmentFault, Interrupted
from posesearch.models.cost import cost
from posesearch.spaces import load_preset


class Time:
    """A clock that only the parts move."""

    def __init__(self, monkeypatch):
        self.now_s = 0.0
        monkeypatch.setattr(gpu_questions.time, "monotonic", lambda: self.now_s)

    def part(self, seconds, **ratios):
        def answer():
            self.now_s += seconds
            return BenchResult(name="part", ratios=ratios, figures={"took_s": seconds})

        return answer


def question(name, parts, budget_s=10.0):
    return Question(name=name, asks="?", budget_s=budget_s, parts=lambda context, clock: parts)


def test_what_is_not_reached_is_named(people_dir, monkeypatch):
    time = Time(monkeypatch)
    questions = (
        question("one", {"a": time.part(6.0, x=1.0), "b": time.part(6.0, x=2.0), "c": time.part(1.0, x=3.0)}),
        question("two", {"a": time.part(1.0, x=4.0)}),
        question("three", {"a": time.part(7.0), "b": time.part(1.0)}),
    )
    answers = ask(questions, quick_context(people_dir), budget_s=20.0)
    # b began in time and was left to end; c did not begin. Three's second part falls to the budget of the whole.
    assert answers.ratios == {"one a x": 1.0, "one b x": 2.0, "two a x": 4.0}
    assert answers.open == {"one c": NOT_REACHED, "three b": NOT_REACHED}
    assert answers.figures["one"]["seconds"] == 12.0
    assert answers.figures["three"]["a"] == {"took_s": 7.0}


def test_no_part_begins_that_cannot_end_in_time(people_dir, monkeypatch):
    time = Time(monkeypatch)
    slow = Question(
        name="slow",
        asks="?",
        budget_s=60.0,
        longest_s=30.0,
        parts=lambda context, clock: {"a": time.part(1.0)},
    )
    questions = (question("first", {"a": time.part(20.0)}, budget_s=40.0), slow)
    assert ask(questions, quick_context(people_dir), budget_s=40.0).open == {"slow a": NOT_REACHED}
    time.now_s = 0.0
    assert ask(questions, quick_context(people_dir), budget_s=60.0).open == {}


def test_a_fault_loses_no_other_answer(people_dir):
    def absent():
        raise EnvironmentFault("--runtime cudagraph needs a CUDA GPU.")

    def broken():
        raise AttributeError("no such kernel\nmore")

    def stopped():
        raise Interrupted("stopped")

    good = BenchResult(
        name="good",
        ratios={"x": 2.0},
        figures={"graphs": 3},
        goals=(Goal(key="x", target=1.5), Goal(key="graphs", target=40, at_most=True)),
        notes=("Read this.",),
    )
    parts = {"absent": absent, "broken": broken, "stopped": stopped, "good": lambda: good}
    answers = ask((question("q", parts),), quick_context(people_dir), budget_s=100.0)
    assert answers.open == {
        "q absent": "skipped: --runtime cudagraph needs a CUDA GPU.",
        "q broken": "failed: AttributeError: no such kernel",
        "q stopped": NOT_REACHED,
    }
    assert answers.ratios == {"q good x": 2.0, "q good graphs": 3.0}
    result = BenchResult(name="gpu", ratios=answers.ratios, figures={}, goals=tuple(answers.goals))
    assert [goal["met"] for goal in result.to_plain()["goals"]] == [True, True]
    assert answers.notes == ["q good: Read this."]


def test_a_user_who_stops_is_not_a_finding(people_dir):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask((question("q", {"a": stop}),), quick_context(people_dir), budget_s=10.0)


def test_budgets_fit_in_eight_minutes():
    assert gpu.BUDGET_S < 480
    assert all(one.longest_s <= one.budget_s for one in gpu.QUESTIONS)
    assert len({one.name for one in gpu.QUESTIONS}) == len(gpu.QUESTIONS)
    assert all(one.budget_s < gpu.BUDGET_S for one in gpu.QUESTIONS)


@pytest.fixture(scope="module")
def answered(people_dir):
    """Every question but those that start processes, which have a test of their own."""
    questions = [one for one in gpu.QUESTIONS if one.name not in ("predictor", "noise")]
    with pytest.MonkeyPatch.context() as patch:
        # Inductor takes a minute a network on a CPU.
        patch.setattr(gpu_latency, "RUNTIMES", ("eager", "cudagraph"))
        # These have tests of their own.
        for bench in (gpu_training.step, gpu_training.sandwich, gpu_training.recalibrate):
            patch.setattr(bench, "run", lambda context: BenchResult(name="", ratios={"r": 1.5}, figures={}))
        return ask(questions, quick_context(people_dir), budget_s=1e6)


def test_every_question_runs_on_a_cpu(answered):
    assert set(answered.open) == {"runtimes cudagraph fp32", "runtimes cudagraph fp16"}, answered.open
    assert "needs a CUDA GPU" in answered.open["runtimes cudagraph fp32"]
    assert all(np.isfinite(value) for value in answered.ratios.values())
    result = BenchResult(
        name="gpu", ratios=answered.ratios, figures=answered.figures, goals=tuple(answered.goals)
    )
    assert result.to_plain()["ratios"]


def test_layout_is_answered(answered):
    assert answered.ratios["layout depthwise 7x7 planes_over_channels_last"] > 0
    assert answered.ratios["layout gradients of T planes_over_channels_last"] > 0
    assert answered.figures["layout"]["gradients of T"]["planes_ms"] > 0


def test_calls_are_those_of_the_reference(answered):
    for form in ("published", "folded", "merged"):
        assert answered.ratios[f"kernels starnet-pose-t {form}_over_expected"] == 1.0
        assert answered.figures["kernels"]["starnet-pose-t"][form]["unit"] == "ATen calls"


def test_expected_launches_of_both_networks():
    """Calls by our own count; a merged block saves one convolution and its bias."""
    for name, forms in gpu_latency.EXPECTED_LAUNCHES.items():
        arch = load_preset(name)
        blocks = sum(stage.depth for stage in arch.stages)
        assert forms["published"][0] == cost(arch).total.operators
        assert forms["merged"] == (forms["folded"][0] - blocks, forms["folded"][1] - 2 * blocks)


def test_training_is_answered(answered):
    assert answered.figures["training"]["eager"]["images_per_s"]["4"] > 0
    assert answered.ratios["training usual loop ours_over_usual"] > 0
    assert answered.ratios["training compiled compiled_over_eager"] > 0
    for place in ("training step", "supernet sandwich", "evaluation recalibrate"):
        assert answered.ratios[f"{place} r"] == 1.5


def test_compiled_steps_are_the_eager_ones_in_few_graphs(answered):
    for place in ("training compiled", "compiled sandwich"):
        assert answered.ratios[f"{place} graphs"] > 0
        assert answered.ratios[f"{place} graphs_later"] == 0
    blocks = answered.figures["training"]["compiled"]["graphs"]
    assert blocks <= 12  # stem, downsampling and star blocks of the demo's largest network, alike ones once


def test_steps_that_differ_are_not_timed(people_dir):
    context = quick_context(people_dir)
    steps = {"eager": lambda: {"loss": 1.0}, "compiled": lambda: {"loss": 1.1}}
    on = people(context, "train", 4)
    trainers = {name: step.plain_steps(context, on, 4) for name in steps}
    with pytest.raises(AssertionError, match="the steps differ"):
        gpu_training.compiled_result(context, trainers, steps)


def test_usual_batches_are_batches(people_dir):
    """Images RGB and labels as the training task takes them, from per-sample objects."""
    context = quick_context(people_dir)
    on = people(context, "train", 3)
    samples = baseline_loader(on.dataset, 0)
    batch = gpu_loop.stacked(list_collate([samples[row] for row in range(3)]))
    assert batch.images.shape == (3, 256, 192, 3)
    assert batch.images.dtype == torch.uint8
    assert batch.x_BKX.shape == (3, 17, 384)
    assert batch.y_BKY.shape == (3, 17, 512)
    assert batch.weight_BK.shape == (3, 17)
    assert batch.annotation_id_B.tolist() == on.dataset.annotation_id_N[:3].tolist()
    assert batch.to(CPU, channels_last=True).images.shape == (3, 3, 256, 192)
    assert torch.isfinite(batch.labels(10.0).x_BKX).all()


def test_predictor_stops_when_the_time_is_up(people_dir):
    clock = Clock(-1.0)
    parts = gpu_latency.predictor_parts(quick_context(people_dir), clock)
    assert list(parts) == ["eager"]
    with pytest.raises(Interrupted):
        parts["eager"]()


@pytest.mark.slow
def test_questions_that_start_processes_run_on_a_cpu(people_dir):
    questions = [one for one in gpu.QUESTIONS if one.name in ("predictor", "noise")]
    answers = ask(questions, quick_context(people_dir), budget_s=1e6)
    assert list(answers.open) == ["noise cudagraph"]
    assert answers.ratios["predictor eager mape"] > 0
    assert answers.figures["predictor"]["eager"]["held_out"] == 5
    assert answers.ratios["noise eager process_spread"] >= 0

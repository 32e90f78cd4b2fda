"""The deployed form of a network against the form it was trained in: how much faster, and how far the outputs differ.

Deployed means: attention gain and every BatchNorm folded, and, where `latency.deploy.timed_form` says that the runtime is the
faster for it, the twin branches of a star block merged. The form with and the one without merging are both timed, by the
latency protocol in the same rounds, so that this choice is seen to be right or wrong. That they compute the same is a
figure here, not an assumption: the weights are such that every part matters.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch

from posesearch.bench.registry import BenchContext
from posesearch.bench.result import BenchResult, Goal
from posesearch.bench.workload import stirred
from posesearch.errors import EnvironmentFault
from posesearch.latency.deploy import TOLERANCE, max_difference, timed_form
from posesearch.latency.effort import FAST, FULL, Effort
from posesearch.latency.kernels import kernels_per_forward
from posesearch.latency.measure import measure_many
from posesearch.latency.runtimes import check_conditions
from posesearch.latency.types import Conditions
from posesearch.models.deploy import deployed
from posesearch.models.pose import PoseModel
from posesearch.rng import torch_generator
from posesearch.spaces import load_preset, load_space
from posesearch.spaces.arch import Architecture
from posesearch.supernet.recalibrate import recalibrate_model

GOALS = (
    Goal(key="max_difference", target=TOLERANCE, at_most=True),
    Goal(key="max_relative_difference", target=TOLERANCE, at_most=True),
)
IMAGES = 8
"""Random images that give the norms their statistics; the outputs are compared on others."""

Forms = dict[str, PoseModel]

OTHER = {"merged": "not merged", "folded": "merged"}
"""What the form that a runtime does not deploy is called in its ratio."""


def run(context: BenchContext) -> BenchResult:
    """Compares the forms of three networks in every runtime there is on the device."""
    effort = FAST if context.quick else FULL
    ratios: dict[str, float] = {}
    figures: dict[str, Any] = {goal.key: 0.0 for goal in GOALS}
    notes: list[str] = []
    noisy: list[str] = []
    conditions, missing = available(context.device)
    for name, arch in networks(quick=context.quick).items():
        forms, differences = all_forms(arch, context)
        figures |= {key: max(figures[key], value) for key, value in differences.items()}
        figures[name] = {**differences}
        for key, setting in conditions.items():
            found = compare_forms(forms, setting, effort=effort, seed=context.seed)
            figures[name][key] = found
            ratios[f"{name} {key}"] = found["as_trained_ms"] / found[f"{found['deployed']}_ms"]
            ratios[f"{name} {key}, {OTHER[found['deployed']]}"] = found["as_trained_ms"] / found["other_ms"]
            noisy += [f"{name} {key}"] if found["noise"] == "noisy" else []
        figures[name]["launches"] = launches(forms, next(iter(conditions.values())))
    notes.append(
        "Ratios are medians of the trained form over the deployed form, which figures name for each runtime (not merged, "
        "merged: over the form that is not deployed there), all in the same rounds, batch 1, one thread. "
        "max_relative_difference is relative to the largest logit."
    )
    notes += missing
    if noisy:
        notes.append(f"The machine was too noisy for a claim finer than 3 % in: {', '.join(noisy)}.")
    return BenchResult(name="deploy", ratios=ratios, figures=figures, goals=GOALS, notes=tuple(notes))


def networks(*, quick: bool) -> dict[str, Architecture]:
    """Returns the networks by name."""
    demo = {"demo-largest": load_space("demo").largest()}
    presets = ("starnet-pose-t", "starnet-pose-s")
    return demo if quick else {**{name: load_preset(name) for name in presets}, **demo}


def available(device: torch.device) -> tuple[dict[str, Conditions], list[str]]:
    """Returns the settings that run here, by "runtime precision", and a sentence for each that does not."""
    found, missing = {}, []
    for setting in settings(device):
        try:
            check_conditions(setting)
        except EnvironmentFault as fault:
            missing.append(f"{setting.runtime} {setting.precision} was left out: {fault}")
        else:
            found[f"{setting.runtime} {setting.precision}"] = setting
    return found, missing


def settings(device: torch.device) -> Iterator[Conditions]:
    """Yields the runtimes and precisions in question on a device."""
    on_gpu = device.type == "cuda"
    for runtime in ("eager", "cudagraph", "compile") if on_gpu else ("eager", "onnxruntime"):
        for precision in ("fp32", "fp16") if on_gpu else ("fp32",):
            yield Conditions(device=str(device), runtime=runtime, precision=precision)


def all_forms(arch: Architecture, context: BenchContext) -> tuple[Forms, dict[str, float]]:
    """Returns a network as trained, folded and merged, on the host, and how far the other two differ from the first.

    The differences are those of two images in float32, computed on `context.device`: the largest of a logit, and
    the same relative to the largest logit.
    """
    model = stirred(PoseModel(arch, seed=context.seed), context.seed)
    generator = torch_generator(context.seed, "bench deploy")
    images_BCHW = torch.randn(IMAGES + 2, 3, *arch.input_size, generator=generator)
    recalibrate_model(model, [images_BCHW[:IMAGES]])
    model.eval()
    forms = {
        "as_trained": model,
        "folded": deployed(model, form="folded"),
        "merged": deployed(model, form="merged"),
    }
    trained, *others = (copy.deepcopy(form).to(context.device) for form in forms.values())
    unseen_BCHW = images_BCHW[IMAGES:].to(context.device)
    difference = max(max_difference(trained, other, unseen_BCHW) for other in others)
    with torch.inference_mode():
        peak = max(float(logits.abs().max()) for logits in trained(unseen_BCHW))
    return forms, {"max_difference": difference, "max_relative_difference": difference / peak}


def compare_forms(forms: Forms, conditions: Conditions, *, effort: Effort, seed: int) -> dict[str, Any]:
    """Times all forms in the same rounds.

    Returns:
        Their medians in milliseconds, which of them is deployed under `conditions`, the median of the form that is not, and
        the verdict on the noise.
    """
    measured = measure_many(
        # Measuring moves and converts a network in place.
        {name: copy.deepcopy(form) for name, form in forms.items()},
        input_size=forms["merged"].arch.input_size,
        conditions=conditions,
        effort=effort,
        seed=seed,
    )
    noisy = any(value.noise == "noisy" for value in measured.values())
    medians_ms = {f"{name}_ms": value.p50_ms for name, value in measured.items()}
    form = timed_form(conditions)
    return {
        **medians_ms,
        "deployed": form,
        "other_ms": medians_ms["folded_ms" if form == "merged" else "merged_ms"],
        "noise": "noisy" if noisy else "quiet",
    }


def launches(forms: Forms, conditions: Conditions) -> dict[str, Any]:
    """Returns what one forward of each form launches: kernels on a GPU, ATen calls on a CPU."""
    counts = {
        name: kernels_per_forward(form, form.arch.input_size, conditions) for name, form in forms.items()
    }
    return {"unit": counts["merged"].unit, **{name: found.count for name, found in counts.items()}}

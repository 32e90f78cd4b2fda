"""The whole path on generated people: what each command leaves behind, and what the next one makes of it."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_workplace import Finished, Workplace, train_tiny

import posesearch
from posesearch.errors import DataError, EnvironmentFault, NoFeasibleArchitecture, UsageError
from posesearch.files import read_jsonl
from posesearch.flows.evaluate import evaluate_model, evaluate_results
from posesearch.flows.extract import extract
from posesearch.flows.report import report
from posesearch.flows.runs import open_run
from posesearch.flows.search import reference_architectures, search
from posesearch.flows.supernet import load_supernet
from posesearch.flows.train import train
from posesearch.progress import SilentProgress
from posesearch.spaces import SearchSpace, load_space

FIGURES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
QUIET = SilentProgress()


@pytest.fixture(autouse=True)
def _work_there(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "finished" in request.fixturenames:
        monkeypatch.chdir(request.getfixturevalue("finished").place.folder)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_supernet_run_says_what_it_is(finished: Finished, tiny_space: SearchSpace) -> None:
    opened = open_run(None)
    assert opened.name == "tiny"
    assert opened.manifest["space_id"] == tiny_space.id == finished.trained.plan["space_id"]
    assert SearchSpace.from_plain(opened.manifest["space"]) == tiny_space
    assert set(finished.trained.evaluations) == {"largest", "smallest"}
    for evaluation in finished.trained.evaluations.values():
        assert set(FIGURES) <= set(evaluation)
        assert (evaluation["boxes"], evaluation["flip"], evaluation["input_size"]) == ("gt", False, [64, 48])
        assert evaluation["split"] == "train-held-out"
    rows = read_jsonl(opened.path("supernet", "metrics.jsonl"))
    assert [row["epoch"] for row in rows if "loss" in row] == [1, 2]
    assert {row["evaluated"] for row in rows if "evaluation" in row} == {"largest", "smallest"}


def test_search_split_is_kept_out_of_training(finished: Finished) -> None:
    plan = finished.trained.plan["persons"]
    people = finished.place.data.load("train")
    assert plan["training"] + plan["search"] == len(people)
    assert plan["search"] >= 0.15 * len(people)


def test_front_is_within_budget_and_undominated(finished: Finished) -> None:
    front = finished.found.front
    assert front and finished.found.outcome is not None
    points = [(row["AP"], row["confirmed"]["p50_ms"]) for row in front]
    assert points == sorted(points, key=lambda point: point[1])
    assert all(later[0] > earlier[0] for earlier, later in pairwise(points))
    assert all(row["confirmed"]["processes"] >= 2 and row["confirmed"]["p50_ms"] <= 1000 for row in front)
    names = {row["reference"] for row in finished.found.references}
    assert names == {"starnet-pose-t scaled to tiny", "starnet-pose-s scaled to tiny"}


def test_references_are_the_published_networks_where_they_are_members() -> None:
    space = load_space("starnet")
    assert reference_architectures(space) == {
        name: posesearch.load_preset(name) for name in ("starnet-pose-t", "starnet-pose-s")
    }


def test_extracted_models_equal_their_subnets(finished: Finished) -> None:
    assert [model["name"] for model in finished.extracted.models] == ["T", "S"]
    opened = open_run(None)
    supernet, _ = load_supernet(opened)
    for model in finished.extracted.models:
        assert model["parity"]["max_abs_diff"] == 0.0
        network = posesearch.load_model(opened.path(model["file"]))
        assert network.arch.code == model["code"] and not network.training
        info = network.info
        assert info.space_id == supernet.space.id
        assert info.skeleton["names"][0] == "nose" and info.input_size == (64, 48)
        assert info.latency[0]["kind"] == "measured"
        assert info.provenance["data"] == finished.place.data.to_plain()
        images = torch.randn(2, 3, 64, 48)
        subnet = supernet(images, network.arch)
        alone = network.train()(images)
        assert torch.equal(subnet.x, alone.x) and torch.equal(subnet.y, alone.y)


def test_evaluate_repeats_the_figures_of_extract(finished: Finished, tmp_path: Path) -> None:
    model = finished.extracted.models[0]
    path = open_run(None).path(model["file"])
    again = evaluate_model(
        model=path, data=finished.place.data, device="cpu", write_results=tmp_path / "r.json", progress=QUIET
    )
    assert {name: again[name] for name in FIGURES} == {name: model["extracted"][name] for name in FIGURES}
    annotations = finished.place.data.resolve("val").annotation_file
    scored = evaluate_results(results=tmp_path / "r.json", annotations=annotations)
    assert {name: scored[name] for name in FIGURES} == {name: again[name] for name in FIGURES}


def test_retraining_starts_from_the_inherited_weights_and_is_noted(finished: Finished) -> None:
    opened = open_run(None)
    file = opened.path(finished.extracted.models[1]["file"])
    result = train(model=str(file), overrides=("epochs=1",), device="cpu", progress=QUIET)
    assert result.plan["start"].startswith(f"{file}, weights ") and result.plan["recipe"] == "tiny"
    assert result.file == opened.path("models", "S-trained.safetensors")
    summary = json.loads(opened.path("models", "S.json").read_text())
    assert summary["retrained"]["AP"] == result.evaluation["AP"]
    assert summary["extracted"] is not None
    before = digest(result.file)
    assert (
        train(model=str(file), overrides=("epochs=1",), device="cpu", progress=QUIET).evaluation
        == result.evaluation
    )
    assert digest(result.file) == before
    with pytest.raises(DataError, match=r"(?s)belongs to another training.*epochs: 1 before, 2 now"):
        train(model=str(file), overrides=("epochs=2",), device="cpu", progress=QUIET)


def test_picks_by_rank_code_and_name(finished: Finished) -> None:
    first = extract(picks=("#1",), device="cpu", progress=QUIET).models[0]
    assert first["name"] == "rank-1" and first["code"] == finished.found.front[0]["code"]
    named = extract(arch=first["code"], name="mine", device="cpu", progress=QUIET).models[0]
    assert (named["name"], named["arch_id"]) == ("mine", first["arch_id"])
    assert named["latency"] == first["latency"]
    with pytest.raises(
        UsageError, match=r"--pick 'bset' is not known. Did you mean 'best'\? Allowed: best, knee"
    ):
        extract(picks=("bset",), device="cpu", progress=QUIET)
    reference = extract(picks=("starnet-pose-t",), device="cpu", progress=QUIET).models[0]
    assert (reference["name"], reference["pick"]) == ("starnet-pose-t", "starnet-pose-t scaled to tiny")
    assert reference["latency"]["processes"] >= 2
    with pytest.raises(UsageError, match=r"--name '../x' cannot name a folder"):
        extract(picks=("best",), name="../x", device="cpu", progress=QUIET)
    with pytest.raises(UsageError, match=r"--pick '#99' is not on the front. Allowed: #1 \(fastest\) to #"):
        extract(picks=("#99",), device="cpu", progress=QUIET)
    with pytest.raises(
        UsageError,
        match=r"preset 'starnet-pose-t' cannot be extracted(?s:.*)4 stages, the space has 3(?s:.*)nearest member",
    ):
        extract(arch="starnet-pose-t", device="cpu", progress=QUIET)


def test_report_of_a_run(finished: Finished) -> None:
    result = report()
    assert [path.name for path in result.files] == ["report.html", "front.png", "front.csv"]
    page = result.files[0].read_text()
    assert finished.found.front[0]["code"] in page


def test_searching_again_returns_at_once_and_more_trials_go_on(finished: Finished) -> None:
    folder = open_run(None).path("search")
    rows = read_jsonl(folder / "candidates.jsonl")
    again = search(latency_ms=1000.0, trials=8, device="cpu", effort="fast", progress=QUIET)
    assert read_jsonl(folder / "candidates.jsonl") == rows
    assert again.front == finished.found.front
    more = search(latency_ms=1000.0, trials=10, device="cpu", effort="fast", progress=QUIET)
    assert more.evaluations == 10
    assert read_jsonl(folder / "candidates.jsonl")[: len(rows)] == rows


def test_impossible_budget_names_the_fastest_and_extract_says_the_same(workplace: Workplace) -> None:
    train_tiny(workplace)
    with pytest.raises(
        NoFeasibleArchitecture, match=r"no architecture of space 'tiny' meets --latency-ms 0.0001"
    ) as first:
        search(latency_ms=0.0001, trials=4, device="cpu", progress=QUIET)
    assert first.value.exit_code == 3
    with pytest.raises(NoFeasibleArchitecture) as second:
        extract(device="cpu", progress=QUIET)
    assert str(second.value) == str(first.value)


def test_the_same_command_continues_and_other_settings_are_refused(workplace: Workplace) -> None:
    first = train_tiny(workplace)
    weights = digest(first.files[0])
    assert train_tiny(workplace).evaluations == first.evaluations
    assert digest(first.files[0]) == weights
    with pytest.raises(
        UsageError, match=r"(?s)run 'tiny' exists with other settings:.*recipe.epochs: 2 before, 3 now"
    ):
        train_tiny(workplace, overrides=("epochs=3",))
    train_tiny(workplace, overrides=("epochs=3",), fresh=True)
    assert digest(Path("runs/tiny-1/supernet/supernet.safetensors")) == weights


def test_init_carries_weights_over(workplace: Workplace) -> None:
    first = train_tiny(workplace)
    second = train_tiny(workplace, run="second", init=first.files[0], overrides=("optimizer.lr=1e-9",))
    one, _ = load_supernet(open_run("tiny"))
    two, _ = load_supernet(open_run("second"))
    assert second.run == "second"
    for name, tensor in one.named_parameters():
        assert torch.allclose(tensor, dict(two.named_parameters())[name], atol=1e-6)


def test_dry_run_writes_nothing(workplace: Workplace) -> None:
    result = train_tiny(workplace, dry_run=True)
    assert result.plan["resolved_recipe"]["epochs"] == 2
    assert not Path("runs").exists()


def test_a_run_in_use_is_left_alone(workplace: Workplace) -> None:
    train_tiny(workplace)
    with (
        open_run("tiny").lock(),
        pytest.raises(EnvironmentFault, match=r"run 'tiny' is in use by process \d+"),
    ):
        search(latency_ms=5.0, trials=2, device="cpu", progress=QUIET)


def test_commands_in_the_wrong_order(workplace: Workplace) -> None:
    with pytest.raises(
        UsageError, match=r"There are no runs in runs yet. Start one with: posesearch supernet-train"
    ):
        search(latency_ms=3.5, device="cpu", progress=QUIET)
    train_tiny(workplace)
    with pytest.raises(
        UsageError, match=r"has not been searched yet. Search it first: posesearch search --run tiny"
    ):
        extract(device="cpu", progress=QUIET)
    with pytest.raises(UsageError, match=r"no budget given"):
        search(latency_ms=None, device="cpu", progress=QUIET)
    for bad in (-3.5, 0.0, float("nan")):
        with pytest.raises(UsageError, match=r"the budget must be a finite number of milliseconds above 0"):
            search(latency_ms=bad, device="cpu", progress=QUIET)
    Path("runs/tiny/supernet/supernet.safetensors").unlink()
    with pytest.raises(
        DataError, match=r"has no trained supernet yet(?s:.*)posesearch supernet-train --run tiny"
    ):
        search(latency_ms=3.5, device="cpu", progress=QUIET)


def test_a_preset_is_trained_in_a_run_of_its_own(workplace: Workplace) -> None:
    result = train(
        model="starnet-pose-t",
        space=workplace.space,
        data=workplace.data,
        recipe=workplace.recipe,
        overrides=("epochs=1",),
        device="cpu",
        progress=QUIET,
    )
    assert result.file == Path("runs/starnet-pose-t/models/starnet-pose-t-trained.safetensors")
    assert posesearch.load_model(result.file).info.metrics[0]["AP"] == result.evaluation["AP"]
    with pytest.raises(UsageError, match=r"'starnet-t' is not a model file and not a preset"):
        train(model="starnet-t", data=workplace.data, device="cpu", progress=QUIET)


def test_public_names() -> None:
    space = posesearch.load_space("demo")
    arch = space.sample(np.random.default_rng(3))
    supernet = posesearch.Supernet(space).train()
    network = posesearch.extract_subnet(supernet, arch).train()
    images = torch.randn(2, 3, *space.input_size)
    assert torch.equal(supernet(images, arch).x, network(images).x)
    assert network.backbone is not None and network.head is not None


def test_dry_run_without_data_draws_nothing(workplace: Workplace) -> None:
    result = train_tiny(workplace, data=None, dry_run=True)
    assert result.plan["data"] == "generated people in runs/generated-people, drawn on first use"
    assert not Path("runs").exists()


def test_extracting_again_keeps_what_was_retrained(workplace: Workplace) -> None:
    train_tiny(workplace)
    search(latency_ms=1000.0, trials=3, device="cpu", effort="fast", progress=QUIET)
    first = extract(picks=("best",), device="cpu", progress=QUIET).models[0]
    file = open_run(None).path(first["file"])
    trained = train(model=str(file), overrides=("epochs=1",), device="cpu", progress=QUIET)
    search(latency_ms=900.0, trials=3, device="cpu", effort="fast", progress=QUIET)
    again = extract(arch=first["code"], name=first["name"], device="cpu", progress=QUIET).models[0]
    assert again["weights_id"] == first["weights_id"]
    assert again["retrained"] == trained.evaluation
    # The header now holds other figures; the weights are the same, so training has nothing left to do.
    assert (
        train(model=str(file), overrides=("epochs=1",), device="cpu", progress=QUIET).evaluation
        == trained.evaluation
    )


def test_a_newer_model_run_does_not_hide_the_supernet(workplace: Workplace) -> None:
    train_tiny(workplace)
    train(
        model="starnet-pose-t",
        space=workplace.space,
        data=workplace.data,
        recipe=workplace.recipe,
        overrides=("epochs=1",),
        device="cpu",
        progress=QUIET,
    )
    assert open_run(None).name == "starnet-pose-t"
    assert search(latency_ms=1000.0, trials=2, device="cpu", effort="fast", progress=QUIET).run == "tiny"
    with pytest.raises(
        UsageError, match=r"run 'starnet-pose-t' is a model run; this command needs a supernet run"
    ):
        extract(run="starnet-pose-t", device="cpu", progress=QUIET)

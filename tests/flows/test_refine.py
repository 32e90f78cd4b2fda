"""Refinement: a copy is trained on with what the search visited, the search goes on with it, and extract takes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from table_workplace import Device, Messages
from tiny_workplace import Workplace, make_workplace, train_tiny

import posesearch
from posesearch.checkpoint import read_model_info
from posesearch.errors import DataError, UsageError
from posesearch.files import read_jsonl
from posesearch.flows.extract import extract
from posesearch.flows.refine import LR_SHARE, load_searched, refinement_recipe
from posesearch.flows.report import report
from posesearch.flows.runs import open_run
from posesearch.flows.search import SearchResult, search
from posesearch.flows.supernet import SUPERNET_FILE, load_supernet
from posesearch.progress import SilentProgress
from posesearch.spaces import SearchSpace
from posesearch.train.loop import fit
from posesearch.train.recipe import load_recipe

QUIET = SilentProgress()
EPOCHS = 2


class Killed(BaseException):
    """As sudden as a kill: nothing is saved on the way out."""


class KilledAt(SilentProgress):
    """Dies in the middle of a step of the refinement."""

    def __init__(self, step: int) -> None:
        self._left = step

    @contextmanager
    def task(self, name: str, total: int, *, done: int = 0) -> Iterator[KilledAt]:
        yield self

    def advance(self, count: int = 1, **numbers: float | str) -> None:
        if "epoch" in numbers:  # a step of a training
            self._left -= 1
            if self._left < 0:
                raise Killed


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def look(refine: int = EPOCHS, **options) -> SearchResult:
    return search(
        **{"latency_ms": 1000.0, "trials": 6, "refine": refine, "device": "cpu", "progress": QUIET, **options}
    )


def be_by_formula(patch: pytest.MonkeyPatch) -> None:
    device = Device()
    patch.setattr("posesearch.flows.search.LatencyMeter", device.meter)
    patch.setattr("posesearch.flows.search.measure_fresh", device.figures)


@pytest.fixture(autouse=True)
def _timed_by_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    be_by_formula(monkeypatch)


@pytest.fixture(scope="module")
def refined(
    tmp_path_factory: pytest.TempPathFactory, people_dir: Path, tiny_space: SearchSpace
) -> Iterator[tuple[Workplace, SearchResult, str]]:
    """A run searched, refined and searched again, and the supernet file's digest before that."""
    folder = tmp_path_factory.mktemp("refined")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        be_by_formula(patch)
        place = make_workplace(folder, people_dir, tiny_space)
        train_tiny(place)
        before = digest(open_run(None).path(SUPERNET_FILE))
        yield place, look(), before


@pytest.fixture
def found(
    refined: tuple[Workplace, SearchResult, str], monkeypatch: pytest.MonkeyPatch
) -> tuple[SearchResult, str]:
    monkeypatch.chdir(refined[0].folder)
    return refined[1], refined[2]


def test_the_supernet_is_untouched_and_the_result_names_the_refined_weights(
    found: tuple[SearchResult, str],
) -> None:
    result, before = found
    opened = open_run(None)
    assert digest(opened.path(SUPERNET_FILE)) == before
    assert result.outcome is not None and result.outcome.refined is not None
    note = result.outcome.refined
    supernet, _ = load_supernet(opened)
    weights, info, path = load_searched(opened)
    assert path == opened.path(note.file) and info.kind == "supernet"
    assert info.provenance["refined"]["from"] == note.from_weights_id
    assert info.provenance["refined"]["recipe"]["epochs"] == note.epochs == EPOCHS
    assert any(
        not torch.equal(a, b) for a, b in zip(weights.parameters(), supernet.parameters(), strict=True)
    )
    assert note.weights_id in result.outcome.study and note.from_weights_id not in result.outcome.study
    assert note.ap_before.keys() == {row["arch_id"] for row in result.front}
    assert json.loads(opened.path("search", "result.json").read_text())["refined"]["epochs"] == EPOCHS
    assert not (path.parent / "checkpoint.pt").exists()


def test_accuracies_are_kept_apart_by_weights(found: tuple[SearchResult, str]) -> None:
    note = found[0].outcome.refined
    rows = read_jsonl(open_run(None).path("search", "evaluations.jsonl"))
    assert {row["weights_id"] for row in rows} == {note.weights_id, note.from_weights_id}
    before = {
        row["arch_id"]: row["evaluation"]["AP"] for row in rows if row["weights_id"] == note.from_weights_id
    }
    assert {key: before[key] for key in note.ap_before} == note.ap_before


def test_the_front_before_is_asked_first(found: tuple[SearchResult, str]) -> None:
    opened = open_run(None)
    note = found[0].outcome.refined
    visited = json.loads((opened.path(note.file).parent / "visited.json").read_text())
    rows = [
        row
        for row in read_jsonl(opened.path("search", "candidates.jsonl"))
        if note.weights_id in row["study"]
    ]
    asked_first = [row["code"] for row in rows if row["origin"] in ("smallest", "fastest", "largest")]
    asked_first += [row["code"] for row in rows if row["origin"].startswith(("reference:", "earlier: tiny"))]
    assert set(visited["front"]) <= set(asked_first)
    assert len(visited["front"]) == note.front and len(visited["others"]) == note.visited


def test_extract_takes_the_weights_of_the_result(found: tuple[SearchResult, str]) -> None:
    opened = open_run(None)
    weights, _, path = load_searched(opened)
    model = extract(picks=("best",), device="cpu", progress=QUIET).models[0]
    assert model["parity"]["max_abs_diff"] == 0.0
    network = posesearch.load_model(opened.path(model["file"]))
    images = torch.randn(2, 3, 64, 48)
    subnet, alone = weights(images, network.arch), network.train()(images)
    assert torch.equal(subnet.x, alone.x)
    plain, _ = load_supernet(opened)
    assert not torch.equal(plain(images, network.arch).x, alone.x)
    assert read_model_info(path).space_id == weights.space.id


def test_asked_again_it_is_read_and_the_report_says_so(found: tuple[SearchResult, str]) -> None:
    result, _ = found
    file = open_run(None).path(result.outcome.refined.file)
    written = file.stat().st_mtime_ns
    heard = Messages()
    again = look(progress=heard)
    assert again.outcome == result.outcome and file.stat().st_mtime_ns == written
    assert not any("refining" in text for text in heard.texts)
    report()
    page = open_run(None).path("report.html").read_text()
    assert f"refined for {EPOCHS} epochs on" in page and "mean AP of the front" in page


@pytest.mark.parametrize("step", [1, 3])
def test_killed_in_the_middle_of_the_refinement_it_ends_in_the_same_weights(
    refined: tuple[Workplace, SearchResult, str],
    workplace: Workplace,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
) -> None:
    _, whole, _ = refined
    train_tiny(workplace)
    monkeypatch.setattr(
        "posesearch.flows.refine.fit", lambda *args, **options: fit(*args, **options, checkpoint_every_s=0.0)
    )
    with pytest.raises(Killed):
        look(progress=KilledAt(step))
    (folder,) = open_run(None).path("refined").iterdir()
    assert (folder / "visited.json").exists() and not (folder / "supernet.safetensors").exists()
    resumed = look()
    assert resumed.outcome.refined == whole.outcome.refined
    assert [row["AP"] for row in resumed.front] == [row["AP"] for row in whole.front]


def test_refined_weights_that_are_gone_or_others_are_refused(
    found: tuple[SearchResult, str], tmp_path: Path
) -> None:
    opened = open_run(None)
    path = opened.path(found[0].outcome.refined.file)
    kept = path.read_bytes()
    try:
        path.write_bytes(opened.path(SUPERNET_FILE).read_bytes())
        with pytest.raises(DataError, match=r"holds weights \w+, the search result was found with"):
            extract(device="cpu", progress=QUIET)
        path.unlink()
        with pytest.raises(
            DataError, match="is missing: the search result was found with these refined weights"
        ):
            extract(device="cpu", progress=QUIET)
    finally:
        path.write_bytes(kept)


def test_the_recipe_of_a_refinement_is_how_the_runs_own_ends() -> None:
    recipe = load_recipe("demo")
    short = refinement_recipe(recipe, 3)
    assert (short.epochs, short.augment, short.evaluate_every) == (3, recipe.final_augment, 0)
    assert short.optimizer.lr == LR_SHARE * recipe.optimizer.lr and short.schedule.flat_fraction == 0.0
    assert short.supernet.distil_start == short.supernet.distil_end == recipe.supernet.distil_end
    assert (short.loss, short.batch_size, short.ema) == (recipe.loss, recipe.batch_size, recipe.ema)


def test_numbers_and_names_out_of_range_are_refused(workplace: Workplace) -> None:
    with pytest.raises(UsageError, match=r"--refine -1: expected 0 \(no refinement\) or more epochs"):
        look(refine=-1)
    with pytest.raises(UsageError, match=r"--earlier 'al' is not known. Did you mean 'all'\?"):
        look(earlier="al")

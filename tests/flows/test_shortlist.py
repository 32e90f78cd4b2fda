"""Short lists: which members are on them, how a pick is decided, and that nothing is trained twice."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from table_workplace import Messages
from tiny_workplace import Finished

from posesearch.errors import DataError, UsageError
from posesearch.files import read_jsonl
from posesearch.flows import shortlist as flow
from posesearch.flows.extract import extract
from posesearch.flows.runs import open_run, settings_of
from posesearch.flows.shortlist import Shortlist, shortlist_of
from posesearch.flows.supernet import load_supernet
from posesearch.flows.weights import open_start
from posesearch.models.pose import PoseModel
from posesearch.progress import SilentProgress
from posesearch.search.candidate import FrontMember
from posesearch.search.front import best, fastest, knee, pareto_front
from posesearch.search.outcome import read_outcome
from posesearch.supernet import extract_subnet
from posesearch.train.recipe import load_recipe

QUIET = SilentProgress()
SEARCH = "search"
POINTS = st.lists(
    st.tuples(st.floats(0.01, 0.99), st.floats(0.1, 9.0)), min_size=1, max_size=12, unique_by=lambda p: p[1]
)


@pytest.fixture(autouse=True)
def _work_there(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "wide" in request.fixturenames:
        monkeypatch.chdir(request.getfixturevalue("finished").place.folder)


@pytest.fixture
def wide(finished: Finished) -> Iterator[Path]:
    """The finished run with a front of four members, whatever so short a training gave."""
    opened = open_run(None)
    outcome = read_outcome(opened.path(SEARCH))
    space = load_supernet(opened)[0].space
    pattern = outcome.front[0]
    assert pattern.confirmed is not None
    members = []
    for number, seed in enumerate((3, 4, 5, 6)):
        arch = space.sample(seed)
        candidate = dataclasses.replace(pattern.candidate, arch=arch, ap=(0.1, 0.4, 0.45, 0.5)[number])
        confirmed = dataclasses.replace(pattern.confirmed, p50_ms=1.0 + number)
        members.append(FrontMember(candidate=candidate, confirmed=confirmed))
    kept = opened.path(SEARCH, "result.json").read_text()
    dataclasses.replace(outcome, front=tuple(members)).write(opened.path(SEARCH))
    yield opened.folder
    opened.path(SEARCH, "result.json").write_text(kept)


@settings(max_examples=200, deadline=None)
@given(points=POINTS, size=st.integers(2, 6), pick=st.sampled_from(["best", "knee"]))
def test_a_list_holds_the_pick_and_for_the_knee_both_ends(
    points: list[tuple[float, float]], size: int, pick: str
) -> None:
    front = list(pareto_front(points, lambda point: point))
    listed = flow._listed(pick, front, size)
    assert listed == sorted(set(listed)) and set(listed) <= set(range(len(front)))
    assert flow.RULES[pick](front) in listed
    ends = {fastest(front), best(front)} if pick == "knee" else set()
    assert ends <= set(listed)
    assert min(size, len(front)) <= len(listed) <= size + len(ends)
    if pick == "best":  # the most accurate ones, which of a front are the slowest
        assert listed == list(range(len(front)))[-size:]


def test_the_knee_is_decided_by_its_own_rule_on_the_new_figures(
    wide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = read_outcome(wide / SEARCH).front
    archs = [member.candidate.arch for member in front]
    new = dict(zip(archs, (0.1, 0.2, 0.55, 0.6), strict=True))
    monkeypatch.setattr(flow, "_trained", lambda bench, asked, recipe: {arch: new[arch] for arch in asked})
    before = extract(device="cpu", progress=QUIET)
    assert [model["arch_id"] for model in before.models] == [archs[1].id, archs[3].id]
    result = extract(shortlist=Shortlist(size=2), device="cpu", progress=QUIET)
    assert [model["arch_id"] for model in result.models] == [archs[2].id, archs[3].id]
    table = json.loads((wide / SEARCH / "shortlist.json").read_text())
    assert result.to_plain()["shortlist"] == table
    knees, bests = (pick["rows"] for pick in table["picks"])
    assert [row["rank"] for row in knees] == [1, 2, 3, 4] and [row["rank"] for row in bests] == [3, 4]
    assert knees[knee([(row["AP_short"], row["latency_ms"]) for row in knees])]["chosen"]
    assert sum(row["chosen"] for row in knees) == sum(row["chosen"] for row in bests) == 1


def test_networks_are_trained_from_their_slices_once_and_evaluated_on_the_search_split(wide: Path) -> None:
    asked = Shortlist(size=2, epochs=1)
    result = extract(picks=("best",), shortlist=asked, device="cpu", progress=QUIET)
    log = wide / SEARCH / "shortlist" / "standalone.jsonl"
    rows = read_jsonl(log)
    assert len(rows) == 2 and {row["evaluation"]["split"] for row in rows} == {"train-held-out"}
    supernet, _ = load_supernet(open_run(None))
    start = open_start(wide / "supernet" / "supernet.safetensors")
    assert {row["settings"]["start"] for row in rows} == {start.label}
    assert not list((wide / SEARCH / "shortlist").glob("trainings/*"))
    heard = Messages()
    again = extract(picks=("best",), shortlist=asked, device="cpu", progress=heard)
    assert again.shortlist == result.shortlist and read_jsonl(log) == rows
    assert not any("short list: network" in text for text in heard.texts)
    arch = next(m.candidate.arch for m in read_outcome(wide / SEARCH).front)
    filled, cut = (
        PoseModel(arch, seed=1),
        extract_subnet(supernet, arch, dict(PoseModel(arch).named_buffers())),
    )
    start.fill(filled, settings_of(open_run(None)).data.load("train").skeleton, QUIET)
    sliced = dict(cut.named_parameters())
    assert all(torch.equal(value, sliced[name]) for name, value in filled.named_parameters())


def test_where_no_accuracy_decides_a_short_list_is_refused(wide: Path) -> None:
    with pytest.raises(
        UsageError, match="--shortlist decides between members of the front for the picks knee and best"
    ):
        extract(picks=("fastest", "#2"), shortlist=Shortlist(size=2), device="cpu", progress=QUIET)


def test_numbers_out_of_range_are_refused() -> None:
    assert shortlist_of(0, None) is None
    with pytest.raises(UsageError, match=r"--shortlist 1: expected 0 \(no short list\) or at least 2"):
        shortlist_of(1, None)
    with pytest.raises(UsageError, match="--shortlist-epochs 0: expected at least 1"):
        shortlist_of(3, 0)
    with pytest.raises(UsageError, match="--shortlist-epochs 2 needs a short list"):
        shortlist_of(0, 2)


def test_epochs_are_a_quarter_of_the_recipes_unless_given() -> None:
    recipe = load_recipe("demo")
    assert shortlist_of(2, None).recipe(recipe).epochs == 3
    short = shortlist_of(2, 5).recipe(recipe)
    assert dataclasses.replace(short, epochs=recipe.epochs, evaluate_every=recipe.evaluate_every) == recipe


def test_a_damaged_log_names_its_line(wide: Path) -> None:
    log = wide / SEARCH / "shortlist" / "standalone.jsonl"
    log.parent.mkdir(exist_ok=True)
    kept = log.read_text() if log.exists() else ""
    log.write_text(kept + '{"arch_id": "x"}\n')
    with pytest.raises(DataError, match=r"standalone.jsonl, line \d+: not a finished training"):
        extract(picks=("best",), shortlist=Shortlist(size=2, epochs=1), device="cpu", progress=QUIET)
    log.write_text(kept)

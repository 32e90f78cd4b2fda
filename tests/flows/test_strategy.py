"""`search --strategy differentiable` on a trained run: what it needs, what it adds to the study, and that it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from table_workplace import Device, Messages, make_table, time_like
from tiny_workplace import Workplace, train_tiny

from posesearch.checkpoint import weights_id
from posesearch.errors import UsageError
from posesearch.files import read_json, read_jsonl
from posesearch.flows.differentiable import Strategy, fitting, limits_of
from posesearch.flows.runs import open_run
from posesearch.flows.search import SearchResult, search
from posesearch.flows.supernet import SUPERNET_FILE, load_supernet
from posesearch.flows.tables import TableChoice
from posesearch.latency.predictor import read_predictor
from posesearch.latency.types import LatencyBudget
from posesearch.models.cost import cost
from posesearch.progress import SilentProgress
from posesearch.search.objectives import Budgets
from posesearch.spaces import SearchSpace
from posesearch.train.recipe import Recipe

GRADIENT = Strategy(name="differentiable", epochs=1)
BUDGET_MS = 2.2


@pytest.fixture
def device(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Device:
    """This machine, as far as latency goes, and a trained supernet to search."""
    train_tiny(workplace)
    here = Device()
    time_like(here, monkeypatch)
    return here


def quick(**options: object) -> dict:
    """A search of few evaluations, by the sampler alone."""
    return {"strategy": Strategy(), "trials": 3, **options}


def searched(progress: Messages | None = None, **options: object) -> SearchResult:
    arguments: dict = {
        "latency_ms": BUDGET_MS,
        "trials": 8,
        "sampler": "random",
        "strategy": GRADIENT,
        "device": "cpu",
        "effort": "fast",
        "progress": progress or SilentProgress(),
    }
    return search(**{**arguments, **options})


def asked_rows() -> list[dict]:
    return read_jsonl(Path("runs/tiny/search/candidates.jsonl"))


def test_its_result_is_asked_first_in_the_study_of_the_sampler(device: Device) -> None:
    make_table(device)
    weights = weights_id(load_supernet(open_run(None))[0].state_dict())
    stamp = Path("runs/tiny", SUPERNET_FILE).stat().st_mtime_ns
    messages = Messages()
    found = searched(messages)
    rows = asked_rows()
    origins = [row["origin"] for row in rows]
    told = [text for text in messages.texts if text.startswith("differentiable search:")]
    assert "they are asked first" in told[0]
    derived = [row for row in rows if row["origin"] == "differentiable"]
    assert derived and len({row["study"] for row in rows}) == 1
    # The ends of the space and the references are asked before, whatever the sampler proposes after.
    assert all(origin not in ("start", "sampler") for origin in origins[: origins.index("differentiable")])
    assert found.outcome is not None and found.outcome.evaluations == 8
    assert found.plan["strategy"] == "differentiable" and found.plan["theta_epochs"] == 1
    assert Path("runs/tiny", SUPERNET_FILE).stat().st_mtime_ns == stamp
    assert weights_id(load_supernet(open_run(None))[0].state_dict()) == weights
    (kept,) = Path("runs/tiny/search").glob("differentiable-*/differentiable.json")
    plain = read_json(kept, "differentiable search")
    assert [row["code"] for row in derived] == plain["archs"]
    assert plain["identity"]["weights"] == weights
    # The same call again trains and asks nothing; the sampler alone goes on in the same study.
    before = kept.stat().st_mtime_ns
    assert searched().front == found.front and kept.stat().st_mtime_ns == before
    more = searched(strategy=Strategy(), trials=10)
    assert more.outcome is not None and more.outcome.study == found.outcome.study
    assert more.evaluations == 10


def test_a_search_that_is_complete_says_how_to_hear_it(device: Device) -> None:
    make_table(device)
    searched(**quick())
    messages = Messages()
    searched(messages, **quick(strategy=GRADIENT))
    assert any(
        text.startswith("search: all 3 evaluations are made;") and "with --trials" in text
        for text in messages.texts
    )


def test_without_a_table_it_says_how_to_build_one(device: Device) -> None:
    with pytest.raises(
        UsageError,
        match=r"(?s)needs the price of every block.*posesearch latency build --space tiny --threads 2\. Or leave",
    ) as error:
        searched(threads=2)
    assert error.value.exit_code == 2
    assert not Path("runs/tiny/search/candidates.jsonl").exists()


def test_epochs_are_for_this_strategy_and_at_least_one() -> None:
    with pytest.raises(UsageError, match=r"--theta-epochs 3 is for a differentiable search\. Add --strategy"):
        Strategy(epochs=3)
    with pytest.raises(UsageError, match=r"--theta-epochs 0: expected at least 1 pass"):
        Strategy(name="differentiable", epochs=0)
    assert Strategy(name="differentiable").config(Recipe(name="r", epochs=60), 100).epochs == 12
    assert Strategy(name="differentiable").config(Recipe(name="r", epochs=3), 100).epochs == 2
    few = Strategy(name="differentiable", epochs=7).config(Recipe(name="r"), 6)
    assert (few.epochs, few.samples) == (7, 2), "half of the evaluations at most, the first included"
    assert Strategy(name="differentiable").config(Recipe(name="r"), 1).samples == 0


def test_counted_budgets_need_no_table(tiny_space: SearchSpace) -> None:
    space = tiny_space
    half = cost(space.largest()).macs // 2
    budgets = Budgets(macs=half, memory_bytes=10_000_000)
    (limit,) = limits_of(budgets, None, space)
    assert (limit.name, limit.at_most) == ("macs", half)
    fits = fitting(budgets, None)
    assert fits(space.smallest()) and not fits(space.largest())
    assert not fitting(Budgets(memory_bytes=1), None)(space.smallest())


def test_a_prediction_decides_as_the_search_will(workplace: Workplace, tiny_space: SearchSpace) -> None:
    path, space = make_table(Device()).path, tiny_space
    predictor = read_predictor(path, space=space)
    predicted = predictor.predict(space.largest())
    assert predicted.low_ms < predicted.latency_ms < predicted.high_ms
    between = Budgets(latency=LatencyBudget(latency_ms=(predicted.latency_ms + predicted.high_ms) / 2))
    for absent, expected in ((False, True), (True, False)):
        chosen = TableChoice(path=path, predictor=predictor, build_id="b", absent=absent)
        assert fitting(between, chosen)(space.largest()) is expected
        (limit,) = limits_of(between, chosen, space)
        assert limit.name == "latency_ms"

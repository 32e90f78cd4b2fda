"""`rank`: networks trained alone once each, resumable to the bit, and compared on the persons the supernet never saw."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tiny_workplace import Workplace, make_workplace, train_tiny

from posesearch.data.source import DataSource
from posesearch.errors import ConfigError, DataError, Interrupted, UsageError
from posesearch.files import read_jsonl
from posesearch.flows.rank import RankResult, rank
from posesearch.progress import SilentProgress
from posesearch.spaces import SearchSpace

OPTIONS = {"run": "tiny", "nets": 4, "second_seeds": 2, "epochs": 1, "device": "cpu"}
TRAININGS = 6


class Told(SilentProgress):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def ranked(progress: SilentProgress | None = None, **options: object) -> RankResult:
    return rank(**{**OPTIONS, **options}, progress=progress or SilentProgress())  # type: ignore[arg-type]


def evaluations(folder: Path) -> dict[tuple[str, int], dict]:
    rows = read_jsonl(folder / "standalone.jsonl")
    return {(row["arch_id"], row["seed"]): row["evaluation"] for row in rows}


@pytest.fixture(scope="module")
def done(
    tmp_path_factory: pytest.TempPathFactory, people_dir: Path, tiny_space: SearchSpace
) -> Iterator[tuple[Workplace, RankResult]]:
    folder = tmp_path_factory.mktemp("ranked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        place = make_workplace(folder, people_dir, tiny_space)
        train_tiny(place)
        yield place, ranked()


@contextmanager
def stopping_after(asks: int) -> Iterator[Callable[[], bool]]:
    """Stands in for Ctrl-C after so many steps."""
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked >= asks

    yield stop


def test_what_is_written(done: tuple[Workplace, RankResult]) -> None:
    _, result = done
    rows = read_jsonl(result.folder / "standalone.jsonl")
    assert len(rows) == TRAININGS and len({(row["arch_id"], row["seed"]) for row in rows}) == TRAININGS
    assert {row["seed"] for row in rows} == {0, 1}
    # A quarter of the people is held out: the supernet's split, never the validation set.
    assert {row["evaluation"]["split"] for row in rows} == {"train-held-out"}
    held = json.loads((result.folder.parent / "run.json").read_text())["search_split"]["persons"]
    assert {row["evaluation"]["persons"] for row in rows} == {held}
    assert all(math.isfinite(row["evaluation"]["loss"]) and row["steps"] > 0 for row in rows)
    assert list((result.folder / "trainings").iterdir()) == []
    stored = json.loads((result.folder / "result.json").read_text())
    assert stored["quality"] == json.loads(json.dumps(result.to_plain()["quality"]))
    assert [len(net["alone"]) for net in stored["nets"]].count(2) == 2
    assert [net["macs"] for net in stored["nets"]] == sorted(net["macs"] for net in stored["nets"])
    assert stored["conditions"]["split"] == "train-held-out" and stored["conditions"]["flip"] is False
    assert stored["quality"]["sentence"].startswith("Ranking quality ")


def test_again_trains_nothing(done: tuple[Workplace, RankResult], monkeypatch: pytest.MonkeyPatch) -> None:
    _, result = done
    before = (
        (result.folder / "standalone.jsonl").read_bytes(),
        (result.folder / "supernet.jsonl").read_bytes(),
    )
    monkeypatch.setattr("posesearch.flows.standalone.fit", None)
    again = ranked()
    assert again.to_plain()["quality"] == result.to_plain()["quality"]
    assert before == (
        (result.folder / "standalone.jsonl").read_bytes(),
        (result.folder / "supernet.jsonl").read_bytes(),
    )


@pytest.mark.parametrize("asks", [8, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_and_resumed_is_the_same(
    done: tuple[Workplace, RankResult], asks: int, monkeypatch: pytest.MonkeyPatch, people_dir: Path, tmp_path: Path,
    tiny_space: SearchSpace,
) -> None:  # fmt: skip
    _, whole = done
    monkeypatch.chdir(tmp_path)
    train_tiny(make_workplace(tmp_path, people_dir, tiny_space))
    with monkeypatch.context() as patch:
        patch.setattr("posesearch.flows.rank.stop_on_interrupt", lambda: stopping_after(asks))
        with pytest.raises(Interrupted, match="everything is saved"):
            ranked()
    folder = tmp_path / "runs" / "tiny" / "rank"
    assert list(folder.glob("trainings/*/checkpoint.pt")) and not (folder / "result.json").exists()
    resumed = ranked()
    assert evaluations(folder) == evaluations(whole.folder)
    assert resumed.to_plain()["quality"] == whole.to_plain()["quality"] and resumed.nets == whole.nets


@pytest.mark.usefixtures("done")
def test_other_settings_are_other_rows() -> None:
    told = Told()
    plan = ranked(told, epochs=2, dry_run=True).plan
    assert plan["trainings"] == {"in all": TRAININGS, "done": 0, "left": TRAININGS}
    assert plan["time left"].endswith(" s")  # the pace is known from the rows of other settings
    assert told.messages == [
        "rank: 6 trainings in standalone.jsonl were made with other settings and are not used (recipe.epochs: 1 before, "
        "2 now). They are kept."
    ]
    assert ranked(dry_run=True).plan["trainings"]["left"] == 0


def test_a_dry_run_writes_nothing(
    tmp_path: Path, people_dir: Path, tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train_tiny(make_workplace(tmp_path, people_dir, tiny_space))
    before = sorted(tmp_path.rglob("*"))
    plan = ranked(dry_run=True).plan
    assert sorted(tmp_path.rglob("*")) == before
    assert plan["time left"] == "known after the first training" and len(plan["architectures"]) == 4
    assert plan["start"] == "fresh weights" and plan["networks"] == 4


def test_another_supernet_of_the_same_people_uses_the_same_trainings(
    done: tuple[Workplace, RankResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, result = done
    train_tiny(place, run="other", overrides=("supernet.random_subnets=2",))
    monkeypatch.setattr("posesearch.flows.standalone.fit", None)
    other = ranked(run="other", trained_in=("tiny",))
    assert [net["alone"] for net in other.nets] == [net["alone"] for net in result.nets]
    assert [net["supernet_loss"] for net in other.nets] != [net["supernet_loss"] for net in result.nets]
    assert not (other.folder / "standalone.jsonl").exists()


def test_a_start_is_a_setting(done: tuple[Workplace, RankResult]) -> None:
    _, scratch = done
    inherited = ranked(start="supernet")
    file = scratch.folder.parent / "supernet" / "supernet.safetensors"
    assert inherited.plan["start"].startswith(f"{file}, weights ")
    assert {len(net["alone"]) for net in inherited.nets} == {1, 2}
    # The same weights by another name are the same start.
    copy = Path("copy.safetensors")
    copy.write_bytes(file.read_bytes())
    assert ranked(start=str(copy), dry_run=True).plan["trainings"]["left"] == 0
    assert ranked(dry_run=True).plan["trainings"]["left"] == 0


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"nets": 3}, UsageError, r"--nets 3: too few to rank\. Allowed: 4 or more"),
        ({"second_seeds": 9}, UsageError, r"--second-seeds 9: allowed are 0 to the number of networks \(4\)"),
        ({"epochs": 0}, ConfigError, r"epochs: got 0, expected at least 1"),
        ({"start": "nowhere"}, UsageError, r"--start 'nowhere' is neither a word nor a file\. Allowed: scratch, supernet"),
        ({"run": "nowhere"}, UsageError, r"there is no run 'nowhere'"),
        ({"trained_in": ("nowhere",)}, UsageError, r"there is no run 'nowhere'"),
        ({"store": "cloud"}, UsageError, r"cloud"),
    ],
)  # fmt: skip
def test_refusals(
    done: tuple[Workplace, RankResult], options: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        ranked(**options)


def test_a_run_without_supernet(
    tmp_path: Path, people_dir: Path, tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = make_workplace(tmp_path, people_dir, tiny_space)
    train_tiny(place)
    (tmp_path / "runs" / "tiny" / "supernet" / "supernet.safetensors").unlink()
    with pytest.raises(
        DataError, match=r"run 'tiny' has no trained supernet yet .* supernet-train --run tiny"
    ):
        ranked()


def test_people_of_another_run_are_refused(done: tuple[Workplace, RankResult], tmp_path: Path) -> None:
    from posesearch.data.synthetic import write_coco

    write_coco(tmp_path / "others", seed=8, num_train=24, num_val=8)
    with pytest.raises(
        DataError, match=r"the search split has \d+ persons on 6 images, that of run 'tiny' had"
    ):
        ranked(data=DataSource(data=str(tmp_path / "others")))


def test_damaged_journals_are_named(done: tuple[Workplace, RankResult]) -> None:
    _, result = done
    for name, row in (("standalone.jsonl", '{"arch_id": "a", "seed": 0}'), ("supernet.jsonl", "{}")):
        file = result.folder / name
        whole = file.read_bytes()
        file.write_bytes(whole + row.encode() + b"\n")
        with pytest.raises(DataError, match=rf"{name}, line \d+: .*Delete that line"):
            ranked()
        file.write_bytes(whole)

"""`latency build`, `show` and `check` through the command line, on the tiny space and for real, with little effort."""

from __future__ import annotations

import dataclasses
import json
from functools import partial

import pytest

from posesearch.cli.app import main
from posesearch.errors import UsageError
from posesearch.flows import latency as flow
from posesearch.flows import quiet
from posesearch.latency import survey as surveys
from posesearch.latency.chain import BlockTimes, marginal_costs
from posesearch.latency.deploy import deploy
from posesearch.latency.device import fingerprint
from posesearch.latency.effort import Effort
from posesearch.latency.measure import measure_many
from posesearch.latency.noise import Steadiness
from posesearch.latency.predictor import LatencyPredictor, same_device
from posesearch.latency.table import read_table, write_table
from posesearch.latency.types import Conditions, Measured
from posesearch.models.cost import cost
from posesearch.models.pose import PoseModel
from posesearch.progress import SilentProgress

HASTY = Effort(
    warm_up_s=0.0, max_warm_up_s=0.0, settle_calls=1, unrecorded=0, recorded=2,
    min_rounds=2, max_rounds=2, half_width=1.0, max_s=0.0,
)  # fmt: skip
FEW = ["--nets", "10", "--held-out", "5"]
PROMISED = (
    *["mape", "bias", "p95", "max", "hits_5", "hits_10", "spearman", "kendall", "noise", "baselines"],
    *["fingerprint", "verdict", "table", "nets"],
)


def measure_here(archs, conditions, **_options):
    return measure_many(
        {arch.id: deploy(PoseModel(arch), conditions) for arch in archs},
        input_size=archs[0].input_size,
        conditions=conditions,
        effort=HASTY,
    )


@pytest.fixture
def hasty(monkeypatch):
    """Real timing in this process, a few calls each."""
    monkeypatch.setattr(surveys, "measure_fresh", measure_here)
    monkeypatch.setattr(surveys, "marginal_costs", partial(marginal_costs, effort=HASTY))


def call(capsys, *words):
    code = main([*words, "--device", "cpu"])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_table_is_built_shown_and_built_again_at_once(workplace, hasty, capsys, monkeypatch):
    build = ["latency", "build", "--space", "tiny.json", *FEW]
    code, out, err = call(capsys, *build, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert [key for key in PROMISED if key not in document] == []
    for name in ("baselines", "baselines_after_scale"):
        assert set(document[name]) == {"constant", "depth", "macs"}
    assert document["mape"] == document["scores"]["other_run"]["mape"]
    floor = document["noise"]
    assert document["mape_over_noise"] == pytest.approx(document["mape"] / floor)
    assert document["mape_after_scale_over_noise"] == pytest.approx(document["mape_after_scale"] / floor)
    assert (document["nets"], document["held_out"], document["selected"]) == (10, 5, 0)
    assert document["table"] == "latency/tiny-eager-fp32.json"
    assert document["verdict"] in ("quiet", "noisy")
    assert document["fingerprint"]["conditions"]["runtime"] == "eager"
    assert document["scores"]["selected"] is None
    table = read_table(workplace.folder / document["table"])
    assert same_device(workplace.folder / document["table"])
    assert len(table.entries) == 121
    predicted = LatencyPredictor(table).predict(table.space.largest())
    assert predicted.low_ms <= predicted.latency_ms <= predicted.high_ms

    # Everything is in the journal: the second call measures nothing, and gives the same table.
    monkeypatch.setattr(surveys, "measure_fresh", None)
    monkeypatch.setattr(surveys, "marginal_costs", None)
    code, out, _err = call(capsys, *build)
    assert code == 0
    assert read_table(workplace.folder / document["table"]) == table
    for words in ("noise floor", "MAPE", "Kendall", "a line in the MACs", "next: posesearch search"):
        assert words in out
    assert document["verdict_text"] in out

    code, out, _err = call(capsys, "latency", "show", "--json")
    shown = json.loads(out)
    assert code == 0
    assert {**shown, "plan": document["plan"]} == document
    for name in ("tiny-eager-fp32", document["table"]):
        code, out, _err = call(capsys, "latency", "show", name)
        assert code == 0
        assert table.id in out


class FakeBench:
    """Times by formula."""

    fingerprint = fingerprint(Conditions(), (64, 48))

    def time_blocks(self, blocks, seed):
        return BlockTimes(cost_ms={block: 0.01 * block.width for block in blocks}, sentinel_ms=1.0)

    def time_nets(self, archs, seed):
        return {arch.id: measured(1.0 + cost(arch).macs / 1e7) for arch in archs}


def measured(p50_ms):
    shared = {
        "runtime": "eager",
        "precision": "fp32",
        "device": FakeBench.fingerprint.device,
        "threads": 1,
        "batch": 1,
    }
    ends = {"p90_ms": p50_ms, "ci_low_ms": p50_ms, "ci_high_ms": p50_ms}
    return Measured(p50_ms=p50_ms, **ends, **shared, rounds=20, processes=1, noise="quiet")


def test_networks_that_a_search_added_survive_the_next_build(workplace, capsys):
    options = {"space": "tiny.json", "nets": 10, "held_out": 5, "device": "cpu", "progress": SilentProgress()}
    built = flow.build(**options, bench=FakeBench())
    learnt = LatencyPredictor(built.table).refit({built.table.space.sample(7): measured(3.0)})
    write_table(built.path, learnt.table)
    again = flow.build(**options, bench=FakeBench())
    assert again.table.with_role("selected") == learnt.table.with_role("selected")
    assert again.to_plain()["selected"] == 1
    assert again.to_plain()["scores"]["selected"]["nets"] == 1
    _code, out, _err = call(capsys, "latency", "show")
    assert "selected by a search" in out
    assert "none yet" not in out
    # A damaged table is replaced, and asking for a fresh one forgets.
    built.path.write_text("{")
    assert flow.build(**options, bench=FakeBench()).to_plain()["selected"] == 0
    write_table(built.path, learnt.table)
    assert flow.build(**options, bench=FakeBench(), fresh=True).to_plain()["selected"] == 0


class CountingBench(FakeBench):
    """Counts the networks it times, and dies when asked to."""

    def __init__(self, dies_after=10**9):
        self.timed, self.dies_after = 0, dies_after

    def time_nets(self, archs, seed):
        if self.timed >= self.dies_after:
            raise KeyboardInterrupt
        self.timed += len(archs) - 1
        return super().time_nets(archs, seed)


def test_a_fresh_build_that_was_killed_goes_on(workplace):
    options = {"space": "tiny.json", "nets": 10, "held_out": 5, "device": "cpu", "progress": SilentProgress()}
    first = CountingBench()
    table = flow.build(**options, bench=first).table
    killed, again = CountingBench(dies_after=12), CountingBench()
    with pytest.raises(KeyboardInterrupt):
        flow.build(**options, bench=killed, fresh=True)
    # Until it is done the earlier figures stand.
    unchanged = CountingBench()
    assert flow.build(**options, bench=unchanged).table == table
    assert unchanged.timed == 0
    flow.build(**options, bench=again, fresh=True)
    assert 0 < killed.timed < first.timed
    assert killed.timed + again.timed == first.timed
    # Done: the next one begins anew, whatever was left of an unreadable one.
    (workplace.folder / "latency" / "tiny-eager-fp32~fresh.jsonl").write_text("nonsense\n")
    anew = CountingBench()
    flow.build(**options, bench=anew, fresh=True)
    assert anew.timed == first.timed
    assert not list((workplace.folder / "latency").glob("*~fresh*"))


def test_the_verdict_promises_no_refusal(workplace):
    table = flow.build(
        space="tiny.json", nets=10, held_out=5, device="cpu", progress=SilentProgress(), bench=FakeBench()
    ).table
    noisy = dataclasses.replace(table, noise=dataclasses.replace(table.noise, mape=0.08))
    assert "do not claim differences finer than 10%" in flow.verdict_text(noisy)
    assert "refused" not in flow.verdict_text(noisy)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--space", "nowhere"], 2, "search space 'nowhere' is not known"),
        (["--run", "nowhere"], 2, "there is no run 'nowhere'"),
        (["--space", "demo", "--run", "x"], 2, "both name a space"),
        (["--space", "demo", "--runtime", "eagre"], 2, "Did you mean 'eager'?"),
        (["--space", "demo", "--precision", "fp8"], 2, "--precision 'fp8' is not known"),
        (["--space", "demo", "--runtime", "cudagraph"], 5, "cudagraph"),
        (["--space", "demo", "--nets", "-1"], 2, "--nets -1: too few networks. Allowed: 10 or more"),
        (["--space", "demo", "--nets", "9"], 2, "--nets 9: too few networks"),
        (["--space", "demo", "--held-out", "0"], 2, "--held-out 0: too few networks"),
        (["--space", "demo", "--out", "../x"], 2, "--out '../x' cannot name a folder"),
        (["--space", "demo", "--threads", "0"], 2, "--threads 0: expected at least 1"),
    ],
)
def test_what_cannot_be_built_is_refused_before_anything_is_measured(workplace, capsys, words, code, message):
    found, _out, err = call(capsys, "latency", "build", *words)
    assert found == code
    assert message in err
    assert "Traceback" not in err
    assert not (workplace.folder / "latency").exists()


def test_a_table_that_is_not_there_is_named_with_those_that_are(workplace, capsys):
    code, _out, err = call(capsys, "latency", "show")
    assert code == 2
    assert "There are no tables in latency yet. Build one with: posesearch latency build" in err
    (workplace.folder / "latency").mkdir()
    (workplace.folder / "latency" / "demo-eager-fp32.json").write_text("{")
    code, _out, err = call(capsys, "latency", "show", "demo-eager-fp23")
    assert code == 2
    assert "Did you mean 'demo-eager-fp32'? Tables in latency: demo-eager-fp32." in err
    code, _out, err = call(capsys, "latency", "show")
    assert code == 4
    assert "latency/demo-eager-fp32.json is not valid JSON" in err
    assert "posesearch latency build --fresh" in err


def test_a_dry_run_says_what_would_be_measured_and_writes_nothing(workplace, capsys):
    code, out, _err = call(capsys, "latency", "build", "--dry-run", "--json")
    options = json.loads(out)["options"]
    assert code == 0
    assert (options["space"], options["blocks"], options["nets"]) == ("demo", 165, 68)
    assert not (workplace.folder / "latency").exists()
    assert call(capsys, "latency", "check", "--dry-run")[0] == 0


def test_without_a_name_the_space_is_that_of_the_newest_supernet_run(finished, monkeypatch):
    monkeypatch.chdir(finished.place.folder)
    assert flow.space_of(None, None).name == flow.space_of(None, "tiny").name == "tiny"
    assert flow.space_of("demo", None).name == "demo"
    with pytest.raises(UsageError, match="there is no run 'other'"):
        flow.space_of(None, "other")


def test_the_check_times_here_and_in_fresh_processes(capsys):
    asked = []

    def timer(place):
        def time_nets(archs, conditions):
            asked.append(place)
            return measure_here(archs, conditions)

        return time_nets

    found = quiet.check(
        device="cpu",
        progress=SilentProgress(),
        time_nets=timer("here"),
        time_fresh=timer("fresh"),
        busy=lambda _conditions: ("another program",),
    )
    assert asked == ["here"] * quiet.HERE + ["fresh"] * quiet.FRESH
    plain = found.to_plain()
    assert len(plain["here_ms"]) == quiet.HERE
    assert plain["claim"] in (0.01, 0.03, 0.10, None)
    assert "Something else uses it (another program)" in plain["verdict"]
    assert plain["busy"] == ["another program"]


@pytest.mark.parametrize(
    ("fresh_ms", "words"),
    [
        ((5.0, 5.0), ("quiet enough for claims of 1%", "load 0.1 on 2 cores")),
        ((5.0, 5.2), ("quiet enough for claims of 10%",)),
        ((5.0, 9.0), ("not quiet enough for any claim",)),
    ],
)
def test_the_check_says_which_claims_hold(fresh_ms, words, capsys, monkeypatch):
    found = Steadiness(here_ms=(5.0,) * 6, fresh_ms=fresh_ms, half_width=0.004, load=0.1, cores=2)
    real = quiet.check(device="cpu", dry_run=True, progress=SilentProgress())
    result = quiet.CheckResult(arch=real.arch, conditions=real.conditions, steadiness=found)
    monkeypatch.setattr(quiet, "check", lambda **_options: result)
    code, out, _err = call(capsys, "latency", "check")
    assert code == 0
    for word in (*words, "drift", "between processes"):
        assert word in out

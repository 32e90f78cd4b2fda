"""The files of the report: one offline page with everything escaped, a PNG and a CSV from the same rows."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from fake_run_folder import build_run

from posesearch.errors import EnvironmentFault
from posesearch.report import write_report
from posesearch.report.assets import script_json
from posesearch.report.read import read_run
from posesearch.report.style import DARK

EVIL = '</script><img src=x onerror="alert(1)">&'


class Outline(HTMLParser):
    """Tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: dict[str, str] = {}
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = (dict(attrs).get("id") or tag) if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts[self._inside] = self.scripts.get(self._inside, "") + data
        else:
            self.text += data


@pytest.fixture(scope="module")
def outline(full_run: Path) -> Outline:
    return Outline(write_report(full_run).html.read_text(encoding="utf-8"))


def test_files_and_summary(full_run: Path) -> None:
    files = write_report(full_run)
    assert (files.html, files.png, files.csv) == (
        full_run / "report.html",
        full_run / "front.png",
        full_run / "front.csv",
    )
    assert files.summary.startswith("The best pick reaches AP ")
    assert files.html.stat().st_size < 6_000_000
    assert not list(full_run.glob("*.tmp")) and not list(full_run.glob(".*.tmp"))


def test_page_needs_no_network(outline: Outline) -> None:
    for tag, attributes in outline.tags:
        for name in ("src", "href", "action", "data", "srcset"):
            address = attributes.get(name) or ""
            assert not address or address.startswith(("#", "data:")), (tag, address)
    policy = next(a["content"] for _, a in outline.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none';") and "http" not in policy
    assert "@import" not in outline.scripts["style"] and "url(" not in outline.scripts["style"]


def test_every_figure_has_titled_axes_and_a_takeaway(outline: Outline) -> None:
    figures = json.loads(outline.scripts["figures"])
    assert list(figures) == [
        "figure-front",
        "figure-models",
        "figure-history",
        "figure-choices",
        "figure-breakdown",
        "figure-supernet-loss",
        "figure-supernet-ap",
        "figure-retraining-loss",
        "figure-retraining-ap",
    ]
    ids = {attributes.get("id"): attributes for _, attributes in outline.tags}
    for key, figure in figures.items():
        for axis in ("xaxis", "yaxis"):
            assert figure["layout"][axis]["title"]["text"], key
        assert len(ids[key].get("aria-label") or "") > 40
    front = figures["figure-front"]["layout"]
    assert front["xaxis"]["title"]["text"] == "measured latency of one image, median (ms)"
    assert front["yaxis"]["title"]["text"] == "supernet AP on the search split (0 to 1)"


def test_front_figure_names_picks_budget_and_presets(outline: Outline, full_run: Path) -> None:
    figure = json.loads(outline.scripts["figures"])["figure-front"]
    notes = " ".join(note["text"] for note in figure["layout"]["annotations"])
    for word in ("fastest", "knee", "best", "budget 3.5 ms", "starnet-pose-t", "starnet-pose-s", "↖ better"):
        assert word in notes
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == [3.5]
    traces = {trace["name"]: trace for trace in figure["data"]}
    rows = read_run(full_run)
    assert traces["Pareto front"]["y"] == [point.ap for point in rows.front]
    for point, told in zip(rows.front, traces["Pareto front"]["hovertext"], strict=True):
        assert point.code in told and " MACs" in told and "AP 0." in told and " ms [" in told
    over = traces["over budget: timed, AP not evaluated"]
    assert len(over["x"]) == sum(not point.feasible for point in {p.arch_id: p for p in rows.points}.values())
    assert traces["preset, same supernet and device"]["marker"]["symbol"] == "diamond"


def test_every_colour_has_a_dark_twin(outline: Outline) -> None:
    assert json.loads(outline.scripts["dark"]) == DARK
    colours = set(re.findall(r"#[0-9a-fA-F]{6}", outline.scripts["figures"]))
    assert colours and colours <= DARK.keys()


def test_picks_models_and_limits_are_text(outline: Outline, full_run: Path) -> None:
    rows = read_run(full_run)
    ids = [attributes.get("id") for _, attributes in outline.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for tag, attributes in outline.tags if tag == "a"]
    assert links == [f"#arch-{point.arch_id}" for point in rows.front if rows.pick_names(point.arch_id)]
    assert {link[1:] for link in links if link} <= set(ids)
    for point in rows.front:
        assert point.code in outline.text
    for words in (
        "Ranking quality is not established",
        "What to do next",
        "posesearch report: full",
        "Computed costs, not measured latency",
        "retrained AP: val split, 600 persons, ground-truth boxes",
    ):
        assert words in outline.text


def test_everything_is_escaped(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", asks=30, name=EVIL)
    for file in (
        run / "search" / "result.json",
        run / "search" / "candidates.jsonl",
        run / "models" / "S.json",
    ):
        marked = file.read_text().replace('"code": "', f'"code": {json.dumps(EVIL)[:-1]}')
        file.write_text(marked.replace('"device": "', f'"device": {json.dumps(EVIL)[:-1]}'))
    page = Outline(write_report(run).html.read_text(encoding="utf-8"))
    assert EVIL in page.text
    assert not [attributes for _, attributes in page.tags if "onerror" in attributes]
    assert [tag for tag, _ in page.tags].count("script") == 4
    figure = json.loads(page.scripts["figures"])["figure-front"]
    front = next(trace for trace in figure["data"] if trace["name"] == "Pareto front")
    assert all("&lt;img" in told and "<img" not in told for told in front["hovertext"])


def test_script_json_cannot_end_its_element() -> None:
    text = script_json({"a": "</script><!--", "b": "\u2028"})
    assert "<" not in text and "\u2028" not in text
    assert json.loads(text) == {"a": "</script><!--", "b": "\u2028"}


def test_csv_is_the_front(full_run: Path) -> None:
    rows = read_run(full_run)
    files = write_report(full_run)
    assert files.csv is not None
    table = pd.read_csv(io.StringIO(files.csv.read_text()))
    assert list(table.columns) == [
        "rank", "pick", "reference", "supernet_ap", "latency_p50_ms", "latency_ci_low_ms", "latency_ci_high_ms",
        "latency_p90_ms", "fps", "latency_confirmed", "noisy", "params", "macs", "arch_id", "code",
        "predicted_latency_ms",
    ]  # fmt: skip
    front = table[table["rank"].notna()]
    assert list(front["supernet_ap"]) == pytest.approx([point.ap for point in rows.front])
    assert list(front["params"]) == [point.params for point in rows.front]
    assert list(front["fps"] * front["latency_p50_ms"]) == pytest.approx([1000.0] * len(front))
    assert list(table["reference"].dropna()) == ["starnet-pose-t", "starnet-pose-s"]
    assert set(front["pick"].dropna()) == {"fastest", "knee", "best"}


def test_png_is_a_whole_picture(full_run: Path) -> None:
    from matplotlib.image import imread

    files = write_report(full_run)
    assert files.png is not None
    pixels = imread(files.png)
    assert pixels.shape == (896, 1440, 4)
    # Budget, front and presets are there in their colours.
    for colour in ((0xC8, 0x45, 0x0A), (0x0B, 0x62, 0xD6), (0x7A, 0x3F, 0xC9)):
        assert (abs(pixels[..., :3] * 255 - colour).max(axis=-1) < 3).sum() > 50


@pytest.mark.parametrize(
    ("stages", "files", "words"),
    [
        ({"search": False}, ["report.html"], "posesearch search --latency-ms 3.5 --run run"),
        ({"finished": False}, ["front.csv", "front.png", "report.html"], "Pareto front (provisional)"),
        ({"budget_ms": 0.5}, ["front.png", "report.html"], "No architecture was measured within 0.5 ms"),
        (
            {"asks": 6, "models": False},
            ["front.csv", "front.png", "report.html"],
            "Too few evaluations to say",
        ),
    ],
)
def test_runs_cut_short_still_report(
    tmp_path: Path, stages: dict[str, object], files: list[str], words: str
) -> None:
    run = build_run(tmp_path / "run", **{"asks": 30, **stages})  # type: ignore[arg-type]
    before = {file.name for file in run.iterdir()}
    written = write_report(run)
    assert sorted({file.name for file in run.iterdir()} - before) == files
    assert (written.png is not None, written.csv is not None) == ("front.png" in files, "front.csv" in files)
    assert words in written.html.read_text(encoding="utf-8")


def test_files_of_an_older_search_do_not_stay(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", asks=30)
    first = write_report(run)
    assert first.png is not None and first.csv is not None
    for file in (run / "search").iterdir():
        file.unlink()
    again = write_report(run)
    assert (again.png, again.csv) == (None, None)
    assert not first.png.exists() and not first.csv.exists()
    (run / "front.png").mkdir()
    with pytest.raises(EnvironmentFault, match=r"cannot remove .*front\.png, which shows an earlier search"):
        write_report(run)


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", search=False)
    (run / "report.html").mkdir()
    with pytest.raises(EnvironmentFault, match=r"cannot write .*report\.html"):
        write_report(run)
    assert not list(run.glob(".*.tmp"))


def test_importing_the_report_is_cheap() -> None:
    code = (
        "import sys, posesearch.report; "
        "print([m for m in ('plotly', 'pandas', 'matplotlib', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

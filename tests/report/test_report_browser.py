"""The page in a real browser: it draws, says nothing in the console, and fits a phone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_predictions import searched_by_table
from fake_run_folder import build_run

from posesearch.report import write_report
from posesearch.report.read import read_run

pytestmark = pytest.mark.browser

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
    "--virtual-time-budget=8000",
)


@pytest.fixture(scope="session")
def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("no Chromium on this machine")


def browse(chromium: str, page: Path, profile: Path, *flags: str) -> tuple[str, list[str]]:
    """Returns the DOM after the scripts ran, and what the page wrote to the console."""
    command = [chromium, *FLAGS, *flags, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_full_report_draws_without_a_word(chromium: str, full_run: Path, tmp_path: Path, scheme: str) -> None:
    flags = ["--window-size=1280,2000"]
    flags += ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    dom, console = browse(chromium, write_report(full_run).html, tmp_path, *flags)
    assert console == []
    assert 'data-ready="yes"' in dom
    body = re.sub(r"<script.*?</script>", "", dom, flags=re.DOTALL)
    assert body.count('class="main-svg"') >= 9
    for title in (
        "measured latency of one image, median (ms)",
        "supernet AP on the search split (0 to 1)",
        "evaluations within budget (number)",
        "share of variance explained (%)",
        "share of counted cost (%)",
        "epoch",
    ):
        assert re.search(rf'class="[xy]title"[^>]*>{re.escape(title)}<', body), title
    for label in ("fastest", "knee", "best", "budget 3.5 ms", "starnet-pose-t", "↖ better"):
        assert re.search(rf'class="annotation-text"[^>]*>(<tspan[^>]*>)*{label}', body), label
    # The front's line takes the colour of the scheme.
    assert ("rgb(98, 170, 255)" in body) == (scheme == "dark")
    assert ("rgb(11, 98, 214)" in body) == (scheme == "light")
    for point in read_run(full_run).front:
        assert f'id="arch-{point.arch_id}"' in body


@pytest.mark.parametrize("stages", [{"search": False}, {"finished": False}, {"budget_ms": 0.5}])
def test_reports_cut_short_draw_without_a_word(
    chromium: str, tmp_path: Path, stages: dict[str, object]
) -> None:
    run = build_run(tmp_path / "run", **{"asks": 25, **stages})  # type: ignore[arg-type]
    dom, console = browse(chromium, write_report(run).html, tmp_path / "profile")
    assert console == []
    assert 'data-ready="yes"' in dom


def test_a_search_by_table_draws_its_sections(chromium: str, tmp_path: Path) -> None:
    run = build_run(tmp_path / "run", asks=40)
    dom, console = browse(chromium, write_report(run, searched_by_table(run)).html, tmp_path / "profile")
    assert console == []
    body = re.sub(r"<script.*?</script>", "", dom, flags=re.DOTALL)
    for title in ("predicted latency, median (ms)", "measured against predicted (%)", "latency, median (ms)"):
        assert re.search(rf'class="[xy]title"[^>]*>{re.escape(title)}<', body), title
    assert "What limits the speed" in body


def test_nothing_is_wider_than_a_phone(chromium: str, tmp_path: Path) -> None:
    # Chromium's window is never under 500 pixels wide, a frame can be; the probe reports what sticks out of it
    # (of the drawings only their texts: marks outside the shown range are clipped away).
    run = build_run(tmp_path / "run", asks=160)
    page = write_report(run, searched_by_table(run)).html.read_text(encoding="utf-8")
    probe = """<script>setTimeout(() => {
      const edge = document.documentElement.clientWidth;
      const wide = [...document.querySelectorAll('main *:not(svg *), main text')].filter(item =>
        !item.closest('.scroll, .next code') && item.getBoundingClientRect().right > edge + 1);
      const names = wide.map(item => item.tagName + '.' + (item.getAttribute('class') ?? '')).join(' ');
      console.log(`edge ${edge}, page ${document.documentElement.scrollWidth}, out: [${names}]`);
    }, 3000)</script></body>"""
    (tmp_path / "page.html").write_text(page.replace("</body>", probe), encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text('<iframe src="page.html" style="width:390px;height:4000px;border:0"></iframe>')
    _, console = browse(chromium, frame, tmp_path / "profile", "--window-size=800,4200")
    assert len(console) == 1
    assert "edge 390, page 390, out: []" in console[0]


def test_the_harness_sees_errors_and_requests(chromium: str, full_run: Path, tmp_path: Path) -> None:
    page = write_report(full_run).html.read_text(encoding="utf-8")
    broken = tmp_path / "broken.html"
    broken.write_text(
        page.replace("</body>", "<img src='https://example.org/x.png'><script>undefined.x</script></body>"),
        encoding="utf-8",
    )
    _, console = browse(chromium, broken, tmp_path / "profile")
    assert any("Content Security Policy" in line for line in console)
    assert any("TypeError" in line for line in console)

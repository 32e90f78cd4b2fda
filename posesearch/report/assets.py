"""The page's own style sheet and script: small, with no address to fetch anything from."""

from __future__ import annotations

import json

from posesearch.report.style import BUDGET, DARK, FONT, FRONT, GRID, INK, MUTED, PAPER, REFERENCE

CONTENT_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'"
"""The browser itself refuses every request, so that the page cannot come to need a network unnoticed."""

_TOKENS = {
    "ink": INK,
    "muted": MUTED,
    "paper": PAPER,
    "line": GRID,
    "front": FRONT,
    "reference": REFERENCE,
    "budget": BUDGET,
}

_RULES = """
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 FONT; }
main { max-width: 1160px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; line-height: 1.3; margin: 0 0 4px; }
section { margin-top: 44px; }
p { margin: 0 0 8px; max-width: 75ch; overflow-wrap: anywhere; }
.lead { color: var(--muted); }
.takeaway { font-weight: 600; max-width: 85ch; }
td code { display: inline-block; min-width: 12em; white-space: normal; overflow-wrap: anywhere; }
td.text { white-space: normal; }
.note { color: var(--muted); font-size: .86rem; margin-top: 6px; max-width: 95ch; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); gap: 12px; margin: 20px 0 0; }
.card { display: block; border: 1px solid var(--line); border-top: 3px solid var(--front); border-radius: 8px;
  padding: 12px 14px; color: inherit; text-decoration: none; }
a.card:hover, a.card:focus-visible { border-color: var(--front); }
.card b { display: block; font-size: 1.5rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card small { color: var(--muted); display: block; overflow-wrap: anywhere; }
.card .name { font-weight: 600; text-transform: capitalize; }
.figure { width: 100%; margin-top: 8px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 0 28px; }
.pair section { min-width: 0; }
.scroll { overflow-x: auto; margin-top: 8px; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
th { font-weight: 600; color: var(--muted); }
.text { text-align: left; }
tr.pick td { font-weight: 600; }
tr.pick td:first-child { box-shadow: inset 3px 0 var(--front); }
tr.reference td { color: var(--reference); }
tr:target td { background: color-mix(in srgb, var(--front) 14%, transparent); }
code { font: .92em ui-monospace, 'SF Mono', Menlo, Consolas, monospace; }
.next { border-left: 3px solid var(--front); padding: 2px 0 2px 14px; }
.next code { display: block; overflow-x: auto; white-space: nowrap; padding: 4px 0; user-select: all; }
ul { margin: 4px 0 0; padding-left: 20px; } li { max-width: 75ch; margin-bottom: 4px; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; font-size: .86rem; margin: 4px 0 0; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
noscript img { max-width: 100%; }
@media (max-width: 560px) {
  main { padding: 16px 14px 40px; } section { margin-top: 34px; } h1 { font-size: 1.35rem; }
  .cards { grid-template-columns: 1fr; gap: 8px; } td code { white-space: nowrap; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 6px; }
}
@media print {
  main { max-width: none; padding: 0; } section { break-inside: avoid; margin-top: 24px; }
  .scroll { overflow: visible; border: 0; } th, td { white-space: normal; padding: 3px 6px; font-size: .7rem; }
  td code { overflow-wrap: anywhere; }
}
"""

SCRIPT = """
(() => {
  'use strict';
  const figures = JSON.parse(document.getElementById('figures').textContent);
  const dark = JSON.parse(document.getElementById('dark').textContent);
  const wantsDark = matchMedia('(prefers-color-scheme: dark)');
  const recolour = value => typeof value === 'string' ? (dark[value] ?? value)
    : Array.isArray(value) ? value.map(recolour)
    : value && typeof value === 'object'
      ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, recolour(item)])) : value;
  const draw = (id, printing) => {
    const box = document.getElementById(id);
    const narrow = !printing && box.clientWidth < 560;
    const figure = wantsDark.matches && !printing ? recolour(figures[id]) : structuredClone(figures[id]);
    const layout = figure.layout;
    // On a phone a finger must scroll the page, not zoom the plot; labels and margins shrink.
    layout.dragmode = narrow ? false : 'zoom';
    if (narrow) {
      layout.font.size = 11;
      layout.margin.l = 40;
      layout.margin.r = 6;
      for (const note of layout.annotations ?? []) Object.assign(note, layout.meta?.phone?.[note.name]);
    }
    if (printing) layout.width = 680;
    if (printing || box.clientWidth < 760)
      for (const note of layout.annotations ?? []) if (note.name) note.text = note.name;
    Plotly.react(box, figure.data, layout,
      { responsive: !printing, displayModeBar: false });
  };
  const ids = Object.keys(figures);
  const drawAll = printing => ids.forEach(id => draw(id, printing));
  const drawNext = index => {
    if (index >= ids.length) { document.body.dataset.ready = 'yes'; return; }
    draw(ids[index], false);
    setTimeout(() => drawNext(index + 1), 0);
  };
  drawNext(0);
  wantsDark.addEventListener('change', () => drawAll(false));
  addEventListener('beforeprint', () => drawAll(true));
  addEventListener('afterprint', () => drawAll(false));
})();
"""


def style_sheet() -> str:
    """Returns the CSS: light by default and in print, dark where the reader's system is."""
    light = "; ".join(f"--{name}: {colour}" for name, colour in _TOKENS.items())
    night = "; ".join(f"--{name}: {DARK[colour]}" for name, colour in _TOKENS.items())
    return (
        f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {night} }} }}"
        + _RULES.replace("FONT", FONT)
    )


def script_json(value: object) -> str:
    """Returns JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")

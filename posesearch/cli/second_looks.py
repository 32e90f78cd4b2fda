"""What a second look gave: the front before and after a refinement, and how a short list decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from posesearch.cli.output import Grid, counted, number

Row = Mapping[str, Any]


def refined_lines(result: Row) -> tuple[str, ...]:
    """Returns one sentence on the weights a front was found with; nothing where they are the supernet's own.

    Args:
        result: The content of `result.json`.
    """
    refined = result.get("refined")
    if not refined:
        return ()
    before: Mapping[str, float] = refined.get("ap_before") or {}
    front: Sequence[Row] = [row for row in result.get("front") or () if row["arch_id"] in before]
    told = (
        f"Found with weights refined for {counted(refined['epochs'], 'epoch')} on {refined['front']} networks of the front "
        f"before and {refined['visited']} others that were visited."
    )
    if front:
        means = [
            sum(figures) / len(front)
            for figures in ([before[row["arch_id"]] for row in front], [row["AP"] for row in front])
        ]
        told += (
            f" AP of this front, mean: {means[0]:.3f} before, {means[1]:.3f} refined: the weights fit it better, which "
            "says little about retrained networks."
        )
    return (told,)


def shortlist_grids(table: Row | None) -> tuple[Grid, ...]:
    """Returns how each short list decided, as a table.

    Args:
        table: The content of `shortlist.json`; None gives no table.
    """
    if table is None:
        return ()
    right = ("#", "AP (supernet)", "AP (short)", "p50 ms")
    return tuple(
        Grid(
            title=f"Short list for {pick['name']} ({pick['pick']}), {counted(table['epochs'], 'epoch')} alone each",
            columns=(*right, "architecture", "note"),
            right=right,
            rows=tuple(
                (
                    str(row["rank"]),
                    number(row["AP_supernet"]),
                    number(row["AP_short"]),
                    number(row["latency_ms"], 2),
                    row["code"],
                    "picked" if row["chosen"] else "",
                )
                for row in pick["rows"]
            ),
            caption=(
                f"AP: search split, {counted(table['persons'], 'person')}; short: trained alone from the shared weights, "
                "one seed",
            ),
        )
        for pick in table["picks"]
    )

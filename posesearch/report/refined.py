"""What the page says of weights that were refined before the front was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posesearch.report.fields import integer, mapping, number
from posesearch.report.words import ap_text, counted


def refined_text(result: Mapping[str, Any]) -> str:
    """Returns one sentence; an empty one for a front of the supernet's own weights.

    Args:
        result: The content of `result.json`.

    Raises:
        DataError: An entry is damaged.
    """
    if not result.get("refined"):
        return ""
    where = "search result: refined"
    refined = mapping(result["refined"], where)
    before = mapping(refined.get("ap_before") or {}, f"{where}: ap_before")
    pairs = [
        (number(before, arch_id, where), row.get("AP"))
        for row in result.get("front") or ()
        if (arch_id := row.get("arch_id")) in before
    ]
    told = (
        f"refined for {counted(integer(refined, 'epochs', where) or 0, 'epoch')} on "
        f"{counted((integer(refined, 'front', where) or 0) + (integer(refined, 'visited', where) or 0), 'visited network')}"
    )
    if pairs:
        old, new = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
        told += f"; mean AP of the front {ap_text(old)} before, {ap_text(new)} after"
    return told

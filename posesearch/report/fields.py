"""Reading one field of a stored row: absent is None, of the wrong type is a message that names file and key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from posesearch.errors import DataError

_REMEDY = "The file was changed or written by another version; run the step that writes it again."


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    """Returns `value`, which must be a JSON object.

    Raises:
        DataError: It is something else.
    """
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: got {value!r:.60}, expected a JSON object. {_REMEDY}")
    return value


def rows_of(row: Mapping[str, Any], key: str, where: str) -> tuple[Mapping[str, Any], ...]:
    """Returns the list of JSON objects under `key`; empty when absent.

    Raises:
        DataError: It is no such list.
    """
    value = row.get(key) or []
    if not isinstance(value, list):
        raise DataError(f"{where}: {key} is {value!r:.60}, expected a list. {_REMEDY}")
    return tuple(mapping(item, f"{where}: {key}[{index}]") for index, item in enumerate(value))


def number(row: Mapping[str, Any], key: str, where: str) -> float | None:
    """Returns the number under `key`; None when absent, null or not finite.

    Raises:
        DataError: It is not a number.
    """
    value = row.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"{where}: {key} is {value!r:.60}, expected a number. {_REMEDY}")
    return float(value) if math.isfinite(value) else None


def integer(row: Mapping[str, Any], key: str, where: str) -> int | None:
    """Returns the number under `key` as an integer; None when absent.

    Raises:
        DataError: It is not a number.
    """
    value = number(row, key, where)
    return None if value is None else int(value)


def text(row: Mapping[str, Any], key: str) -> str:
    """Returns the value under `key` as text; empty when absent or null."""
    value = row.get(key)
    return "" if value is None else str(value)

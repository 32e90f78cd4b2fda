"""Columns of numbers out of lists of JSON records, with errors that name file, record and key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from posesearch.errors import DataError

Record = Mapping[str, object]


def number_column(
    records: Sequence[Record], key: str, *, source: str, width: int | None = None
) -> NDArray[np.float64]:
    """One finite number a record, or a list of `width` of them, as float64.

    Args:
        records: the records; those without trouble are read in one go.
        key: which entry.
        source: the file, for messages.
        width: length of the list; None for plain numbers.

    Raises:
        DataError: the first record where the entry is missing, of another kind or length, NaN or
            infinite.
    """
    return _column(records, key, source, width, "iuf", np.dtype(np.float64))


def id_column(records: Sequence[Record], key: str, *, source: str) -> NDArray[np.int64]:
    """One whole number a record.

    Raises:
        DataError: the first record where the entry is missing or no whole number.
    """
    return _column(records, key, source, None, "iu", np.dtype(np.int64))


def require(value: object, kind: type, what: str, source: str) -> None:
    """Refuses a JSON value of the wrong kind.

    Raises:
        DataError: the value is no `kind`.
    """
    if not isinstance(value, kind):
        wanted = "an object" if kind is dict else "a list"
        raise DataError(
            f"{source}: {what} is {type(value).__name__} {_short(value)}. It must be {wanted}. "
            "Check that this is the file you meant and that it was written completely."
        )


def _column(
    records: Sequence[Record], key: str, source: str, width: int | None, kinds: str, dtype: np.dtype
) -> NDArray:
    shape = () if width is None else (width,)
    if not records:
        return np.empty((0, *shape), dtype=dtype)
    try:
        column = np.asarray([record[key] for record in records])
    except (KeyError, TypeError, ValueError):
        # ValueError: lists of different lengths.
        _blame(records, key, source, shape, kinds)
    if (
        column.shape != (len(records), *shape)
        or column.dtype.kind not in kinds
        or not np.isfinite(column).all()
    ):
        _blame(records, key, source, shape, kinds)
    return column.astype(dtype)


def _blame(records: Sequence[Record], key: str, source: str, shape: tuple[int, ...], kinds: str) -> NoReturn:
    """Finds the first record whose entry is not as wanted."""
    one = "a finite number" if "f" in kinds else "a whole number"
    wanted = f"a list of {shape[0]} finite numbers" if shape else one
    for position, record in enumerate(records):
        require(record, dict, f"entry {position}", source)
        name = f"entry {position}" + (f" (id {record['id']})" if "id" in record else "")
        if key not in record:
            raise DataError(
                f'{source}: {name} has no "{key}". It must be {wanted}. Add it or remove the entry.'
            )
        try:
            value = np.asarray(record[key])
        except ValueError:
            value = np.asarray(None)
        if value.shape != shape or value.dtype.kind not in kinds or not np.isfinite(value).all():
            raise DataError(
                f'{source}: "{key}" of {name} is {_describe(record[key])}. It must be {wanted}. '
                "Correct or remove the entry."
            )
    raise DataError(
        f'{source}: the "{key}" entries mix kinds of numbers. Each must be {wanted}. Correct them.'
    )


def _describe(value: object) -> str:
    if isinstance(value, list):
        return f"a list of {len(value)}: {_short(value)}"
    return _short(value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

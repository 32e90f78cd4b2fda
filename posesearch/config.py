"""From plain values to a frozen dataclass: strictly, and with every fault named at once."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, Union, cast

from posesearch.errors import ConfigError, DataError, UsageError, did_you_mean

T = TypeVar("T")


def parse(cls: type[T], values: Any, source: str) -> T:
    """Builds the frozen dataclass `cls` from plain values, checking every key and type.

    Args:
        cls: A dataclass whose fields are scalars, literals, tuples, mappings or further dataclasses.
        values: What the file held.
        source: The file's name, for the messages.

    Raises:
        ConfigError: Lists every unknown key, missing key and wrong type at once.
    """
    problems: list[str] = []
    result = _build(cls, values, "", problems)
    if problems:
        raise ConfigError(source, problems)
    return cast("T", result)


_FAILED: Any = object()


def _build(expected: Any, value: Any, key: str, problems: list[str]) -> Any:
    origin = typing.get_origin(expected)
    if dataclasses.is_dataclass(expected) and isinstance(expected, type):
        return _build_dataclass(expected, value, key, problems)
    if origin in (Union, types.UnionType):
        options = typing.get_args(expected)
        if value is None and type(None) in options:
            return None
        return _build(next(option for option in options if option is not type(None)), value, key, problems)
    if origin is typing.Literal:
        choices = typing.get_args(expected)
        if value in choices and not isinstance(value, bool):
            return value
        hint = (
            " YAML reads off/no as false: put the word in quotes."
            if isinstance(value, bool)
            else did_you_mean(str(value), map(str, choices))
        )
        return _fail(problems, f"{key}: got {value!r}, expected one of {', '.join(map(str, choices))}.{hint}")
    if origin is tuple:
        return _build_tuple(expected, value, key, problems)
    if origin in (dict, Mapping) or expected is dict:
        return (
            dict(value)
            if isinstance(value, Mapping)
            else _fail(problems, f"{key}: got {value!r}, expected keys and values.")
        )
    return _build_scalar(expected, value, key, problems)


def _fail(problems: list[str], text: str) -> Any:
    problems.append(text)
    return _FAILED


def _build_dataclass(cls: type, value: Any, key: str, problems: list[str]) -> Any:
    where = key or "top level"
    if not isinstance(value, Mapping):
        return _fail(problems, f"{where}: got {value!r}, expected keys and values.")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    hints = typing.get_type_hints(cls)
    found = len(problems)
    complete = True
    built: dict[str, Any] = {}
    for name, item in value.items():
        full = f"{key}.{name}" if key else str(name)
        if name not in fields:
            problems.append(
                f"{full}: unknown key.{did_you_mean(str(name), fields)} Allowed here: {', '.join(fields)}."
            )
        else:
            built[name] = _build(hints[name], item, full, problems)
    for name, field in fields.items():
        if (
            name not in value
            and field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ):
            problems.append(f"{f'{key}.{name}' if key else name}: missing; it has no default.")
            complete = False
    if not complete or any(item is _FAILED for item in built.values()):
        return _FAILED
    try:  # beside unknown keys the others are still checked together
        result = cls(**built)
    except ConfigError as error:
        problems.extend(f"{key}.{problem}" if key else problem for problem in error.problems)
        return _FAILED
    return _FAILED if len(problems) > found else result


def _build_tuple(expected: Any, value: Any, key: str, problems: list[str]) -> Any:
    items = typing.get_args(expected)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return _fail(problems, f"{key}: got {value!r}, expected a list like [1, 2].")
    if len(items) == 2 and items[1] is Ellipsis:
        kinds: list[Any] = [items[0]] * len(value)
    elif len(items) != len(value):
        return _fail(problems, f"{key}: got {len(value)} entries ({value!r}), expected {len(items)}.")
    else:
        kinds = list(items)
    built = [
        _build(kind, item, f"{key}[{index}]", problems)
        for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
    ]
    return _FAILED if any(item is _FAILED for item in built) else tuple(built)


def _build_scalar(expected: Any, value: Any, key: str, problems: list[str]) -> Any:
    if expected is Any:
        return value
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, bool) is (expected is bool) and isinstance(value, expected):
        return value
    hint = ""
    if expected in (float, int) and isinstance(value, str) and _number(value) is not None:
        hint = f" YAML 1.1 reads {value} as text: write {_number(value)!r}."
    elif expected is str and isinstance(value, bool):
        hint = " YAML 1.1 reads yes/no/on/off as true/false: put the word in quotes."
    elif expected is bool and isinstance(value, str):
        hint = " Write true or false without quotes."
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return _fail(problems, f"{key}: got {value!r}, expected {words.get(expected, expected)}.{hint}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def apply_overrides(value: T, overrides: Sequence[str], source: str = "--set") -> T:
    """Returns `value` with `a.b=c` overrides applied, each checked like a key of the file.

    Raises:
        UsageError: An override is not of the form key=value.
        ConfigError: Unknown keys or wrong types.
    """
    plain = to_plain(value)
    for override in overrides:
        name, separator, text = override.partition("=")
        if not separator or not name.strip():
            raise UsageError(
                f"{source} '{override}' is not of the form key=value. Example: {source} optimizer.lr=0.002"
            )
        *parents, last = name.strip().split(".")
        place = plain
        for depth, parent in enumerate(parents):
            if not isinstance(place.get(parent), dict):
                here = ".".join(parents[: depth + 1])
                if parent in place:
                    raise ConfigError(
                        source, [f"{name.strip()}: '{here}' is one value without keys. Write {here}=VALUE."]
                    )
                raise ConfigError(
                    source,
                    [f"{here}: unknown key.{did_you_mean(parent, place)} Allowed here: {', '.join(place)}."],
                )
            place = place[parent]
        place[last] = _literal(text.strip())
    return parse(type(value), plain, source)


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        number = _number(text)
        return number if number is not None else text


def to_plain(value: Any) -> Any:
    """Returns dataclasses as dicts and tuples as lists, ready for JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.init
        }
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return value


def parse_stored(cls: type[T], values: Any, source: str) -> T:
    """Like `parse`, for what posesearch itself has written: faults mean a damaged file, so a DataError is raised."""
    try:
        return parse(cls, values, source)
    except ConfigError as error:
        raise DataError(
            f"{error}\nThe file was changed or written by another version of posesearch."
        ) from error

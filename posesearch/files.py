"""Writing files so that a kill, a full disk or a power cut never leaves half of one behind.

A whole file is written beside its target, flushed to the disk, then renamed over it: readers see the old
file or the new one. Logs (`.jsonl`) are appended line by line; a torn last line is ignored on reading and cut
off before the next append, so that it can never swallow the line after it.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from posesearch.errors import DataError, EnvironmentFault


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`; on success it is fsynced and renamed to `path`.

    Raises:
        EnvironmentFault: The disk is full or the folder cannot be written; an existing file stays as it was.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
        temporary.touch(exist_ok=False)
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        temporary = None
        _sync(path.parent)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot write {path}: {error.strerror or error}. The file that was there before is unchanged. "
            "Free some space or choose a folder you can write to, then run the same command again."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Writes `data` to `path`, all of it or nothing."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text_atomic(path: Path, text: str) -> None:
    """Writes `text` as UTF-8 to `path`, all of it or nothing."""
    write_bytes_atomic(path, text.encode("utf-8"))


def to_json(value: Any) -> Any:
    """Returns `value` with NaN and infinities replaced by None, so that every reader accepts the JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)) and getattr(value, "ndim", 0) == 0:
        return to_json(value.item())  # numpy and torch scalars
    return value


def write_json_atomic(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON to `path`, all of it or nothing."""
    write_text_atomic(path, json.dumps(to_json(value), indent=2, ensure_ascii=False) + "\n")


FETCH_AGAIN = "It may be cut off or half-downloaded: fetch or write it again."


def read_json(path: Path, what: str, remedy: str = FETCH_AGAIN) -> Any:
    """Reads a JSON file.

    Args:
        path: The file.
        what: What the file is, for the message ("annotation file", "run manifest").
        remedy: What to do about a file that is no JSON.

    Raises:
        DataError: The file is missing, unreadable, not UTF-8 or not JSON; the message gives the byte, or line and column.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{what} not found: {path}. Check the path.") from None
    except OSError as error:
        raise DataError(
            f"{what} {path} cannot be read: {error.strerror or error}. Check that it is a readable JSON file."
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{what} {path} cannot be read: byte 0x{error.object[error.start]:02x} at offset {error.start} is not UTF-8. "
            f"Allowed: JSON in UTF-8. Save it as UTF-8 if another program wrote it. {remedy}"
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{what} {path} is not valid JSON (line {error.lineno}, column {error.colno}: {error.msg}). {remedy}"
        ) from error
    except RecursionError:
        raise DataError(f"{what} {path} is nested too deeply to be a real {what}. Check the file.") from None


def read_json_object(path: Path, what: str, remedy: str = FETCH_AGAIN) -> dict[str, Any]:
    """Reads a JSON file that holds one object.

    Raises:
        DataError: As for `read_json`, or it holds something else.
    """
    value = read_json(path, what, remedy)
    if not isinstance(value, dict):
        raise DataError(f"{what} {path} holds a {type(value).__name__}. Allowed: a JSON object. {remedy}")
    return value


def append_jsonl(path: Path, row: Mapping[str, Any]) -> int:
    """Appends one line to a JSON-lines log, first cutting off a torn last line left by a crash.

    Several processes may append to one log: the file is locked meanwhile, so that none takes the unfinished line of
    another for a torn one.

    Returns:
        The length of the line in bytes.

    Raises:
        EnvironmentFault: The disk is full or the file cannot be written or locked.
    """
    line = (json.dumps(to_json(row), ensure_ascii=False) + "\n").encode("utf-8")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)  # ends when the file is closed
            size = stream.seek(0, os.SEEK_END)
            if size:
                stream.seek(size - 1)
                if stream.read(1) != b"\n":
                    stream.seek(0)
                    stream.truncate(stream.read().rfind(b"\n") + 1)
            stream.write(line)
    except OSError as error:
        raise EnvironmentFault(
            f"cannot append to {path}: {error.strerror or error}. Earlier lines are unchanged. "
            "Free some space, then run the same command again."
        ) from error
    return len(line)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a JSON-lines log; a missing file is an empty log, a torn last line is left out.

    Raises:
        DataError: A line before the last one is not JSON, or a line is no object.
    """
    try:
        text = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    rows: list[dict[str, Any]] = []
    lines = text.split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            if number == len(lines):
                break
            raise DataError(
                f"{path}, line {number} is not valid JSON. Delete that line and run again."
            ) from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number} is no JSON object. Delete that line and run again.")
        rows.append(row)
    return rows

"""Files: what a crash, a full disk or a torn line leaves behind."""

import errno
import json
import math
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from posesearch.errors import DataError, EnvironmentFault
from posesearch.files import (
    append_jsonl,
    atomic_path,
    read_json,
    read_jsonl,
    write_bytes_atomic,
    write_json_atomic,
    write_text_atomic,
)

ROWS = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "name": "ä → b"}, {"epoch": 3, "list": [1, 2]}]


def no_space(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_log_torn_at_every_byte_loses_only_the_torn_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for row in ROWS:
        append_jsonl(path, row)
    data = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        whole = sum(end <= length for end in ends)
        found = read_jsonl(path)
        # A line that is whole but for its newline may be read; half a line never.
        assert found[:whole] == ROWS[:whole]
        assert found in (ROWS[:whole], ROWS[: whole + 1])
        append_jsonl(path, {"next": length})
        assert read_jsonl(path) == [*ROWS[:whole], {"next": length}]
        assert path.read_bytes().count(b"\n") == whole + 1


def test_damaged_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"a": 1}\n{"b": \n{"c": 3}\n')
    with pytest.raises(DataError, match=r"line 2 is not valid JSON\. Delete that line"):
        read_jsonl(path)


def test_missing_log_is_empty(tmp_path):
    assert read_jsonl(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("function", ["write_bytes", "replace"])
def test_full_disk_keeps_the_old_file(tmp_path, monkeypatch, function):
    path = tmp_path / "a.bin"
    write_bytes_atomic(path, b"old")
    monkeypatch.setattr(Path, function, no_space)
    with pytest.raises(EnvironmentFault) as caught:
        write_bytes_atomic(path, b"new")
    monkeypatch.undo()
    assert f"cannot write {path}: No space left on device" in str(caught.value)
    assert "The file that was there before is unchanged" in str(caught.value)
    assert caught.value.exit_code == 5
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_full_disk_at_fsync_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    write_bytes_atomic(path, b"old")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(EnvironmentFault, match="No space left"):
        write_bytes_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_error_of_the_writer_leaves_nothing_and_stays_itself(tmp_path):
    path = tmp_path / "a.bin"
    with pytest.raises(KeyError), atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyError
    assert os.listdir(tmp_path) == []


def test_append_on_a_full_disk(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    append_jsonl(path, ROWS[0])
    monkeypatch.setattr(Path, "open", no_space)
    with pytest.raises(EnvironmentFault, match=r"cannot append to .* Earlier lines are unchanged"):
        append_jsonl(path, ROWS[1])
    monkeypatch.undo()
    assert read_jsonl(path) == ROWS[:1]


def test_append_cut_off_by_a_full_disk_is_repaired(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_jsonl(path, ROWS[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, hard))
    try:
        with pytest.raises(EnvironmentFault, match="cannot append"):
            append_jsonl(path, {"text": "x" * 10_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_jsonl(path) == ROWS[:1]
    append_jsonl(path, ROWS[1])
    assert read_jsonl(path) == ROWS[:2]


def test_readable_by_others_as_any_file(tmp_path):
    write_text_atomic(tmp_path / "a.txt", "x")
    (tmp_path / "b.txt").write_text("x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


def test_json_takes_numpy_torch_and_non_finite_numbers(tmp_path):
    path = tmp_path / "a.json"
    write_json_atomic(
        path,
        {
            "a": np.float32(0.5),
            "b": torch.tensor(3),
            "c": math.nan,
            "d": (1, math.inf),
            5: {"e": np.int64(2)},
        },
    )
    assert read_json(path, "file") == {"a": 0.5, "b": 3, "c": None, "d": [1, None], "5": {"e": 2}}
    assert "NaN" not in path.read_text()


def test_read_json_names_file_and_place(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(DataError, match=r"run manifest not found: .*a\.json"):
        read_json(path, "run manifest")
    path.write_text('{"a": 1,\n "b": ')
    with pytest.raises(DataError, match=r"not valid JSON \(line 2, column 7"):
        read_json(path, "run manifest")
    path.write_bytes(b'{"name": "caf\xe9"}')  # Latin-1
    with pytest.raises(
        DataError, match=r"a\.json cannot be read: byte 0xe9 at offset 13 is not UTF-8"
    ) as caught:
        read_json(path, "run manifest", "Restore it from a copy.")
    assert str(caught.value).endswith(
        "Allowed: JSON in UTF-8. Save it as UTF-8 if another program wrote it. Restore it from a copy."
    )
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"nested too deeply|not valid JSON"):
        read_json(path, "run manifest")
    with pytest.raises(DataError, match="cannot be read"):
        read_json(tmp_path, "run manifest")


def test_rows_survive_as_written(tmp_path):
    path = tmp_path / "deep" / "er" / "metrics.jsonl"
    for row in ROWS:
        append_jsonl(path, row)
    assert read_jsonl(path) == ROWS
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == ROWS


def test_several_writers_of_one_log_lose_no_line(tmp_path):
    path = tmp_path / "log.jsonl"

    def write(writer):
        # Longer than a buffer: written in several pieces, of which none must be taken for a torn line.
        return [append_jsonl(path, {"writer": writer, "row": row, "text": "x" * 20_000}) for row in range(40)]

    with ThreadPoolExecutor(4) as pool:
        lengths = [length for written in pool.map(write, range(4)) for length in written]
    rows = read_jsonl(path)
    assert sorted((row["writer"], row["row"]) for row in rows) == [
        (w, r) for w in range(4) for r in range(40)
    ]
    assert sum(lengths) == path.stat().st_size

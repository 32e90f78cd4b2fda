"""Bytes: the store is as large as the decoded images, calculations say that they are, a child tells its own peak."""

import json
import mmap
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
from bench_world import check_result, quick_context

from posesearch.bench import memory, memory_training
from posesearch.errors import EnvironmentFault


def test_quick_run_gives_every_ratio(people_dir):
    result = memory.run(quick_context(people_dir))
    check_result(
        result,
        "memory",
        ratios=("store", "expected_over_store", "sandwich"),
        goals=[("store", 1.0, True), ("sandwich", 1.05, True), ("coco_start_up_core_s", 110.0, True)],
    )
    assert result.ratios["store"] == result.ratios["expected_over_store"] == 1.0
    figures = result.figures
    assert figures["store"]["decoded_bytes"] > figures["store"]["file_bytes"] > 0
    assert figures["coco"]["full_images_bytes"] == pytest.approx(47.1e9, rel=0.01)
    assert figures["coco"]["crop_for_each_person_bytes"] == pytest.approx(22.1e9, rel=0.01)
    training = figures["training"]
    assert 0 < training["started_bytes"] <= training["with_images_bytes"] <= training["trained_bytes"]
    assert training["steps"] >= 1
    assert any("calculated, not measured" in note for note in result.notes)


def test_a_child_that_fails_says_why(tmp_path):
    with pytest.raises(EnvironmentFault) as caught:
        memory_training.train_in_child(tmp_path / "nothing", space="demo", persons=4, epochs=1, seed=0)
    text = str(caught.value)
    assert text.startswith("the training process ended with status 4. Its last lines:\n")
    assert "nothing" in text
    assert "run the same command again" in text


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_is_that_of_this_program():
    before = memory_training.peak_resident_bytes()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    assert resident <= before
    # Pages of its own: the heap may hold freed memory that is resident already.
    block = mmap.mmap(-1, before - resident + 2**25)
    np.frombuffer(block, dtype=np.uint8)[:] = 1
    grown = memory_training.peak_resident_bytes()
    del block
    assert grown >= before + 2**24
    # Linux keeps the line by pages each thread has not yet reported: it may fall by some hundred kilobytes.
    assert memory_training.peak_resident_bytes() >= grown - 2**22


def test_answer_is_one_document(people_dir, monkeypatch, capsys):
    request = {"data": str(people_dir), "space": "demo", "persons": 4, "epochs": 1, "seed": 0}
    monkeypatch.setattr(memory_training.sys, "stdin", _Text(json.dumps(request)))
    assert memory_training.main() == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["persons"] == 4
    assert answer["steps"] == 1


class _Text:
    def __init__(self, text):
        self.text = text

    def read(self):
        return self.text

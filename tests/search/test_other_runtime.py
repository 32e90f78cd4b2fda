"""The runtime beside: shown with each member of the front, deciding nothing, and never the reason a search fails."""

from __future__ import annotations

import pytest
from search_world import latency_of
from test_search import Messages, confirming, search

from posesearch.errors import DataError, EnvironmentFault, UsageError
from posesearch.search.outcome import read_outcome


@pytest.mark.parametrize("fault", [EnvironmentFault, UsageError, DataError])
def test_whatever_goes_wrong_there_the_result_stays(tiny_space, tmp_path, fault):
    def fails(archs):
        raise fault("ONNX Runtime computes something else than eager.")

    confirm, messages = confirming(), Messages()
    found = search(tiny_space, tmp_path, confirm=confirm, confirm_also=fails, progress=messages)
    assert found.front and all(member.confirmed_also == () for member in found.front)
    assert messages.texts[-1].startswith("search: no latencies in the other runtime: ONNX Runtime computes")
    asked = len(confirm.asked)
    again = search(tiny_space, tmp_path, confirm=confirm, confirm_also=fails)
    assert again == found and len(confirm.asked) == asked, "the claim itself is not measured again"


def test_it_is_added_once_it_works(tiny_space, tmp_path):
    confirm, also = confirming(), confirming(lambda arch: latency_of(arch) / 2, runtime="onnxruntime")
    first = search(tiny_space, tmp_path, confirm=confirm)
    asked = len(confirm.asked)
    found = search(tiny_space, tmp_path, confirm=confirm, confirm_also=also)
    assert len(confirm.asked) == asked
    assert [m.confirmed for m in found.front] == [m.confirmed for m in first.front]
    assert {m.confirmed_also[0].runtime for m in found.front} == {"onnxruntime"}
    assert read_outcome(tmp_path) == found


def test_references_have_it_as_well(tiny_space, tmp_path):
    also = confirming(lambda arch: latency_of(arch) / 2, runtime="onnxruntime")
    found = search(
        tiny_space, tmp_path, confirm=confirming(), confirm_also=also,
        references={"small": tiny_space.smallest(), "large": tiny_space.largest()},
    )  # fmt: skip
    assert [r.member.confirmed_also[0].runtime for r in found.references] == ["onnxruntime"] * 2
    (asked,) = also.asked
    assert len(asked) == len(set(asked)), "a reference on the front is measured once"
    assert read_outcome(tmp_path) == found

"""Training states and model files: round trips, and every way they can be wrong."""

import json
import pickle
import resource
import struct
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save as save_tensors

from posesearch.checkpoint import (
    HEADER_LIMIT_BYTES,
    ModelInfo,
    load_training_state,
    read_model_file,
    read_model_info,
    save_training_state,
    write_model_file,
)
from posesearch.errors import DataError, EnvironmentFault
from posesearch.keypoints import COCO17, SimCCCodec
from posesearch.models import PoseModel
from posesearch.models.modelfile import load_model

STATE = {"step": 7, "weights": {"a": torch.arange(6.0).view(2, 3)}, "nested": [1, (0.5, "x"), None]}


def info_of(arch, **changes):
    return replace(
        ModelInfo(
            kind="model",
            name="T",
            arch=arch.to_plain(),
            input_size=arch.input_size,
            skeleton=COCO17.to_plain(),
            codec=SimCCCodec.for_input(arch.input_size).to_plain(),
        ),
        **changes,
    )


@pytest.fixture
def model(tiny_space):
    torch.manual_seed(0)
    model = PoseModel(tiny_space.smallest(), seed=3)
    model(torch.randn(4, 3, *tiny_space.input_size))  # gives the running statistics values of their own
    return model


@pytest.fixture
def file(model, tmp_path):
    path = tmp_path / "T.safetensors"
    write_model_file(path, model.state_dict(), info_of(model.arch))
    return path


def test_training_state_round_trip(tmp_path):
    save_training_state(tmp_path / "checkpoint.pt", STATE)
    state = load_training_state(tmp_path / "checkpoint.pt")
    assert state["step"] == 7
    assert torch.equal(state["weights"]["a"], STATE["weights"]["a"])
    assert state["nested"] == STATE["nested"]


def test_cut_training_state_is_refused_at_any_length(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_training_state(path, STATE)
    data = path.read_bytes()
    for length in {0, 1, 3, 4, 30, 100, len(data) // 2, len(data) - 100, len(data) - 1}:
        path.write_bytes(data[:length])
        with pytest.raises(
            DataError, match=r"checkpoint .* cannot be used: .*Delete it to train from the start"
        ):
            load_training_state(path)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_flipped_bit_never_escapes_as_another_error(tmp_path_factory, place, bit):
    path = tmp_path_factory.mktemp("flip") / "checkpoint.pt"
    save_training_state(path, STATE)
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    try:
        state = load_training_state(path)
    except DataError:
        return
    # Padding and zip bookkeeping may be hit without harm, the numbers never.
    assert torch.equal(state["weights"]["a"], STATE["weights"]["a"])


class Bomb:
    def __reduce__(self):
        return (print, ("this must never be printed",))


@pytest.mark.parametrize("content", [b"", b"hello", b'{"a": 1}', pickle.dumps(Bomb())])
def test_foreign_files_are_no_checkpoints(tmp_path, content, capsys):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(DataError, match="it is not a posesearch checkpoint"):
        load_training_state(path)
    assert capsys.readouterr().out == ""


def test_checkpoint_cannot_run_code(tmp_path, capsys):
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": "posesearch training state 1", "bomb": Bomb()}, path)
    with pytest.raises(DataError, match="cut off or damaged"):
        load_training_state(path)
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(DataError, match="it is not a posesearch checkpoint"):
        load_training_state(path)
    assert capsys.readouterr().out == ""


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(DataError, match="not found"):
        load_training_state(tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match="is a folder, not a file"):
        read_model_file(tmp_path)


@pytest.fixture
def full_disk():
    """No file may grow beyond 64 kB: the nearest to a full disk that a test can do without rights."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_leaves_the_old_checkpoint(tmp_path, full_disk):
    path = tmp_path / "checkpoint.pt"
    save_training_state(path, STATE)
    before = path.read_bytes()
    with pytest.raises(EnvironmentFault) as caught:
        save_training_state(path, {"weights": torch.zeros(100_000)})
    assert f"cannot write {path}" in str(caught.value)
    assert "unchanged" in str(caught.value)
    assert caught.value.exit_code == 5
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_full_disk_leaves_the_old_model(file, model, full_disk):
    before = file.read_bytes()
    with pytest.raises(EnvironmentFault, match=r"cannot write .* unchanged"):
        write_model_file(file, {"big": torch.zeros(100_000)}, info_of(model.arch))
    assert file.read_bytes() == before


def test_model_file_round_trip(file, model, tiny_space):
    loaded = load_model(file)
    assert not loaded.training
    assert loaded.arch == model.arch
    assert loaded.info == info_of(model.arch)
    images = torch.randn(2, 3, *tiny_space.input_size)
    model.eval()
    for expected, found in zip(model(images), loaded(images), strict=True):
        assert torch.equal(expected, found)


def test_model_file_is_reproducible_and_takes_any_memory_layout(model, tmp_path):
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    write_model_file(paths[0], model.state_dict(), info_of(model.arch))
    write_model_file(paths[1], model.to(memory_format=torch.channels_last).state_dict(), info_of(model.arch))
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_header_holds_metrics_and_latency_and_no_nan(model, tmp_path):
    path = tmp_path / "T.safetensors"
    info = info_of(model.arch).with_metrics({"AP": float("nan"), "boxes": "gt"}).with_latency({"p50_ms": 3.2})
    write_model_file(path, model.state_dict(), info)
    found = read_model_info(path)
    assert found.metrics == ({"AP": None, "boxes": "gt"},)
    assert found.latency == ({"p50_ms": 3.2},)


def test_cut_model_file_is_refused_at_any_length(file):
    data = file.read_bytes()
    header = 8 + struct.unpack("<Q", data[:8])[0]
    for length in {0, 5, 8, 9, header // 2, header - 1, header, header + 1, len(data) - 1}:
        file.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"model file .* cannot be used: .* Check the path"):
            read_model_file(file)


def test_foreign_model_files(tmp_path, file):
    path = tmp_path / "other.safetensors"
    path.write_bytes(save_tensors({"w": torch.zeros(2)}))
    with pytest.raises(DataError, match="a safetensors file without posesearch's header"):
        load_model(path)
    path.write_bytes(save_tensors({"w": torch.zeros(2)}, metadata={"posesearch": "{not json"}))
    with pytest.raises(DataError, match="its header is damaged"):
        load_model(path)
    path.write_bytes(save_tensors({"w": torch.zeros(2)}, metadata={"posesearch": '{"format": 99}'}))
    with pytest.raises(DataError, match="format 99, this posesearch reads 1"):
        load_model(path)
    path.write_bytes(save_tensors({"w": torch.zeros(2)}, metadata={"posesearch": '{"format": 1}'}))
    with pytest.raises(DataError, match="skeleton: missing"):
        load_model(path)
    torch.save({"w": torch.zeros(2)}, path)
    with pytest.raises(DataError, match="not a safetensors file"):
        load_model(path)


def test_header_cannot_ask_for_all_memory(tmp_path):
    path = tmp_path / "bomb.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    with pytest.raises(DataError, match="its start is damaged"):
        read_model_file(path)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", HEADER_LIMIT_BYTES + 1))
        stream.truncate(HEADER_LIMIT_BYTES * 2)
    with pytest.raises(DataError, match="its start is damaged"):
        read_model_file(path)
    text = b"[" * 200_000
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(DataError, match="its header is damaged"):
        read_model_file(path)


def test_weights_of_another_architecture_are_refused(model, tiny_space, tmp_path):
    path = tmp_path / "T.safetensors"
    write_model_file(path, model.state_dict(), info_of(tiny_space.largest()))
    with pytest.raises(DataError, match=r"the weights are not those of architecture .* in its header"):
        load_model(path)
    state = dict(model.state_dict())
    del state["head.cls_x.weight"]
    write_model_file(path, {**state, "extra": torch.zeros(1)}, info_of(model.arch))
    with pytest.raises(DataError) as caught:
        load_model(path)
    assert "head.cls_x.weight is missing" in str(caught.value)
    assert "extra is unknown" in str(caught.value)
    assert caught.value.exit_code == 4


def test_supernet_file_is_no_model(model, tiny_space, tmp_path):
    path = tmp_path / "supernet.safetensors"
    info = replace(
        info_of(model.arch, kind="supernet", space=tiny_space.to_plain(), space_id=tiny_space.id), arch=None
    )
    write_model_file(path, model.state_dict(), info)
    assert read_model_info(path).space_id == tiny_space.id
    with pytest.raises(DataError, match=r"holds a supernet, not one network\. .* posesearch extract"):
        load_model(path)


def test_damaged_architecture_in_the_header(file, model):
    weights, info = read_model_file(file)
    broken = json.loads(json.dumps(info.arch)) | {"stem_width": "wide"}
    write_model_file(file, weights, replace(info, arch=broken))
    with pytest.raises(DataError, match="stem_width"):
        load_model(file)

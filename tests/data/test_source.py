"""Finding the files of a split in every layout, and saying so when it cannot."""

from __future__ import annotations

import re
import shutil

import pytest

from posesearch.data.source import DataSource
from posesearch.errors import DataError, UsageError


def layout(root, annotations=(), images=()):
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for name in annotations:
        (root / "annotations" / name).write_text("{}")
    for name in images:
        (root / name).mkdir(parents=True, exist_ok=True)
    return DataSource(data=str(root))


def test_coco_layout_wins_over_its_neighbours(tmp_path):
    names = [
        f"{kind}_{split}2017.json"
        for kind in ("captions", "instances", "person_keypoints")
        for split in ("train", "val")
    ]
    source = layout(tmp_path, names, ("train2017", "val2017", "images"))
    files = source.resolve("val")
    assert files.annotation_file.name == "person_keypoints_val2017.json"
    assert files.image_root.name == "val2017"
    assert (files.name, files.split) == ("person_keypoints", "val")


@pytest.mark.parametrize("folder_name", ["images/val2017", "images/val", "val", "images"])
def test_image_folders(tmp_path, folder_name):
    source = layout(tmp_path, ["people_train.json", "people_val.json"], [folder_name])
    assert source.resolve("val").image_root == tmp_path / folder_name


def test_one_set_needs_no_name_and_several_do(tmp_path):
    source = layout(tmp_path, ["lsp14_train.json"], ["images"])
    assert source.resolve("train").annotation_file.name == "lsp14_train.json"
    source = layout(tmp_path, ["lsp_coco17_train.json"])
    text = (
        "holds 2 annotation sets for the split 'train'. Allowed: one of lsp14, lsp_coco17. Choose it by name"
    )
    with pytest.raises(DataError, match=re.escape(text)):
        source.resolve("train")
    chosen = DataSource(data=str(tmp_path), annotations="lsp_coco17").resolve("train")
    assert chosen.annotation_file.name == "lsp_coco17_train.json"
    with pytest.raises(DataError, match=r"holds no lsp_coco71_train.json.*Did you mean 'lsp_coco17'\?"):
        DataSource(data=str(tmp_path), annotations="lsp_coco71").resolve("train")


def test_missing_parts(tmp_path):
    with pytest.raises(
        DataError, match=r"data folder not found: .*nowhere. Allowed: .*posesearch data synth DIR"
    ):
        DataSource(data=str(tmp_path / "nowhere")).resolve("train")
    with pytest.raises(DataError, match=r"has no folder 'annotations'. Allowed: the COCO layout"):
        DataSource(data=str(tmp_path)).resolve("train")
    source = layout(tmp_path)
    with pytest.raises(
        DataError, match=r"holds no NAME_train.json \(or with 2017\). Sets found for 'train': none"
    ):
        source.resolve("train")
    layout(tmp_path, ["a_train.json"])
    with pytest.raises(
        DataError, match=r"no image folder for .*a_train.json: looked for train2017, images/train2017"
    ):
        source.resolve("train")
    with pytest.raises(DataError, match=r"image folder not found: .*pictures"):
        DataSource(data=str(tmp_path), images=str(tmp_path / "pictures")).resolve("train")
    with pytest.raises(UsageError, match=r"no data given. Allowed: a data folder"):
        DataSource()
    with pytest.raises(UsageError, match=r"split 'test' is unknown. Allowed: train, val"):
        source.resolve("test")


def test_explicit_pair(folder):
    source = DataSource(train_annotations=str(folder.annotation_file), images=str(folder.image_root))
    assert len(source.load("train")) == 8
    assert source.load("train").split == "train"
    with pytest.raises(
        DataError, match=r"no validation annotations given\. Give the data folder with --data"
    ):
        source.resolve("val")
    with pytest.raises(DataError, match=r"training annotations not found: .*gone.json"):
        DataSource(train_annotations="gone.json", images=str(folder.image_root)).resolve("train")


def test_explicit_file_beside_its_images_or_in_a_layout(folder):
    assert len(DataSource(val_annotations=str(folder.annotation_file)).load("val")) == 8
    beside = folder.image_root / "anything.json"
    shutil.copy(folder.annotation_file, beside)
    assert DataSource(val_annotations=str(beside)).resolve("val").image_root == folder.image_root


def test_plain_round_trip(folder):
    source = DataSource(data="a", annotations="b", val_images="c")
    assert source.to_plain() == {"data": "a", "annotations": "b", "val_images": "c"}
    assert DataSource.from_plain(source.to_plain()) == source
    with pytest.raises(
        DataError, match=r"data source: 'dta' is 'a'. Allowed: text under the keys data.*'data'\?"
    ):
        DataSource.from_plain({"dta": "a"})
    with pytest.raises(DataError, match=r"data source: 'data' is 5"):
        DataSource.from_plain({"data": 5})

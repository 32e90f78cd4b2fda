"""Writer: real COCO files, the same bytes each time, and no half-written folder taken for a whole one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from posesearch.data.synthetic import write_coco, writer
from posesearch.errors import DataError, UsageError
from posesearch.keypoints.skeleton import COCO17


def digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("written") / "people"
    write_coco(directory, seed=3, num_train=8, num_val=5)
    return directory


def rows(directory: Path, split: str) -> dict:
    return json.loads((directory / "annotations" / f"person_keypoints_{split}2017.json").read_text())


def test_layout_is_that_of_coco(written: Path) -> None:
    for split, count in (("train", 8), ("val", 5)):
        document = rows(written, split)
        assert list(document) == ["info", "licenses", "images", "annotations", "categories"]
        names = {image["file_name"] for image in document["images"]}
        assert len(names) == count
        assert {path.name for path in (written / f"{split}2017").iterdir()} == names
        for image in document["images"]:
            assert image["file_name"] == f"{image['id']:012d}.jpg"
            picture = cv2.imread(str(written / f"{split}2017" / image["file_name"]))
            assert picture.shape == (image["height"], image["width"], 3) == (192, 160, 3)
        (category,) = document["categories"]
        assert (category["id"], category["name"]) == (1, "person")
        assert tuple(category["keypoints"]) == COCO17.names
        assert category["keypoints"][0] == "nose" and category["keypoints"][16] == "right_ankle"
        assert min(min(limb) for limb in category["skeleton"]) == 1
        assert max(max(limb) for limb in category["skeleton"]) == 17
        assert len(category["skeleton"]) == 19


def test_annotations_are_those_of_coco(written: Path) -> None:
    for split in ("train", "val"):
        document = rows(written, split)
        assert [row["id"] for row in document["annotations"]] == list(
            range(1, len(document["annotations"]) + 1)
        )
        for row in document["annotations"]:
            keypoints = np.array(row["keypoints"]).reshape(17, 3)
            assert row["num_keypoints"] == (keypoints[:, 2] > 0).sum()
            assert (row["iscrowd"], row["category_id"]) == (0, 1)
            assert row["segmentation"] and all(len(p) >= 6 and len(p) % 2 == 0 for p in row["segmentation"])


def test_splits_share_no_image(written: Path) -> None:
    train, val = ({image["id"] for image in rows(written, split)["images"]} for split in ("train", "val"))
    assert not train & val
    pictures = [path.read_bytes() for path in written.rglob("*.jpg")]
    assert len(set(pictures)) == len(pictures) == 13


def test_pycocotools_reads_it_and_perfect_answers_score_one(written: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    truth = coco.COCO(str(written / "annotations" / "person_keypoints_val2017.json"))
    answers = [
        {key: row[key] for key in ("image_id", "category_id", "keypoints")} | {"score": 1.0}
        for row in truth.anns.values()
    ]
    evaluation = cocoeval.COCOeval(truth, truth.loadRes(answers), "keypoints")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)
    for row in truth.anns.values():
        # The polygon is the silhouette the area counts, up to the pixels its straight edges cut off.
        assert truth.annToMask(row).sum() == pytest.approx(row["area"], rel=0.25)


def test_same_arguments_same_bytes(written: Path, tmp_path: Path) -> None:
    summary = write_coco(tmp_path / "again", seed=3, num_train=8, num_val=5)
    assert digests(tmp_path / "again") == digests(written)
    assert (summary.train_images, summary.val_images, summary.reused) == (8, 5, False)
    assert summary.train_people == sum(
        row["num_keypoints"] > 0 for row in rows(written, "train")["annotations"]
    )
    other = tmp_path / "other"
    write_coco(other, seed=4, num_train=8, num_val=5)
    assert digests(other)["train2017/000000000001.jpg"] != digests(written)["train2017/000000000001.jpg"]


def test_more_images_keep_the_earlier_ones(written: Path, tmp_path: Path) -> None:
    write_coco(tmp_path / "more", seed=3, num_train=12, num_val=7)
    more = digests(tmp_path / "more")
    assert all(more[name] == digest for name, digest in digests(written).items() if name.endswith(".jpg"))


def test_a_complete_folder_is_reused_untouched(written: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*")}
    summary = write_coco(written, seed=3, num_train=8, num_val=5)
    assert summary.reused and summary.train_people > 0
    assert {path: path.stat().st_mtime_ns for path in written.rglob("*")} == before


@pytest.mark.parametrize("after", [0, 3, 9, 12])
def test_an_interrupted_folder_is_written_again(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    made, make_scene = [], writer.make_scene

    def stop(*arguments: object) -> object:
        if len(made) == after:
            raise KeyboardInterrupt
        made.append(arguments)
        return make_scene(*arguments)

    folder = tmp_path / "people"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(writer, "make_scene", stop)
        write_coco(folder, seed=3, num_train=8, num_val=5)
    assert json.loads((folder / "dataset.json").read_text())["complete"] is False
    assert not (folder / "annotations" / "person_keypoints_val2017.json").exists()
    assert not write_coco(folder, seed=3, num_train=8, num_val=5).reused
    assert digests(folder) == digests(written)


def test_another_data_set_in_the_folder_is_refused(written: Path) -> None:
    before = digests(written)
    with pytest.raises(UsageError, match=r"holds another data set \(seed 3, not 4\).*delete") as caught:
        write_coco(written, seed=4, num_train=8, num_val=5)
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match="difficulty 'default', not 'hard'"):
        write_coco(written, seed=3, num_train=8, num_val=5, difficulty="hard")
    assert digests(written) == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"not empty and has no dataset\.json.*Choose another folder"):
        write_coco(tmp_path, seed=3)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(UsageError, match="is a file"):
        write_coco(tmp_path / "thesis.txt", seed=3)


@pytest.mark.parametrize("harm", ["cut_image", "missing_image", "changed_json"])
def test_a_changed_data_set_is_not_taken_for_the_original(tmp_path: Path, harm: str) -> None:
    write_coco(tmp_path, seed=3, num_train=2, num_val=1, image_size=(48, 40))
    image = tmp_path / "train2017" / "000000000001.jpg"
    if harm == "cut_image":
        image.write_bytes(image.read_bytes()[:-10])
    elif harm == "missing_image":
        image.unlink()
    else:
        path = tmp_path / "annotations" / "person_keypoints_train2017.json"
        path.write_text(path.read_text().replace('"iscrowd":0', '"iscrowd":1', 1))
    with pytest.raises(
        DataError, match=r"the train files in .* were changed after they were written"
    ) as caught:
        write_coco(tmp_path, seed=3, num_train=2, num_val=1, image_size=(48, 40))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed -1 is out of range"),
        ({"num_train": 0}, "num_train 0 is out of range. Allowed: 1 to 1000000"),
        ({"num_val": -3}, "num_val -3 is out of range"),
        ({"image_size": (16, 160)}, "image_size 16x160 .height x width. is out of range"),
        ({"difficulty": "defualt"}, "difficulty 'defualt' does not exist.*Did you mean 'default'"),
    ],
)
def test_bad_arguments(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        write_coco(tmp_path / "new", **({"seed": 3} | changes))
    assert not (tmp_path / "new").exists()

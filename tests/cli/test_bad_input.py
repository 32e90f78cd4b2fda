"""Bad data, options and order of commands, through the real command line: message, exit code, one JSON document."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
from bad_input_world import (
    EVALUATE,
    EXTRACT,
    FIRST_IMAGE,
    MODEL,
    SEARCH,
    SUPERNET,
    TRAIN,
    TRAIN_FILE,
    VAL_FILE,
    Case,
    World,
    check_refusal,
)

NAN = float("nan")


def without_run(change: Callable[[World], object] = lambda world: None) -> Callable[[World], None]:
    """Damages the data of a world in which nothing has been trained yet."""

    def prepare(world: World) -> None:
        world.remove("runs")
        change(world)

    return prepare


def data(name: str, change: Callable[[World], object], *says: str, words: list[str] | None = None) -> Case:
    return Case(name, words or TRAIN, 4, says, without_run(change))


def annotations(name: str, change: Callable[[dict], object], *says: str) -> Case:
    return data(name, lambda world: world.edit(TRAIN_FILE, change), TRAIN_FILE, *says)


def empty_images(world: World) -> None:
    world.remove("people/train2017")
    world.path("people/train2017").mkdir()


def two_sets(world: World) -> None:
    text = world.path(TRAIN_FILE).read_text()
    for name in ("left", "right"):
        world.write(f"people/annotations/{name}_train.json", text)
    world.remove(TRAIN_FILE)


def short_person(document: dict) -> None:
    del document["annotations"][0]["keypoints"][42:]


AGAIN = "`posesearch data check` lists every fault"
FETCH = "Fetch or copy these images again"
DATA = [
    data("missing folder", lambda w: None, "data folder not found: nowhere", "Allowed: a folder with annotations/",
         words=[*TRAIN[:3], "--data", "nowhere"]),
    data("missing image folder", lambda w: w.remove("people/train2017"), f"no image folder for {TRAIN_FILE}",
         "looked for train2017", "or give their folder with --images"),
    data("empty image folder", empty_images, f"24 faults in training annotations {TRAIN_FILE}",
         f"image 1: the file {FIRST_IMAGE} does not exist", "... and 19 more", "Put the images there"),
    data("missing image", lambda w: w.remove(FIRST_IMAGE), f"image 1: the file {FIRST_IMAGE} does not exist"),
    data("unreadable JPEG", lambda w: w.write(FIRST_IMAGE, b"hello"), f"image 1: the file {FIRST_IMAGE} cannot be decoded",
         "Allowed: a JPEG or PNG image", FETCH),
    data("empty JPEG", lambda w: w.write(FIRST_IMAGE, b""), "is empty (0 bytes)", FETCH),
    data("truncated JPEG", lambda w: w.cut(FIRST_IMAGE, 0.6), f"the file {FIRST_IMAGE} is cut off after",
         "Allowed: a whole image", FETCH),
    *(data(f"JSON cut at {share}", lambda w, share=share: w.cut(TRAIN_FILE, share),
           f"training annotations {TRAIN_FILE} is not valid JSON (line 1, column", "cut off", "fetch or write it again")
      for share in (0, 0.01, 0.3, 0.5, 0.9, 0.999)),
    data("JSON is binary", lambda w: w.write(TRAIN_FILE, b"\xff\xfe\x00"), f"{TRAIN_FILE} cannot be read"),
    annotations("keypoint count", short_person, "annotation 1: key 'keypoints' holds 42 numbers", "names 17 keypoints",
                "Allowed: 51 numbers", AGAIN),
    annotations("no annotations", lambda d: d.update(annotations=[]), "key 'annotations' is an empty list",
                "Allowed: at least one entry", AGAIN),
    annotations("NaN box", lambda d: d["annotations"][0].update(bbox=[NAN, 1, 2, 3]),
                "annotation 1: key 'bbox' is [nan, 1, 2, 3]", "Allowed: four finite numbers", AGAIN),
    annotations("category without keypoints", lambda d: d["categories"][0].pop("keypoints"),
                "no category lists its keypoints. Allowed: one category with", AGAIN),
    annotations("one image", lambda d: d.update(annotations=d["annotations"][:1]), "cannot hold out 0.25 of 1 images",
                "Use more images or another share"),
    data("two annotation sets", two_sets, "holds 2 annotation sets for the split 'train'", "one of left, right",
         "--annotations left"),
    data("unknown annotation set", two_sets, "holds no lefft_train.json", "Did you mean 'left'?",
         words=[*TRAIN, "--annotations", "lefft"]),
    data("validation file only", lambda w: None, "no training annotations given", "--train-annotations FILE",
         words=["supernet-train", "--val-annotations", VAL_FILE]),
]  # fmt: skip


@pytest.mark.parametrize("case", DATA, ids=lambda case: case.name)
def test_bad_data_is_refused_before_a_run_is_trained(case: Case, world: World, call) -> None:
    check_refusal(case, world, call)
    assert not world.path(SUPERNET).exists()


def evaluation(name: str, change: Callable[[World], object], *says: str, more: tuple[str, ...] = ()) -> Case:
    return Case(name, [*EVALUATE, *more], 4, says, change)


def scored(name: str, rows: object, *says: str) -> Case:
    words = ["evaluate", "--results", "r.json", "--annotations", VAL_FILE]
    text = rows if isinstance(rows, str) else json.dumps(rows)
    return Case(name, words, 4, says, lambda world: world.write("r.json", text))


def against(name: str, document: object, *says: str) -> Case:
    def prepare(world: World) -> None:
        world.write("r.json", "[]")
        world.write("gt.json", json.dumps(document))

    return Case(name, ["evaluate", "--results", "r.json", "--annotations", "gt.json"], 4, says, prepare)


BOXES = ("--boxes", "b.json")
ROW = {"image_id": 2, "category_id": 1, "keypoints": [1] * 51, "score": 1}
LSP14 = ["right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "right_wrist"]
LSP14 += ["right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top"]


def renamed(world: World) -> None:
    """Another name for one joint, so that everything but the names agrees."""
    names = json.loads(world.path(TRAIN_FILE).read_text())["categories"][0]["keypoints"]
    world.joints([name if name != "left_hip" else "hip" for name in names])


EVALUATIONS = [
    evaluation("no people in val", lambda w: w.edit(VAL_FILE, lambda d: d.update(annotations=[])), VAL_FILE,
               "key 'annotations' is an empty list"),
    evaluation("boxes missing", lambda w: None, "detector box file not found: b.json", more=BOXES),
    evaluation("boxes garbage", lambda w: w.write("b.json", "hello"), "b.json is not valid JSON", more=BOXES),
    evaluation("boxes empty", lambda w: w.write("b.json", "[]"), "b.json holds []. Allowed: a filled list", more=BOXES),
    evaluation("boxes NaN", lambda w: w.write("b.json", '[{"image_id": 2, "category_id": 1, "bbox": [NaN, 1, 2, 3], "score": 1}]'),
               "b.json", "entry 0: key 'bbox' is [nan, 1, 2, 3]", "--boxes gt", more=BOXES),
    evaluation("boxes of other images", lambda w: w.write("b.json", '[{"image_id": 9, "category_id": 1, "bbox": [1, 1, 2, 3], "score": 1}]'),
               "none of its 1 boxes has category 1", VAL_FILE, "Give the boxes of the same split", more=BOXES),
    evaluation("other joints", lambda w: w.joints(LSP14), f"{MODEL} has 17 joints (nose, left_eye, right_eye, ...)",
               f"{VAL_FILE} has 14 (right_ankle, right_knee, right_hip, ...)", "train a network on this data"),
    evaluation("as many other joints", lambda w: w.joints([f"j{k}" for k in range(17)]), "has 17 (j0, j1, j2, ...)"),
    Case("joints changed under a run, search", SEARCH, 4, (SUPERNET, TRAIN_FILE, "has 14"), lambda w: w.joints(LSP14)),
    Case("joints changed under a run, extract", EXTRACT, 4, (SUPERNET, VAL_FILE, "has 14"), lambda w: w.joints(LSP14, VAL_FILE)),
    Case("joints renamed under a run, supernet-train", TRAIN, 4,
         ("runs/tiny/run.json has 17 joints (..., left_hip, right_hip, left_knee, ...)", f"{TRAIN_FILE} has 17 (..., hip, right_hip, ",
          "Both must have one joint set"), renamed),
    Case("joints renamed under a run, search", SEARCH, 4, (SUPERNET, "has 17 (..., hip, right_hip, "), renamed),
    Case("joints renamed under a run, extract", EXTRACT, 4, (SUPERNET, "has 17 (..., hip, right_hip, "), renamed),
    Case("joints of the manifest", TRAIN, 4, ("runs/tiny/run.json: key 'joints' is 5. Allowed: a list of names",),
         lambda w: w.edit("runs/tiny/run.json", lambda m: m.update(joints=5))),
    Case("joints of train and val", ["train", MODEL, "--data", "people"], 4, (TRAIN_FILE, VAL_FILE, "Both must have one joint set"),
         lambda w: w.joints(LSP14, VAL_FILE)),
    Case("results missing", ["evaluate", "--results", "no.json", "--annotations", VAL_FILE], 4, ("result file not found: no.json",)),
    scored("results garbage", "garbage", "result file r.json is not valid JSON"),
    scored("results no list", {"a": 1}, "r.json: the document is dict", "It must be a list"),
    scored("results joints", [{**ROW, "keypoints": [1] * 42}], 'r.json: "keypoints" of entry 0', "51 finite numbers"),
    scored("results NaN", [{**ROW, "score": NAN}], 'r.json: "score" of entry 0 is nan'),
    scored("results image", [{**ROW, "image_id": 99}], "r.json against", VAL_FILE, "image_id 99", "Evaluate against"),
    against("annotations a list", [], "gt.json: the document is list", "It must be an object"),
    against("annotations empty", {}, 'gt.json: "categories" is NoneType'),
    against("joint names", {"categories": [{"id": 1, "keypoints": 5}]}, 'gt.json, category 1: "keypoints" is 5', "joint names"),
]  # fmt: skip


@pytest.mark.parametrize("case", EVALUATIONS, ids=lambda case: case.name)
def test_bad_files_of_an_evaluation(case: Case, world: World, call) -> None:
    check_refusal(case, world, call)


def line(words: str, *says: str, code: int = 2) -> Case:
    return Case(words, words.split(), code, says)


SET = "supernet-train --space tiny.json --data people --recipe tiny.yaml --run new --set"
TRY = "--device cpu, or install a CUDA build of torch"
LINES = [
    line("search --latency-ms=-3.5", "--latency-ms -3.5", "above 0", "Try --latency-ms 3.5"),
    line("search --latency-ms 0", "--latency-ms 0", "above 0"),
    line("search --latency-ms nan", "--latency-ms nan"),
    line("search", "no budget given", "--max-params, --max-macs, --max-memory-mb", "Try --latency-ms 3.5"),
    line("search --max-params 0", "--max-params 0: expected a number above 0, with K, M or G", "Try --max-params 0.4M"),
    line("search --max-params -3M", "--max-params -3M: expected a number above 0"),
    line("search --max-macs many --dry-run", "--max-macs many: expected a number above 0", "Try --max-macs 60M"),
    line("search --max-memory-mb 5M", "--max-memory-mb 5M: expected millions of bytes, above 0", "Try --max-memory-mb 12.5"),
    line("search --max-params 1M --percentile p90", "--percentile p90 says how a latency budget is held", "Give --latency-ms too"),
    line("search --latency-ms 5 --objectives AP,latency", "--objectives AP,latency: 'latency' is not known", "Did you mean 'latency_ms'?"),
    line("search --latency-ms 5 --objectives AP", "--objectives AP: expected two or three different ones", "Allowed: AP, latency_ms"),
    line("search --latency-ms 5 --objectives params,macs", "none of them says how good a network is", "Add one of AP, loss"),
    line("search --latency-ms 5 --run tinny", "there is no run 'tinny' in runs", "Did you mean 'tiny'?", "Choose one of them with --run"),
    line("extract --run tinny", "there is no run 'tinny'", "Did you mean 'tiny'?"),
    line("report --run tinny", "there is no run 'tinny'", "Did you mean 'tiny'?"),
    line("search --latency-ms 5 --trials 0", "--trials 0: expected at least 1"),
    line("search --latency-ms 5 --trials -3 --dry-run", "--trials -3: expected at least 1"),
    line("search --latency-ms 5 --sampler gpp", "--sampler 'gpp'", "Did you mean 'gp'?"),
    line("search --latency-ms 5 --runtime cudagrph", "--runtime 'cudagrph'", "Did you mean 'cudagraph'?", "Allowed: eager, cudagraph"),
    line("search --latency-ms 5 --precision fp8", "--precision 'fp8'", "Allowed: fp32, fp16, bf16"),
    line("search --latency-ms 5 --threads 0", "--threads 0: expected at least 1"),
    line("search --latency-ms 5 --device cpu --runtime cudagraph", "--runtime cudagraph needs a CUDA GPU", "Use --runtime eager", code=5),
    line("search --latency-ms 5 --device cuda:99", "--device 'cuda:99' is not there", TRY, code=5),
    line(f"evaluate {MODEL} --data people --device cuda:99", "--device 'cuda:99' is not there", TRY, code=5),
    line("extract --device gpu", "--device 'gpu' is not known", "Allowed: auto, cpu, cuda, cuda:N"),
    line("demo --device cuda", "--device 'cuda': the demo runs on the CPU", "Leave --device out"),
    line("supernet-train --space starnte", "search space 'starnte' is not known", "Did you mean 'starnet'?"),
    line("supernet-train --space tniy.json", "search space file tniy.json does not exist"),
    line("supernet-train --data people --recipe dmeo", "recipe 'dmeo' is not known", "Did you mean 'demo'?"),
    line("supernet-train --recipe dmeo", "recipe 'dmeo' is not known"),
    line("supernet-train --run a/b", "--run 'a/b' cannot name a folder", "Allowed: 1 to 100 letters"),
    line(f"{SET} optimizer.lrr=1", "--set", "optimizer.lrr: unknown key. Did you mean 'lr'? Allowed here: lr, weight_decay"),
    line(f"{SET} epochs", "--set 'epochs' is not of the form key=value", "Example: --set"),
    line(f"{SET} epochs.x=3", "epochs.x: 'epochs' is one value without keys. Write epochs=VALUE"),
    line(f"{SET} epochs=many", "epochs: got 'many', expected a whole number"),
    line(f"{SET} epochs=-1", "epochs: got -1, expected at least 1"),
    line(f"{SET} optimizer.lr=nan", "optimizer.lr: got nan, expected more than 0 and less than 1"),
    line(f"{SET} schedule.warmup_limit=inf", "schedule.warmup_limit: got inf, expected at least 0 and at most 1"),
    line(f"{SET} optimizer.betas=[2,3] --set loss.sigma=[0,0] --set ema.gamma=-1",
         "--set: 3 problems found", "optimizer.betas: got (2.0, 3.0)", "loss.sigma: got (0.0, 0.0)", "ema.gamma: got -1"),
    line(f"{SET} augment.flip_probability=3", "augment.flip_probability: got 3.0, expected a probability"),
    line("supernet-train --space tiny.json --data people --recipe tiny.yaml --set epochs=3", "run 'tiny' exists with other settings",
         "recipe.epochs: 2 before, 3 now", "choose another --run"),
    line("extract --pick bset", "--pick 'bset' is not known. Did you mean 'best'?"),
    line("extract --pick 77", "--pick '#77' is not on the front. Allowed: #1 (fastest) to #"),
    line("extract --pick best --name T-trained", "--name 'T-trained' ends in '-trained'", "e.g. 'T-2'"),
    line("extract --pick best --name ../../evil", "--name '../../evil'", "Allowed: 1 to 100 letters"),
    line("extract --arch s050", "preset 's050' cannot be extracted", "nearest member"),
    line(f"train {SUPERNET}", f"{SUPERNET} holds a supernet, not one network", "posesearch extract", code=4),
    line("train starnet-pose-x", "'starnet-pose-x' is not a model file and not a preset", "starnet-pose-t"),
    line("train none.safetensors", "model file none.safetensors not found. Check the path", code=4),
    line("data check nowhere --sample -3", "--sample -3: expected a number of images"),
    line("data synth new --train -5", "num_train -5 is out of range. Allowed: 1 to 1000000", "Change --train"),
    line("data synth runs", "runs is not empty", "Choose another folder"),
    line("space check none.yaml", "search space file none.yaml does not exist"),
    line("space cost starnet-pose-x", "Did you mean 'starnet-pose-t'?"),
    line("space cost s050 --input-size 33x44", "input_size: height 33 is not a positive multiple of 32"),
]  # fmt: skip


@pytest.mark.parametrize("case", LINES, ids=lambda case: case.name)
def test_a_wrong_line_names_value_and_remedy_and_writes_nothing(case: Case, world: World, call) -> None:
    before = {path: path.stat().st_mtime_ns for path in world.folder.rglob("*") if path.is_file()}
    check_refusal(case, world, call)
    after = {path: path.stat().st_mtime_ns for path in world.folder.rglob("*") if path.is_file()}
    after = {path: time for path, time in after.items() if path.name != ".lock"}
    assert after.items() <= before.items()


def test_an_empty_run_name_is_no_default(world: World, call) -> None:
    for words in (TRAIN, SEARCH, EXTRACT, ["report"]):
        check_refusal(
            Case("empty", [*words, "--run", ""], 2, ("run ''" if words != TRAIN else "--run ''",)),
            world,
            call,
        )


ORDER = [
    Case("search before supernet-train", SEARCH, 2, ("no runs in runs yet", "posesearch supernet-train"), lambda w: w.remove("runs")),
    Case("report before all", ["report"], 2, ("no runs in runs yet", "posesearch supernet-train"), lambda w: w.remove("runs")),
    Case("search in the middle of training", SEARCH, 4, ("run 'tiny' has no trained supernet yet", SUPERNET, "Finish it with: posesearch supernet-train --run tiny"),
         lambda w: w.remove(SUPERNET)),
    Case("extract before search", EXTRACT, 2, ("run 'tiny' has not been searched yet", "posesearch search --run tiny"), lambda w: w.remove("runs/tiny/search")),
]  # fmt: skip


@pytest.mark.parametrize("case", ORDER, ids=lambda case: case.name)
def test_commands_in_the_wrong_order(case: Case, world: World, call) -> None:
    check_refusal(case, world, call)


@pytest.mark.slow
def test_an_impossible_budget(world: World, call) -> None:
    world.remove("runs/tiny/search")
    outcome = call("search", "--latency-ms", "0.0001", "--device", "cpu", "--json")
    document = json.loads(outcome.out)
    assert outcome.code == document["exit_code"] == 3
    for text in (
        "no architecture of space 'tiny' meets --latency-ms 0.0001",
        "fastest found is w8-",
        "Raise the budget",
    ):
        assert text in document["error"]
    assert call(*EXTRACT, "--json").code == 3


def test_names_with_blanks_and_other_alphabets_work(world: World, call) -> None:
    world.remove("runs")
    os.rename("people", "pé öple 人")
    os.rename("tiny.yaml", "mein rezépt.yaml")
    words = [
        "--space",
        "tiny.json",
        "--data",
        "pé öple 人",
        "--recipe",
        "mein rezépt.yaml",
        "--device",
        "cpu",
    ]
    outcome = call("supernet-train", *words, "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["run"] == "tiny"

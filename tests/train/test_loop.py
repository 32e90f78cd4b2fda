"""The loop: resumed equals uninterrupted bit for bit, refusals, skipped steps, what is logged."""

import random
from dataclasses import replace

import pytest
import torch
from plain_augment import GEOMETRY

from posesearch.errors import DataError, EnvironmentFault, Interrupted
from posesearch.files import read_jsonl
from posesearch.models import PoseModel
from posesearch.progress import SilentProgress
from posesearch.supernet import Supernet
from posesearch.train import loop
from posesearch.train.loop import fit
from posesearch.train.tasks import ModelTask, SupernetTask

TIME_FIELDS = ("images_per_s", "elapsed_s")


def make_task(kind, space, recipe):
    if kind == "model":
        return ModelTask(PoseModel(space.smallest(), seed=1), recipe.loss)
    return SupernetTask(Supernet(space, seed=1), recipe.supernet, recipe.loss, seed=5)


def probe(task):
    """An evaluation whose value depends on the averaged weights, so that a wrong swap is seen."""

    def evaluate():
        total = sum(p.detach().double().abs().sum().item() for p in task.module.parameters())
        total += sum(b.detach().double().sum().item() for b in task.module.buffers())
        return {task.kind: {"AP": total}}

    return evaluate


def run(kind, space, people, recipe, folder, **options):
    task = make_task(kind, space, recipe)
    options.setdefault("evaluate", probe(task))
    result = fit(task, *people, recipe, folder=folder, seed=5, **options)
    return task, result


def rows_without_times(folder):
    return [
        {key: value for key, value in row.items() if key not in TIME_FIELDS}
        for row in read_jsonl(folder / "metrics.jsonl")
    ]


def stop_after(steps):
    """A stop() that says yes at its n-th question."""
    asked = iter([False] * (steps - 1) + [True])
    return lambda: next(asked, False)


@pytest.mark.parametrize("kind", ["model", "supernet"])
def test_resumed_equals_uninterrupted_bit_for_bit(kind, tiny_space, people, short_recipe, tmp_path):
    straight, result = run(kind, tiny_space, people, short_recipe, tmp_path / "straight")
    chooser, starts = random.Random(3), 0
    while True:
        stop = stop_after(chooser.randint(1, 6))
        try:
            resumed, last = run(kind, tiny_space, people, short_recipe, tmp_path / "broken", stop=stop)
            break
        except Interrupted as error:
            starts += 1
            assert "everything is saved in" in str(error)
    assert starts >= 2
    assert last.resumed_at > 0
    assert last.steps == result.steps
    expected, found = straight.module.state_dict(), resumed.module.state_dict()
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    assert rows_without_times(tmp_path / "straight") == rows_without_times(tmp_path / "broken")


def test_kill_without_saving_falls_back_to_the_last_checkpoint(tiny_space, people, short_recipe, tmp_path):
    # A power cut: rows and evaluations written after the last checkpoint must not appear twice.
    straight, _ = run("model", tiny_space, people, short_recipe, tmp_path / "straight")

    class PowerCut(Exception):
        pass

    for cut_at in (1, 2):
        task = make_task("model", tiny_space, short_recipe)
        good, calls = probe(task), iter(range(1, 10))

        def evaluate(good=good, calls=calls, cut_at=cut_at):
            if next(calls) == cut_at:
                raise PowerCut
            return good()

        folder = tmp_path / f"cut{cut_at}"
        with pytest.raises(PowerCut):
            fit(task, *people, short_recipe, folder=folder, seed=5, evaluate=evaluate)
        resumed, _ = run("model", tiny_space, people, short_recipe, folder)
        assert rows_without_times(folder) == rows_without_times(tmp_path / "straight")
        for name, tensor in straight.module.state_dict().items():
            assert torch.equal(tensor, resumed.module.state_dict()[name]), name


def test_rows_after_the_checkpoint_are_cut_off(tiny_space, people, short_recipe, tmp_path):
    # A kill between a row and its checkpoint leaves a row too many, and perhaps a torn one.
    run("model", tiny_space, people, short_recipe, tmp_path / "straight")
    with pytest.raises(Interrupted):
        run("model", tiny_space, people, short_recipe, tmp_path / "cut", stop=stop_after(7))
    log = tmp_path / "cut" / "metrics.jsonl"
    log.write_text(log.read_text() + '{"epoch": 2, "step": 10, "loss": 1.0}\n{"epoch": 2, "ev')
    run("model", tiny_space, people, short_recipe, tmp_path / "cut")
    assert rows_without_times(tmp_path / "cut") == rows_without_times(tmp_path / "straight")


def test_rows_say_what_the_contract_names(tiny_space, people, short_recipe, tmp_path):
    _, result = run("supernet", tiny_space, people, short_recipe, tmp_path)
    rows = read_jsonl(tmp_path / "metrics.jsonl")
    epochs = [row for row in rows if "evaluated" not in row]
    evaluations = [row for row in rows if "evaluated" in row]
    per_epoch = len(people[0]) // short_recipe.batch_size
    assert [row["step"] for row in epochs] == [per_epoch, 2 * per_epoch, 3 * per_epoch]
    assert {
        "epoch", "step", "lr", "loss", "largest", "smallest", "random", "distil", "distil_smallest",
        "distil_random", "grad_norm", "skipped_steps", "images_per_s", "elapsed_s",
    } == set(epochs[0])  # fmt: skip
    assert [(row["epoch"], row["evaluated"]) for row in evaluations] == [(2, "supernet"), (3, "supernet")]
    assert result.steps == 3 * per_epoch
    assert epochs[-1]["lr"] < epochs[0]["lr"]


def test_finished_training_is_not_repeated(tiny_space, people, short_recipe, tmp_path):
    first, _ = run("model", tiny_space, people, short_recipe, tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    again, result = run("model", tiny_space, people, short_recipe, tmp_path)
    assert result.resumed_at == result.steps
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    for name, tensor in first.module.state_dict().items():
        assert torch.equal(tensor, again.module.state_dict()[name]), name


def test_resume_off_starts_anew(tiny_space, people, short_recipe, tmp_path):
    recipe = replace(short_recipe, epochs=1, final_epochs=0)
    run("model", tiny_space, people, recipe, tmp_path)
    _, result = run("model", tiny_space, people, recipe, tmp_path, resume=False)
    assert result.resumed_at == 0
    assert len([row for row in read_jsonl(tmp_path / "metrics.jsonl") if "loss" in row]) == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": {"optimizer.lr"}}, "recipe.optimizer.lr: 0.002 before, 0.5 now"),
        ({"space": True}, "architecture: "),
        ({"data": True}, "source: 'a' before, 'b' now"),
        ({"seed": True}, "seed: 5 before, 6 now"),
    ],
)
def test_checkpoint_of_another_training_is_refused(change, named, tiny_space, people, short_recipe, tmp_path):
    recipe = replace(short_recipe, epochs=1, final_epochs=0)
    fit(
        make_task("model", tiny_space, recipe), *people, recipe,
        folder=tmp_path, seed=5, fingerprint={"source": "a"},
    )  # fmt: skip
    task = make_task("model", tiny_space, recipe)
    if "recipe" in change:
        recipe = replace(recipe, optimizer=replace(recipe.optimizer, lr=0.5))
    if "space" in change:
        task = ModelTask(PoseModel(tiny_space.largest()), recipe.loss)
    with pytest.raises(DataError) as caught:
        fit(
            task, *people, recipe, folder=tmp_path, seed=6 if "seed" in change else 5,
            fingerprint={"source": "b" if "data" in change else "a"},
        )  # fmt: skip
    assert named in str(caught.value)
    assert "Use those settings, give --fresh to start anew" in str(caught.value)
    assert caught.value.exit_code == 4


def test_damaged_checkpoint_is_refused(tiny_space, people, short_recipe, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 nothing more")
    with pytest.raises(DataError, match="Delete it to train from the start"):
        run("model", tiny_space, people, short_recipe, tmp_path)


def test_non_finite_steps_are_skipped_and_counted(tiny_space, people, short_recipe, tmp_path):
    recipe = replace(short_recipe, epochs=1, final_epochs=0)
    task = make_task("model", tiny_space, recipe)
    good, before = task.backward, []

    def backward(batch, *, step, **options):
        losses = good(batch, step=step, **options)
        if step == 1:
            next(task.module.parameters()).grad.fill_(float("nan"))
            before.extend(p.detach().clone() for p in task.module.parameters())
        if step == 2:
            assert all(torch.equal(a, b) for a, b in zip(before, task.module.parameters(), strict=True))
        return losses

    task.backward = backward
    result = fit(task, *people, recipe, folder=tmp_path, seed=5)
    (row,) = read_jsonl(tmp_path / "metrics.jsonl")
    assert result.skipped_steps == row["skipped_steps"] == 1
    assert row["loss"] == row["loss"]
    assert all(torch.isfinite(p).all() for p in task.module.parameters())


def test_gives_up_after_too_many_skipped_steps(tiny_space, people, short_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SKIP_LIMIT", 5)
    task = make_task("model", tiny_space, short_recipe)
    good, seen = task.backward, []

    def backward(batch, *, step, **options):
        losses = good(batch, step=step, **options)
        seen.append(batch.annotation_id_B)
        return {"loss": losses["loss"] * (float("inf") if step >= 4 else 1.0)}

    task.backward = backward
    with pytest.raises(DataError) as caught:
        fit(task, *people, short_recipe, folder=tmp_path, seed=5)
    assert "not finite in 5 steps in a row, up to step 9" in str(caught.value)
    assert ", ".join(map(str, seen[-1].tolist())) in str(caught.value)
    # The checkpoint of the last epoch's end is there to go on from.
    assert (tmp_path / "checkpoint.pt").exists()


def test_wrong_joint_set_and_too_little_data(tiny_space, people, short_recipe, tmp_path):
    dataset, store = people
    fourteen = tiny_space.with_joints(14)
    with pytest.raises(DataError, match=r"predicts 14 joints, .* has 17\. Both must have one joint set"):
        run("model", fourteen, people, short_recipe, tmp_path)
    one = dataset.subset([0])
    with pytest.raises(DataError, match=r"has 1 usable persons for training\. At least 2"):
        run("model", tiny_space, (one, store), short_recipe, tmp_path)


def test_out_of_memory_says_what_to_do(tiny_space, people, short_recipe, tmp_path):
    task = make_task("model", tiny_space, short_recipe)

    def backward(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    task.backward = backward
    with pytest.raises(EnvironmentFault, match=r"not enough memory on cpu .*--set batch_size"):
        fit(task, *people, short_recipe, folder=tmp_path, seed=5)


def test_compiling_on_a_cpu_is_left_out_with_a_message(tiny_space, people, short_recipe, tmp_path):
    recipe = replace(short_recipe, epochs=1, final_epochs=0, compile_blocks=True)
    said = []

    class Listening(SilentProgress):
        def message(self, text):
            said.append(text)

    task, _ = run("supernet", tiny_space, people, recipe, tmp_path, progress=Listening())
    assert any("compile_blocks is for GPUs; on cpu the blocks run as they are" in text for text in said)
    assert task.supernet.templates.compiler is None


def test_data_smaller_than_a_batch_still_trains(tiny_space, people, short_recipe, tmp_path):
    dataset, store = people
    recipe = replace(short_recipe, epochs=1, final_epochs=0)
    _, result = run("model", tiny_space, (dataset.subset(range(5)), store), recipe, tmp_path)
    assert result.steps == 1


@pytest.mark.slow
def test_a_network_can_learn_eight_people_by_heart(tiny_space, people, short_recipe, tmp_path):
    from posesearch.data.batch import crops
    from posesearch.train.evaluate import evaluate_forward

    dataset, store = people
    few = dataset.subset(range(8))
    plain = replace(
        GEOMETRY, flip_probability=0.0, half_body_probability=0.0, shift=0.0, scale=0.0, rotation_deg=0.0
    )
    recipe = replace(
        short_recipe, epochs=250, batch_size=8, augment=plain, final_augment=plain, evaluate_every=0,
        optimizer=replace(short_recipe.optimizer, lr=5e-3, clip_norm=5.0),
    )  # fmt: skip
    task = make_task("model", tiny_space, recipe)
    fit(task, few, store, recipe, folder=tmp_path, seed=0)
    evaluation = evaluate_forward(task.module.eval(), crops(few, store, tiny_space.input_size), few)
    assert evaluation.ap > 0.8
    assert evaluation.pck > 0.8

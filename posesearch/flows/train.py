"""`train`: the full training of one network: an extracted one, a preset, or any architecture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from posesearch.checkpoint import ModelInfo, read_model_info, write_model_file
from posesearch.config import apply_overrides, to_plain
from posesearch.data.images import open_images
from posesearch.data.source import DataSource
from posesearch.data.tiers import AUTO, check_tier
from posesearch.device import resolve_device
from posesearch.errors import DataError, UsageError
from posesearch.files import write_json_atomic
from posesearch.flows.evaluate import evaluate_network
from posesearch.flows.header import model_header
from posesearch.flows.inputs import NOT_DRAWN, EvaluationSet, check_joints, data_or_generated, is_drawn
from posesearch.flows.recipes import announce, choose_recipe, recipe_for
from posesearch.flows.runs import open_or_create, read_summary, settings_of
from posesearch.flows.weights import FRESH_WEIGHTS, open_start
from posesearch.interrupt import stop_on_interrupt
from posesearch.models.modelfile import load_model
from posesearch.models.pose import PoseModel
from posesearch.progress import Progress
from posesearch.run import MANIFEST, NAME_RULE, TRAINED, Run, check_model_name, check_name
from posesearch.spaces import Architecture, SearchSpace, load_preset, load_space, preset_names
from posesearch.train.loop import fit
from posesearch.train.tasks import ModelTask


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What is to be trained.

    Attributes:
        name: Name of the result.
        arch: The network.
        space: The space it belongs to, if any.
        file: The model file it came from, if any; its weights are the start.
        info: Header of that file.
        run: The run folder the file lies in, if any.
    """

    name: str
    arch: Architecture
    space: SearchSpace | None = None
    file: Path | None = None
    info: ModelInfo | None = None
    run: Run | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """What `train` did, or with `dry_run` would do.

    Attributes:
        name: Name of the model.
        arch: Its architecture code.
        plan: Persons, epochs, steps, resolved from recipe and data.
        evaluation: Figures on the validation split.
        file: The model file.
        next_command: What to run next.
    """

    name: str
    arch: str
    plan: dict[str, Any]
    evaluation: dict[str, Any] = field(default_factory=dict)
    file: Path | None = None
    next_command: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as a JSON-ready dict."""
        return {**to_plain(self), "file": str(self.file) if self.file else None}


def train(
    *,
    model: str,
    data: DataSource | None = None,
    recipe: str | None = None,
    overrides: tuple[str, ...] = (),
    space: str | None = None,
    run: str | None = None,
    name: str | None = None,
    init: Path | None = None,
    from_scratch: bool = False,
    store: str = AUTO,
    seed: int = 0,
    device: str = "auto",
    fresh: bool = False,
    dry_run: bool = False,
    progress: Progress,
) -> TrainResult:
    """Trains one network in full; the same call again continues, or returns at once when all is done.

    An extracted model is trained from the weights it inherited, with the data and the recipe of its run unless others
    are given. A preset or an architecture code starts fresh, or from `init`.

    Args:
        model: A model file, a preset's name, or an architecture code.
        data: Where the data lies; None uses that of the model's run, else generated people.
        recipe: Name or path; None uses that of the model's run, else as `supernet-train` does.
        overrides: `key=value` changes of the recipe.
        space: Search space of an architecture code; a preset is moved to its nearest member.
        run: Name of the run for a preset or code; None uses the network's name.
        name: Name of the trained model, e.g. for a second seed; None uses the network's name.
        init: Weights to start from instead.
        from_scratch: Do not use the weights in the model file.
        store: Where the images are kept: "gpu", "host", "jpeg", or "auto" (see `data.tiers`).
        seed: Key of all random numbers.
        device: "auto", "cpu", "cuda" or "cuda:N".
        fresh: Start again instead of continuing.
        dry_run: Resolve everything, write nothing.
        progress: Where to report.

    Raises:
        UsageError: Unknown preset, space, recipe or store; or the run exists with other settings.
        DataError: Faults in data or weights.
        EnvironmentFault: No such device, the run is in use, or the disk is full.
        Interrupted: Stopped by the user; everything is saved.
    """
    place = resolve_device(device)
    check_tier(store, place)
    if name is not None:
        check_model_name(name)
    subject = find_subject(model, space)
    subject = replace(subject, name=name) if name else subject
    run_name = subject.name if run is None else run
    if subject.run is None:
        check_name(run_name, "--run")
    inherited = settings_of(subject.run) if subject.run else None
    if data is None and inherited:
        data = inherited.data
    known_recipe = choose_recipe(recipe, overrides, data)
    if recipe is None and inherited:
        known_recipe = apply_overrides(inherited.recipe, overrides)
    source = data_or_generated(data, progress, dry_run=dry_run)
    if known_recipe and not is_drawn(source):
        plan = {"data": NOT_DRAWN, "resolved_recipe": to_plain(known_recipe)}
        return TrainResult(name=subject.name, arch=subject.arch.code, plan=plan)
    train_set = source.load("train")
    chosen = known_recipe or recipe_for(len(train_set), overrides)
    arch = subject.arch.with_joints(train_set.skeleton.num_joints)
    start = open_start(init or (None if from_scratch else subject.file))
    plan = {
        "arch": arch.code,
        "recipe": chosen.name,
        "device": str(place),
        "persons": len(train_set),
        "epochs": chosen.epochs,
        "steps": chosen.epochs * max(1, len(train_set) // chosen.batch_size),
        "start": f"{start.file}, {start.label}" if start else FRESH_WEIGHTS,
    }
    if dry_run:
        return TrainResult(
            name=subject.name, arch=arch.code, plan={**plan, "resolved_recipe": to_plain(chosen)}
        )
    settings: dict[str, Any] = {
        "recipe": to_plain(chosen),
        "data": source.to_plain(),
        "seed": seed,
        "start": start.label if start else FRESH_WEIGHTS,
        "arch": arch.to_plain(),
    }
    home = subject.run or open_or_create(
        run_name, kind="model", settings=settings, extra={}, fresh=fresh, progress=progress
    )
    with home.lock() as home:
        network = PoseModel(arch, seed=seed)
        announce(chosen, len(train_set), progress)
        if start is not None:
            start.fill(network, train_set.skeleton, progress)
        images = open_images(train_set, place, tier=store, progress=progress)
        val_set = source.load("val")
        check_joints(train_set.skeleton.names, train_set.annotation_file, val_set)
        material = EvaluationSet.prepare(val_set, arch.input_size, progress, device=place, tier=store)
        read_summary(home, subject.name)  # a damaged one must not end hours of training
        evaluation: dict[str, Any] = {}

        def evaluate() -> dict[str, dict[str, Any]]:
            evaluation.update(evaluate_network(network, material, place).to_plain())
            return {"model": dict(evaluation)}

        with stop_on_interrupt() as stop:
            fit(
                ModelTask(network, chosen.loss),
                train_set,
                images,
                chosen,
                folder=home.path("models", subject.name),
                fingerprint=settings,
                resume=not (fresh and subject.run),
                seed=seed,
                device=place,
                progress=progress,
                stop=stop,
                evaluate=evaluate,
            )
        # A training that was complete before this call has evaluated nothing.
        evaluation = evaluation or evaluate()["model"]
        info = model_header(
            arch,
            name=subject.name,
            skeleton=train_set.skeleton,
            space=subject.space,
            metrics=[evaluation],
            latency=subject.info.latency if subject.info else (),
            provenance={**settings, "run": home.name},
        )
        file = home.path("models", f"{subject.name}{TRAINED}.safetensors")
        write_model_file(file, network.state_dict(), info)
        _note(home, subject.name, evaluation, file, arch)
    return TrainResult(
        name=subject.name,
        arch=arch.code,
        plan=plan,
        evaluation=evaluation,
        file=file,
        next_command=f"posesearch report --run {home.name}",
    )


def find_subject(model: str, space_name: str | None) -> Subject:
    """Returns what the user means: a model file, a preset, or an architecture code of a space.

    Raises:
        UsageError: It is none of them.
        DataError: The model file cannot be used.
    """
    if model.endswith(".safetensors") or Path(model).is_file():
        path = Path(model)
        network = load_model(path)
        info = read_model_info(path)
        if not NAME_RULE.fullmatch(info.name):  # it becomes the name of files
            raise DataError(
                f"header of {path}: key 'name' is {info.name!r}. Allowed: letters, digits, dots, dashes and underscores. "
                "The file was changed: extract or train the model again."
            )
        space = SearchSpace.from_plain(info.space, f"space in {path}") if info.space else None
        home = path.parent.parent if path.parent.name else path.resolve().parent.parent
        run = (
            Run.read(home) if path.resolve().parent.name == "models" and (home / MANIFEST).is_file() else None
        )
        return Subject(name=info.name, arch=network.arch, space=space, file=path, info=info, run=run)
    space = load_space(space_name) if space_name else None
    if model in preset_names():
        arch = load_preset(model)
        return Subject(name=model, arch=space.nearest(arch) if space else arch, space=space)
    if space is not None:
        return Subject(
            name=f"arch-{space.arch_from_code(model).id}", arch=space.arch_from_code(model), space=space
        )
    raise UsageError(
        f"'{model}' is not a model file and not a preset. Presets: {', '.join(preset_names())}. "
        "An architecture code needs --space NAME; model files end in .safetensors."
    )


def _note(home: Run, name: str, evaluation: dict[str, Any], file: Path, arch: Architecture) -> None:
    """Adds the result to the model's summary, which the report reads."""
    known = read_summary(home, name) or {"name": name, "code": arch.code, "arch": arch.to_plain()}
    trained = {"retrained": evaluation, "retrained_file": str(file.relative_to(home.folder))}
    write_json_atomic(home.path("models", f"{name}.json"), {**known, **trained})

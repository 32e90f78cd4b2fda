"""`supernet-train`: from data and a search space to shared weights on disk, resumable at every step."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from posesearch.checkpoint import ModelInfo, read_model_file, write_model_file
from posesearch.config import to_plain
from posesearch.data.source import DataSource
from posesearch.data.tiers import AUTO, check_tier
from posesearch.device import resolve_device
from posesearch.errors import DataError, listed
from posesearch.flows.header import supernet_header
from posesearch.flows.inputs import NOT_DRAWN, RUNS, check_joints, data_or_generated, is_drawn
from posesearch.flows.material import Material
from posesearch.flows.recipes import announce, choose_recipe, recipe_for
from posesearch.flows.runs import joints_of, open_or_create
from posesearch.flows.weights import FRESH_WEIGHTS, open_start
from posesearch.interrupt import stop_on_interrupt
from posesearch.models.modelfile import weight_faults
from posesearch.progress import Progress
from posesearch.run import MANIFEST, Run, check_name
from posesearch.spaces import Architecture, SearchSpace, load_space
from posesearch.supernet import Supernet, recalibrate
from posesearch.train.evaluate import Evaluation, Forward, evaluate_forward, evaluate_many
from posesearch.train.loop import fit
from posesearch.train.tasks import SupernetTask

SUPERNET_FILE = "supernet/supernet.safetensors"
REPLACED = "The file was replaced: restore it, or train again with --fresh."


@dataclass(frozen=True, kw_only=True, slots=True)
class SupernetResult:
    """What `supernet-train` did, or with `dry_run` would do.

    Attributes:
        run: Name of the run.
        folder: Its folder.
        plan: Persons, steps and sizes, resolved from recipe and data.
        evaluations: Evaluation of the largest and the smallest subnet on the held-out training images.
        files: What was written.
        next_command: What to run next.
    """

    run: str
    folder: Path
    plan: dict[str, Any]
    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    next_command: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as a JSON-ready dict."""
        return {
            "run": self.run,
            "folder": str(self.folder),
            "plan": self.plan,
            "evaluations": self.evaluations,
            "files": [str(path) for path in self.files],
            "next_command": self.next_command,
        }


def supernet_train(
    *,
    space: str = "demo",
    data: DataSource | None = None,
    recipe: str | None = None,
    overrides: tuple[str, ...] = (),
    run: str | None = None,
    init: Path | None = None,
    store: str = AUTO,
    seed: int = 0,
    device: str = "auto",
    fresh: bool = False,
    dry_run: bool = False,
    progress: Progress,
) -> SupernetResult:
    """Trains the supernet of a space; the same call again continues, or returns at once when all is done.

    Args:
        space: Name or path of the search space.
        data: Where the data lies; None uses generated people.
        recipe: Name or path of the recipe; None chooses "demo" for generated people, "small-data" below 20,000 training
            persons, else "starnet-pose".
        overrides: `key=value` changes of the recipe.
        run: Name of the run; None uses the space's name.
        init: Weights to start from: another run's supernet, a model file, or published StarNet weights.
        store: Where the images are kept: "gpu", "host", "jpeg", or "auto" (see `data.tiers`).
        seed: Key of all random numbers.
        device: "auto", "cpu", "cuda" or "cuda:N".
        fresh: Start again; an earlier run of this name is kept under another one.
        dry_run: Resolve everything, write nothing.
        progress: Where to report.

    Raises:
        UsageError: Unknown space, recipe or store, or the run exists with other settings.
        ConfigError: Faults in space or recipe.
        DataError: Faults in the data, in `init`, or in the run's own files.
        EnvironmentFault: No such device, the run is in use, or the disk is full.
        Interrupted: Stopped by the user; everything is saved.
    """
    place = resolve_device(device)
    check_tier(store, place)
    search_space = load_space(space)
    name = search_space.name if run is None else run
    check_name(name, "--run")
    known_recipe = choose_recipe(recipe, overrides, data)
    source = data_or_generated(data, progress, dry_run=dry_run)
    if known_recipe and not is_drawn(source):
        return SupernetResult(
            run=name, folder=RUNS / name, plan={"data": NOT_DRAWN, "resolved_recipe": to_plain(known_recipe)}
        )
    train = source.load("train")
    chosen = known_recipe or recipe_for(len(train), overrides)
    search_space = search_space.with_joints(train.skeleton.num_joints)
    fit_part, held_out = train.split_by_image(chosen.search_fraction, seed)
    start = open_start(init)
    plan = {
        "space": search_space.name,
        "space_id": search_space.id,
        "architectures": search_space.cardinality,
        "recipe": chosen.name,
        "device": str(place),
        "persons": {"training": len(fit_part), "search": len(held_out)},
        "epochs": chosen.epochs,
        "steps": chosen.epochs * max(1, len(fit_part) // chosen.batch_size),
    }
    if dry_run:
        return SupernetResult(
            run=name, folder=RUNS / name, plan={**plan, "resolved_recipe": to_plain(chosen)}, next_command=""
        )
    settings: dict[str, Any] = {
        "space_id": search_space.id,
        "recipe": to_plain(chosen),
        "data": source.to_plain(),
        "seed": seed,
        "init": start.label if start else FRESH_WEIGHTS,
    }
    # Two annotation files of one size can order or name their joints differently.
    joints = {"joints": list(train.skeleton.names)}
    opened = open_or_create(
        name,
        kind="supernet",
        settings=settings,
        extra={
            **joints,
            "space": search_space.to_plain(),
            "search_split": {"persons": len(held_out), "images": len(set(held_out.image_index_N.tolist()))},
        },
        fresh=fresh,
        progress=progress,
    )
    with opened.lock() as opened:
        check_joints(joints_of(opened) or train.skeleton.names, opened.path(MANIFEST), train)
        supernet = Supernet(search_space, seed=seed)
        announce(chosen, len(fit_part), progress, search_persons=len(held_out))
        if start is not None:
            start.fill(supernet, train.skeleton, progress)
        material = Material.prepare(
            train,
            chosen,
            input_size=search_space.input_size,
            seed=seed,
            device=place,
            train_on=place,
            tier=store,
            progress=progress,
        )
        ends = {"largest": search_space.largest(), "smallest": search_space.smallest()}
        evaluations: dict[str, dict[str, Any]] = {}

        def evaluate() -> dict[str, dict[str, Any]]:
            forwards = ((kind, calibrated(supernet, arch, material)) for kind, arch in ends.items())
            held = material.held
            for kind, evaluation in evaluate_many(forwards, held.crops, held.dataset, device=place):
                evaluations[kind] = evaluation.to_plain()
            return evaluations

        with stop_on_interrupt() as stop:
            fit(
                SupernetTask(supernet, chosen.supernet, chosen.loss, seed=seed),
                material.fit_part,
                material.store,
                chosen.for_supernet(),
                folder=opened.path("supernet"),
                fingerprint={**settings, **joints},
                seed=seed,
                device=place,
                progress=progress,
                stop=stop,
                evaluate=evaluate,
            )
        # A run that was complete before this call has trained, and so evaluated, nothing.
        header = supernet_header(
            search_space,
            name=opened.name,
            skeleton=train.skeleton,
            metrics=[{"subnet": kind, **values} for kind, values in (evaluations or evaluate()).items()],
            provenance={**settings, **joints, "run": opened.name},
        )
        write_model_file(opened.path(SUPERNET_FILE), supernet.state_dict(), header)
    return SupernetResult(
        run=opened.name,
        folder=opened.folder,
        plan=plan,
        evaluations=evaluations,
        files=(opened.path(SUPERNET_FILE), opened.path("supernet", "metrics.jsonl")),
        next_command=f"posesearch search --run {opened.name} --latency-ms 3.5",
    )


def evaluate_subnet(
    supernet: Supernet,
    arch: Architecture,
    material: Material,
    device: torch.device,
) -> Evaluation:
    """Recalibrates and evaluates one subnet; the supernet is left as it is."""
    forward = calibrated(supernet, arch, material)
    return evaluate_forward(forward, material.held.crops, material.held.dataset, device=device)


def calibrated(supernet: Supernet, arch: Architecture, material: Material) -> Forward:
    """Recalibrates one subnet and returns its forward; the supernet is left as it is."""
    return partial(supernet, arch=arch, buffers=recalibrate(supernet, arch, material.calibration))


def load_supernet(opened: Run, file: str = SUPERNET_FILE) -> tuple[Supernet, ModelInfo]:
    """Loads the trained supernet of a run, or a refined one from another of its files.

    Raises:
        DataError: It is not trained yet, or its file is damaged or of another space.
    """
    path = opened.path(file)
    if not path.is_file():
        raise DataError(
            f"run '{opened.name}' has no trained supernet yet ({path} is missing). "
            f"Finish it with: posesearch supernet-train --run {opened.name} (with the options it was started with)."
        )
    weights, info = read_model_file(path)
    if info.kind != "supernet":
        raise DataError(f"{path} holds a {info.kind}, not a supernet. {REPLACED}")
    space = SearchSpace.from_plain(info.space, f"space in {path}")
    if space.id != opened.manifest.get("space_id"):
        raise DataError(
            f"{path} belongs to space {space.id}, run '{opened.name}' to {opened.manifest.get('space_id')}. {REPLACED}"
        )
    supernet = Supernet(space)
    problems = weight_faults(supernet, weights)
    if problems:
        raise DataError(
            f"{path}: the weights are not those of space '{space.name}':\n{listed(problems)}\n{REPLACED}"
        )
    supernet.load_state_dict(weights)
    return supernet, info

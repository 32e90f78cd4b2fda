"""`rank`: how well the supernet ranks, by training a few of its networks alone and comparing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from posesearch.checkpoint import weights_id
from posesearch.config import apply_overrides
from posesearch.data.dataset import PoseDataset
from posesearch.data.source import DataSource
from posesearch.data.tiers import AUTO, check_tier
from posesearch.device import resolve_device
from posesearch.errors import DataError, UsageError
from posesearch.files import write_json_atomic
from posesearch.flows.inputs import check_joints
from posesearch.flows.material import Material
from posesearch.flows.rank_scores import SupernetScores, predicted_latencies
from posesearch.flows.runs import open_run, settings_of
from posesearch.flows.standalone import Standalone, Training, TrainingSetup, standalone_settings
from posesearch.flows.supernet import SUPERNET_FILE, load_supernet
from posesearch.flows.weights import FRESH_WEIGHTS, Start, open_start
from posesearch.interrupt import stop_on_interrupt
from posesearch.keypoints.skeleton import Skeleton
from posesearch.models.cost import cost, macs_of
from posesearch.progress import Progress, format_duration
from posesearch.run import Run
from posesearch.search.rank_nets import RankNet, second_seed_nets, stratified
from posesearch.search.rank_quality import RankedNet, RankQuality, rank_quality
from posesearch.train.recipe import Recipe
from posesearch.train.split_loss import SplitLoss

RANK = "rank"
RESULT = "result.json"
FORMAT = 1
SCRATCH, SUPERNET = "scratch", "supernet"


@dataclass(frozen=True, kw_only=True, slots=True)
class RankResult:
    """What `rank` found, or with `dry_run` would do.

    Attributes:
        run: Name of the run.
        folder: Its `rank` folder.
        plan: Networks, trainings, steps, time where it is known.
        quality: What the networks say; None for a dry run.
        conditions: What every AP here holds for: split, persons, boxes, flip test, input size.
        nets: One row a network, the smallest first.
        next_command: What to run next.
    """

    run: str
    folder: Path
    plan: dict[str, Any]
    quality: RankQuality | None = None
    conditions: dict[str, Any] = field(default_factory=dict)
    nets: tuple[dict[str, Any], ...] = ()
    next_command: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as a JSON-ready dict."""
        return {
            "run": self.run,
            "folder": str(self.folder),
            "plan": self.plan,
            "quality": self.quality.to_plain() if self.quality else None,
            "conditions": self.conditions,
            "nets": list(self.nets),
            "next_command": self.next_command,
        }


def rank(
    *,
    run: str | None = None,
    nets: int = 24,
    second_seeds: int = 8,
    epochs: int | None = None,
    start: str = SCRATCH,
    data: DataSource | None = None,
    trained_in: tuple[str, ...] = (),
    store: str = AUTO,
    seed: int = 0,
    device: str = "auto",
    dry_run: bool = False,
    progress: Progress,
) -> RankResult:
    """Trains networks of several sizes alone and compares their APs with the supernet's; again, it goes on.

    All are trained on what the supernet was trained on, by its recipe, and evaluated on the persons kept out of that.

    Args:
        run: Name of the run; None uses the newest supernet.
        nets: How many networks, spread over four sizes.
        second_seeds: How many of them are trained with a second seed.
        epochs: Length of each training; None takes the recipe's.
        start: "scratch", "supernet" (the weights each network inherits), or a file all networks are cut from.
        data: Where the run's data lies now, if it was moved.
        trained_in: Runs whose trainings of the same settings are used too.
        store: Where the images are kept: "gpu", "host", "jpeg", or "auto" (see `data.tiers`).
        seed: Key of networks, trainings and bootstrap; the second seed is the next number.
        device: "auto", "cpu", "cuda" or "cuda:N".
        dry_run: Resolve everything, write nothing.
        progress: Where to report.

    Raises:
        UsageError: No such run, or too few or too many networks.
        ConfigError: A number of epochs that cannot be.
        DataError: Supernet, data, weights to start from or a journal cannot be used.
        EnvironmentFault: The run is in use, or the disk is full.
        Interrupted: Stopped by the user; everything is saved.
    """
    place = resolve_device(device)
    check_tier(store, place)
    opened = open_run(run, kind="supernet")
    settings = settings_of(opened)
    supernet, info = load_supernet(opened)
    chosen = stratified(supernet.space, nets, seed, macs_of)
    again = second_seed_nets(chosen, second_seeds)
    trainings = [Training(arch=net.arch, seed=seed) for net in chosen]
    trainings += [Training(arch=net.arch, seed=seed + 1) for net in again]
    recipe = settings.recipe
    if epochs is not None:
        recipe = apply_overrides(recipe, (f"epochs={epochs}",))
    train_set = (data or settings.data).load("train")
    check_joints(Skeleton.from_plain(info.skeleton).names, opened.path(SUPERNET_FILE), train_set)
    fit_part, held = train_set.split_by_image(recipe.search_fraction, settings.seed)
    _check_people(opened, held)
    weights = _start(start, opened)
    borrowed = [open_run(name, kind="supernet").path(RANK) for name in trained_in]
    alone = Standalone(
        opened.path(RANK), standalone_settings(recipe, fit_part, held, weights), borrowed=borrowed
    )
    steps = recipe.epochs * max(1, len(fit_part) // recipe.batch_size)
    plan = _plan(opened, chosen, trainings, recipe, steps, weights, alone)
    plan |= {"device": str(place), "persons": {"training": len(fit_part), "search": len(held)}}
    if alone.others_text():
        progress.message(f"rank: {alone.others_text()}")
    if dry_run:
        return RankResult(run=opened.name, folder=opened.path(RANK), plan=plan)
    with opened.lock() as opened:
        supernet.to(place)
        material = Material.prepare(
            train_set,
            recipe,
            input_size=supernet.space.input_size,
            seed=settings.seed,
            device=place,
            train_on=place if plan["trainings"]["left"] else None,
            tier=store,
            progress=progress,
        )
        loss = SplitLoss(held, material.held.crops, recipe.loss, split_ratio=supernet.space.head.split_ratio)
        scores = SupernetScores(
            supernet, material, loss, place, recipe=settings.recipe, seed=settings.seed,
            folder=opened.path(RANK),
        )  # fmt: skip
        # First, because it takes seconds: what ails the supernet is known before hours are spent.
        promised = {net.arch.id: scores.of(net.arch, progress) for net in chosen}
        setup = TrainingSetup(recipe=recipe, material=material, loss=loss, start=weights, device=place)
        with stop_on_interrupt() as stop:
            alone.train_all(trainings, setup, steps=steps, stop=stop, progress=progress)
        latencies, table = predicted_latencies(supernet.space, [net.arch for net in chosen])
        compared = [
            _compared(net, alone, trainings, promised[net.arch.id], latencies.get(net.arch.id))
            for net in sorted(chosen, key=lambda net: (net.macs, net.arch.id))
        ]
        quality = rank_quality(compared, seed=seed)
        rows = tuple(asdict(net) for net in compared)
        write_json_atomic(
            opened.path(RANK, RESULT),
            {
                "format": FORMAT,
                "run": opened.name,
                "weights_id": weights_id(supernet.state_dict()),
                "settings_id": alone.settings_id,
                "settings": alone.settings,
                "seed": seed,
                "plan": {
                    key: plan[key]
                    for key in ("networks", "second_seeds", "epochs", "steps", "start", "persons")
                },
                "conditions": scores.conditions,
                "latency_table": table,
                "quality": quality.to_plain(),
                "nets": list(rows),
            },
        )
    return RankResult(
        run=opened.name,
        folder=opened.path(RANK),
        plan=plan,
        quality=quality,
        conditions=scores.conditions,
        nets=rows,
        next_command=f"posesearch report --run {opened.name}",
    )


def _start(start: str, opened: Run) -> Start | None:
    if start == SCRATCH:
        return None
    if start == SUPERNET:
        return open_start(opened.path(SUPERNET_FILE))
    if not Path(start).is_file():
        raise UsageError(
            f"--start '{start}' is neither a word nor a file. Allowed: {SCRATCH}, {SUPERNET}, or a supernet or model file, "
            "e.g. runs/people/supernet/supernet.safetensors. Choose one of them."
        )
    return open_start(Path(start))


def _check_people(opened: Run, held: PoseDataset) -> None:
    """Refuses data that is not the run's: the supernet may have been trained on the persons it is judged on.

    Raises:
        DataError: The search split has another size than the run noted.
    """
    noted = opened.manifest.get("search_split") or {}
    found = {"persons": len(held), "images": len(set(held.image_index_N.tolist()))}
    if noted and noted != found:
        raise DataError(
            f"{held.annotation_file}: the search split has {found['persons']} persons on {found['images']} images, that of "
            f"run '{opened.name}' had {noted.get('persons')} on {noted.get('images')}. The ranking is judged on the persons "
            "the supernet was not trained on. Give the data the run was started with."
        )


def _plan(
    opened: Run,
    chosen: tuple[RankNet, ...],
    trainings: list[Training],
    recipe: Recipe,
    steps: int,
    start: Start | None,
    alone: Standalone,
) -> dict[str, Any]:
    left = [training for training in trainings if alone.row(training) is None]
    pace = alone.seconds_a_step()
    return {
        "run": opened.name,
        "networks": len(chosen),
        "second_seeds": len(trainings) - len(chosen),
        "trainings": {"in all": len(trainings), "done": len(trainings) - len(left), "left": len(left)},
        "recipe": recipe.name,
        "epochs": recipe.epochs,
        "steps": steps,
        "start": f"{start.file}, {start.label}" if start else FRESH_WEIGHTS,
        "time left": "known after the first training"
        if pace is None
        else format_duration(pace * steps * len(left)),
        "architectures": {net.arch.code: f"{net.macs / 1e6:.1f} M MACs" for net in chosen},
    }


def _compared(
    net: RankNet,
    alone: Standalone,
    trainings: list[Training],
    promised: dict[str, Any],
    latency_ms: float | None,
) -> RankedNet:
    rows = [alone.row(training) for training in trainings if training.arch == net.arch]
    return RankedNet(
        arch_id=net.arch.id,
        code=net.arch.code,
        bin=net.bin,
        macs=net.macs,
        params=cost(net.arch).params,
        alone=tuple(row["evaluation"]["AP"] for row in rows if row is not None),
        supernet_ap=promised["calibrated"]["AP"],
        uncalibrated_ap=promised["uncalibrated"]["AP"],
        supernet_loss=promised["calibrated"]["loss"],
        latency_ms=latency_ms,
    )

"""What the `space` commands answer: spaces by name, their choices, a check of a file, the cost of an architecture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from posesearch.errors import PosesearchError, UsageError, did_you_mean
from posesearch.spaces import Architecture, SearchSpace, list_spaces, load_preset, load_space, preset_names
from posesearch.spaces.arch import CODE_FORM, stages_from_code
from posesearch.spaces.files import find_file, space_folders

MODEL_SUFFIX = ".safetensors"
EXTREMES = ("largest", "smallest")


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceRow:
    """One line of the list of spaces.

    Attributes:
        name: What `--space` takes.
        file: Where it was found.
        input_size: (height, width) in pixels; None where the file has faults.
        num_joints: Joints predicted.
        stages: Number of stages.
        cardinality: Number of architectures.
        space_id: Identity of the space.
        description: One line.
        problem: Why the file cannot be used; empty where it can.
    """

    name: str
    file: str
    input_size: tuple[int, int] | None = None
    num_joints: int | None = None
    stages: int | None = None
    cardinality: int | None = None
    space_id: str | None = None
    description: str = ""
    problem: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Returns the row as JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceShown:
    """One space in full.

    Attributes:
        row: Its line in the list.
        space: The space.
        extremes: Cost of the smallest and the largest network by name, as `Cost.to_plain` gives it.
    """

    row: SpaceRow
    space: SearchSpace
    extremes: dict[str, dict[str, Any]]

    def to_plain(self) -> dict[str, Any]:
        """Returns the space, its identity and its extremes as JSON-ready values."""
        genes = {name: list(choices) for name, choices in self.space.genes().items()}
        return {**self.row.to_plain(), "genes": genes, "space": self.space.to_plain(), **self.extremes}


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceCost:
    """Cost of one architecture.

    Attributes:
        name: What was asked for.
        arch: The architecture.
        cost: `Cost.to_plain()`.
    """

    name: str
    arch: Architecture
    cost: dict[str, Any]

    def to_plain(self) -> dict[str, Any]:
        """Returns the counts (`params`, `macs`, `flops`, `backbone`, `head`) with the architecture they are of."""
        return {
            "name": self.name,
            "arch_id": self.arch.id,
            "code": self.arch.code,
            "input_size": list(self.arch.input_size),
            "num_joints": self.arch.num_joints,
            **self.cost,
        }


def space_rows() -> tuple[SpaceRow, ...]:
    """Returns all spaces that can be named; a file with faults is listed with its first one."""
    rows = []
    for name in list_spaces():
        file = find_file(name, space_folders(), "search space")
        try:
            rows.append(_row(name, file, load_space(file)))
        except PosesearchError as error:
            problem = f"{str(error).splitlines()[0]} Run 'posesearch space check {file}'."
            rows.append(SpaceRow(name=name, file=str(file), problem=problem))
    return tuple(rows)


def space_show(name: str) -> SpaceShown:
    """Returns a space with the cost of its smallest and largest network.

    Raises:
        UsageError: No such space.
        ConfigError: The file has faults.
    """
    from posesearch.models.cost import cost

    file = find_file(name, space_folders(), "search space")
    space = load_space(file)
    members = {"smallest": space.smallest(), "largest": space.largest()}
    extremes = {key: {"code": arch.code, **cost(arch).to_plain()} for key, arch in members.items()}
    return SpaceShown(row=_row(name, file, space), space=space, extremes=extremes)


def space_check(path: str) -> SpaceRow:
    """Returns the line of a space file without faults.

    Raises:
        UsageError: No such file.
        ConfigError: Lists every fault of the file.
    """
    file = find_file(path, space_folders(), "search space")
    return _row(path, file, load_space(file))


def space_cost(
    name: str,
    *,
    space: str | None = None,
    input_size: tuple[int, int] | None = None,
    joints: int | None = None,
) -> SpaceCost:
    """Counts a preset, an architecture code, a model file, or the largest or smallest member of a space.

    Args:
        name: A preset name, a code such as `w24-48-96-192_d2-2-8-3_k7-7-7-7_r4-4-4-4_a0011`, a `.safetensors` model
            file, or `largest` / `smallest` (with `space`).
        space: Space whose stem, head and input size a code uses; without it those of StarNet-Pose.
        input_size: (height, width) in pixels instead of the architecture's own; not for model files.
        joints: Number of joints instead of the architecture's own; not for model files.

    Raises:
        UsageError: The name fits none of these, or the input size fits no such network.
        DataError: The model file cannot be used.
    """
    from posesearch.models.cost import cost

    arch = _named_architecture(name, space)
    if name.endswith(MODEL_SUFFIX) and (input_size or joints):
        raise UsageError(
            f"{name} is a model file: its input size and joints are part of it. Leave out --input-size and --joints, or give "
            f"its code: {arch.code}."
        )
    plain = arch.to_plain()
    if input_size is not None:
        plain["input_size"] = list(input_size)
    if joints is not None:
        plain["num_joints"] = joints
    arch = _checked(plain)
    return SpaceCost(name=name, arch=arch, cost=cost(arch).to_plain())


def _checked(plain: dict[str, Any]) -> Architecture:
    from posesearch.config import parse

    return parse(Architecture, plain, "architecture")


def _named_architecture(name: str, space_name: str | None) -> Architecture:
    if name.endswith(MODEL_SUFFIX):
        return _architecture_in(Path(name))
    if name in EXTREMES:
        if space_name is None:
            raise UsageError(
                f"'{name}' is a member of which space? Add --space, one of: {', '.join(list_spaces())}."
            )
        space = load_space(space_name)
        return space.largest() if name == "largest" else space.smallest()
    if name.startswith("w") and "_d" in name:
        if space_name is not None:
            return load_space(space_name).arch_from_code(name)
        stages = stages_from_code(name)
        base = load_preset("starnet-pose-t").to_plain()
        base["stages"] = [asdict(stage) for stage in stages]
        return _checked(base)
    known = (*preset_names(), *EXTREMES)
    if name not in preset_names():
        raise UsageError(
            f"'{name}' is no preset, architecture code or {MODEL_SUFFIX} file.{did_you_mean(name, known)} Presets: "
            f"{', '.join(preset_names())}. A code looks like {CODE_FORM}."
        )
    arch = load_preset(name)
    if space_name is None:
        return arch
    problems = load_space(space_name).problems(arch)
    if problems:
        raise UsageError(
            f"preset '{name}' is not in space '{space_name}': {' '.join(problems)} Leave out --space."
        )
    return arch


def _architecture_in(path: Path) -> Architecture:
    from posesearch.checkpoint import read_model_info

    info = read_model_info(path)
    if info.arch is None:
        raise UsageError(
            f"{path} holds a supernet, not one network. Count a member: posesearch space cost largest --space NAME."
        )
    return Architecture.from_plain(info.arch, f"architecture in {path}")


def _row(name: str, file: Path, space: SearchSpace) -> SpaceRow:
    return SpaceRow(
        name=name,
        file=str(file),
        input_size=space.input_size,
        num_joints=space.num_joints,
        stages=len(space.stages),
        cardinality=space.cardinality,
        space_id=space.id,
        description=space.description,
    )

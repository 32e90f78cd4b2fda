"""What a training step means: one network on one batch, or a sandwich of subnets of one supernet.

The loop in `loop` knows neither; it asks a task for gradients and does the rest.

Shape letters: B batch, H and W crop height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from posesearch.data.batch import pixel_statistics
from posesearch.data.dataset import PoseDataset
from posesearch.data.device_photometric import inside_holes
from posesearch.errors import DataError
from posesearch.models.heads import PoseOutput
from posesearch.models.pose import PoseModel
from posesearch.rng import torch_generator
from posesearch.spaces.arch import Architecture
from posesearch.supernet.compiled import Backend, BlockCompiler, Forward, blocks_of, running_compiled
from posesearch.supernet.droppath import drop_path_masks
from posesearch.supernet.recalibrate import recalibrate_model
from posesearch.supernet.sampling import SubnetDraw, sandwich
from posesearch.supernet.supernet import Supernet
from posesearch.train.batches import TrainBatch
from posesearch.train.losses import joint_maps, map_loss, simcc_loss, soft_labels
from posesearch.train.recipe import LossConfig, SupernetConfig


class Task(Protocol):
    """What the loop asks of a task.

    Attributes:
        kind: "model" or "supernet".
        module: Holds the parameters.
        arch: The network, or the largest one: its input size and head shape the batches.
        holes_apart: Whether `backward` blackens CoarseDropout's rectangles itself.
        fixed_shapes: Whether every step runs the same shapes, so that timing cuDNN's algorithms once pays.
    """

    kind: Literal["model", "supernet"]
    module: nn.Module
    arch: Architecture
    holes_apart: bool
    fixed_shapes: bool

    def backward(self, batch: TrainBatch, *, step: int, total_steps: int, bf16: bool) -> dict[str, Tensor]:
        """Adds the gradients of one batch and returns losses as scalars without gradients, "loss" among them."""

    def compile_blocks(self, backend: Backend = "inductor") -> None:
        """Compiles the blocks that `backward` runs, and nothing that is evaluated."""

    def recalibrate(self, images: Iterable[Tensor]) -> None:
        """Makes the module fit for evaluation with its present weights."""

    def identity(self) -> dict[str, Any]:
        """Returns what a checkpoint must agree on to be resumed."""


class ModelTask:
    """Training or fine-tuning of one network on labels.

    Args:
        model: The network, on its device.
        loss: The recipe's loss.
    """

    kind: Literal["model", "supernet"] = "model"
    holes_apart = False
    fixed_shapes = True

    def __init__(self, model: PoseModel, loss: LossConfig) -> None:
        self.module: nn.Module = model
        self.model = model
        self.arch = model.arch
        self.loss = loss
        self._compiled: Mapping[nn.Module, Forward] = {}

    def backward(self, batch: TrainBatch, *, step: int, total_steps: int, bf16: bool) -> dict[str, Tensor]:
        """Adds the gradients of the hard loss, and of the map loss ("map") where the recipe gives it a weight."""
        with (
            torch.autocast(batch.images.device.type, dtype=torch.bfloat16, enabled=bf16),
            joint_maps(self.model) as maps,
            running_compiled(self._compiled),
        ):
            output: PoseOutput = self.model(batch.images)
        losses = {"loss": simcc_loss(output, batch.labels(self.loss.beta), self.loss.beta)}
        total = losses["loss"]
        if self.loss.map_weight:
            losses["map"] = _map_loss(maps, batch)
            total = total + self.loss.map_weight * losses["map"]
        total.backward()
        return {name: value.detach() for name, value in losses.items()}

    def compile_blocks(self, backend: Backend = "inductor") -> None:
        """Compiles the blocks for `backward`; evaluation and recalibration, which takes other momenta, stay eager."""
        compiler = BlockCompiler(backend)
        self._compiled = {block: compiler(block) for block in blocks_of(self.model)}

    def recalibrate(self, images: Iterable[Tensor]) -> None:
        """Replaces the running statistics, which trail behind the weights (and further behind their average)."""
        recalibrate_model(self.model, images)

    def identity(self) -> dict[str, Any]:
        """Returns the architecture's id."""
        return {"kind": self.kind, "architecture": self.arch.id}


class SupernetTask:
    """One sandwich a step: the largest subnet learns from labels, the others also from the largest.

    All see the same batch, gradients are added up, and one optimiser step follows (Yu & Huang, ICCV 2019; in-place
    distillation as in BigNAS, ECCV 2020). Drop path regularises the largest only, and by default so does the
    black rectangle of CoarseDropout: small nets underfit.

    Args:
        supernet: The shared weights, on their device.
        config: The recipe's supernet part.
        loss: The recipe's loss.
        seed: Key of the draws.
        draws: Gives the subnets of a step, the largest first; None draws the sandwich of the recipe.
    """

    kind: Literal["model", "supernet"] = "supernet"
    fixed_shapes = False

    def __init__(
        self,
        supernet: Supernet,
        config: SupernetConfig,
        loss: LossConfig,
        *,
        seed: int,
        draws: Callable[[int], tuple[SubnetDraw, ...]] | None = None,
    ) -> None:
        self.module: nn.Module = supernet
        self.supernet = supernet
        self.arch = supernet.space.largest()
        self.config, self.loss, self.seed = config, loss, seed
        self.holes_apart = config.occlusion == "largest"
        self._draws = draws or self._sandwich

    def backward(self, batch: TrainBatch, *, step: int, total_steps: int, bf16: bool) -> dict[str, Tensor]:
        """Adds the gradients of all subnets, one backward each.

        A joint backward would keep all activations and was slower (2.7 against 2.4 times a largest-only step).

        Returns:
            "loss", the mean of what was minimised; the hard loss by subnet kind ("largest", "smallest", "random"); the
            distillation loss of the others ("distil") and of each kind ("distil_smallest", "distil_random"); the map
            loss ("map") where the recipe gives it a weight.
        """
        labels, beta = batch.labels(self.loss.beta), self.loss.beta
        distil_weight = self.distil_weight(step, total_steps)
        found: dict[str, list[Tensor]] = {}
        teacher = labels
        for draw in self._draws(step):
            if draw.kind == "largest":
                output, maps = self._forward(occluded(batch), draw.arch, bf16, self._drop_path(batch, step))
                hard = loss = simcc_loss(output, labels, beta)
                teacher = soft_labels(*output, labels.weight_BK, beta)
            else:
                output, maps = self._forward(batch.images, draw.arch, bf16, None)
                hard, distil = simcc_loss(output, labels, beta), simcc_loss(output, teacher, beta)
                loss = (1.0 - distil_weight) * hard + distil_weight * distil
                found.setdefault("distil", []).append(distil.detach())
                found.setdefault(f"distil_{draw.kind}", []).append(distil.detach())
            if self.loss.map_weight:
                on_maps = _map_loss(maps, batch)
                loss = loss + self.loss.map_weight * on_maps
                found.setdefault("map", []).append(on_maps.detach())
            loss.backward()
            found.setdefault("loss", []).append(loss.detach())
            found.setdefault(draw.kind, []).append(hard.detach())
        return {name: torch.stack(values).mean() for name, values in found.items()}

    def distil_weight(self, step: int, total_steps: int) -> float:
        """Returns the weight of distillation in a small subnet's loss: `distil_start`, then `distil_end` from halfway on."""
        return self.config.distil_start if 2 * step < total_steps else self.config.distil_end

    def compile_blocks(self, backend: Backend = "inductor") -> None:
        """Compiles the blocks of the subnets that `backward` runs."""
        self.supernet.compile_blocks(backend)

    def recalibrate(self, images: Iterable[Tensor]) -> None:
        """Does nothing: a supernet keeps no statistics, each evaluated subnet brings its own."""

    def identity(self) -> dict[str, Any]:
        """Returns the space's id."""
        return {"kind": self.kind, "space": self.supernet.space.id}

    def _sandwich(self, step: int) -> tuple[SubnetDraw, ...]:
        config = self.config
        return sandwich(
            self.supernet.space, self.seed, step, config.random_subnets, correlation=config.size_correlation
        )

    def _forward(
        self, images_BCHW: Tensor, arch: Architecture, bf16: bool, drop_path: dict[str, Tensor] | None
    ) -> tuple[PoseOutput, list[Tensor]]:
        network = self.supernet.template(arch, running=False).model
        with (
            torch.autocast(images_BCHW.device.type, dtype=torch.bfloat16, enabled=bf16),
            joint_maps(network) as maps,
        ):
            output: PoseOutput = self.supernet(images_BCHW, arch, drop_path=drop_path)
        return output, maps

    def _drop_path(self, batch: TrainBatch, step: int) -> dict[str, Tensor] | None:
        if self.config.drop_path == 0:
            return None
        device = batch.images.device
        generator = torch_generator(self.seed, "drop path", step, device=str(device))
        return drop_path_masks(self.arch, self.arch, self.config.drop_path, len(batch.images), generator)


def check_joints(task: Task, dataset: PoseDataset) -> None:
    """Refuses to train a network on data with another number of joints.

    Raises:
        DataError: The numbers differ.
    """
    joints = dataset.skeleton.num_joints
    if task.arch.num_joints != joints:
        raise DataError(
            f"the network predicts {task.arch.num_joints} joints, {dataset.annotation_file} has {joints}. Both must "
            "have one joint set. Use data annotated with the network's joints, or a space or preset with "
            f"num_joints: {joints}."
        )


def _map_loss(maps: list[Tensor], batch: TrainBatch) -> Tensor:
    return map_loss(maps[-1], batch.x_BKX, batch.y_BKY, batch.weight_BK)


def occluded(batch: TrainBatch) -> Tensor:
    """Returns images_BCHW with CoarseDropout's rectangles black, if they are not in the images already."""
    images_BCHW, hole_B4 = batch.images, batch.hole_B4
    if hole_B4 is None:
        return images_BCHW
    height, width = images_BCHW.shape[2:]
    hole_BHW = inside_holes(hole_B4, (height, width))
    # The published rectangle is 0 before normalisation, so it is not 0 after it.
    mean_1C11, std_1C11 = pixel_statistics(images_BCHW.device)
    black_1C11 = (-mean_1C11 / std_1C11).to(images_BCHW.dtype)
    return torch.where(hole_BHW.unsqueeze(1), black_1C11, images_BCHW)

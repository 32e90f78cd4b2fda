"""Evaluating a subnet the usual way: a loader for each subnet, a deep copy for its statistics, dicts, JSON, pycocotools.

The baseline of `bench recalibrate`, written for the purpose after how supernet toolkits do it: OFA's
`set_running_statistics` on a deep copy, MMPose's per-sample validation pipeline and CocoMetric. It reaches the same
statistics and the same figures as ours.

Shape letters: B batch, C colours, H and W crop height and width, K joints. Points are (x, y).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, Dataset

from posesearch.bench.baseline_metric import Instance, make_coco, metric_step
from posesearch.bench.baseline_pipeline import affine_crop, center_and_scale, load_image
from posesearch.bench.baseline_samples import list_collate
from posesearch.bench.crowds import as_coco
from posesearch.data.batch import IMAGE_MEAN, IMAGE_STD
from posesearch.data.dataset import PoseDataset
from posesearch.keypoints.simcc import SimCCCodec
from posesearch.models.pose import PoseModel


class CropSamples(Dataset[Any]):
    """One dict a person: its image read from its file, its crop warped.

    Args:
        dataset: The persons.
        input_size: (height, width) of the crops.
    """

    def __init__(self, dataset: PoseDataset, input_size: tuple[int, int]) -> None:
        self.dataset, self.input_size = dataset, input_size

    def __len__(self) -> int:
        """Returns the number of persons."""
        return len(self.dataset)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Returns one person's crop, BGR, and what its pose needs on the way back."""
        dataset = self.dataset
        left, top, width, height = dataset.crop_boxes(np.array([row]))[0]
        results = {
            "img_path": str(dataset.images[dataset.image_index_N[row]].path),
            "bbox": np.array([[left, top, left + width, top + height]]),
            "bbox_rotation": np.zeros(1),
            "keypoints": dataset.keypoints_NK3[row][None, :, :2],
        }
        load_image(results, None)
        center_and_scale(results)
        affine_crop(results, self.input_size)
        return {
            "inputs": torch.from_numpy(np.ascontiguousarray(results["img"].transpose(2, 0, 1))),
            "id": row,
            "img_id": int(dataset.image_id_N[row]),
            "center": results["bbox_center"][0],
            "scale": results["bbox_scale"][0],
            "bbox_score": float(dataset.box_score_N[row]),
        }


class NaiveEvaluation:
    """Statistics, forward and metric of one network after the other, each with loaders of its own.

    Args:
        calibration: Persons that give the statistics.
        evaluated: Persons that are scored.
        input_size: (height, width) of the crops.
        device: Where the networks are.
        batch_size: Persons a forward.
        workers: Loading processes; 0 loads in this one, where its CPU time is counted.
        channels_last: Whether networks and images come in our memory order; such scripts leave torch's default, planes.
    """

    def __init__(
        self,
        calibration: PoseDataset,
        evaluated: PoseDataset,
        input_size: tuple[int, int],
        *,
        device: torch.device,
        batch_size: int,
        workers: int,
        channels_last: bool = False,
    ) -> None:
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.calibration, self.evaluated, self.input_size = calibration, evaluated, input_size
        self.device, self.batch_size, self.workers = device, batch_size, workers
        # Read once, as a metric does when it is made.
        self.coco = make_coco(as_coco(evaluated.ground_truth))

    def __call__(self, subnet: PoseModel) -> dict[str, float]:
        """Evaluates one subnet, which is left as it is, and returns the ten figures."""
        return metric_step(self.poses(subnet), self.coco, self.evaluated.skeleton.sigmas)

    def poses(self, subnet: PoseModel) -> list[Instance]:
        """Returns what is scored: one dict a person, with statistics taken anew."""
        network = copy.deepcopy(subnet).to(memory_format=self.layout)  # type: ignore[call-overload]
        self._set_running_statistics(network)
        return self._predictions(network)

    @torch.no_grad()
    def _set_running_statistics(self, network: PoseModel) -> None:
        network.train()
        norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        seen = 0
        for received in self._loader(self.calibration):
            images_BCHW = self._preprocess(received)
            seen += len(images_BCHW)
            for norm in norms:
                norm.momentum = len(images_BCHW) / seen
            network(images_BCHW)

    @torch.no_grad()
    def _predictions(self, network: PoseModel) -> list[Instance]:
        network.eval()
        height, width = self.input_size
        codec = SimCCCodec(input_size=self.input_size, split_ratio=network.arch.head.split_ratio)
        predictions: list[Instance] = []
        for received in self._loader(self.evaluated):
            output = network(self._preprocess(received))
            points_BK2, scores_BK = codec.decode(
                output.x.float().cpu().numpy(), output.y.float().cpu().numpy()
            )
            for place, row in enumerate(received["id"]):
                scale, center = received["scale"][place], received["center"][place]
                points_K2 = points_BK2[place] / (width, height) * scale + center - 0.5 * scale
                predictions.append(
                    {
                        "id": row,
                        "img_id": received["img_id"][place],
                        "keypoints": points_K2[None],
                        "keypoint_scores": scores_BK[place][None],
                        "bbox_scores": np.array([received["bbox_score"][place]]),
                        "areas": np.array([scale.prod()]),
                    }
                )
        return predictions

    def _loader(self, dataset: PoseDataset) -> Iterator[Mapping[str, list[Any]]]:
        yield from DataLoader(
            CropSamples(dataset, self.input_size),
            batch_size=self.batch_size,
            num_workers=self.workers,
            collate_fn=list_collate,
        )

    def _preprocess(self, received: Mapping[str, list[Any]]) -> Tensor:
        """Stacks, turns BGR to RGB and normalises, as a data preprocessor does on the device."""
        images_BCHW = torch.stack([image.to(self.device) for image in received["inputs"]])
        mean, std = (
            torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD)
        )
        images_BCHW = (images_BCHW[:, [2, 1, 0]].float() - mean) / std
        return images_BCHW.contiguous(memory_format=self.layout)

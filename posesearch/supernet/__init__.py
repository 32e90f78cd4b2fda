"""Weight sharing: one slicing rule, the supernet, its sampling, recalibration and warm start."""

from posesearch.supernet.droppath import drop_path_masks
from posesearch.supernet.recalibrate import recalibrate, recalibrate_model
from posesearch.supernet.sampling import SubnetDraw, sandwich
from posesearch.supernet.supernet import Supernet, extract_subnet
from posesearch.supernet.warmstart import StartingWeights, WarmStartReport, read_starting_weights, warm_start

__all__ = [
    "StartingWeights",
    "SubnetDraw",
    "Supernet",
    "WarmStartReport",
    "drop_path_masks",
    "extract_subnet",
    "read_starting_weights",
    "recalibrate",
    "recalibrate_model",
    "sandwich",
    "warm_start",
]

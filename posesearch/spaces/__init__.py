"""Architectures and search spaces: plain values, no torch."""

from posesearch.spaces.arch import Architecture, HeadArch, StageArch, stages_from_code
from posesearch.spaces.files import list_spaces, load_space
from posesearch.spaces.ops import crossover, mutate, neighbours
from posesearch.spaces.presets import load_preset, preset_names
from posesearch.spaces.space import SearchSpace, StageSpace

__all__ = [
    "Architecture",
    "HeadArch",
    "SearchSpace",
    "StageArch",
    "StageSpace",
    "crossover",
    "list_spaces",
    "load_preset",
    "load_space",
    "mutate",
    "neighbours",
    "preset_names",
    "stages_from_code",
]

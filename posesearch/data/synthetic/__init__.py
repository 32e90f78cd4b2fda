"""Generated people: pictures of clothed figures with exact COCO-17 labels, for demos, tests and warm starts."""

from posesearch.data.synthetic.difficulty import DIFFICULTIES, Difficulty, DifficultyName
from posesearch.data.synthetic.scene import PersonLabel, Scene, make_scene
from posesearch.data.synthetic.writer import SyntheticSummary, write_coco

__all__ = [
    "DIFFICULTIES",
    "Difficulty",
    "DifficultyName",
    "PersonLabel",
    "Scene",
    "SyntheticSummary",
    "make_scene",
    "write_coco",
]

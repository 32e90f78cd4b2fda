"""Wardrobe: colours and cut of skin, hair and clothes of one person.

Clothes are redrawn while they are too close to the background they stand in front of, except at the rate of
the level's `camouflage`; at the default level an outline can therefore be seen, at the hard level often not.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Literal

import numpy as np

from posesearch.data.synthetic.canvas import Colour, shade
from posesearch.data.synthetic.draws import Draws

HairStyle = Literal["short", "long", "bald", "hat"]
LegWear = Literal["trousers", "shorts", "skirt"]
TopPattern = Literal["plain", "stripes", "jacket", "logo"]

_SKIN_TONES: tuple[Colour, ...] = (
    (186, 212, 244),
    (160, 192, 236),
    (132, 168, 222),
    (104, 142, 204),
    (78, 112, 172),
    (60, 86, 140),
    (44, 62, 104),
)
_HAIR_TONES: tuple[Colour, ...] = (
    (24, 22, 26),
    (28, 42, 66),
    (36, 66, 108),
    (70, 140, 196),
    (110, 184, 226),
    (40, 70, 150),
    (170, 170, 172),
)
_NEAR_BACKGROUND = 90.0
"""Euclidean BGR distance below which clothes count as hard to see (a third of one channel's range)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outfit:
    """What a person looks like.

    Attributes:
        sleeve: share of the arm that is covered: 0 none, 0.5 to the elbow, 1 to the wrist.
        leg_cover: share of the leg that is covered, in the same way.
    """

    skin: Colour
    hair: Colour
    hat: Colour
    hair_style: HairStyle
    top: Colour
    top_accent: Colour
    top_pattern: TopPattern
    sleeve: float
    leg_wear: LegWear
    leg_colour: Colour
    leg_cover: float
    shoes: Colour
    glasses: bool
    beard: bool


def draw_colour(draws: Draws, value: tuple[float, float] = (0.2, 0.95)) -> Colour:
    """Draws a colour with its brightness in `value`, evenly over hues, often pale, sometimes grey."""
    saturation = 0.0 if draws.chance(0.15) else draws.uniform(0.15, 0.95)
    red, green, blue = colorsys.hsv_to_rgb(draws.uniform(0, 1), saturation, draws.between(value))
    return int(255 * blue), int(255 * green), int(255 * red)


def _contrasting(draws: Draws, background: np.ndarray, camouflage: float) -> Colour:
    colour = draw_colour(draws)
    for _ in range(6):
        far = float(np.linalg.norm(np.asarray(colour) - background)) >= _NEAR_BACKGROUND
        if far or draws.chance(camouflage):
            break
        colour = draw_colour(draws)
    return colour


def draw_outfit(draws: Draws, background: np.ndarray, camouflage: float) -> Outfit:
    """Draws skin, hair and clothes.

    Args:
        draws: where the outfit comes from.
        background: mean colour of the scene behind the person, (3,) BGR.
        camouflage: chance that clothes near the background's colour are kept.
    """
    top = _contrasting(draws, background, camouflage)
    leg_wear: LegWear = draws.weighted(("trousers", "shorts", "skirt"), (0.6, 0.25, 0.15))
    leg_cover = {
        "trousers": draws.uniform(0.9, 0.98),
        "shorts": draws.uniform(0.25, 0.45),
        "skirt": draws.uniform(0.25, 0.5),
    }[leg_wear]
    sleeve = draws.weighted((0.0, 0.3, 0.5, 0.95), (0.15, 0.35, 0.15, 0.35))
    skin = shade(draws.pick(_SKIN_TONES), draws.uniform(0.9, 1.08))
    style: HairStyle = draws.weighted(("short", "long", "bald", "hat"), (0.5, 0.3, 0.06, 0.14))
    pattern: TopPattern = draws.weighted(("plain", "stripes", "jacket", "logo"), (0.4, 0.2, 0.2, 0.2))
    return Outfit(
        skin=skin,
        hair=draws.pick(_HAIR_TONES),
        hat=draw_colour(draws),
        hair_style=style,
        top=top,
        top_accent=draw_colour(draws),
        top_pattern=pattern,
        sleeve=sleeve,
        leg_wear=leg_wear,
        leg_colour=_contrasting(draws, background, camouflage),
        leg_cover=leg_cover,
        shoes=draw_colour(draws, (0.05, 0.95)),
        glasses=draws.chance(0.12),
        beard=style != "long" and draws.chance(0.2),
    )

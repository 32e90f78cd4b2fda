"""What is asked first, before any sampler: the ends of what the budgets leave, named networks, and what others found."""

from __future__ import annotations

from posesearch.search.context import SearchContext
from posesearch.search.objectives import Budgets
from posesearch.spaces.arch import Architecture
from posesearch.spaces.ops import neighbours


def warm_starts(context: SearchContext, fastest: Architecture | None) -> list[tuple[Architecture, str]]:
    """Returns (architecture, origin) pairs in the order in which they are asked.

    Args:
        context: What the steps of the search share.
        fastest: Shown to meet the budgets before the search began, if that had to be sought.
    """
    space, budgets = context.space, context.question.budgets
    starts = [(space.smallest(), "smallest")]
    if fastest is not None:
        starts.append((fastest, "fastest"))
    starts.append((space.largest(), "largest"))
    if not budgets.allows_cost(context.cost(space.largest()).to_plain()):
        starts.append((largest_within(context, budgets), "largest within the budgets"))
    starts += [(arch, f"reference: {label}") for label, arch in context.references.items()]
    return starts + list(context.warm)


def largest_within(context: SearchContext, budgets: Budgets) -> Architecture:
    """Returns a large member within the counted budgets: the largest, cut one step at a time where that costs least.

    Each step takes the neighbour that lowers the fullest budget by the least; some member fits, as the smallest does.
    """

    def fullest(arch: Architecture) -> float:
        return max(budgets.shares(context.cost(arch).to_plain()).values())

    here = context.space.largest()
    while fullest(here) > 1.0:
        smaller = [arch for arch in neighbours(context.space, here) if fullest(arch) < fullest(here)]
        here = max(smaller, key=lambda arch: (fullest(arch), arch.code))
    return here

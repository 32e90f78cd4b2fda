"""What accuracies are likely to be, once all of them are known: the best of many noisy figures flatters itself.

Of 200 networks evaluated with an error of 0.4 AP the one with the highest figure owes part of it to luck. The surrogate
has seen its neighbours too, and expects less of it; choosing by what it expects costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from posesearch.search.samplers import Genes
from posesearch.search.surrogate import Surrogate
from posesearch.search.surrogate_model import FIRST_FIT
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace


@dataclass(frozen=True, kw_only=True, slots=True)
class Smoothed:
    """What is believed of one score.

    Attributes:
        mean: Its expected value, without the error of the evaluation; in the unit of the scores.
        deviation: Standard deviation of what is believed.
    """

    mean: float
    deviation: float


def smoothed_scores(
    space: SearchSpace, archs: Sequence[Architecture], scores: Sequence[float]
) -> dict[Architecture, Smoothed]:
    """Returns what is believed of the scores of evaluated architectures, given all of them.

    Args:
        space: The search space.
        archs: Evaluated architectures, each once.
        scores: Their scores.

    Returns:
        Empty where fewer than `surrogate_model.FIRST_FIT` were evaluated.
    """
    if len(archs) < FIRST_FIT:
        return {}
    surrogate = Surrogate(Genes(space, "surrogate"), 0)
    members = surrogate.places(archs)
    posterior = surrogate.posterior(archs, scores)
    means = posterior.middle + posterior.scale * surrogate.values(posterior.mean(), members)
    deviations = posterior.scale * posterior.deviation(members)
    return {
        arch: Smoothed(mean=float(mean), deviation=float(deviation))
        for arch, mean, deviation in zip(archs, means, deviations, strict=True)
    }

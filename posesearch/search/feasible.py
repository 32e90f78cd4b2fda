"""Asking first whether the budgets can be met at all, before any accuracy is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from posesearch.latency.types import Latency, Measured, Predicted
from posesearch.search.candidate import Candidate, CostLike, FrontMember
from posesearch.search.check import Check
from posesearch.search.context import SearchContext
from posesearch.search.judge import LatencyJudge
from posesearch.search.limit import figure_ms, fits
from posesearch.search.question import Question, figure_text, limit_words
from posesearch.spaces.arch import Architecture
from posesearch.spaces.ops import neighbours
from posesearch.spaces.space import SearchSpace

NEIGHBOURS = 6
"""Cheapest neighbours looked at a round."""

ROUNDS = 3


def too_large_text(space: SearchSpace, question: Question, cost: Callable[[Architecture], CostLike]) -> str:
    """Returns the message for counted budgets that no member meets; empty where the smallest meets them all.

    Parameters, MACs and activations grow with every choice of a space, so its smallest member has the least of each.
    """
    budgets, smallest = question.budgets, space.smallest()
    plain = cost(smallest).to_plain()
    if budgets.allows_cost(plain):
        return ""
    figures = budgets.figures(plain)
    over = [name for name, share in budgets.shares(plain).items() if share > 1.0]
    has = ", ".join(figure_text(name, figures[name]) for name in over)
    wider = " ".join(" ".join(limit_words(name, _rounded_up(figures[name]))) for name in over)
    return (
        f"no architecture of space '{space.name}' meets {limits_text(question, over)}. "
        f"The smallest is {smallest} with {has}. "
        f"Raise the budget ({wider} leaves some choice), or train a supernet of a space with smaller members."
    )


def fastest_feasible(context: SearchContext, judge: LatencyJudge) -> tuple[Architecture, Latency]:
    """Returns the fastest architecture found, measured as well as can be before a budget is called impossible."""
    budget = context.question.latency
    arch, latency = seek_fastest(
        context.space, context.references.values(), context.question, judge.latency, context.cost
    )
    if not fits(latency, budget) and judge.can_measure:
        latency = judge.measured(arch)
        confirm = context.confirming.confirm
        if confirm and not fits(latency, budget):
            # The meter's figures may all be too long, were its yardstick laid in a busy moment.
            judge.learn(arch, confirm([arch])[arch.id])
            latency = judge.latency(arch)
    return arch, latency


def seek_fastest(
    space: SearchSpace,
    others: Iterable[Architecture],
    question: Question,
    latency_of: Callable[[Architecture], Latency],
    cost: Callable[[Architecture], CostLike],
) -> tuple[Architecture, Latency]:
    """Returns the fastest architecture found, stopping at the first within the budget.

    The smallest member comes first, then `others`, then single changes of the fastest so far, cheapest in operators
    and MACs first: on some devices a wider or larger-kernel member runs faster than the smallest. What is over a counted
    budget is not looked at; the smallest member is within all of them (`too_large_text`).

    Args:
        space: The search space.
        others: Further members worth a look, such as the references.
        question: The budgets to meet.
        latency_of: Gives the latency of an architecture, measured or predicted.
        cost: Gives its cost.
    """
    known: dict[Architecture, Latency] = {}

    def fastest() -> Architecture:
        return min(known, key=lambda arch: figure_ms(known[arch], question.percentile))

    def may(arch: Architecture) -> bool:
        return arch not in known and question.budgets.allows_cost(cost(arch).to_plain())

    for arch in filter(may, (space.smallest(), *others)):
        known[arch] = latency_of(arch)
        if fits(known[arch], question.latency):
            return arch, known[arch]
    for _ in range(ROUNDS):
        centre = fastest()
        cheapest = sorted(
            filter(may, neighbours(space, centre)),
            key=lambda arch: (cost(arch).operators, cost(arch).macs, arch.code),
        )
        for arch in cheapest[:NEIGHBOURS]:
            known[arch] = latency_of(arch)
            if fits(known[arch], question.latency):
                return arch, known[arch]
        if fastest() == centre:
            break
    return fastest(), known[fastest()]


def lost_text(
    candidates: Sequence[Candidate], checks: Sequence[Check], rejected: Sequence[FrontMember], *, fresh: bool
) -> str:
    """Returns what became of the candidates of a search whose front is empty: predicted and measured are kept apart.

    Args:
        candidates: Everything that was asked.
        checks: The predictions that were measured.
        rejected: What `confirm_front` found over budget.
        fresh: Whether that was measured in fresh processes.
    """
    within = [c for c in candidates if c.feasible and not c.repeated]
    predicted = {c.arch for c in within if isinstance(c.latency, Predicted)}
    told = f"{len(within) - len(predicted)} architectures were measured within the budget during the search"
    if predicted:
        checked = {check.arch for check in checks} | {member.candidate.arch for member in rejected}
        measured = len(predicted & checked)
        told += f", {len(predicted)} were predicted within it, of which {measured} were measured"
        if measured < len(predicted):
            told += f" and {len(predicted) - measured} lie above it by the predictions refitted on these"
    if fresh:
        told += f"; {len(rejected)} were measured again in fresh processes"
    return told + ". None meets it: "


def no_feasible_text(
    question: Question, arch: Architecture, latency: Latency, space: SearchSpace, predicted_for: str = ""
) -> str:
    """Returns the message for a latency budget nothing meets: the fastest architecture found, and three ways on.

    Args:
        question: The budgets, a latency budget among them.
        arch: The fastest architecture found.
        latency: Its latency.
        space: The search space.
        predicted_for: The device of the table, where nothing could be measured.
    """
    budget = question.latency
    assert budget is not None
    if isinstance(latency, Measured):
        reached_ms, verb, device = latency.at(budget.percentile), "meets", latency.device
        figure = f"{reached_ms:.3g} ms ({latency.noise} machine)"
    else:
        # The bound decides, so it is the bound that a wider budget must reach.
        reached_ms, verb, device = latency.high_ms, "is predicted to meet", f"{predicted_for}, unverified"
        figure = f"~{latency.latency_ms:.3g} ms predicted, at most {reached_ms:.3g}"
    suggested_ms = f"{1.2 * reached_ms:.3g}"
    counted = limits_text(question, list(question.budgets.counted))
    also = f" within {counted}" if counted else ""
    return (
        f"no architecture of space '{space.name}'{also} {verb} --latency-ms {budget.latency_ms:g} "
        f"({budget.percentile}, {budget.runtime}, {budget.precision}) on {device}. "
        f"The fastest found{also} is {arch} with {figure}. "
        f"Raise the budget (--latency-ms {suggested_ms} leaves some choice), use a faster --device or --runtime, "
        "or train a supernet of a space with smaller members."
    )


def limits_text(question: Question, names: Sequence[str]) -> str:
    """Returns counted budgets as they are asked for: `--max-params 0.4M and --max-memory-mb 12 (calculated)`."""
    told = []
    for name in names:
        option, value = limit_words(name, question.budgets.counted[name])
        told.append(f"{option} {value}{' (calculated)' if name == 'memory_bytes' else ''}")
    return " and ".join(told)


def _rounded_up(value: int) -> float:
    """Returns a fifth more, to three digits."""
    return float(f"{1.2 * value:.3g}")

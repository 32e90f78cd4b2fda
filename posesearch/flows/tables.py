"""Which latency table a search goes by, and what it is told about that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from posesearch.errors import DataError, EnvironmentFault, UsageError
from posesearch.flows.tablefiles import TABLES, find_table, held, table_name
from posesearch.latency.device import Fingerprint, device_name
from posesearch.latency.predictor import LatencyPredictor, load_predictor, read_predictor
from posesearch.latency.table import LatencyTable, read_table, write_table
from posesearch.latency.types import Conditions, LatencyBudget
from posesearch.progress import Progress
from posesearch.search.check import Check, learnt
from posesearch.spaces import SearchSpace
from posesearch.spaces.arch import canonical_id

NONE = "none"
EVERY = "Every candidate is measured."


@dataclass(frozen=True, kw_only=True, slots=True)
class TableChoice:
    """The table of a search.

    Attributes:
        path: Its file.
        predictor: What it predicts.
        build_id: Identity of what `latency build` measured. Networks that searches add to a table change its id and not
            this one, so that a search finds its own study again.
        absent: The device it is of is not here: nothing can be measured.
    """

    path: Path
    predictor: LatencyPredictor
    build_id: str
    absent: bool = False

    @property
    def conditions(self) -> Conditions:
        """The conditions of the table."""
        return self.predictor.fingerprint.conditions

    def learn(self, checks: tuple[Check, ...], progress: Progress) -> None:
        """Adds what a search measured to the table's file: its errors where searches look are the ones that matter.

        They join the table as it is in the file now, since other searches may have added to it meanwhile. What was
        measured is in the study as well, so nothing that hinders this ends a search.
        """
        if learnt(self.predictor, checks).table_id == self.predictor.table_id:
            return
        try:
            with held(self.path):
                now = read_table(self.path)
                if build_id(now) != self.build_id:
                    progress.message(
                        f"search: latency table {self.path} was built again meanwhile: what this search measured does "
                        "not join it."
                    )
                    return
                wiser = learnt(LatencyPredictor(now, factor=self.predictor.factor), checks)
                if not isinstance(wiser, LatencyPredictor) or wiser.table_id == now.id:
                    return
                write_table(self.path, wiser.table)
        except (EnvironmentFault, DataError, UsageError) as error:
            progress.message(f"search: what was measured does not join latency table {self.path}: {error}")
            return
        added = len(wiser.table.nets) - len(now.nets)
        progress.message(f"search: {added} measured networks joined latency table {self.path}.")


def absent_table(table: str | None, conditions: Conditions, *, unverified: bool) -> Path | None:
    """Returns the file of a table of a device that is not here, to be searched on alone; None for every other search.

    Args:
        table: What --table says.
        conditions: What the search asks for.
        unverified: What --unverified says.

    Raises:
        UsageError: --unverified without such a table, a table of other conditions, or no table of that name.
        EnvironmentFault: The device is not here, and --unverified was not given.
        DataError: The table is damaged.
    """
    if table is None or table == NONE:
        if unverified:
            raise UsageError(
                "--unverified searches on the latency table of a device that is not here; no table was given. "
                "Add --table FILE, or leave --unverified out."
            )
        return None
    path = find_table(table)
    fingerprint = read_table(path).fingerprint
    if not _is_absent(fingerprint):
        if unverified:
            raise UsageError(
                f"--unverified: latency table {path} is of this machine's {fingerprint.device}. "
                "Leave --unverified out: the front is then measured."
            )
        return None
    if not unverified:
        raise EnvironmentFault(
            f"latency table {path} is of another device: {fingerprint.device}, which is not here. Search on that device, "
            "or give --unverified: the search then goes by predictions alone and its front is labelled unverified. "
            f"--table {NONE} measures on this machine."
        )
    differing = [
        (f"--{name.replace('_', '-')}", getattr(conditions, name), getattr(fingerprint.conditions, name))
        for name in ("runtime", "precision", "threads", "batch", "memory_format")
        if getattr(conditions, name) != getattr(fingerprint.conditions, name)
    ]
    if differing:
        asked = ", ".join(f"{option} {ours}" for option, ours, _ in differing)
        its = " ".join(f"{option} {theirs}" for option, _, theirs in differing)
        raise UsageError(
            f"the search is for {asked}; latency table {path} is for other conditions. Use {its}."
        )
    return path


def choose_table(
    table: str | None,
    *,
    space: SearchSpace,
    conditions: Conditions,
    budget: LatencyBudget | None,
    progress: Progress,
) -> TableChoice | None:
    """Returns the table of this device to search by; None measures every candidate.

    A table that was asked for is used or refused. The one of the usual name is used where it fits, and a message says
    why where it does not: nobody asked for it.

    Args:
        table: A name in `latency/`, a file, "none", or None for the one of the usual name if there is one.
        space: The space searched.
        conditions: Device, runtime, precision, threads, batch and memory format of the search.
        budget: The latency budget, if there is one.
        progress: Where to report.

    Raises:
        UsageError: There is no such table, or it cannot serve this space or percentile.
        DataError: It is damaged.
        EnvironmentFault: It was asked for and is of another device or other conditions; the differing fields are named.
    """
    if table == NONE:
        return None
    path = TABLES / f"{table_name(space, conditions)}.json"
    if table is not None:
        path = find_table(table)
        predictor = load_predictor(path, space=space, conditions=conditions)
    elif not path.is_file():
        return None
    elif budget is not None and budget.percentile != "p50":
        progress.message(
            f"search: latency table {path} predicts medians, the budget is {budget.percentile}. {EVERY}"
        )
        return None
    else:
        try:
            load_predictor(path, space=space, conditions=conditions, live_check=False)
        except (EnvironmentFault, UsageError) as error:
            progress.message(f"search: {error}\nsearch: {EVERY}")
            return None
        try:
            predictor = load_predictor(path, space=space, conditions=conditions)
        except EnvironmentFault as error:
            # Measuring every candidate is no way out of a busy machine, and would begin another study.
            # On a line of its own: the message may end with a command.
            raise EnvironmentFault(f"{error}\nOr measure every candidate: --table {NONE}") from error
    chosen = TableChoice(path=path, predictor=predictor, build_id=build_id(predictor.table))
    progress.message(
        f"search: going by latency table {path} ({chosen.build_id}), which is of this machine: proposals are held to "
        "its upper bound, and what the search finds is measured."
    )
    if predictor.factor != 1.0:
        progress.message(
            f"search: this machine now takes {predictor.factor:.3f}x the time it took when the table was built (three of its "
            "networks timed again, twice; more than the table's noise): predictions are multiplied by that."
        )
    return chosen


def load_absent(path: Path, space: SearchSpace, progress: Progress) -> TableChoice:
    """Returns the table of a device that is not here.

    Raises:
        UsageError: It is of another space.
        DataError: It is damaged.
    """
    predictor = read_predictor(path, space=space)
    progress.message(
        f"search: going by latency table {path} of {predictor.fingerprint.device}, which is not here: nothing is "
        "measured, the front will be unverified."
    )
    return TableChoice(path=path, predictor=predictor, build_id=build_id(predictor.table), absent=True)


def build_id(table: LatencyTable) -> str:
    """Returns the identity of what was measured when a table was built."""
    return canonical_id(
        {
            "space": table.space.id,
            "fingerprint": table.fingerprint.id,
            "entries": [(str(entry.block), entry.cost_ms) for entry in table.entries],
            "nets": [(net.code, list(net.runs_ms)) for net in table.nets if net.role != "selected"],
        }
    )


def _is_absent(stored: Fingerprint) -> bool:
    """Says whether no device of this name is here; other differences (driver, versions) are for `load_predictor`."""
    device = torch.device(stored.conditions.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        return True
    return device_name(torch.device(device.type)) != stored.device

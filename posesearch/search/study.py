"""The Optuna study of one search: what is stored, how it is asked and told, and how it survives a kill.

The objectives of the question, AP (maximise) and latency (minimise) unless others are asked, and a named constraint for each
budget, set on every trial (`Budgets.excess`): of latency the figure minus the budget, of a prediction its upper bound minus
the budget; the trial's attribute `decided_by` says which it was. `latency_ms` alone is missing where a counted figure was
over its budget, so that latency was not asked (`decided_by`: "count"). A trial over budget is told PRUNED, without
accuracy (but see `SearchStudy.tell`). Every trial carries its whole candidate row, and the study what was measured of the
predicted front, so the study alone is the state and `candidates.jsonl` is a copy to read.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler
from optuna.trial import FrozenTrial, Trial, TrialState

from posesearch.errors import DataError
from posesearch.files import append_jsonl, read_jsonl
from posesearch.latency.device import Fingerprint
from posesearch.search.candidate import Candidate
from posesearch.search.check import Check
from posesearch.search.coordination import Alone
from posesearch.search.question import Question
from posesearch.search.samplers import Genes
from posesearch.search.storage import STORAGE, Storage, file_address
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace

CHECK = "check:"
CANDIDATES = "candidates.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """A trial that waits for its answer."""

    trial: Trial
    arch: Architecture
    origin: str


def study_name(
    space: SearchSpace,
    weights_id: str,
    question: Question,
    fingerprint: Fingerprint,
    encoding: str,
    table_id: str = "",
) -> str:
    """Returns the study's name: everything that would make its values incomparable if it changed."""
    conditions = fingerprint.conditions
    return (
        f"{space.id}_{weights_id}_{conditions.runtime}_{conditions.precision}_{fingerprint.id}"
        f"_{question.name}{table_part(table_id)}_{encoding}"
    )


def table_part(table_id: str) -> str:
    """Returns the part of a study's name that a latency table adds; studies without one keep their names."""
    return f"_table-{table_id}" if table_id else ""


class SearchStudy(Alone):
    """A study in `folder/study.db`, created or continued.

    Only one process may hold it (the run folder's lock sees to that): a trial found RUNNING was left by a dead one. See
    `shared.SharedStudy` for several.

    Args:
        folder: The search folder of a run.
        space: The search space.
        name: From `study_name`.
        genes: The encoding of the trials.
        question: Objectives and budgets; each budget is a constraint.
        storage: An open storage that is not `folder/study.db`; it is closed with the study.

    Raises:
        DataError: The storage belongs to another space or is damaged.
        EnvironmentFault: The storage cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        space: SearchSpace,
        name: str,
        genes: Genes,
        question: Question,
        storage: Storage | None = None,
    ) -> None:
        self.name = name
        self._log = folder / CANDIDATES
        self._genes, self._goal = genes, question
        self._storage = storage or Storage(file_address(folder / STORAGE))
        self._source = self._storage.address.shown
        with self._storage.faults(), no_warnings():
            for summary in optuna.get_all_study_summaries(self._storage.rdb, include_best_trial=False):
                self._check_summary(summary.study_name, summary.user_attrs, space)
            self._study = optuna.create_study(
                storage=self._storage.rdb,
                study_name=name,
                directions=["maximize" if more else "minimize" for more in question.maximise],
                load_if_exists=True,
            )
            if "space_id" not in self._study.user_attrs:
                for key, value in question.stored().items():
                    self._study.set_user_attr(key, value)
                self._study.set_user_attr("space_id", space.id)
            self.candidates: list[Candidate] = [
                self._candidate(trial)
                for trial in self._study.get_trials(
                    deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)
                )
            ]
            self.checks: list[Check] = self._stored_checks()
            self.recovered = self._recover()
            self.waiting = len(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
        self._complete_log()

    def _check_summary(self, name: str, attributes: Mapping[str, Any], space: SearchSpace) -> None:
        """Refuses a storage in which there is a search of another space: the folder is that of another run."""
        theirs = attributes.get("space_id", space.id)
        if theirs != space.id:
            raise DataError(
                f"{self._source} holds a search of space {theirs}, this one is '{space.name}' ({space.id}). "
                "Use the run whose supernet was trained on this space, or another --run."
            )

    def _candidate(self, trial: FrozenTrial) -> Candidate:
        return Candidate.from_row(trial.user_attrs["candidate"], self._source)

    def _stored_checks(self) -> list[Check]:
        return [
            Check.from_plain(plain, self._source)
            for key, plain in sorted(self._study.user_attrs.items())
            if key.startswith(CHECK)
        ]

    @property
    def next_key(self) -> int:
        """With the seed, the key of the next proposal: how many asks were opened before it."""
        return len(self.candidates)

    def _recover(self) -> int:
        """Tells trials left RUNNING by a dead process FAIL and queues what they asked; returns how many."""
        left = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for trial in left:
            self._study.tell(trial.number, state=TrialState.FAIL)
            self._ask_again(trial)
        return len(left)

    def _ask_again(self, trial: FrozenTrial) -> None:
        """Queues what a trial asked that got no answer."""
        # A queued trial knows its parameters from the start. Another that was killed between two parameters was not
        # finished; it will be proposed again, being keyed.
        params = trial.system_attrs.get("fixed_params", trial.params)
        if params.keys() == self._genes.distributions().keys():
            attributes: dict[str, Any] = {"origin": "sampler", **trial.user_attrs}
            kept = {name: value for name, value in attributes.items() if name in ("origin", "key")}
            self._study.enqueue_trial(params, user_attrs=kept)

    def _complete_log(self) -> None:
        """Appends rows that a kill between the storage and the log left out."""
        known = {row["trial"] for row in read_jsonl(self._log) if row.get("study") == self.name}
        for candidate in self.candidates:
            if candidate.trial not in known:
                append_jsonl(self._log, candidate.to_row())

    def close(self) -> None:
        """Ends all connections, so that the write-ahead log is folded into the one file that then holds everything."""
        self._storage.close()

    def ask(self, sampler: BaseSampler, arch: Architecture | None = None, origin: str = "sampler") -> Ask:
        """Opens a trial: what a dead process left waiting first, else `arch`, else what `sampler` proposes."""
        with self._storage.faults(), no_warnings():
            if self.waiting:
                self.waiting -= 1
            elif arch is not None:
                self._study.enqueue_trial(self._genes.params(arch), user_attrs={"origin": origin})
            self._study.sampler = sampler
            trial = self._study.ask(self._genes.distributions())
            if isinstance(sampler, NSGAIISampler):
                # Optuna gives a generation to sampled trials only; queued ones shall be parents as well.
                sampler.get_trial_generation(
                    self._study, self._study.get_trials(deepcopy=False)[trial.number]
                )
            return Ask(
                trial=trial,
                arch=self._genes.arch(trial.params),
                origin=trial.user_attrs.get("origin", "sampler"),
            )

    def tell(
        self,
        ask: Ask,
        candidate: Candidate,
        believed: Mapping[str, float] = MappingProxyType({}),
        evaluation: Mapping[str, Any] | None = None,
    ) -> bool:
        """Answers a trial and logs it.

        Args:
            ask: The trial.
            candidate: The answer.
            believed: Stands in, by the name of the objective, for what a candidate over budget was not asked, so that a
                model of the constraints may learn from the trial; without it such a trial is PRUNED. It never leaves the
                study's values.
            evaluation: The whole evaluation, for other workers.

        Returns:
            Whether the answer counts; not when another worker had to take this one for dead.
        """
        with self._storage.faults(), no_warnings():
            for name, excess in self._goal.excess(candidate, believed).items():
                ask.trial.set_constraint(name, excess)
            decided_by = candidate.latency.to_plain()["kind"] if candidate.latency else "count"
            ask.trial.set_user_attr("decided_by", decided_by)
            ask.trial.set_user_attr("candidate", candidate.to_row())
            values = self._goal.values(candidate, believed)
            if values is None:
                self._study.tell(ask.trial, state=TrialState.PRUNED)
            else:
                self._study.tell(ask.trial, values=values)
        self.candidates.append(candidate)
        append_jsonl(self._log, candidate.to_row())
        return True

    def kept(self, key: str, make: Callable[[], Any]) -> Any:
        """Returns the JSON value the study keeps under `key`; the first call makes it, for every later search on it."""
        with self._storage.faults():
            known = self._study.user_attrs
        if key in known:
            return known[key]
        value = make()
        with self._storage.faults():
            self._study.set_user_attr(key, value)
        return value

    def note(self, check: Check) -> None:
        """Keeps what a prediction was worth, so that a killed search does not measure it again."""
        with self._storage.faults():
            self._study.set_user_attr(f"{CHECK}{len(self.checks):04d}", check.to_plain())
        self.checks.append(check)


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Silences Optuna's log below errors for the block, and restores its level afterwards.

    GP warns where it can do without (a kernel that did not fit is replaced by the default one); a user can do nothing
    about it. Python's warnings are silenced where Optuna is called, see `SearchStudy.ask`.
    """
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Silences Python's warnings for the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

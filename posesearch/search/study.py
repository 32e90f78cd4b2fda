"""The Optuna study of one search: what is stored, how it is asked and told, and how it survives a kill.

Two objectives, AP (maximise) and latency (minimise), and one named constraint `latency_ms`, set on every trial: latency
minus budget, of a prediction its upper bound minus budget; the trial's attribute `decided_by` says which it was. A trial
over budget is told PRUNED, without accuracy (but see `SearchStudy.tell`). Every trial carries its whole candidate row,
and the study what was measured of the predicted front, so the study alone is the state and `candidates.jsonl` is a copy
to read.
"""

from __future__ import annotations

import contextlib
import sqlite3
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler
from optuna.trial import Trial, TrialState

from posesearch.errors import DataError, EnvironmentFault
from posesearch.files import append_jsonl, read_jsonl
from posesearch.latency.device import Fingerprint
from posesearch.latency.types import LatencyBudget
from posesearch.search.candidate import Candidate
from posesearch.search.check import Check
from posesearch.search.limit import excess_ms, figure_ms
from posesearch.search.samplers import Genes
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace

CONSTRAINT = "latency_ms"
CHECK = "check:"
STORAGE = "study.db"
CANDIDATES = "candidates.jsonl"


class _Connection(sqlite3.Connection):
    """A connection that waits for the disk at checkpoints only.

    With a write-ahead log a power cut can then lose the last trials, never the file; accuracies are kept elsewhere. A
    trial makes about 30 commits, which took 200 ms on a busy disk.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.execute("PRAGMA synchronous=NORMAL")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """A trial that waits for its answer."""

    trial: Trial
    arch: Architecture
    origin: str


def study_name(
    space: SearchSpace,
    weights_id: str,
    budget: LatencyBudget,
    fingerprint: Fingerprint,
    encoding: str,
    table_id: str = "",
) -> str:
    """Returns the study's name: everything that would make its values incomparable if it changed."""
    return (
        f"{space.id}_{weights_id}_{budget.runtime}_{budget.precision}_{fingerprint.id}"
        f"_{budget.percentile}_{budget.latency_ms:g}ms{table_part(table_id)}_{encoding}"
    )


def table_part(table_id: str) -> str:
    """Returns the part of a study's name that a latency table adds; studies without one keep their names."""
    return f"_table-{table_id}" if table_id else ""


class SearchStudy:
    """A study in `folder/study.db`, created or continued.

    Only one process may hold it (the run folder's lock sees to that): a trial found RUNNING was left by a dead one.

    Args:
        folder: The search folder of a run.
        space: The search space.
        name: From `study_name`.
        genes: The encoding of the trials.
        budget: The budget of the constraint.

    Raises:
        DataError: The storage belongs to another space or is damaged.
        EnvironmentFault: The storage cannot be written.
    """

    def __init__(
        self, folder: Path, space: SearchSpace, name: str, genes: Genes, budget: LatencyBudget
    ) -> None:
        self.name = name
        self._log = folder / CANDIDATES
        self._genes, self._budget = genes, budget
        path = folder / STORAGE
        with _storage_faults(path):
            folder.mkdir(parents=True, exist_ok=True)
            # Write-ahead logging is a property of the file: a third of the time per trial, and readers never block.
            with contextlib.closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60, "factory": _Connection}}
            )
            for summary in optuna.get_all_study_summaries(storage):
                theirs = summary.user_attrs.get("space_id", space.id)
                if theirs != space.id:
                    raise DataError(
                        f"{path} holds a search of space {theirs}, this one is '{space.name}' ({space.id}). "
                        "Use the run whose supernet was trained on this space, or another --run."
                    )
            self._study = optuna.create_study(
                storage=storage, study_name=name, directions=("maximize", "minimize"), load_if_exists=True
            )
            if "space_id" not in self._study.user_attrs:
                self._study.set_user_attr("budget", budget.to_plain())
                self._study.set_user_attr("space_id", space.id)
            self._path, self._storage = path, storage
            self.candidates: list[Candidate] = [
                Candidate.from_row(trial.user_attrs["candidate"], str(path))
                for trial in self._study.get_trials(
                    deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)
                )
            ]
            self.checks: list[Check] = [
                Check.from_plain(plain, str(path))
                for key, plain in sorted(self._study.user_attrs.items())
                if key.startswith(CHECK)
            ]
            self.recovered = self._recover()
            self.waiting = len(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
        self._complete_log()

    def _recover(self) -> int:
        """Tells trials left RUNNING by a dead process FAIL and queues what they asked; returns how many."""
        left = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for trial in left:
            self._study.tell(trial.number, state=TrialState.FAIL)
            # Killed between two parameters, the ask was not finished; it will be proposed again, being keyed.
            if trial.params.keys() == self._genes.distributions().keys():
                origin = trial.user_attrs.get("origin", "sampler")
                self._study.enqueue_trial(trial.params, user_attrs={"origin": origin})
        return len(left)

    def _complete_log(self) -> None:
        """Appends rows that a kill between the storage and the log left out."""
        known = {row["trial"] for row in read_jsonl(self._log) if row.get("study") == self.name}
        for candidate in self.candidates:
            if candidate.trial not in known:
                append_jsonl(self._log, candidate.to_row())

    def close(self) -> None:
        """Ends all connections, so that the write-ahead log is folded into the one file that then holds everything."""
        with _storage_faults(self._path):
            self._storage.remove_session()
            self._storage.engine.dispose()

    def ask(self, sampler: BaseSampler, arch: Architecture | None = None, origin: str = "sampler") -> Ask:
        """Opens a trial: what a dead process left waiting first, else `arch`, else what `sampler` proposes."""
        with _storage_faults(self._path), _no_warnings():
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

    def tell(self, ask: Ask, candidate: Candidate, believed_ap: float | None = None) -> None:
        """Answers a trial and logs it.

        Args:
            ask: The trial.
            candidate: The answer.
            believed_ap: Stands in for the accuracy of a candidate over budget, so that a model of latency may learn
                from the trial; without it such a trial is PRUNED. It never leaves the study's values.
        """
        with _storage_faults(self._path), _no_warnings():
            ask.trial.set_constraint(CONSTRAINT, excess_ms(candidate.latency, self._budget))
            ask.trial.set_user_attr("decided_by", candidate.latency.to_plain()["kind"])
            ask.trial.set_user_attr("candidate", candidate.to_row())
            ap = candidate.ap if candidate.ap is not None else believed_ap
            if ap is None:
                self._study.tell(ask.trial, state=TrialState.PRUNED)
            else:
                self._study.tell(
                    ask.trial, values=(ap, figure_ms(candidate.latency, self._budget.percentile))
                )
        self.candidates.append(candidate)
        append_jsonl(self._log, candidate.to_row())

    def note(self, check: Check) -> None:
        """Keeps what a prediction was worth, so that a killed search does not measure it again."""
        with _storage_faults(self._path):
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
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _storage_faults(path: Path) -> Iterator[None]:
    """Turns what SQLite and Optuna raise about the storage file into our errors."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise EnvironmentFault(_cannot_write(path, error)) from error
    except (sqlite3.DatabaseError, KeyError) as error:
        raise DataError(_damaged(path, error)) from error
    except optuna.exceptions.StorageInternalError as error:
        cause = str(error.__cause__ or error)
        if "malformed" in cause or "not a database" in cause:
            raise DataError(_damaged(path, cause)) from error
        raise EnvironmentFault(_cannot_write(path, cause)) from error
    except OSError as error:
        raise EnvironmentFault(_cannot_write(path, error)) from error


def _damaged(path: Path, error: object) -> str:
    return (
        f"{path} is damaged ({error}). Delete that file and search again: accuracies already evaluated are kept in "
        f"{path.parent / 'evaluations.jsonl'}."
    )


def _cannot_write(path: Path, error: object) -> str:
    return (
        f"{path} cannot be used: {str(error).splitlines()[0]}. "
        "Free some space or make the folder writable, then run the same command again."
    )

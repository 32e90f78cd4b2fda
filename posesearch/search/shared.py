"""A study that several workers ask and tell at once, each in a process of its own, on this machine or on others.

One worker asks at a time, under a lock of the storage: it hears what the others have answered, takes over what a dead one
left, decides, and opens its trial. So nobody asks what another one evaluates, and as many evaluations are made as were
asked for. Evaluations, which take the time, go on side by side.

A running trial gives signs of life from a thread, in the storage's own clock (Optuna's heartbeat, which `ask` and `tell`
do not start). Where they end, another worker tells the trial FAIL and queues what it asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from types import MappingProxyType
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from posesearch.errors import EnvironmentFault
from posesearch.files import write_json_atomic
from posesearch.progress import Progress
from posesearch.search.candidate import Candidate
from posesearch.search.coordination import News
from posesearch.search.life import SignsOfLife
from posesearch.search.outcome import RESULT, SearchOutcome
from posesearch.search.question import Question
from posesearch.search.samplers import Genes
from posesearch.search.storage import Liveness, Storage
from posesearch.search.study import Ask, SearchStudy, no_warnings
from posesearch.search.trials import CLAIMED, evaluations, free_key
from posesearch.search.workers import Terms, Workers
from posesearch.spaces.arch import Architecture
from posesearch.spaces.space import SearchSpace

TERMS, OUTCOME = "terms", "outcome"
"""Attributes of the study: what is searched, and what was found once the search ended."""


class SharedStudy(SearchStudy):
    """A study on a storage with several users.

    Args:
        folder: The search folder of the run on this machine.
        space: The search space.
        name: From `study_name`.
        genes: The encoding of the trials.
        question: Objectives and budgets.
        workers: The storage and how long a silent worker counts as alive.
        terms: What this worker searches.
        progress: Where to report.

    Raises:
        DataError: Space, weights or people differ from those of the other workers.
        EnvironmentFault: The storage cannot be used, or the other workers search for another device.
        UsageError: The other workers were given other options.
    """

    def __init__(
        self,
        folder: Path,
        space: SearchSpace,
        name: str,
        genes: Genes,
        question: Question,
        workers: Workers,
        terms: Terms,
        progress: Progress,
    ) -> None:
        self._folder, self._workers, self._terms, self._progress = folder, workers, terms, progress
        self._worker = f"{socket.gethostname()}:{os.getpid()}"
        self._lock_id = hashlib.sha256(name.encode()).hexdigest()[:8]
        self._running: dict[int, Architecture] = {}
        self._mine: Ask | None = None
        self._life: SignsOfLife | None = None
        self._seen: set[int] = set()
        self._news: list[News] = []
        self._next_key = self._retried = 0
        self._elsewhere: dict[str, Mapping[str, Any]] = {}
        self.elsewhere = self._elsewhere
        liveness = Liveness(beat_s=workers.heartbeat_s, grace_s=workers.grace_s, on_death=self._on_death)
        with no_warnings():  # Optuna calls its heartbeat experimental
            storage = Storage(workers.address, liveness)
        try:
            with storage.locked("studies"), storage.locked(f"ask-{self._lock_id}"):
                super().__init__(folder, space, name, genes, question, storage)
                self.recovered = 0  # each was told
                with storage.faults():
                    if not terms.same(self._study.user_attrs.get(TERMS), self._source):
                        self._study.set_user_attr(TERMS, terms.to_plain())
                        # Asked anew or further: what was found before is no answer yet.
                        self._study.set_user_attr(OUTCOME, None)
                    self._seen = {candidate.trial for candidate in self.candidates}
                    self._hear()
                    self._fetch_outcome()
        except BaseException:
            storage.close()
            raise

    @property
    def running(self) -> Set[Architecture]:
        """What other workers evaluate now."""
        return frozenset(self._running.values())

    @property
    def next_key(self) -> int:
        """With the seed, the key of the next proposal: the smallest that no ask has, in progress or answered."""
        return self._next_key

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Holds the storage's turn to ask, and hears what other workers have answered and left."""
        with self._storage.locked(f"ask-{self._lock_id}"):
            with self._storage.faults():
                self._recover()
                self._hear()
            yield

    def take_news(self) -> tuple[News, ...]:
        """Returns what other workers have answered since the last call."""
        news, self._news = self._news, []
        return tuple(news)

    def ask(self, sampler: BaseSampler, arch: Architecture | None = None, origin: str = "sampler") -> Ask:
        """Opens a trial, see `SearchStudy.ask`, and begins to give signs of life of it."""
        ask = super().ask(sampler, arch, origin)
        with self._storage.faults():
            if "key" not in ask.trial.user_attrs:
                ask.trial.set_user_attr("key", self._next_key)
            trial_id = ask.trial._trial_id  # Optuna's storages know no other name of a trial
            self._life = SignsOfLife(
                lambda: self._storage.beat(trial_id),
                self._storage.rdb.remove_session,
                self._workers.heartbeat_s,
            )
            # Last: a running trial without it was left by a worker that died while asking.
            ask.trial.set_user_attr("worker", self._worker)
        self._mine = ask
        return ask

    def tell(
        self,
        ask: Ask,
        candidate: Candidate,
        believed: Mapping[str, float] = MappingProxyType({}),
        evaluation: Mapping[str, Any] | None = None,
    ) -> bool:
        """Answers a trial, see `SearchStudy.tell`."""
        self._end_life()
        try:
            if evaluation is not None:
                with self._storage.faults():
                    ask.trial.set_user_attr("evaluation", dict(evaluation))
            self._seen.add(candidate.trial)
            return super().tell(ask, candidate, believed)
        except (optuna.exceptions.UpdateFinishedTrialError, ValueError):
            if self._state(ask) == TrialState.RUNNING:
                raise
            self._progress.message(
                f"search: this worker gave no sign of life for {self._workers.grace_s} s while it evaluated trial "
                f"{candidate.trial}, which was given to another one."
            )
            return False

    def drop(self, ask: Ask) -> None:
        """Gives up a trial whose architecture another worker evaluates already."""
        self._end_life()
        with self._storage.faults(), no_warnings():
            ask.trial.set_user_attr(CLAIMED, True)
            self._study.tell(ask.trial, state=TrialState.FAIL)
            self._hear()

    def release(self, ask: Ask) -> None:
        """Hands back a trial that this worker fails to answer, so that nobody has to wait until it counts as dead."""
        self._end_life()
        with contextlib.suppress(EnvironmentFault), self._storage.faults(), no_warnings():
            if self._state(ask) == TrialState.RUNNING:
                self._study.tell(ask.trial, state=TrialState.FAIL)
                self._ask_again(self._study.get_trials(deepcopy=False)[ask.trial.number])

    def pause(self) -> None:
        """Waits a little for other workers."""
        time.sleep(self._workers.poll_s)

    @contextlib.contextmanager
    def ranking(self, *, measures: bool) -> Iterator[bool]:
        """Holds the ranking, if no other worker does; hears all answers, and what an earlier ranking found.

        Args:
            measures: Whether it would be ranked by measurements. Workers on the device do not leave that to others,
                which can only predict.
        """
        name = f"rank-{'measured' if measures else 'predicted'}-{self._lock_id}"
        with self._storage.locked(name, wait=False) as mine:
            if mine:
                with self._storage.locked(f"ask-{self._lock_id}"), self._storage.faults():
                    self._hear()
                    self.checks = self._stored_checks()
                    self._fetch_outcome()
                    self._complete_log()
            yield mine

    def kept(self, key: str, make: Callable[[], Any]) -> Any:
        """Returns the value the study keeps under `key`, see `SearchStudy.kept`; one worker makes it."""
        with self._storage.locked(f"ask-{self._lock_id}"):
            return super().kept(key, make)

    def finish(self, outcome: SearchOutcome) -> None:
        """Keeps the result for workers that come later, with run folders of their own."""
        with self._storage.faults():
            self._study.set_user_attr(OUTCOME, outcome.to_plain())

    def close(self) -> None:
        """Ends the signs of life and all connections."""
        self._end_life()
        super().close()

    def _check_summary(self, name: str, attributes: Mapping[str, Any], space: SearchSpace) -> None:
        """Refuses this worker where a search of the same run is under way with other settings."""
        theirs = attributes.get(TERMS)
        if theirs is None or theirs.get("run") != self._terms.run:
            return
        if attributes.get(OUTCOME) is None:
            self._terms.check(theirs, self._storage.address.shown, name)
        if self._terms.same_accuracies(theirs):
            trials = optuna.load_study(study_name=name, storage=self._storage.rdb).get_trials(deepcopy=False)
            self._elsewhere.update(evaluations(trials))

    def _recover(self) -> int:
        """Takes over trials of dead workers: those without signs of life, and those killed while asking."""
        before = self._retried
        with no_warnings():
            optuna.storages.fail_stale_trials(self._study)
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if "worker" not in trial.user_attrs:
                    self._study.tell(trial.number, state=TrialState.FAIL)
                    self._on_death(self._study, trial)
        return self._retried - before

    def _on_death(self, _study: optuna.Study, trial: FrozenTrial) -> None:
        self._retried += 1
        self._ask_again(trial)
        self._progress.message(
            f"search: worker {trial.user_attrs.get('worker', 'unknown')} died in trial {trial.number}: what it asked "
            "is asked again."
        )

    def _hear(self) -> None:
        """Reads the trials."""
        trials = self._study.get_trials(deepcopy=False)
        fresh = [
            trial
            for trial in trials
            if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and trial.number not in self._seen
        ]
        self._seen.update(trial.number for trial in fresh)
        found = evaluations(fresh)
        for trial in fresh:
            candidate = self._candidate(trial)
            self.candidates.append(candidate)
            self._news.append(News(candidate=candidate, evaluation=found.get(candidate.arch.id)))
        self.candidates.sort(key=lambda candidate: candidate.trial)
        own = self._mine.trial.number if self._mine else -1
        self._running = {
            trial.number: self._genes.arch(trial.params)
            for trial in trials
            if trial.state == TrialState.RUNNING and trial.number != own
        }
        self.waiting = sum(trial.state == TrialState.WAITING for trial in trials)
        self._next_key = free_key(trials)

    def _fetch_outcome(self) -> None:
        """Writes the result that another worker stored into this run folder."""
        outcome = self._study.user_attrs.get(OUTCOME)
        if outcome is not None:
            write_json_atomic(self._folder / RESULT, outcome)

    def _state(self, ask: Ask) -> TrialState:
        with self._storage.faults():
            return self._study.get_trials(deepcopy=False)[ask.trial.number].state

    def _end_life(self) -> None:
        self._mine = None
        if self._life is not None:
            self._life.end()
            self._life = None

"""Several workers of one search: what they must agree on, and how long a silent one counts as alive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posesearch.config import parse_stored
from posesearch.errors import DataError, EnvironmentFault, UsageError, listed
from posesearch.latency.device import Fingerprint, differing
from posesearch.search.context import SearchContext
from posesearch.search.question import limit_words
from posesearch.search.storage import Address

HEARTBEAT_S = 15
"""Seconds between two signs of life of a running trial: one small commit each, lost in the hundred that a trial makes."""

GRACE_S = 60
"""Silence after which a worker counts as dead: four lost signs. Shorter, and a machine that swaps or a server that
restarts would have its trial evaluated twice; longer, and the last trial of a search waits for nothing."""

POLL_S = 0.5
"""Pause of a worker that has nothing to ask, the last evaluations being under way: one query, against seconds each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What a worker searches; workers of one search must agree on all of it.

    Attributes:
        run: Name of the run.
        files: What the files are, by name: space, weights, people ranked on.
        options: What was asked for, by option.
        fingerprint: The device whose latency counts.
    """

    run: str
    files: Mapping[str, str]
    options: Mapping[str, str]
    fingerprint: Fingerprint

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dict."""
        return {
            "run": self.run,
            "files": dict(self.files),
            "options": dict(self.options),
            "fingerprint": self.fingerprint.to_plain(),
        }

    def same(self, theirs: Mapping[str, Any] | None, source: str) -> bool:
        """Says whether another search, as `to_plain` wrote it, asks the same of the same kind of device."""
        if theirs is None or theirs.get("options") != dict(self.options) or not self.same_accuracies(theirs):
            return False
        return parse_stored(Fingerprint, theirs["fingerprint"], source).id == self.fingerprint.id

    def same_accuracies(self, theirs: Mapping[str, Any]) -> bool:
        """Says whether evaluations of another search, as `to_plain` wrote it, hold for this one."""
        return theirs.get("files") == dict(self.files)

    def check(self, theirs: Mapping[str, Any], shown: str, study: str) -> None:
        """Refuses this worker where an unfinished search of the same run differs.

        Args:
            theirs: What `to_plain` wrote for that search.
            shown: The storage, for messages.
            study: Its Optuna study.

        Raises:
            DataError: Space, weights or people differ.
            EnvironmentFault: It is for another device.
            UsageError: Other options were given.
        """
        head = f"{shown} holds a search of run '{self.run}' that is not finished, and this worker differs from it:\n"
        drop = f"To give up that search: optuna delete-study --storage URL --study-name {study}"
        files = _differing(theirs.get("files", {}), self.files)
        if files:
            raise DataError(
                f"{head}{listed(files)}\nAll workers need one and the same run folder. Copy it to this machine, or use "
                f"another --storage. {drop}"
            )
        stored = parse_stored(Fingerprint, theirs["fingerprint"], f"study {study} in {shown}")
        devices = differing(stored, self.fingerprint)
        if devices:
            raise EnvironmentFault(
                f"{head}{listed(devices)}\nA budget holds for one device. Let this worker run on such a device, or let "
                "all workers go by a latency table of it: --table FILE, and --unverified where the device is not. "
                f"{drop}"
            )
        options = _differing(theirs.get("options", {}), self.options)
        if options:
            raise UsageError(
                f"{head}{listed(options)}\nAll workers are started with the same options. Give those of that search, or "
                f"another --storage. {drop}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Workers:
    """How this process works with others.

    Attributes:
        address: The storage they share.
        run: Name of the run: one search of it at a time on a storage.
        split: Identity of the persons that accuracies hold for.
        heartbeat_s: Seconds between two signs of life.
        grace_s: Silence after which a worker counts as dead.
        poll_s: Pause of a worker that waits for others.
    """

    address: Address
    run: str
    split: str
    heartbeat_s: int = HEARTBEAT_S
    grace_s: int = GRACE_S
    poll_s: float = POLL_S

    def terms(self, context: SearchContext, weights_id: str, fingerprint: Fingerprint, table: str) -> Terms:
        """Returns what this worker searches.

        Args:
            context: Space, question, sampler, seed and number of evaluations.
            weights_id: Identity of the supernet's weights.
            fingerprint: The device whose latency counts.
            table: Identity of the latency table, or an empty string.
        """
        space, question = context.space, context.question
        return Terms(
            run=self.run,
            files={
                "space": f"{space.name} ({space.id})",
                "weights": weights_id,
                "people ranked on": self.split,
            },
            options={
                "--objectives": ",".join(objective.name for objective in question.objectives),
                "--latency-ms": f"{question.latency.latency_ms:g}" if question.latency else "none",
                **dict(limit_words(name, limit) for name, limit in question.budgets.counted.items()),
                "--percentile": question.percentile,
                "--sampler": context.sampler,
                "--seed": str(context.seed),
                "--trials": str(context.evaluations),
                "--table": table or "none",
            },
            fingerprint=fingerprint,
        )


def _differing(theirs: Mapping[str, Any], ours: Mapping[str, str]) -> list[str]:
    return [
        f"{name}: {theirs.get(name, 'none')} there, {ours.get(name, 'none')} here"
        for name in dict.fromkeys((*theirs, *ours))
        if theirs.get(name) != ours.get(name)
    ]

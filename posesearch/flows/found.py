"""What `search` gives back: the plan it followed, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posesearch.search.outcome import SearchOutcome


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """What `search` found, or with `dry_run` would do.

    Attributes:
        run: Name of the run.
        folder: Its search folder.
        plan: Budget, conditions, evaluations, resolved.
        outcome: Front, picks and references; None for a dry run, and where another worker ranks.
        next_command: What to run next.
    """

    run: str
    folder: Path
    plan: dict[str, Any]
    outcome: SearchOutcome | None = None
    next_command: str = ""

    @property
    def front(self) -> tuple[dict[str, Any], ...]:
        """Rows of the Pareto front, fastest first."""
        return tuple(self._found().get("front", ()))

    @property
    def references(self) -> tuple[dict[str, Any], ...]:
        """Rows of the named networks evaluated under the same conditions."""
        return tuple(self._found().get("references", ()))

    @property
    def picks(self) -> dict[str, str]:
        """Architecture ids of "best", "knee" and "fastest"."""
        return dict(self._found().get("picks", {}))

    @property
    def evaluations(self) -> int:
        """Accuracy evaluations made."""
        return self.outcome.evaluations if self.outcome else 0

    def _found(self) -> dict[str, Any]:
        return self.outcome.to_plain() if self.outcome else {}

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as a JSON-ready dict."""
        return {
            "run": self.run,
            "folder": str(self.folder),
            "plan": self.plan,
            **self._found(),
            "next_command": self.next_command,
        }

"""What `result.json` says of a supernet that was trained on a little with what the search had visited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from posesearch.config import parse_stored, to_plain


@dataclass(frozen=True, kw_only=True, slots=True)
class Refinement:
    """The refined weights a search went on with.

    Attributes:
        epochs: Passes over the training data.
        file: The weights, relative to the run folder.
        weights_id: Their identity.
        from_weights_id: That of the supernet they started from.
        front: Architectures of the front found before, which had half of the draws or more.
        visited: Further architectures the search had visited within its budget.
        ap_before: AP on the search split with the unrefined weights, by architecture id, of the front found since.
    """

    epochs: int
    file: str
    weights_id: str
    from_weights_id: str
    front: int
    visited: int
    ap_before: dict[str, float] = field(default_factory=dict)

    def with_before(self, ap_before: Mapping[str, float]) -> Refinement:
        """Returns the value with these APs of the unrefined weights."""
        return replace(self, ap_before=dict(ap_before))

    def to_plain(self) -> dict[str, Any]:
        """Returns the value as JSON-ready dict."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_plain(cls, plain: Any, source: str) -> Refinement | None:
        """Rebuilds the value `to_plain` gave; None for None, which results of unrefined weights have.

        Raises:
            DataError: A key is missing or does not fit.
        """
        return None if plain is None else parse_stored(cls, plain, f"refinement in {source}")

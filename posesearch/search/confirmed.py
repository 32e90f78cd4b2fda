"""What fresh processes have measured of a front that is not confirmed in full yet, kept until the result is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from posesearch.errors import DataError
from posesearch.files import append_jsonl, read_jsonl
from posesearch.latency.types import Measured, measured_from_plain

CONFIRMED = "confirmed.jsonl"


class ConfirmedLog:
    """`confirmed.jsonl`: a search that was stopped between two rounds does not measure the first ones again.

    A search that ends removes the file: one that goes on with more evaluations measures its whole front side by side.

    Args:
        folder: The search folder.
        study: Name of the study: figures of another budget or device are left alone.
        effort: How long was measured; figures of another effort are left alone.

    Attributes:
        known: Latencies by architecture id.

    Raises:
        DataError: A line is damaged.
    """

    def __init__(self, folder: Path, study: str, effort: str) -> None:
        self._path, self._study, self._effort = folder / CONFIRMED, study, effort
        self.known: dict[str, Measured] = {}
        for number, row in enumerate(read_jsonl(self._path), start=1):
            where = f"{self._path}, line {number}"
            if not {"study", "effort", "arch_id", "latency"} <= row.keys():
                raise DataError(
                    f"{where}: study, effort, arch_id or latency is missing. Delete that file and search again: the "
                    "front is then measured anew."
                )
            if (row["study"], row["effort"]) == (study, effort):
                self.known[str(row["arch_id"])] = measured_from_plain(row["latency"], where)

    def add(self, found: Mapping[str, Measured]) -> None:
        """Keeps the latencies of one round.

        Raises:
            EnvironmentFault: The disk is full or the file cannot be written.
        """
        for arch_id, latency in found.items():
            append_jsonl(
                self._path,
                {
                    "study": self._study,
                    "effort": self._effort,
                    "arch_id": arch_id,
                    "latency": latency.to_plain(),
                },
            )
        self.known.update(found)

    def remove(self) -> None:
        """Removes the file: the result holds the figures."""
        self._path.unlink(missing_ok=True)

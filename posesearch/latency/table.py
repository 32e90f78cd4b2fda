"""The latency table of one device and one space, as a value and as one JSON file.

The file holds everything its claims rest on: the whole space, the fingerprint, the price of every block, the fitted
coefficients, and what every network took in either run. Its id is a hash of all that, so a file that was cut off or
edited is not mistaken for one that was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from posesearch.config import parse_stored, to_plain
from posesearch.errors import DataError
from posesearch.files import read_json_object, write_json_atomic
from posesearch.latency.blocks import Block
from posesearch.latency.bound import Bound
from posesearch.latency.calibrate import Calibration
from posesearch.latency.device import Fingerprint
from posesearch.latency.noise import Noise
from posesearch.latency.scores import Baselines, Scores
from posesearch.spaces.arch import canonical_id
from posesearch.spaces.space import SearchSpace

KIND = "latency table"
VERSION = 2
REBUILD = "Build it again with: posesearch latency build --fresh"

Role = Literal["fit", "held-out", "selected"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """The price of one block, milliseconds."""

    block: Block
    cost_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredNet:
    """A measured network.

    Attributes:
        code: Its architecture code in the table's space.
        role: "fit", "held-out", or "selected": chosen by a search that used the table, measured afterwards.
        runs_ms: Median latency in each run; of a selected network the one figure the search measured, over the factor of
            its predictions: as if the machine had been as fast as in the first run.
        predicted_ms: What was predicted for a selected network before it joined the fit; 0 for the others.
    """

    code: str
    role: Role
    runs_ms: tuple[float, ...]
    predicted_ms: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TableScores:
    """Scores on networks the predictor was not fitted on.

    Attributes:
        other_run: Held-out networks in the run it was not fitted on, on the first run's scale by the sentinel, a network
            that is in neither: the honest figure, and comparable with the noise floor.
        as_measured: The same with the milliseconds as they were: with what the whole machine was faster or slower.
        same_run: Held-out networks in the run it was fitted on: the flattering figure most papers print.
        selected: Networks a search selected, before they joined the fit; None before any search.
        baselines: Trivial predictors on the figures of `other_run`.
        baselines_after_scale: The same after one common factor is taken out, beside `mape_after_scale`.
    """

    other_run: Scores
    as_measured: Scores
    same_run: Scores
    selected: Scores | None
    baselines: Baselines
    baselines_after_scale: Baselines


@dataclass(frozen=True, kw_only=True, slots=True)
class LatencyTable:
    """Prices, calibration and evidence.

    Attributes:
        space: The space whose blocks are priced.
        fingerprint: The device and the conditions.
        effort: How long a network was measured, a key of `effort.EFFORTS`.
        seed: Key of the choice of networks.
        entries: Price of every block of the space.
        calibration: Line and correction, fitted on the first run.
        bound: How far a prediction can be off.
        sentinel: Code of the network measured with every group.
        sentinel_ms: Its median latency in the first run.
        sentinel_factor: Its median latency in the second run over that: how much slower the whole machine was.
        nets: Every network with its figures.
        noise: Disagreement of the two runs.
        scores: How good the predictor is.
    """

    space: SearchSpace
    fingerprint: Fingerprint
    effort: str
    seed: int
    entries: tuple[Entry, ...]
    calibration: Calibration
    bound: Bound
    sentinel: str
    sentinel_ms: float
    sentinel_factor: float
    nets: tuple[StoredNet, ...]
    noise: Noise
    scores: TableScores

    @property
    def id(self) -> str:
        """First 12 hex digits of the SHA-256 of the content."""
        return canonical_id(to_plain(self))

    @property
    def verdict(self) -> Literal["quiet", "noisy"]:
        """Whether the machine was quiet enough for claims of 3 %."""
        return self.noise.verdict

    def costs_ms(self) -> dict[Block, float]:
        """Returns the entries by block, milliseconds."""
        return {entry.block: entry.cost_ms for entry in self.entries}

    def with_role(self, role: Role) -> tuple[StoredNet, ...]:
        """Returns the networks of one role."""
        return tuple(net for net in self.nets if net.role == role)

    def to_plain(self) -> dict[str, Any]:
        """Returns what the file holds."""
        content: dict[str, Any] = to_plain(self)
        content["space"] = {"id": self.space.id, **content["space"]}
        return {"kind": KIND, "version": VERSION, "id": self.id, "verdict": self.verdict, **content}


def write_table(path: Path, table: LatencyTable) -> None:
    """Writes a table, all of it or nothing.

    Raises:
        EnvironmentFault: The file cannot be written.
    """
    write_json_atomic(path, table.to_plain())


def read_table(path: Path) -> LatencyTable:
    """Reads a table.

    Raises:
        DataError: It is missing, cut off, changed, no latency table, or of a later version.
    """
    where = f"latency table {path}"
    plain = read_json_object(path, "latency table", f"It was cut off or changed. {REBUILD}")
    if plain.get("kind") != KIND:
        raise DataError(f"{where}: key 'kind' is {plain.get('kind')!r}. Allowed: '{KIND}'. {REBUILD}")
    version = plain.get("version")
    if version != VERSION:
        raise DataError(
            f"{where}: its version is {version!r}. Allowed: {VERSION}. It was written by another posesearch. {REBUILD}"
        )
    try:
        table = parse_stored(LatencyTable, _content(plain), where)
    except DataError as error:
        raise DataError(f"{error} {REBUILD}") from error
    if plain.get("id") != table.id:
        raise DataError(
            f"{where}: its content does not fit its id {plain.get('id')!r}: it was changed or damaged. {REBUILD}"
        )
    return table


def _content(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the dataclass holds: derived entries, which are there for readers of the file, left out."""
    content = {key: value for key, value in plain.items() if key not in ("kind", "version", "id", "verdict")}
    if isinstance(content.get("space"), Mapping):
        content["space"] = {key: value for key, value in content["space"].items() if key != "id"}
    return content

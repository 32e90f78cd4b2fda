"""What a run folder cannot say by itself: prices of a latency table and kernel counts, handed over as plain values.

`flows.report` computes them; here they only become typed rows. A report drawn without them has the same sections less
those that rest on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from posesearch.report.fields import integer, mapping, number, rows_of, text


@dataclass(frozen=True, kw_only=True, slots=True)
class PricedPart:
    """What one part of a network adds to its predicted latency, milliseconds."""

    name: str
    latency_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Priced:
    """One architecture by the block table.

    Attributes:
        predicted_ms: What the table predicts for the whole network; the parts add up to it.
        parts: In the order the image meets them.
    """

    arch_id: str
    predicted_ms: float
    parts: tuple[PricedPart, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TimedNet:
    """A measured network with the two counts that its latency may follow."""

    operators: int
    macs: int
    p50_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernels:
    """Pieces of work in one forward; `unit` is "kernels" (profiled on a GPU) or "ATen calls" (counted)."""

    arch_id: str
    count: int
    unit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Extras:
    """Everything that was handed over; all empty where nothing was.

    Attributes:
        table_id: Identity of the latency table.
        table_file: Where it lies.
        priced: The picks by that table.
        nets: The networks it was fitted on.
        kernels: Kernel counts of the picks.
    """

    table_id: str = ""
    table_file: str = ""
    priced: tuple[Priced, ...] = ()
    nets: tuple[TimedNet, ...] = ()
    kernels: tuple[Kernels, ...] = ()

    def priced_of(self, arch_id: str) -> Priced | None:
        """Returns the parts of one architecture, if the table priced it."""
        return next((priced for priced in self.priced if priced.arch_id == arch_id), None)

    def kernels_of(self, arch_id: str) -> Kernels | None:
        """Returns the kernel count of one architecture, if it was counted."""
        return next((kernels for kernels in self.kernels if kernels.arch_id == arch_id), None)


def extras_of(plain: Mapping[str, Any]) -> Extras:
    """Returns the typed rows of what was handed over; absent keys are empty.

    Raises:
        DataError: A value has the wrong type.
    """
    where = "latency figures of the report"
    table = mapping(plain.get("table") or {}, f"{where}: table")
    return Extras(
        table_id=text(table, "id"),
        table_file=text(table, "file"),
        priced=tuple(_priced(row, f"{where}: priced") for row in rows_of(plain, "priced", where)),
        nets=tuple(
            TimedNet(
                operators=integer(row, "operators", where) or 0,
                macs=integer(row, "macs", where) or 0,
                p50_ms=number(row, "p50_ms", where) or 0.0,
            )
            for row in rows_of(plain, "nets", where)
        ),
        kernels=tuple(
            Kernels(
                arch_id=text(row, "arch_id"), count=integer(row, "count", where) or 0, unit=text(row, "unit")
            )
            for row in rows_of(plain, "kernels", where)
        ),
    )


def _priced(row: Mapping[str, Any], where: str) -> Priced:
    return Priced(
        arch_id=text(row, "arch_id"),
        predicted_ms=number(row, "predicted_ms", where) or 0.0,
        parts=tuple(
            PricedPart(name=text(part, "name"), latency_ms=number(part, "latency_ms", where) or 0.0)
            for part in rows_of(row, "parts", where)
        ),
    )

"""Results of a campaign other than free energies of one crystal, such as sweeps, optimizations and orderings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alchemflows.report.details import Fact, Picture, pictures, provenance_facts, read
from alchemflows.report.results import RESULTS, potential_name
from alchemflows.results.listing import results
from alchemflows.schemas.document import Document
from alchemflows.storage.database import Database

#: Decimals of values by their unit; others have four digits.
_DECIMALS = {"eV": 5, "eV/atom": 6, "meV/atom": 3, "K": 0}


@dataclass(frozen=True, slots=True)
class OtherResult:
    """A row of the table of other results, with the labels of its task.

    Attributes
    ----------
    uuid
        Identifier of the job that produced the result.
    structure, transformation, temperature_K, pressure_GPa, repeat
        Labels of its task.
    kind, system, quantity, value, error, unit
        Kind of the result, and its main number (:class:`~alchemflows.results.kinds.Summary`).
    verdict
        Status of the verdict; empty for kinds without one.
    potential
        Name of the potential; for a file, without its folder.
    """

    uuid: str
    structure: str
    transformation: str
    temperature_K: float | None
    pressure_GPa: float | None
    repeat: int
    kind: str
    system: str
    quantity: str
    value: float | None
    error: float | None
    unit: str
    verdict: str
    potential: str

    @property
    def converged(self) -> bool:
        """Whether the result passed all checks, or has none."""
        return self.verdict in ("converged", "")

    @property
    def number(self) -> str:
        """The value with its unit; empty if there is none."""
        return f"{_text(self.value, self.unit)} {self.unit}".strip()

    @property
    def spread(self) -> str:
        """The standard error; empty if there is none."""
        return _text(self.error, self.unit)


@dataclass(frozen=True)
class OtherDetails:
    """Details of a result: figures, reasons of the verdict, its numbers, and provenance."""

    pictures: list[Picture]
    reasons: list[str]
    numbers: list[Fact]
    provenance: list[Fact]


def read_others(database: Database, campaign: str) -> list[OtherResult]:
    """Return the results of a campaign that :func:`~alchemflows.report.results.read_results` does not, in order."""
    known = set(RESULTS.values())
    rows = [_row(row) for row in results(database, campaign=campaign) if row["kind"] not in known]
    return sorted(
        rows,
        key=lambda row: (
            *(row.kind, row.structure, row.transformation),
            *(row.temperature_K or 0.0, row.pressure_GPa or 0.0, row.repeat, row.uuid),
        ),
    )


def other_details(database: Database, result: OtherResult) -> OtherDetails | str:
    """Read the document of a result and return its details, or a message if there is no document to read.

    Raises
    ------
    DocumentVersionError
        If the document was stored by a newer version of this package.
    """
    document = read(database, result.uuid)
    if isinstance(document, str):
        return document
    if not isinstance(document, Document):
        return "The output is not a document of alchemflows; read it from the database with the ID of the job."
    verdict, made = getattr(document, "verdict", None), getattr(document, "provenance", None)
    numbers = document.__repr_args__()  # fields that are numbers or texts
    return OtherDetails(
        pictures(document),
        [] if verdict is None else [*verdict.reasons, *verdict.notes],
        [(str(name), _shown(value)) for name, value in numbers if name not in ("verdict", "key") and value != ""],
        provenance_facts(document, None if made is None else made.wall_time_s, "wall time"),
    )


def _row(row: dict[str, Any]) -> OtherResult:
    return OtherResult(
        uuid=row["uuid"],
        structure=row["structure"] or "",
        transformation=row["transformation"] or "",
        temperature_K=row["temperature_K"],
        pressure_GPa=row["pressure_GPa"],
        repeat=row["repeat"] or 0,
        kind=row["kind"],
        system=row["system"],
        quantity=row["quantity"],
        value=row["value"],
        error=row["error"],
        unit=row["unit"],
        verdict=row["verdict"] or "",
        potential=potential_name(row["potential"]),
    )


def _text(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value:.{_DECIMALS[unit]}f}" if unit in _DECIMALS else f"{value:.4g}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(each)}" for name, each in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)

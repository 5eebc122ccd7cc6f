"""Results of a campaign as rows of a table, and means over repeats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, stdev
from typing import Any, NamedTuple

from alchemflows.free_energy.errors import error_of_mean
from alchemflows.results.query import KINDS, RESULT_FIELDS, newest_ladders
from alchemflows.results.stored import Column, of_campaign, rows_of
from alchemflows.schemas.counts import Counts
from alchemflows.storage.database import Database

#: Classes of result documents, with the name of each kind.
RESULTS: dict[str, str] = KINDS

_COLUMNS: dict[str, Column] = {
    name: RESULT_FIELDS[name]
    for name in (
        *("uuid", "kind", "campaign", "task", "structure", "transformation", "temperature_K", "pressure_GPa", "repeat"),
        *("initial", "final", "formula", "n_windows", "verdict", "potential", "potential_sha256", "head"),
        *("delta_f_eV", "error_eV", "gibbs_eV", "gibbs_error_eV", "helmholtz_eV", "helmholtz_error_eV"),
    )
} | {
    name: Column(f"$output.{path}", "")
    for name, path in {
        "class": "@class",
        "counts": "counts",
        "element": "element",
        "frenkel_ladd_eV": "frenkel_ladd_eV",
        "frenkel_ladd_error_eV": "frenkel_ladd_error_eV",
        "alchemical_eV": "alchemical_eV",
        "alchemical_error_eV": "alchemical_error_eV",
    }.items()
}


class Value(NamedTuple):
    """A free energy of the whole cell with its standard error (eV).

    The error is None if it is not finite, and 0 for a term without statistics. `counts` gives the number of atoms for
    values per atom; it is None if such values are meaningless, as for a defect.
    """

    name: str
    value_eV: float
    error_eV: float | None
    counts: Counts | None

    @property
    def value_eV_per_atom(self) -> float | None:
        """Value per atom (eV)."""
        return None if self.counts is None else self.counts.per_atom(self.value_eV)

    @property
    def error_eV_per_atom(self) -> float | None:
        """Standard error per atom (eV)."""
        return None if self.counts is None or self.error_eV is None else self.counts.per_atom(self.error_eV)


class Crystal(NamedTuple):
    """Properties shared by repeats; results of repeats with equal settings differ only by statistical noise.

    Attributes
    ----------
    structure, transformation
        Names in the campaign.
    kind
        One of the values of :data:`RESULTS`.
    system
        Formulas, or the element of the vacancy.
    sha256
        SHA-256 of the file of the potential.
    """

    structure: str
    transformation: str
    temperature_K: float
    pressure_GPa: float | None
    kind: str
    system: str
    n_atoms: float
    sha256: str


@dataclass(frozen=True, slots=True)
class Result:
    """A row of the table of results.

    Attributes
    ----------
    uuid
        Identifier of the job that produced the result.
    crystal
        Properties that it shares with its repeats.
    repeat
        Index of the repeat.
    values
        ΔF or ΔG of a transformation, G and F of a crystal, or G_f of a vacancy by both routes.
    n_windows
        Number of windows of a ladder; None for other kinds.
    verdict
        Status of the verdict.
    potential
        Name of the potential; for a file, without its folder.
    """

    uuid: str
    crystal: Crystal
    repeat: int
    values: tuple[Value, ...]
    n_windows: int | None
    verdict: str
    potential: str

    @property
    def converged(self) -> bool:
        """Whether the result passed all checks."""
        return self.verdict == "converged"


@dataclass(frozen=True)
class Mean:
    """Mean over the repeats of a crystal.

    Attributes
    ----------
    n, n_converged
        Number of repeats, and number of those that have converged.
    mean
        Unweighted mean. Its standard error is scatter/√n times the factor for few repeats
        (:func:`~alchemflows.free_energy.errors.small_sample_factor`). A weighted mean would be dominated by errors that
        are too small by chance.
    scatter_eV
        Standard deviation of the repeats.
    quoted_eV
        Root mean square of the errors of the repeats, which should be similar to the scatter; None if one of them is
        not finite.
    """

    crystal: Crystal
    n: int
    n_converged: int
    mean: Value
    scatter_eV: float
    quoted_eV: float | None


def read_results(database: Database, campaign: str) -> list[Result]:
    """Return the results of a campaign, sorted by crystal and conditions."""
    criteria = of_campaign(campaign, *RESULTS)
    stored = rows_of(database.outputs(), criteria, _COLUMNS, classes=list(RESULTS), order=("completed_at", -1))
    rows = [_result(row) for row in newest_ladders(stored)]
    return sorted(rows, key=lambda row: (*((value is not None, value) for value in row.crystal), row.repeat, row.uuid))


def means(results: Iterable[Result]) -> Iterator[Mean]:
    """Yield the mean over repeats for each crystal with at least two repeats.

    A crystal is skipped if a repeat occurs twice, since the campaign was then submitted with different settings.

    Parameters
    ----------
    results
        Results in the order of :func:`read_results`.
    """
    for crystal, members in groupby(results, key=lambda result: result.crystal):
        repeats = list(members)
        if len(repeats) < 2 or len({repeat.repeat for repeat in repeats}) < len(repeats):
            continue
        for same in zip(*(repeat.values for repeat in repeats), strict=True):
            scatter = stdev(value.value_eV for value in same)
            errors = [value.error_eV for value in same]
            known = [error**2 for error in errors if error is not None]
            yield Mean(
                crystal,
                len(repeats),
                sum(repeat.converged for repeat in repeats),
                same[0]._replace(
                    value_eV=fmean(value.value_eV for value in same),
                    error_eV=error_of_mean([value.value_eV for value in same]),
                ),
                scatter,
                math.sqrt(fmean(known)) if len(known) == len(errors) else None,
            )


def _result(row: Mapping[str, Any]) -> Result:
    kind = RESULTS[row["class"]]
    counts = Counts(**row["counts"])
    values: tuple[Value, ...]
    if kind == "vacancy":
        system = f"vacancy of {row['element']}"
        values = (
            Value("G_f, two Frenkel–Ladd runs", row["frenkel_ladd_eV"], row["frenkel_ladd_error_eV"], None),
            Value("G_f, removal of an atom", row["alchemical_eV"], row["alchemical_error_eV"], None),
        )
    elif kind == "frenkel-ladd":
        system = row["formula"]
        values = (
            Value("G", row["gibbs_eV"], row["gibbs_error_eV"], counts),
            Value("F", row["helmholtz_eV"], row["helmholtz_error_eV"], counts),
        )
    else:
        system = f"{row['initial']} → {row['final']}"
        values = (Value(difference(row["pressure_GPa"]), row["delta_f_eV"], row["error_eV"], counts),)
    return Result(
        row["uuid"],
        Crystal(
            row["structure"] or "",
            row["transformation"] or "",
            row["temperature_K"],
            row["pressure_GPa"],
            kind,
            system,
            counts.atoms,
            row["potential_sha256"] or "",
        ),
        row["repeat"] or 0,
        values,
        row["n_windows"] if kind == "ladder" else None,
        row["verdict"],
        potential_name(row["potential"]),
    )


def difference(pressure_GPa: float | None) -> str:
    """Return the symbol of a free energy difference: ΔF at constant volume, ΔG at constant pressure."""
    return "ΔF" if pressure_GPa is None else "ΔG"


def potential_name(name: str | None) -> str:
    """Return the name of a potential; for a file, without its folder."""
    return (name or "").rpartition("/")[2]

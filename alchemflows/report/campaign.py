"""Write the report of a campaign as one self-contained HTML file without scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from alchemflows import __version__
from alchemflows.campaign.status import STATES, Condition, campaign_status
from alchemflows.campaign.submission import failures
from alchemflows.errors import InvalidInputError
from alchemflows.output_file import check_writable
from alchemflows.report.details import Details, details
from alchemflows.report.others import OtherDetails, OtherResult, other_details, read_others
from alchemflows.report.results import Result, means, read_results
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA
from alchemflows.schemas.potential import DEMO, DEMO_NOTE
from alchemflows.storage.database import Database

#: Default number of results with figures.
N_FIGURES = 100
#: Largest number of FireWorks ids listed for one cause of failure.
_MOST_IDS = 20


def check_report(path: Path, n_figures: int = N_FIGURES) -> None:
    """Check that a report can be written to a file.

    Raises
    ------
    InvalidInputError
        If the extension is not .html, the folder does not exist or is read-only, or the number of figures is negative.
    """
    if path.suffix != ".html":
        raise InvalidInputError(f"the file name of a report must end with .html; got {path.name!r}")
    check_writable(path)
    if n_figures < 0:
        raise InvalidInputError(f"n_figures must be at least 0; got {n_figures}")


def write_report(database: Database, name: str, path: Path, n_figures: int = N_FIGURES) -> int:
    """Write the report of a campaign: states of jobs, failures, results, means over repeats, and figures.

    Documents are read and figures drawn one result at a time.

    Parameters
    ----------
    database
        Database of the campaign.
    name
        Name of the campaign.
    path
        Path of the report, ending with .html. An existing file is replaced when the whole report is written.
    n_figures
        Maximum number of results shown in detail, with figures; those that have not converged come first. The table
        lists all results.

    Returns
    -------
    The number of results.

    Raises
    ------
    InvalidInputError
        If the campaign does not exist, or for the same reasons as in :func:`check_report`.
    DatabaseError
        If no LaunchPad is configured.

    Examples
    --------
    >>> from pathlib import Path
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import Campaign, connect, write_report
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> _ = salt.to("NaCl.cif")
    >>> campaign = Campaign(
    ...     name="salts",
    ...     structures={"NaCl": {"file": "NaCl.cif"}},
    ...     transformations={"NaK": {"Na": "K"}},
    ...     temperatures_K=[300.0],
    ...     method={"kind": "thermodynamic-integration", "settings": {"n_windows": 3}},
    ...     potential={"name": "mace-demo"},
    ... )
    >>> database = connect()
    >>> _ = campaign.submit(database)
    >>> write_report(database, "salts", Path("salts.html"))  # no result yet
    0
    """
    check_report(path, n_figures)
    states = campaign_status(database, name)
    results, others = read_results(database, name), read_others(database, name)
    every: list[Result | OtherResult] = [*results, *others]
    shown = sorted(every, key=lambda result: result.converged)[:n_figures]
    hashes = {result.potential: result.crystal.sha256 for result in results}
    # The report is written as a stream, so that the figures of only one result are in memory.
    html = _template().generate(
        name=name,
        made=datetime.now(UTC),
        version=__version__,
        headings=list(STATES),
        states=states,
        failures=failures(database, name),
        most_ids=_MOST_IDS,
        n_results=len(every),
        n_not_converged=sum(not result.converged for result in every),
        results=results,
        others=others,
        means=list(means(results)),
        notes={DEMO: DEMO_NOTE},
        potentials=Counter(
            [
                *((result.potential, result.crystal.sha256) for result in results),
                *((other.potential, hashes.get(other.potential, "")) for other in others if other.potential),
            ]
        ),
        shown={result.uuid for result in shown},
        every_detail=_results_with_details(database, [result for result in shown if isinstance(result, Result)]),
        other_details=_others_with_details(database, [each for each in shown if isinstance(each, OtherResult)]),
    )
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(html)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return len(every)


def _results_with_details(database: Database, results: Sequence[Result]) -> Iterator[tuple[Result, Details | str]]:
    for result in results:
        yield result, details(database, result)


def _others_with_details(
    database: Database, results: Sequence[OtherResult]
) -> Iterator[tuple[OtherResult, OtherDetails | str]]:
    for result in results:
        yield result, other_details(database, result)


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("alchemflows.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "fixed": lambda number, digits: f"{number:.{digits}f}",
        # A term without statistics has the error 0 (not shown); the error of an estimator may be unknown (None).
        "error": lambda number, digits: "?" if number is None else f"{number:.{digits}f}" if number else "",
        "general": lambda number: "" if number is None else f"{number:g}",
        "pressure": _pressure,
    }
    environment.globals["pressure_of"] = _pressure_of
    return environment.get_template("campaign.html")


def _pressure_of(labels: Condition | OtherResult) -> str:
    """Return the pressure of a condition or result; empty if its method has neither temperature nor pressure."""
    if labels.temperature_K is None and labels.pressure_GPa is None:
        return ""
    return _pressure(labels.pressure_GPa)


def _pressure(pressure_GPa: float | None) -> str:
    if pressure_GPa is None:
        return "V const."
    return "1 atm" if pressure_GPa == ATMOSPHERE_GPA else f"{pressure_GPa:g} GPa"

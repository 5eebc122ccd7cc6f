"""What jobs of point defects have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alchemflows.jobs.inputs import check_same
from alchemflows.schemas.chemical_potentials import SiteFraction
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.vacancy import RemovalDocument

#: Largest share of the sites with a defect at which defects count as dilute.
MAX_SITE_FRACTION = 0.01


def check_conditions(documents: Sequence[FrenkelLaddDocument | RemovalDocument]) -> None:
    """Check that runs are at one temperature and pressure.

    Raises
    ------
    InvalidInputError
        If they are not; it names the field.
    """
    check_same("runs", documents, "temperature_K", "pressure_GPa")


def disagreement(difference_eV: float, error_eV: float) -> list[str]:
    """Return the reason against two routes that differ; nothing where they agree within two standard errors."""
    if abs(difference_eV) <= 2 * error_eV:
        return []
    return [f"the routes differ by {difference_eV:.4f} eV, more than twice {error_eV:.4f} eV"]


def dilution(fraction: SiteFraction) -> list[str]:
    """Return the reason against a concentration at which defects meet; nothing where they are dilute."""
    if fraction.site_fraction <= MAX_SITE_FRACTION:
        return []
    return [
        f"{fraction.site_fraction:.3g} of the sites would have the defect: above {MAX_SITE_FRACTION:g} defects "
        "interact, and the dilute limit does not hold"
    ]


def quadrature(*errors: float) -> float:
    """Return the standard error of a sum of independent terms from theirs."""
    return float(np.sqrt(sum(error**2 for error in errors)))

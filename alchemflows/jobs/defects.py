"""Functions shared by jobs of point defects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alchemflows.jobs.inputs import check_same
from alchemflows.schemas.chemical_potentials import SiteFraction
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.vacancy import RemovalDocument

#: Largest fraction of sites with a defect at which defects count as dilute.
MAX_SITE_FRACTION = 0.01


def check_conditions(documents: Sequence[FrenkelLaddDocument | RemovalDocument]) -> None:
    """Check that all runs have the same temperature and pressure.

    Raises
    ------
    InvalidInputError
        If they do not; the message names the field.
    """
    check_same("runs", documents, "temperature_K", "pressure_GPa")


def disagreement(difference_eV: float, error_eV: float) -> list[str]:
    """Return a reason if two routes differ by more than two standard errors, and no reason otherwise."""
    if abs(difference_eV) <= 2 * error_eV:
        return []
    return [Reason.ROUTES.because(difference=difference_eV, error=error_eV)]


def dilution(fraction: SiteFraction) -> list[str]:
    """Return a reason if the defects are not dilute, and no reason otherwise."""
    if fraction.site_fraction <= MAX_SITE_FRACTION:
        return []
    return [Reason.NOT_DILUTE.because(fraction=fraction.site_fraction, most=MAX_SITE_FRACTION)]


def quadrature(*errors: float) -> float:
    """Return the standard error of a sum of independent terms from the standard errors of the terms."""
    return float(np.sqrt(sum(error**2 for error in errors)))

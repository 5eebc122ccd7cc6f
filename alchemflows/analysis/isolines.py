"""Thermodynamics at any temperature or pressure of a stored sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import units
from numpy.typing import ArrayLike

from alchemflows.schemas.dynamics import CellFreedom
from alchemflows.schemas.isolines import PressureSweepDocument, TemperatureSweepDocument

if TYPE_CHECKING:
    from alchemflows.free_energy.isolines import Isobar, Isotherm

#: Number of strains of the cell for each kind of freedom.
N_STRAINS: dict[CellFreedom, int] = {"isotropic": 1, "axes": 3, "full": 6}


def isobar_of(document: TemperatureSweepDocument, temperatures_K: ArrayLike) -> Isobar:
    """Return the thermodynamics along the isobar of a sweep, from the work of its switches.

    Parameters
    ----------
    document
        The sweep, with its arrays.
    temperatures_K
        Temperatures of the results (K), between those of the curve, shape (k,).
    """
    from alchemflows.free_energy.curves import work_curve
    from alchemflows.free_energy.isolines import Anchor, isobar

    stored = document.work.curves.arrays()
    places = stored["places"]
    at_constant_volume = document.pressure_GPa is None
    known = document.anchor.helmholtz if at_constant_volume else document.anchor.gibbs
    return isobar(
        work_curve(stored["forward_eV"], stored["backward_eV"], places[0]),
        places,
        (stored["forward_volumes_A3"], stored["backward_volumes_A3"]),
        Anchor(document.anchor.temperature_K, known.value_eV, known.error_eV),
        np.asarray(temperatures_K, dtype=float),
        3 * document.counts.sites,
        0 if at_constant_volume else N_STRAINS[document.settings.cell_freedom],
    )


def isotherm_of(document: PressureSweepDocument, pressures_GPa: ArrayLike) -> Isotherm:
    """Return the thermodynamics along the isotherm of a sweep, from the work of its switches.

    Parameters
    ----------
    document
        The sweep, with its arrays.
    pressures_GPa
        Pressures of the results (GPa), between those of the curve, shape (k,).
    """
    from alchemflows.free_energy.curves import work_curve
    from alchemflows.free_energy.isolines import Anchor, isotherm

    stored, known = document.work.curves.arrays(), document.anchor
    return isotherm(
        work_curve(stored["forward_eV"], stored["backward_eV"], document.temperature_K),
        stored["places"] * units.GPa,
        Anchor(known.pressure_GPa * units.GPa, known.gibbs.value_eV, known.gibbs.error_eV),
        np.asarray(pressures_GPa, dtype=float) * units.GPa,
    )

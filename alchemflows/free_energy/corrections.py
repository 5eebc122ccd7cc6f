"""Analytic contributions to free energies."""

from __future__ import annotations

import numpy as np
from ase import units
from numpy.typing import ArrayLike


def mass_term_eV(
    initial_masses: ArrayLike, final_masses: ArrayLike, temperature_K: float, occupancies: ArrayLike = 1.0
) -> float:
    """Return the contribution of the momenta to ΔF (eV), (3/2) k_B T Σ_i s_i ln(m_i,initial / m_i,final).

    In the classical partition function each atom has a factor (m_i)^(3/2), and the configurational part does not depend
    on masses. The term is therefore added once, independent of the masses used in the dynamics. On a mixed site each
    element has a separate factor, so ln m_i is the mean of ln m_e over its elements and m_i the geometric mean.

    Parameters
    ----------
    initial_masses, final_masses
        Geometric means over the elements of each site (``AlchemicalSystem.masses(weights, "geometric")``), in any
        common unit, shape (N,).
    temperature_K
        Temperature (K).
    occupancies
        Occupancy s_i of each site, equal at both ends, shape (N,); a vacancy has no momentum.
    """
    ratio = np.asarray(initial_masses, dtype=float) / np.asarray(final_masses, dtype=float)
    return float(1.5 * units.kB * temperature_K * (np.asarray(occupancies, dtype=float) * np.log(ratio)).sum())

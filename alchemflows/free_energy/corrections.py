"""Analytic terms of free energies."""

from __future__ import annotations

import numpy as np
from ase import units
from numpy.typing import ArrayLike


def mass_term_eV(initial_masses: ArrayLike, final_masses: ArrayLike, temperature_K: float) -> float:
    """Free-energy change from the momenta when masses change, (3/2) k_B T Σ_i ln(m_i,initial / m_i,final).

    It follows from the classical partition function, in which each atom contributes (m_i)^(3/2). The
    configurational part does not depend on masses, so this is added once, whatever masses the dynamics had.

    Parameters
    ----------
    initial_masses, final_masses
        Shape (N,), in any common unit.
    temperature_K
        Temperature.
    """
    ratio = np.asarray(initial_masses, dtype=float) / np.asarray(final_masses, dtype=float)
    return float(1.5 * units.kB * temperature_K * np.log(ratio).sum())

"""Free energy of the Einstein crystal, and the terms that lead from it to that of a real crystal (all in eV)."""

from __future__ import annotations

import numpy as np
from ase import units
from numpy.typing import ArrayLike
from scipy.constants import physical_constants

from alchemflows.errors import InvalidInputError

#: ħ in eV times the time unit of ASE, so that ħ √(k/m) is in eV for k in eV/Å² and m in atomic mass units.
HBAR = physical_constants["reduced Planck constant in eV s"][0] * units.s


def spring_constants_eV_per_A2(msd_A2: ArrayLike, equivalent: ArrayLike, temperature_K: float) -> np.ndarray:
    """Return spring constants k_i = 3 k_B T / ⟨|Δr_i|²⟩; displacements are averaged over equivalent atoms.

    Parameters
    ----------
    msd_A2
        Mean squared displacement of each atom from its mean position, shape (N,).
    equivalent
        A label for each atom, shape (N,); equivalent atoms have the same label.
    temperature_K
        Temperature of the dynamics in which the displacements were measured (K).

    Raises
    ------
    InvalidInputError
        If an atom has not moved at all.
    """
    msd, labels = np.asarray(msd_A2, dtype=float), np.asarray(equivalent)
    if not (msd > 0).all():
        raise InvalidInputError(
            f"atom {int(np.argmin(msd))} has a mean squared displacement of zero, so its spring constant is infinite; "
            "sample longer"
        )
    means = {label: msd[labels == label].mean() for label in set(labels.tolist())}
    return np.array([3 * units.kB * temperature_K / means[label] for label in labels.tolist()])


def einstein_free_energy_eV(
    stiffness_eV_per_A2: ArrayLike, masses: ArrayLike, temperature_K: float, occupancies: ArrayLike = 1.0
) -> float:
    """Return F of independent classical oscillators (eV): 3 k_B T Σ_i s_i ln(ħω_i / k_B T) with ω_i = √(k_i / m_i).

    Parameters
    ----------
    stiffness_eV_per_A2, masses
        Spring constants, and masses in atomic mass units, shape (N,). On mixed sites use the geometric mean of the
        masses; F is then the mean over the oscillators of the elements.
    temperature_K
        Temperature (K).
    occupancies
        Occupancy s_i of each site, shape (N,). The vacant fraction of a site has no momentum, and the coordinate of its
        oscillator is not counted.
    """
    kT = units.kB * temperature_K
    omega = np.sqrt(np.asarray(stiffness_eV_per_A2, dtype=float) / np.asarray(masses, dtype=float))
    return float(3 * kT * (np.asarray(occupancies, dtype=float) * np.log(HBAR * omega / kT)).sum())


def centre_of_mass_term_eV(
    stiffness_eV_per_A2: ArrayLike, masses: ArrayLike, free_volume_A3: float, temperature_K: float
) -> float:
    """Return the correction for a fixed centre of mass (eV).

    It is F − F_fixed of the crystal minus the same difference of its Einstein crystal.

    If the centre of mass is fixed in both, F_crystal = F_Einstein + ΔF_fixed + this term,

        −k_B T ln[ v (β / (2π Σ_i μ_i² / k_i))^(3/2) ],   μ_i = m_i / Σ_j m_j.

    The springs hold the centre of mass of the Einstein crystal with a Gaussian of variance Σ μ_i² k_B T / k_i. That of
    the crystal can be anywhere in the volume v of a primitive cell, since a translation by a lattice vector gives the
    same crystal (Polson, Trizac, Pronk & Frenkel, J. Chem. Phys. 112, 5339, 2000; for one atom in the primitive cell,
    eq. 24 of Freitas, Asta & de Koning, Comput. Mater. Sci. 112, 333, 2016). The term is configurational: masses only
    define which centre is fixed.

    Parameters
    ----------
    stiffness_eV_per_A2, masses
        Spring constants and masses, shape (N,). The masses are those of the dynamics, even if the free energy of the
        momenta uses others.
    free_volume_A3
        Volume v of a primitive cell.
    temperature_K
        Temperature (K).
    """
    kT = units.kB * temperature_K
    k, m = np.asarray(stiffness_eV_per_A2, dtype=float), np.asarray(masses, dtype=float)
    variance = kT * ((m / m.sum()) ** 2 / k).sum()
    return float(-kT * np.log(free_volume_A3 / (2 * np.pi * variance) ** 1.5))


def classical_harmonic_free_energy_eV(
    omegas: ArrayLike, masses: ArrayLike, free_volume_A3: float, temperature_K: float
) -> float:
    """Return F (eV) of a harmonic crystal with 3N − 3 modes and a free centre of mass, without its static energy.

    It is k_B T Σ ln(ħω / k_B T) − k_B T ln(v / Λ³), where Λ is the thermal wavelength of the total mass.

    Parameters
    ----------
    omegas
        Angular frequencies of the 3N − 3 modes in 1 / (time unit of ASE), i.e. square roots of eV/Å²/amu.
    masses
        Masses in atomic mass units, shape (N,).
    free_volume_A3
        Volume v of a primitive cell.
    temperature_K
        Temperature (K).

    Raises
    ------
    InvalidInputError
        If a mode is unstable.
    """
    kT = units.kB * temperature_K
    omega = np.asarray(omegas, dtype=float)
    if not (omega > 0).all():
        raise InvalidInputError(
            f"omegas: {int((~(omega > 0)).sum())} modes are unstable, so the harmonic free energy is not defined"
        )
    wavelength = np.sqrt(2 * np.pi * HBAR**2 / (np.sum(masses) * kT))
    return float(kT * np.log(HBAR * omega / kT).sum() - kT * np.log(free_volume_A3 / wavelength**3))

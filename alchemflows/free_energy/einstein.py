"""The Einstein crystal, and what turns its free energy into that of a crystal; all in eV."""

from __future__ import annotations

import numpy as np
from ase import units
from numpy.typing import ArrayLike
from scipy.constants import physical_constants

from alchemflows.errors import InvalidInputError

#: ħ in eV times ASE's unit of time, so that ħ √(k/m) is in eV for k in eV/Å² and m in atomic mass units.
HBAR = physical_constants["reduced Planck constant in eV s"][0] * units.s


def spring_constants_eV_per_A2(msd_A2: ArrayLike, equivalent: ArrayLike, temperature_K: float) -> np.ndarray:
    """Return k_i = 3 k_B T / ⟨|Δr_i|²⟩, averaged over equivalent atoms.

    Parameters
    ----------
    msd_A2
        Mean squared distance of each atom from its mean place, shape (N,).
    equivalent
        A label for each atom, the same for equivalent ones, shape (N,).
    temperature_K
        Temperature of the dynamics that the displacements are from.

    Raises
    ------
    InvalidInputError
        If an atom did not move at all.
    """
    msd, labels = np.asarray(msd_A2, dtype=float), np.asarray(equivalent)
    if not (msd > 0).all():
        raise InvalidInputError(f"atom {int(np.argmin(msd))} has not moved: its spring would be infinitely stiff")
    means = {label: msd[labels == label].mean() for label in set(labels.tolist())}
    return np.array([3 * units.kB * temperature_K / means[label] for label in labels.tolist()])


def einstein_free_energy_eV(
    stiffness_eV_per_A2: ArrayLike, masses: ArrayLike, temperature_K: float, occupancies: ArrayLike = 1.0
) -> float:
    """Return F = 3 k_B T Σ_i s_i ln(ħω_i / k_B T), ω_i = √(k_i / m_i), of free-standing classical oscillators.

    Parameters
    ----------
    stiffness_eV_per_A2, masses
        Shape (N,); masses in atomic mass units. On mixed sites the geometric mean over the elements makes F the mean of
        the F of the elements' oscillators.
    temperature_K
        Temperature.
    occupancies
        s_i, how much of an atom is on each site, shape (N,). The vacant share of a site has no momentum, and its
        coordinate, an oscillator on the site's spring, is not counted.
    """
    kT = units.kB * temperature_K
    omega = np.sqrt(np.asarray(stiffness_eV_per_A2, dtype=float) / np.asarray(masses, dtype=float))
    return float(3 * kT * (np.asarray(occupancies, dtype=float) * np.log(HBAR * omega / kT)).sum())


def centre_of_mass_term_eV(
    stiffness_eV_per_A2: ArrayLike, masses: ArrayLike, free_volume_A3: float, temperature_K: float
) -> float:
    """Return F − F_fixed of the crystal, less the same of its Einstein crystal.

    With the centre of mass fixed in both, F_crystal = F_Einstein + ΔF_fixed + this term,

        −k_B T ln[ v (β / (2π Σ_i μ_i² / k_i))^(3/2) ],   μ_i = m_i / Σ_j m_j:

    the springs hold the centre of mass with a Gaussian of variance Σ μ_i² k_B T / k_i, the crystal's may be anywhere in
    v, the volume of a primitive cell, since a translation by a lattice vector gives the same crystal (Polson, Trizac,
    Pronk & Frenkel, J. Chem. Phys. 112, 5339, 2000; for one atom in the primitive cell, eq. 24 of Freitas, Asta & de
    Koning, Comput. Mater. Sci. 112, 333, 2016). The term is configurational: masses only say which centre rests.

    Parameters
    ----------
    stiffness_eV_per_A2, masses
        Shape (N,). The masses are those of the dynamics, whatever masses the momenta of the crystal have.
    free_volume_A3
        v.
    temperature_K
        Temperature.
    """
    kT = units.kB * temperature_K
    k, m = np.asarray(stiffness_eV_per_A2, dtype=float), np.asarray(masses, dtype=float)
    variance = kT * ((m / m.sum()) ** 2 / k).sum()
    return float(-kT * np.log(free_volume_A3 / (2 * np.pi * variance) ** 1.5))


def classical_harmonic_free_energy_eV(
    omegas: ArrayLike, masses: ArrayLike, free_volume_A3: float, temperature_K: float
) -> float:
    """Return F of a harmonic crystal with 3N − 3 modes and a free centre of mass, without its static energy.

    k_B T Σ ln(ħω / k_B T) − k_B T ln(v / Λ³), Λ the thermal wavelength of the total mass.

    Parameters
    ----------
    omegas
        Angular frequencies of the 3N − 3 modes, in 1 / (ASE's unit of time): √ of (eV/Å²/amu).
    masses
        Atomic mass units, shape (N,).
    free_volume_A3
        Volume of a primitive cell.
    temperature_K
        Temperature.

    Raises
    ------
    InvalidInputError
        If a mode is not stable.
    """
    kT = units.kB * temperature_K
    omega = np.asarray(omegas, dtype=float)
    if not (omega > 0).all():
        raise InvalidInputError(f"{int((~(omega > 0)).sum())} modes are not stable: there is no harmonic free energy")
    wavelength = np.sqrt(2 * np.pi * HBAR**2 / (np.sum(masses) * kT))
    return float(kT * np.log(HBAR * omega / kT).sum() - kT * np.log(free_volume_A3 / wavelength**3))


def quantum_correction_eV(omegas: ArrayLike, temperature_K: float) -> float:
    """Return F_quantum − F_classical of harmonic modes, Σ [ħω/2 + k_B T ln(1 − e^(−βħω)) − k_B T ln(βħω)].

    The anharmonic part is taken to be the same in both statistics.

    Parameters
    ----------
    omegas
        As for :func:`classical_harmonic_free_energy_eV`.
    temperature_K
        Temperature.
    """
    kT = units.kB * temperature_K
    x = HBAR * np.asarray(omegas, dtype=float) / kT
    if not (x > 0).all():
        raise InvalidInputError(f"{int((~(x > 0)).sum())} modes are not stable: there is no quantum correction")
    return float(kT * (x / 2 + np.log(-np.expm1(-x)) - np.log(x)).sum())

"""Corrections of classical free energies for quantum nuclei.

For harmonic modes with x = ħω / k_B T the correction is exact at all temperatures,

    ΔF / k_B T = Σ ln[2 sinh(x/2) / x] = Σ (x²/24 − x⁴/2880 + …).

For any potential, the first term of the expansion in ħ is that of Wigner (Phys. Rev. 40, 749, 1932) and Kirkwood (Phys.
Rev. 44, 31, 1933; Landau & Lifshitz, Statistical Physics, § 33), with an average over the classical distribution,

    ΔF = ħ² / [24 (k_B T)²] Σ_i ⟨|F_i|²⟩ / m_i,

which contains anharmonicity and diffusion. In first order in ħ² it is also the correction of G at constant pressure.
Exchange of identical nuclei is neglected in both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import units
from numpy.typing import ArrayLike

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.einstein import HBAR
from alchemflows.free_energy.polynomials import SwitchAverages

#: Largest share of the next term in the Wigner–Kirkwood term, up to which the expansion counts as converged. For one
#: frequency, the first term is then 10 % above the exact correction.
MAX_NEXT_TERM = 0.1


@dataclass(frozen=True)
class WignerKirkwood:
    """First term of the expansion in ħ at k temperatures (eV), for the whole cell.

    Attributes
    ----------
    values, errors
        The correction of F or G, and its standard error, shape (k,).
    next_terms
        Absolute value of the next term of harmonic modes, divided by the first term, shape (k,). It is a lower limit if
        the frequencies are those of single atoms.
    shares
        What each switch adds to the errors, shape (2n, k), in the order of
        :class:`~alchemflows.free_energy.isolines.Isobar`.
    """

    values: np.ndarray
    errors: np.ndarray
    next_terms: np.ndarray
    shares: np.ndarray

    def holds_from_K(self, temperatures_K: ArrayLike) -> float | None:
        """Return the lowest of the k temperatures (K) above which the expansion has converged; None if there is none.

        Parameters
        ----------
        temperatures_K
            The temperatures, ascending, shape (k,).
        """
        bad = np.flatnonzero(~(self.next_terms <= MAX_NEXT_TERM))  # also where it is not a number
        first = 0 if len(bad) == 0 else int(bad[-1]) + 1
        return None if first == len(self.next_terms) else float(np.asarray(temperatures_K)[first])

    def holds_to_GPa(self, pressures_GPa: ArrayLike) -> float | None:
        """Return the highest of the k pressures (GPa) up to which the expansion has converged; None if there is none.

        Parameters
        ----------
        pressures_GPa
            The pressures, ascending, shape (k,).
        """
        good = int(np.argmin([*(self.next_terms <= MAX_NEXT_TERM), False]))  # number of them before the first bad one
        return float(np.asarray(pressures_GPa)[good - 1]) if good else None


def wigner_kirkwood(
    force_squares: tuple[np.ndarray, np.ndarray],
    kind_counts: np.ndarray,
    path_K: np.ndarray,
    temperatures_K: ArrayLike,
    omegas: ArrayLike | None = None,
) -> WignerKirkwood:
    """Return the Wigner–Kirkwood term along a sweep of the temperature.

    The dynamics at the temperature T_d have the forces F_s = s F with s = T_d / T, so that ⟨|F|²⟩/T² = ⟨|F_s|²⟩/T_d².
    What is fitted by a parabola is Σ_i ⟨|F_i|²⟩ / (m_i k_B T), the sum of the squares of all frequencies, which is
    constant for a harmonic crystal.

    Parameters
    ----------
    force_squares
        Mean of Σ_i |F_s,i|²/m_i (eV²/Å²/amu) of each kind of atom in each forward and backward switch, between
        successive points in the order of the temperatures, two arrays of shape (n, m − 1, kinds).
    kind_counts
        Number of atoms of each kind, shape (kinds,).
    path_K
        Temperatures of the points (K), ascending from that of the dynamics, shape (m,).
    temperatures_K
        Temperatures of the results (K), within those of the path, shape (k,).
    omegas
        Frequencies of the modes, as for :func:`quantum_correction_eV`, for the size of the next term; without them it
        is that of atoms which vibrate alone, each kind with its mean frequency.
    """
    t, low = np.asarray(temperatures_K, dtype=float), path_K[0]
    middle = np.sqrt(path_K[1:] * path_K[:-1])
    # ⟨|F_s|²⟩ / m to Σ ω².
    sums = _SquaredFrequencies.fitted(force_squares, middle / (units.kB * low**2), kind_counts, middle, t)
    if omegas is None:
        return sums.term(t, sums.ratio)
    modes = np.asarray(omegas, dtype=float) ** 2
    return sums.term(t, (modes**2).sum() / modes.sum())


def wigner_kirkwood_over_pressure(
    force_squares: tuple[np.ndarray, np.ndarray],
    kind_counts: np.ndarray,
    path_GPa: np.ndarray,
    pressures_GPa: ArrayLike,
    temperature_K: float,
    omegas: ArrayLike | None = None,
) -> WignerKirkwood:
    """Return the Wigner–Kirkwood term along a sweep of the pressure.

    The sum of the squares of all frequencies is fitted by a parabola in the pressure.

    Parameters
    ----------
    force_squares, kind_counts
        As for :func:`wigner_kirkwood`; the forces are not scaled.
    path_GPa
        Pressures of the points (GPa), ascending, shape (m,).
    pressures_GPa
        Pressures of the results (GPa), within those of the path, shape (k,).
    temperature_K
        Temperature (K).
    omegas
        Frequencies of the modes at one of the pressures, for the size of the next term: at other pressures all are
        multiplied by the same factor. Without them it is that of atoms which vibrate alone.
    """
    p = np.asarray(pressures_GPa, dtype=float)
    middle = (path_GPa[1:] + path_GPa[:-1]) / 2
    factor = np.full(len(middle), 1 / (units.kB * temperature_K))
    sums = _SquaredFrequencies.fitted(force_squares, factor, kind_counts, middle, p)
    t = np.full(len(p), temperature_K)
    if omegas is None:
        return sums.term(t, sums.ratio)
    modes = np.asarray(omegas, dtype=float) ** 2
    return sums.term(t, sums.total * (modes**2).sum() / modes.sum() ** 2)


def correction_over_volumes(known_A3: ArrayLike, known_eV: ArrayLike, volumes_A3: ArrayLike) -> np.ndarray:
    """Return a quantum correction (eV) at any volumes, from those at a few.

    Its logarithm is a polynomial in ln V through the known values. If all modes have the Grüneisen parameter γ, so that
    ω ∝ V^(−γ), this is a straight line with the slope −γ at T = 0, and −2γ in the classical limit.

    Parameters
    ----------
    known_A3, known_eV
        Volumes (Å³) and positive corrections (eV) there, shape (n,).
    volumes_A3
        Volumes of the results (Å³), shape (k,).
    """
    x, values = np.log(np.asarray(known_A3, dtype=float)), np.log(np.asarray(known_eV, dtype=float))
    middle = x.mean()
    return np.exp(np.polyval(np.polyfit(x - middle, values, len(x) - 1), np.log(volumes_A3) - middle))


@dataclass(frozen=True)
class _SquaredFrequencies:
    """Sum of the squares of all frequencies at k points of a path, its errors, and what each switch adds to them.

    `ratio` is the sum of their fourth powers divided by that of their squares, if each atom vibrates alone, each kind
    with its mean frequency.
    """

    total: np.ndarray
    errors: np.ndarray
    shares: np.ndarray
    ratio: np.ndarray

    @classmethod
    def fitted(
        cls,
        force_squares: tuple[np.ndarray, np.ndarray],
        factor: np.ndarray,
        kind_counts: np.ndarray,
        middle: np.ndarray,
        x: np.ndarray,
    ) -> _SquaredFrequencies:
        """Return the values at x, from the squares of forces at `middle` that are multiplied by a factor."""
        squares = tuple(factor[:, None] * each for each in force_squares)
        even = np.ones(len(middle))
        averages = SwitchAverages((squares[0].sum(axis=2), squares[1].sum(axis=2)), middle, even)
        total, errors = averages.at(x)
        by_kind = [
            SwitchAverages((squares[0][..., k], squares[1][..., k]), middle, even).at(x)[0]
            for k in range(len(kind_counts))
        ]
        fourth = sum(each**2 / (3 * n) for each, n in zip(by_kind, kind_counts, strict=True))
        return cls(total, errors, averages.shares(x, errors), fourth / total)

    def term(self, temperatures_K: np.ndarray, ratio: ArrayLike) -> WignerKirkwood:
        """Return the term at the temperature of each point, with the ratio that gives the size of the next term."""
        per_kT = HBAR / (units.kB * temperatures_K)
        term = units.kB * temperatures_K * per_kT**2 / 24
        next_terms = np.abs(per_kT**2 * ratio) / 120
        return WignerKirkwood(term * self.total, term * self.errors, next_terms, term * self.shares)


@dataclass(frozen=True)
class CorrectedPhase:
    """Correction and entropy of a phase at one temperature.

    Attributes
    ----------
    correction_eV, entropy_eV_per_K
        The correction of G, and S.
    correction_shares_eV, entropy_shares_eV_per_K
        What each switch, and for S also each sample of the anchor, adds to their errors, shapes (2n,) and (2n + k,).
    """

    correction_eV: float
    correction_shares_eV: np.ndarray
    entropy_eV_per_K: float
    entropy_shares_eV_per_K: np.ndarray


def transition_shift_K(first: CorrectedPhase, second: CorrectedPhase) -> tuple[float, float]:
    """Return the shift of a transition temperature (K) to first order, ΔG_correction / ΔS, and its standard error.

    Correction and entropy of a phase come from the same switches, so their errors are correlated. Both are infinite if
    the entropies are equal.
    """
    entropy = second.entropy_eV_per_K - first.entropy_eV_per_K
    if entropy == 0:
        return np.inf, np.inf
    shift = (second.correction_eV - first.correction_eV) / entropy
    shares = []
    for phase in (first, second):
        added = -shift * phase.entropy_shares_eV_per_K
        added[: len(phase.correction_shares_eV)] += phase.correction_shares_eV
        shares.append(added / entropy)
    return shift, float(np.linalg.norm(np.concatenate(shares)))


def quantum_correction_eV(omegas: ArrayLike, temperature_K: float) -> float:
    """Return F_quantum − F_classical of harmonic modes (eV): Σ [ħω/2 + k_B T ln(1 − e^(−βħω)) − k_B T ln(βħω)].

    The anharmonic part is assumed to be equal in both statistics.

    Parameters
    ----------
    omegas
        Angular frequencies as in :func:`~alchemflows.free_energy.einstein.classical_harmonic_free_energy_eV`.
    temperature_K
        Temperature (K).

    Raises
    ------
    InvalidInputError
        If a mode is unstable.
    """
    kT = units.kB * temperature_K
    x = HBAR * np.asarray(omegas, dtype=float) / kT
    if not (x > 0).all():
        raise InvalidInputError(
            f"omegas: {int((~(x > 0)).sum())} modes are unstable, so the quantum correction is not defined"
        )
    return float(kT * (x / 2 + np.log(-np.expm1(-x)) - np.log(x)).sum())

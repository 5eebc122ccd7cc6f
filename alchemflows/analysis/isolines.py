"""Thermodynamics at any temperature or pressure of a stored sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase import units
from numpy.typing import ArrayLike

from alchemflows.schemas.dynamics import CellFreedom
from alchemflows.schemas.isolines import (
    CurveValues,
    PressureQuantumCorrections,
    PressureSweepDocument,
    QuantumCorrections,
    TemperatureSweepDocument,
)

if TYPE_CHECKING:
    from alchemflows.free_energy.isolines import Isobar, Isotherm
    from alchemflows.free_energy.phases import PhaseIsobar
    from alchemflows.free_energy.quantum import WignerKirkwood

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


def quantum_corrections(
    arrays: Mapping[str, np.ndarray], mode_energies_eV: Sequence[float] | None, temperatures_K: ArrayLike
) -> QuantumCorrections | None:
    """Return the corrections for quantum nuclei along a sweep of the temperature; None if no forces are stored.

    Parameters
    ----------
    arrays
        Arrays of the switches, see :class:`~alchemflows.schemas.isolines.SweepWork`.
    mode_energies_eV
        ħω of the harmonic modes; None without phonons.
    temperatures_K
        Temperatures of the results (K), between those of the curve, ascending, shape (k,).
    """
    from alchemflows.free_energy.quantum import quantum_correction_eV

    t, omegas = np.asarray(temperatures_K, dtype=float), _omegas(mode_energies_eV)
    found = _wigner_kirkwood(arrays, omegas, t)
    if found is None:
        return None
    return QuantumCorrections(
        wigner_kirkwood_eV=CurveValues(values=found.values.tolist(), errors=found.errors.tolist()),
        next_terms=found.next_terms.tolist(),
        holds_from_K=found.holds_from_K(t),
        harmonic_eV=None if omegas is None else [quantum_correction_eV(omegas, each) for each in t],
    )


def quantum_over_pressure(
    arrays: Mapping[str, np.ndarray],
    mode_energies_eV: Sequence[float] | None,
    pressures_GPa: ArrayLike,
    temperature_K: float,
    harmonic_eV: Sequence[float] | None = None,
) -> PressureQuantumCorrections | None:
    """Return the corrections for quantum nuclei along a sweep of the pressure; None if no forces are stored.

    Parameters
    ----------
    arrays
        Arrays of the switches, see :class:`~alchemflows.schemas.isolines.SweepWork`.
    mode_energies_eV
        ħω of the harmonic modes at the pressure of the anchor; None without phonons.
    pressures_GPa
        Pressures of the results (GPa), between those of the curve, ascending, shape (k,).
    temperature_K
        Temperature of the sweep (K).
    harmonic_eV
        Correction of the harmonic modes at each of the pressures; None without phonons.
    """
    from alchemflows.free_energy.quantum import wigner_kirkwood_over_pressure

    if "forward_force_squares" not in arrays:
        return None
    p, squares = np.asarray(pressures_GPa, dtype=float), _force_squares(arrays)
    omegas = _omegas(mode_energies_eV)
    found = wigner_kirkwood_over_pressure(squares, arrays["kind_counts"], arrays["places"], p, temperature_K, omegas)
    return PressureQuantumCorrections(
        wigner_kirkwood_eV=CurveValues(values=found.values.tolist(), errors=found.errors.tolist()),
        next_terms=found.next_terms.tolist(),
        holds_to_GPa=found.holds_to_GPa(p),
        harmonic_eV=None if harmonic_eV is None else list(harmonic_eV),
    )


def quantum_shift_K(
    first: TemperatureSweepDocument,
    second: TemperatureSweepDocument,
    temperature_K: float | None,
    more_entropies_eV_per_K: tuple[float, float] = (0.0, 0.0),
) -> tuple[float | None, float | None]:
    """Return the shift of a transition temperature by quantum nuclei (K), and its standard error.

    It is that of the Wigner–Kirkwood terms, and None without a transition, without forces, or where the expansion does
    not hold for one of the phases.

    Parameters
    ----------
    first, second
        Sweeps of both phases, with their arrays.
    temperature_K
        Transition temperature (K).
    more_entropies_eV_per_K
        What is added to S of both phases, per atom: ideal mixing, which curves do not contain, and the size of the
        cell.
    """
    from alchemflows.free_energy.quantum import CorrectedPhase, transition_shift_K

    if temperature_K is None:
        return None, None
    phases = []
    for each, more in zip((first, second), more_entropies_eV_per_K, strict=True):
        t = np.clip([temperature_K], each.temperatures_K[0], each.temperatures_K[-1])
        found = _wigner_kirkwood(each.work.curves.arrays(), _omegas(each.anchor.mode_energies_eV), t)
        if found is None or found.holds_from_K(t) is None:
            return None, None
        curve, atoms = phase_isobar(each, t), each.counts.atoms
        phases.append(
            CorrectedPhase(
                correction_eV=float(found.values[0] / atoms),
                correction_shares_eV=found.shares[:, 0] / atoms,
                entropy_eV_per_K=float(curve.values[1, 0] / atoms) + more,
                entropy_shares_eV_per_K=curve.shares[:, 1, 0] / atoms,
            )
        )
    return transition_shift_K(*phases)


def _omegas(mode_energies_eV: Sequence[float] | None) -> np.ndarray | None:
    from alchemflows.free_energy.einstein import HBAR

    return None if mode_energies_eV is None else np.array(mode_energies_eV) / HBAR


def _wigner_kirkwood(
    arrays: Mapping[str, np.ndarray], omegas: np.ndarray | None, temperatures_K: np.ndarray
) -> WignerKirkwood | None:
    from alchemflows.free_energy.quantum import wigner_kirkwood

    if "forward_force_squares" not in arrays:
        return None
    return wigner_kirkwood(_force_squares(arrays), arrays["kind_counts"], arrays["places"], temperatures_K, omegas)


def _force_squares(arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return arrays["forward_force_squares"], arrays["backward_force_squares"]


def phase_isobar(
    document: TemperatureSweepDocument,
    temperatures_K: ArrayLike,
    *,
    mixing_eV_per_K: float = 0.0,
    anchor_shares_eV: np.ndarray | None = None,
) -> PhaseIsobar:
    """Return G, S and V of the cell along a sweep, with what each independent sample adds to their errors.

    Parameters
    ----------
    document
        The sweep, with its arrays.
    temperatures_K
        Temperatures of the results (K), on the curve, shape (k,).
    mixing_eV_per_K
        −S of ideal mixing of the cell, which is added.
    anchor_shares_eV
        What several samples add to the error of the anchor (eV), if curves at other pressures share them; by default
        the error of the anchor as one number.
    """
    from alchemflows.free_energy.phases import PhaseIsobar

    t = np.clip(np.asarray(temperatures_K, dtype=float), document.temperatures_K[0], document.temperatures_K[-1])
    found, anchor = isobar_of(document, t), document.anchor
    own = np.array([anchor.gibbs.error_eV]) if anchor_shares_eV is None else anchor_shares_eV
    values = (
        found.gibbs_eV.values + mixing_eV_per_K * t,
        found.entropy_eV_per_K.values - mixing_eV_per_K,
        found.volume_A3.values,
    )
    start = anchor.temperature_K
    pattern = np.stack([t / start, np.full(len(t), -1 / start), np.zeros(len(t))])
    shares = np.concatenate([found.shares[:-1], np.multiply.outer(own, pattern)])
    return PhaseIsobar(t, np.stack(values), shares, len(own))


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

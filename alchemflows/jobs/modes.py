"""Harmonic modes of the crystal of a job, for corrections for quantum nuclei."""

from __future__ import annotations

import numpy as np

from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import UnstableCrystalError
from alchemflows.free_energy.einstein import HBAR
from alchemflows.free_energy.quantum import correction_over_volumes, quantum_correction_eV
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.reasons import Reason


def n_of_modes(system: AlchemicalSystem) -> int:
    """Return the number of force evaluations that :func:`frequencies` takes, besides the relaxation: 6N."""
    return 6 * system.n_sites


def frequencies(
    system: AlchemicalSystem, weights: np.ndarray, potential: PotentialSpec
) -> tuple[np.ndarray | None, list[str]]:
    """Return the frequencies at Γ of the crystal with relaxed positions, in double precision, or why there are none.

    They are in units of 1 / (time unit of ASE), shape (3N − 3,). It takes 6N force evaluations.
    """
    from alchemflows.alchemy.calculator import AlchemicalCalculator
    from alchemflows.alchemy.phonons import mode_frequencies, relaxed_positions

    calculator = AlchemicalCalculator(system, weights, potential.model_copy(update={"dtype": "float64"}))
    cell = system.structure.lattice.matrix
    try:
        return mode_frequencies(calculator.potential, relaxed_positions(calculator), cell, weights), []
    except UnstableCrystalError as error:  # F is valid even if the crystal is stable only at high temperature
        return None, [Reason.UNSTABLE_AT_0_K.because(error=error)]


def harmonic_correction(
    system: AlchemicalSystem, anchor: FrenkelLaddDocument, potential: PotentialSpec, volumes_A3: np.ndarray
) -> tuple[list[float] | None, list[str]]:
    """Return the quantum correction of the modes (eV) at each volume of a sweep of the pressure, or why there is none.

    Both are empty if the anchor has no modes. The modes are those at the volumes of the anchor and of both ends; if the
    anchor is at an end, those between the ends are added.

    Parameters
    ----------
    system
        The crystal with the cell of the anchor, which is scaled.
    anchor
        Frenkel–Ladd result with modes at its volume.
    potential
        Potential of the modes.
    volumes_A3
        Volumes (Å³), descending, shape (k,).
    """
    if not anchor.mode_energies_eV:
        return None, []
    omegas = np.array(anchor.mode_energies_eV) / HBAR
    known = {anchor.volume_A3: quantum_correction_eV(omegas, anchor.temperature_K)}
    range_A3 = volumes_A3[0] - volumes_A3[-1]
    for volume in (volumes_A3[0], (volumes_A3[0] + volumes_A3[-1]) / 2, volumes_A3[-1]):
        if min(abs(volume - each) for each in known) < 0.25 * range_A3:
            continue
        structure = system.structure.copy()
        structure.scale_lattice(float(volume))
        found, reasons = frequencies(system.with_structure(structure), np.array(anchor.weights), potential)
        if found is None:
            return None, reasons
        known[float(volume)] = quantum_correction_eV(found, anchor.temperature_K)
    return correction_over_volumes(list(known), list(known.values()), volumes_A3).tolist(), []

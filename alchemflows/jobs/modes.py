"""Harmonic modes of the crystal of a job, for corrections for quantum nuclei."""

from __future__ import annotations

import numpy as np

from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import UnstableCrystalError
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.reasons import Reason


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

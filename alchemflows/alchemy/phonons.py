"""Normal modes of an alchemical crystal at the Γ point of its cell, from forces of displaced atoms in batches."""

from __future__ import annotations

import numpy as np
from ase.optimize import BFGS

from alchemflows.alchemy.calculator import AlchemicalCalculator
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import MassMean
from alchemflows.errors import UnstableCrystalError

#: Displacement of the finite differences, Å.
DISPLACEMENT_A = 0.01
#: Displaced cells in one call.
BATCH = 32
#: An eigenvalue below this share of the largest is not a stable mode.
ZERO_SHARE = 1e-5


def relaxed_positions(calculator: AlchemicalCalculator, fmax_eV_per_A: float = 1e-3, steps: int = 500) -> np.ndarray:
    """Return the positions of least energy in the given cell, Å, shape (N, 3), by ASE's BFGS.

    Raises
    ------
    UnstableCrystalError
        If forces do not vanish in so many steps.
    """
    atoms = calculator.make_atoms()
    if not BFGS(atoms, logfile=None).run(fmax=fmax_eV_per_A, steps=steps):
        raise UnstableCrystalError(f"the forces in the fixed cell do not vanish within {steps} steps")
    return np.array(atoms.positions)


def mode_frequencies(
    potential: AlchemicalPotential,
    positions: np.ndarray,
    cell: np.ndarray,
    weights: np.ndarray,
    mean: MassMean = "harmonic",
) -> np.ndarray:
    """Return the angular frequencies of the 3N − 3 modes, in 1 / (ASE's unit of time).

    Parameters
    ----------
    potential
        Better in float64.
    positions, cell
        A minimum of the energy, Å, shapes (N, 3) and (3, 3).
    weights
        Shape (C,).
    mean
        Masses of mixed sites, see :meth:`AlchemicalSystem.masses`: ``harmonic`` for quantum corrections, ``geometric``
        for classical free energies.

    Returns
    -------
    omegas
        √ of the eigenvalues of the dynamical matrix (eV/Å²/amu), negative where the eigenvalue is, increasing.

    Raises
    ------
    UnstableCrystalError
        If a mode is unstable.
    """
    n = len(positions)
    hessian = np.empty((3 * n, 3 * n))
    for start in range(0, 3 * n, BATCH):
        moved = range(start, min(start + BATCH, 3 * n))
        batch = np.repeat(positions[None], 2 * len(moved), axis=0)
        for k, coordinate in enumerate(moved):
            for sign, place in ((1, 2 * k), (-1, 2 * k + 1)):
                batch[place].flat[coordinate] += sign * DISPLACEMENT_A
        evaluation = potential.evaluate(
            batch,
            np.broadcast_to(cell, (len(batch), 3, 3)),
            np.broadcast_to(weights, (len(batch), len(weights))),
            stress=False,
            weight_gradients=False,
        )
        assert evaluation.forces is not None
        forces = evaluation.forces.cpu().numpy().reshape(len(batch), 3 * n)
        hessian[list(moved)] = (forces[1::2] - forces[0::2]) / (2 * DISPLACEMENT_A)
    masses = np.repeat(potential.system.masses(weights, mean), 3)
    dynamical = (hessian + hessian.T) / 2 / np.sqrt(np.outer(masses, masses))
    # Out of the three translations, which finite differences leave a little off zero.
    uniform = np.kron(np.ones((n, 1)), np.eye(3)) * np.sqrt(masses)[:, None]
    uniform /= np.linalg.norm(uniform, axis=0)
    internal = np.eye(3 * n) - uniform @ uniform.T
    eigenvalues = np.linalg.eigvalsh(internal @ dynamical @ internal)
    eigenvalues = np.sort(np.delete(eigenvalues, np.argsort(np.abs(eigenvalues))[:3]))
    if eigenvalues[0] < ZERO_SHARE * eigenvalues[-1]:
        raise UnstableCrystalError(
            f"{int((eigenvalues < ZERO_SHARE * eigenvalues[-1]).sum())} modes of the crystal are not stable at the "
            "minimum of its energy: it has no harmonic free energy"
        )
    return np.sqrt(eigenvalues)

"""Normal modes of an alchemical crystal at the Γ point of its cell, from finite displacements of its atoms."""

from __future__ import annotations

import numpy as np
from ase.optimize import BFGS

from alchemflows.alchemy.calculator import AlchemicalCalculator
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import MassMean
from alchemflows.errors import UnstableCrystalError

#: Displacement of the finite differences, Å.
DISPLACEMENT_A = 0.01
#: Number of coordinates displaced per evaluation; each gives two replicas.
BATCH = 32
#: A mode is unstable if its eigenvalue is below this fraction of the largest one.
ZERO_SHARE = 1e-5


def relaxed_positions(calculator: AlchemicalCalculator, fmax_eV_per_A: float = 1e-3, steps: int = 500) -> np.ndarray:
    """Return the relaxed positions in a fixed cell (Å), shape (N, 3), by BFGS of ASE.

    Raises
    ------
    UnstableCrystalError
        If the forces do not fall below `fmax_eV_per_A` within `steps` steps.
    """
    atoms = calculator.make_atoms()
    if not BFGS(atoms, logfile=None).run(fmax=fmax_eV_per_A, steps=steps):
        raise UnstableCrystalError(
            f"the relaxation of positions in the fixed cell has not reached {fmax_eV_per_A} eV/Å within {steps} steps"
        )
    return np.array(atoms.positions)


def mode_frequencies(
    potential: AlchemicalPotential,
    positions: np.ndarray,
    cell: np.ndarray,
    weights: np.ndarray,
    mean: MassMean = "harmonic",
) -> np.ndarray:
    """Return the angular frequencies of the 3N − 3 vibrational modes, in units of 1 / (time unit of ASE).

    Parameters
    ----------
    potential
        The potential; float64 is recommended.
    positions, cell
        Positions and cell at a minimum of the energy (Å), shapes (N, 3) and (3, 3).
    weights
        Weights, shape (C,).
    mean
        Mean for the masses of mixed sites, see :meth:`AlchemicalSystem.masses`: ``harmonic`` for quantum corrections,
        ``geometric`` for classical free energies.

    Returns
    -------
    omegas
        Square roots of the eigenvalues of the dynamical matrix (eV/Å²/amu), in ascending order.

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
    # Project out the three translations, whose eigenvalues are not exactly zero with finite differences.
    uniform = np.kron(np.ones((n, 1)), np.eye(3)) * np.sqrt(masses)[:, None]
    uniform /= np.linalg.norm(uniform, axis=0)
    internal = np.eye(3 * n) - uniform @ uniform.T
    eigenvalues = np.linalg.eigvalsh(internal @ dynamical @ internal)
    eigenvalues = np.sort(np.delete(eigenvalues, np.argsort(np.abs(eigenvalues))[:3]))
    if eigenvalues[0] < ZERO_SHARE * eigenvalues[-1]:
        raise UnstableCrystalError(
            f"{int((eigenvalues < ZERO_SHARE * eigenvalues[-1]).sum())} modes of the crystal are unstable at its "
            "relaxed positions, so it has no harmonic free energy; use a larger cell, or a stable phase"
        )
    return np.sqrt(eigenvalues)

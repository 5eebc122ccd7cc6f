"""SevenNet-0, which computes the labels (energies, forces, stresses), and relaxation with any calculator."""

from __future__ import annotations

import mace  # noqa: F401  (before sevenn: it allows e3nn's own constants to load)
import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

ENERGY, FORCES, STRESS = "REF_energy", "REF_forces", "REF_stress"


def teacher() -> Calculator:
    """Return SevenNet-0 (11 July 2024) as distributed with the package sevenn, on one thread."""
    torch.set_num_threads(1)
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator("7net-0", device="cpu")


def labelled(atoms: Atoms) -> Atoms:
    """Return a copy with the results of the calculator of `atoms`, under names that ase does not overwrite."""
    copy = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    copy.info[ENERGY] = float(atoms.get_potential_energy())
    copy.info[STRESS] = np.asarray(atoms.get_stress())
    copy.arrays[FORCES] = np.asarray(atoms.get_forces())
    return copy


def relax(atoms: Atoms, calculator: Calculator, fmax: float = 0.001, steps: int = 200) -> Atoms:
    """Return the pure cell with relaxed atoms and lattice; its symmetry is kept."""
    atoms = atoms.copy()
    atoms.set_constraint(FixSymmetry(atoms))
    atoms.calc = calculator
    optimizer = BFGS(FrechetCellFilter(atoms), logfile=None)
    if not optimizer.run(fmax=fmax, steps=steps):
        raise RuntimeError(f"{atoms.symbols} did not relax in {steps} steps")
    atoms.set_constraint()
    return atoms

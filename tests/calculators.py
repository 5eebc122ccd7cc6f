"""Calculators of ASE that tests import by their path: springs, and one that fails on some frames."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes


class Springs(Calculator):
    """U = offset + ½ k Σ d², with the distances d of all pairs without periodic images; it fails on some calls.

    Parameters
    ----------
    stiffness_eV_per_A2, offset_eV
        Force constant and constant energy.
    fails
        Numbers of the calls that raise an error, from 0.
    infinite
        Numbers of the calls that return an infinite energy.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, stiffness_eV_per_A2=0.001, offset_eV=0.0, fails=(), infinite=()):
        super().__init__()
        self.stiffness, self.offset_eV = stiffness_eV_per_A2, offset_eV
        self.fails, self.infinite = set(fails), set(infinite)
        self.calls = -1

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        if self.calls in self.fails:
            raise ValueError("the cycle did not converge")
        distances = self.atoms.get_all_distances()
        energy = self.offset_eV + 0.25 * self.stiffness * float((distances**2).sum())
        positions = self.atoms.positions
        forces = self.stiffness * (positions.sum(axis=0) - len(positions) * positions)
        self.results = {"energy": np.inf if self.calls in self.infinite else energy, "forces": forces}


class WithoutForces(Springs):
    """Springs that have no forces."""

    implemented_properties: ClassVar[list[str]] = ["energy"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        del self.results["forces"]

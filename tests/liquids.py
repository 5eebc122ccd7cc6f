"""Pair potentials for liquids, given as energy models: Lennard-Jones, and an ideal gas."""

from __future__ import annotations

import numpy as np
import torch
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.interfaces import EnergyModel, Evaluation
from alchemflows.alchemy.pairs import PairSums
from alchemflows.alchemy.system import AlchemicalSystem


class PairModel(EnergyModel):
    """An energy model without weights, from sums over pairs."""

    device = torch.device("cpu")

    def __init__(self, pair_energy, cutoff_A: float, tail_eV_A3: float = 0.0):
        self._pairs = PairSums(pair_energy, cutoff_A, 0.1 * cutoff_A)
        self._tail = tail_eV_A3

    def evaluate(self, positions, cells, weights, *, forces=True, stress=True, weight_gradients=True):
        energy, push, virial = self._pairs.evaluate(positions, cells)
        volumes = torch.linalg.det(cells).abs()
        # The energy beyond the cutoff of a uniform density is N² · tail / V.
        tail = positions.shape[1] ** 2 * self._tail / volumes
        unit = torch.eye(3, dtype=torch.float64)
        return Evaluation(
            energy + tail,
            push if forces else None,
            (virial - tail[:, None, None] * unit) / volumes[:, None, None] if stress else None,
            positions.new_zeros(len(positions), 0) if weight_gradients else None,
        )

    def energies(self, positions, cells, weights):
        energy = self.evaluate(positions, cells, None).energy
        return energy[:, None].expand(-1, np.shape(weights)[1])

    def memory(self):
        return self._pairs.memory()

    def recall(self, memory):
        self._pairs.recall(memory)


class Nothing(PairModel):
    """Atoms that do not interact."""

    def __init__(self):
        super().__init__(lambda squares: (0 * squares, 0 * squares), 1.0)

    def memory(self):
        return {}

    def recall(self, memory):
        pass


def lennard_jones(epsilon_eV: float, sigma_A: float, cutoff_sigma: float = 3.0) -> PairModel:
    """Return the Lennard-Jones potential, truncated, with the mean energy beyond the cutoff."""

    def pair_energy(squares):
        sixth = (sigma_A**2 / squares) ** 3
        return 4 * epsilon_eV * (sixth**2 - sixth), 4 * epsilon_eV * (-6 * sixth**2 + 3 * sixth) / squares

    c = cutoff_sigma
    tail = 2 * np.pi * 4 * epsilon_eV * sigma_A**3 * (1 / (9 * c**9) - 1 / (3 * c**3))
    return PairModel(pair_energy, cutoff_sigma * sigma_A, tail)


def cubic_liquid(n_cells: int, volume_per_atom_A3: float, element: str = "Ar") -> AlchemicalSystem:
    """Return a face-centred cubic crystal, to start a liquid from."""
    a = (4 * volume_per_atom_A3) ** (1 / 3)
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), [element], [[0, 0, 0]])
    return AlchemicalSystem.from_structure(cell * ((n_cells,) * 3))[0]

"""Independent harmonic wells whose stiffness is alchemical: everything about them is known analytically."""

from __future__ import annotations

import numpy as np
import torch
from ase import units
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.potential import Evaluation


class HarmonicWells:
    """U = Σ_c w_c (E_c + ½ k_c Σ_i |x_i − x⁰_i|²): an energy model for the sampler, with C = 2 weights."""

    device = torch.device("cpu")

    def __init__(self, centres: np.ndarray, stiffness_eV_per_A2: tuple[float, float], offsets_eV=(0.0, 0.0)):
        self.centres = torch.as_tensor(centres, dtype=torch.float64)
        self.stiffness = torch.tensor(stiffness_eV_per_A2, dtype=torch.float64)
        self.offsets = torch.tensor(offsets_eV, dtype=torch.float64)

    def evaluate(self, positions, cells, weights, *, forces=True, stress=True, weight_gradients=True):
        displacement = positions - self.centres
        per_channel = self.offsets + 0.5 * self.stiffness * (displacement**2).sum(dim=(1, 2))[:, None]
        return Evaluation(
            (weights * per_channel).sum(dim=1),
            -(weights @ self.stiffness)[:, None, None] * displacement,
            None,
            per_channel if weight_gradients else None,
        )

    def energies(self, positions, cells, weights):
        per_channel = self.evaluate(
            positions, cells, torch.zeros(len(positions), 2, dtype=torch.float64)
        ).weight_gradients
        weights = torch.as_tensor(np.array(weights), dtype=torch.float64)
        return (weights * per_channel[:, None, :]).sum(dim=2)

    def delta_f_eV(self, temperature_K: float) -> float:
        """Configurational ΔF of the transformation: (3N/2) k_B T ln(k_1 / k_0) + ΔE."""
        n = len(self.centres)
        entropy = 1.5 * n * units.kB * temperature_K * float(torch.log(self.stiffness[1] / self.stiffness[0]))
        return entropy + float(self.offsets[1] - self.offsets[0])


def harmonic_path(n_atoms: int) -> AlchemicalPath:
    """A Pb → Sn path over `n_atoms` far-apart atoms, to carry the weights."""
    coordinates = np.column_stack([(np.arange(n_atoms) + 0.5) / n_atoms, np.full(n_atoms, 0.5), np.full(n_atoms, 0.5)])
    structure = Structure(Lattice.orthorhombic(10.0 * n_atoms, 10.0, 10.0), ["Pb"] * n_atoms, coordinates)
    return AlchemicalPath.from_substitution(structure, {"Pb": "Sn"})

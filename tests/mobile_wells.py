"""Sites with a harmonic well for each species: arrangements and vibrations whose averages are known analytically."""

from __future__ import annotations

import numpy as np
import torch
from ase import units
from lattices import DOWN, UP, everything, sites_of

from alchemflows.alchemy.interfaces import EnergyModel, Evaluation
from alchemflows.sampling.arrangements import Arrangements


class Wells(EnergyModel):
    """E = Σ_is w_is (e_is + ½ k_s |u_i − d_s|²) + ½ B (V − V_0 − Σ_is w_is a_s)² / V_0, u_i from sites in the cell.

    Parameters
    ----------
    arrangements
        Atoms, all of which can be each of the two species Na and K.
    energies_eV
        e_is, shape (n, 2).
    shift_A
        Distance of the wells of Na and K along x.
    stiffness_eV_per_A2
        k_s.
    bulk_modulus_eV_per_A3, expansion_A3
        B and a_s; without them the volume costs nothing.
    """

    device = torch.device("cpu")

    def __init__(
        self,
        arrangements: Arrangements,
        energies_eV,
        shift_A: float = 0.0,
        stiffness_eV_per_A2=(3.0, 3.0),
        bulk_modulus_eV_per_A3: float = 0.0,
        expansion_A3=(0.0, 0.0),
    ) -> None:
        structure = arrangements.system.structure
        self.arrangements = arrangements
        self.sites = torch.as_tensor(structure.frac_coords)
        self.energies_eV = torch.as_tensor(np.array(energies_eV, dtype=float))
        self.shifts = torch.tensor([[0.0, 0.0, 0.0], [shift_A, 0.0, 0.0]], dtype=torch.float64)
        self.stiffness = torch.tensor(stiffness_eV_per_A2, dtype=torch.float64)
        self.modulus, self.volume = bulk_modulus_eV_per_A3, structure.volume
        self.expansion = torch.tensor(expansion_A3, dtype=torch.float64)
        self.n_evaluations = 0

    def evaluate(self, positions, cells, weights, *, forces=True, stress=True, weight_gradients=True):
        self.n_evaluations += 1
        w = torch.as_tensor(weights, dtype=torch.float64).reshape(len(positions), -1, 2)
        u = positions - self.sites @ cells
        away = u[:, :, None] - self.shifts
        volume = torch.linalg.det(cells).abs()
        excess = volume - self.volume - (w * self.expansion).sum(dim=(1, 2))
        per_species = self.energies_eV + 0.5 * self.stiffness * (away**2).sum(dim=3)
        tension = self.modulus * excess / self.volume
        pull = ((w * self.stiffness)[..., None] * away).sum(dim=2)
        return Evaluation(
            (w * per_species).sum(dim=(1, 2)) + 0.5 * excess * tension,
            -pull,
            u.mT @ pull / volume[:, None, None] + tension[:, None, None] * torch.eye(3, dtype=torch.float64),
            (per_species - tension[:, None, None] * self.expansion).flatten(1) if weight_gradients else None,
        )

    def energies(self, positions, cells, weights):
        return self.evaluate(positions, cells, torch.as_tensor(weights)[:, 0]).energy[:, None]

    def probabilities(self, labels, temperature_K: float, pressure_GPa: float = 0.0, mu_eV=(0.0, 0.0)) -> np.ndarray:
        """Return the probabilities of arrangements, integrated over positions and, at constant pressure, the volume.

        A vibration contributes (2π k_B T / k)^{3/2}, and the volume exp(−β P a) for each site.
        """
        kT = units.kB * temperature_K
        site = self.energies_eV.numpy() + pressure_GPa * units.GPa * self.expansion.numpy() - np.array(mu_eV)
        site = site + 1.5 * kT * np.log(self.stiffness.numpy())
        reduced = np.take_along_axis(site[None], labels[..., None], axis=2).sum(axis=(1, 2)) / kT
        weights = np.exp(-(reduced - reduced.min()))
        return weights / weights.sum()

    def static_eV(self, labels) -> np.ndarray:
        """Return Σ e_is of arrangements, to which vibrations add 3/2 k_B T for each atom on average."""
        return np.take_along_axis(self.energies_eV.numpy()[None], labels[..., None], axis=2).sum(axis=(1, 2))


def pairs_of_wells(n_sites: int, *, spread_eV: float = 0.05, seed: int = 0, **options) -> Wells:
    """Return wells on sites in a row with random energies."""
    energies = np.random.default_rng(seed).normal(scale=spread_eV, size=(n_sites, 2))
    return Wells(sites_of([[UP, DOWN]] * n_sites), energies, **options)


def of_composition(arrangements: Arrangements, n_down: int) -> np.ndarray:
    """Return all arrangements with a number of K."""
    labels = everything(arrangements)
    return labels[labels.sum(axis=1) == n_down]


def assert_mean(values, expected, *, sigma: float = 4.0, error: float | None = None) -> None:
    """Ask that the mean of independent values is the expected one within its standard error, which may be limited."""
    values = np.asarray(values)
    own = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - expected) < sigma * own).all(), (values.mean(axis=0), own, expected)
    assert error is None or (own < error).all(), (own, error)

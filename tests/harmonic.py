"""Harmonic wells and crystals whose stiffness is alchemical: everything about them is known analytically."""

from __future__ import annotations

import numpy as np
import torch
from ase import units
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.interfaces import EnergyModel, Evaluation
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.sampling.windows import run_windows, window_seed
from alchemflows.schemas.samples import WindowSeries


class HarmonicWells(EnergyModel):
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


def repeated_ladders(model, path, lambdas, indices, dynamics, n_repeats: int) -> list[list[WindowSeries]]:
    """Sample a ladder so many times, all windows of all repeats in one batch."""
    own = list(indices) * n_repeats
    series = run_windows(model, path, lambdas, own, dynamics, [window_seed(17, k) for k in range(len(own))]).series
    return [series[k : k + len(indices)] for k in range(0, len(own), len(indices))]


def assert_honest(values: np.ndarray, errors: np.ndarray, exact: float) -> None:
    """Ask that the exact value lies within the error bars as often as it should."""
    z = (np.asarray(values) - exact) / np.asarray(errors)
    within = [(np.abs(z) < k).mean() for k in (1, 2)]
    assert 0.55 <= within[0] <= 0.80, within
    assert 0.88 <= within[1] <= 0.99, within
    assert abs(z.mean()) < 0.6


class HarmonicCrystal(EnergyModel):
    """U = Σ_c w_c [½ Σ_ij K_cij u_i·u_j + ½ B_c (V − V_c)² / V_c], u_i from sites that move with the cell.

    Parameters
    ----------
    sites
        In units of the cell, shape (N, 3).
    springs_eV_per_A2
        K, shape (C, N, N); translations cost nothing where its rows sum to zero.
    bulk_moduli_eV_per_A3, volumes_A3
        B_c and V_c; without them the volume costs nothing.
    """

    device = torch.device("cpu")

    def __init__(self, sites, springs_eV_per_A2, bulk_moduli_eV_per_A3=None, volumes_A3=None):
        self.sites = torch.as_tensor(np.array(sites), dtype=torch.float64)
        self.springs = torch.as_tensor(np.array(springs_eV_per_A2), dtype=torch.float64)
        n = len(self.springs)
        self.moduli = torch.as_tensor(bulk_moduli_eV_per_A3 or [0.0] * n, dtype=torch.float64)
        self.volumes = torch.as_tensor(volumes_A3 or [1.0] * n, dtype=torch.float64)

    def evaluate(self, positions, cells, weights, *, forces=True, stress=True, weight_gradients=True):
        u = positions - self.sites @ cells
        pulls = self.springs[:, None] @ u  # (C, B, N, 3)
        pull = (weights.T[..., None, None] * pulls).sum(dim=0)
        per_channel = 0.5 * (pulls * u).sum(dim=(2, 3)).T
        volume = torch.linalg.det(cells).abs()[:, None]
        per_channel = per_channel + 0.5 * self.moduli * (volume - self.volumes) ** 2 / self.volumes
        tension = (weights * self.moduli * (volume - self.volumes) / self.volumes).sum(dim=1)
        return Evaluation(
            (weights * per_channel).sum(dim=1),
            -pull if forces else None,
            pull.mT @ u / volume[..., None] + tension[:, None, None] * torch.eye(3) if stress else None,
            per_channel if weight_gradients else None,
        )

    def energies(self, positions, cells, weights):
        none = torch.zeros(len(positions), len(self.springs), dtype=torch.float64)
        per_channel = self.evaluate(positions, cells, none).weight_gradients
        return (torch.as_tensor(np.array(weights), dtype=torch.float64) * per_channel[:, None, :]).sum(dim=2)

    def volume_density(self, weights, temperature_K: float, pressure_GPa: float) -> tuple[np.ndarray, np.ndarray]:
        """Return volumes (Å³) and ρ(V) ∝ exp[−β(U(V) + PV)] at weights, of the same scale at all weights."""
        volumes, moduli = self.volumes.numpy(), self.moduli.numpy()
        v = np.linspace(0.5 * volumes.min(), 1.6 * volumes.max(), 40001)
        energy = np.asarray(weights)[:, None] * 0.5 * moduli[:, None] * (v - volumes[:, None]) ** 2 / volumes[:, None]
        work = pressure_GPa * units.GPa * (v - volumes[0])
        return v, np.exp(-(energy.sum(axis=0) + work) / (units.kB * temperature_K))

    def delta_g_eV(self, temperature_K: float, pressure_GPa: float) -> float:
        """Configurational ΔG of the transformation, from ∫ dV ρ(V) and det K^(−3/2) of either crystal."""
        kT = units.kB * temperature_K
        before, after = (self.volume_density(w, temperature_K, pressure_GPa)[1].sum() for w in np.eye(2))
        dets = torch.linalg.det(self.springs)
        return float(-kT * np.log(after / before) + 1.5 * kT * torch.log(dets[1] / dets[0]))


class AtWeights(EnergyModel):
    """A model at fixed weights, as a model without weights."""

    device = torch.device("cpu")

    def __init__(self, model: EnergyModel, weights):
        self.model, self.weights = model, torch.as_tensor(weights, dtype=torch.float64)

    def evaluate(self, positions, cells, weights, *, forces=True, stress=True, weight_gradients=True):
        fixed = self.weights.expand(len(positions), -1)
        found = self.model.evaluate(positions, cells, fixed, forces=forces, stress=stress, weight_gradients=False)
        return Evaluation(found.energy, found.forces, found.stress, weights if weight_gradients else None)

    def energies(self, positions, cells, weights):
        shape = np.shape(weights)[:2]
        return self.evaluate(positions, cells, None, weight_gradients=False).energy[:, None].expand(shape)


def chain(n_atoms: int, stiffness_eV_per_A2: tuple[float, float]) -> np.ndarray:
    """K of a ring of atoms with springs of two kinds in turn between neighbours; no motion of all together is held."""
    springs = np.zeros((n_atoms, n_atoms))
    for i in range(n_atoms):
        j = (i + 1) % n_atoms
        k = stiffness_eV_per_A2[i % 2]
        springs[[i, j], [i, j]] += k
        springs[[i, j], [j, i]] -= k
    return springs


def fixed_free_energy_eV(springs: np.ndarray, masses: np.ndarray, temperature_K: float) -> float:
    """−k_B T ln ∫ dx δ(Σ μ_i x_i) exp(−βU) (lengths in Å) of springs K, μ_i = m_i / Σ_j m_j.

    Along each axis the integral is (2π k_B T)^((N−1)/2) / √D, with −D the determinant of K bordered by μ.
    """
    kT, n = units.kB * temperature_K, len(masses)
    shares = np.asarray(masses)[:, None] / np.sum(masses)
    determinant = -np.linalg.det(np.block([[springs, shares], [shares.T, np.zeros((1, 1))]]))
    return -3 * kT * (0.5 * (n - 1) * np.log(2 * np.pi * kT) - 0.5 * np.log(determinant))


def assert_derivatives(model: EnergyModel, positions, cells, weights, rtol: float = 1e-6) -> None:
    """Compare forces, stress and ∂E/∂w with central differences of the energy."""
    x, h, w = (torch.as_tensor(v, dtype=torch.float64) for v in (positions, cells, weights))
    found = model.evaluate(x, h, w)
    volumes = torch.linalg.det(h).abs()

    def energy(dx=0.0, strain=0.0, dw=0.0):
        deformation = torch.eye(3, dtype=torch.float64) + strain
        return model.evaluate((x + dx) @ deformation, h @ deformation, w + dw).energy

    def slope(name, values, step=1e-5):
        return (energy(**{name: step * values}) - energy(**{name: -step * values})) / (2 * step)

    generator = torch.Generator().manual_seed(0)
    for _ in range(3):  # in random directions: every component enters
        dx, strain, dw = (torch.randn(s, generator=generator, dtype=torch.float64) for s in (x.shape, (3, 3), w.shape))
        strain = (strain + strain.mT) / 2
        for name, direction, expected in (
            ("dx", dx, -(found.forces * dx).sum(dim=(1, 2))),
            ("strain", strain, volumes * (found.stress * strain).sum(dim=(1, 2))),
            ("dw", dw, (found.weight_gradients * dw).sum(dim=1)),
        ):
            torch.testing.assert_close(slope(name, direction), expected, rtol=rtol, atol=1e-7)

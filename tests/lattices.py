"""Lattices whose sites interact in pairs: energy models of which every arrangement can be enumerated."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.groups import uniform_group
from alchemflows.alchemy.interfaces import EnergyModel, Evaluation
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.sampling.arrangements import Arrangements

UP, DOWN = "Na", "K"


class PairLattice(EnergyModel):
    """E = Σ_c h_c w_c + ½ Σ_cd V_cd w_c w_d (eV), with fields h of shape (C,) and symmetric couplings V (C, C)."""

    device = torch.device("cpu")

    def __init__(self, fields: np.ndarray, couplings: np.ndarray) -> None:
        self.fields = torch.as_tensor(fields, dtype=torch.float64)
        self.couplings = torch.as_tensor(couplings, dtype=torch.float64)
        self.n_evaluations = 0

    def evaluate(self, positions, cells, weights, *, forces=True, stress=True, weight_gradients=True):
        self.n_evaluations += 1
        w = torch.as_tensor(weights, dtype=torch.float64)
        # Summed replica by replica in one order, so that a result does not depend on the batch.
        pull = (w[:, None, :] * self.couplings).sum(dim=2)
        energy = (w * (self.fields + pull / 2)).sum(dim=1)
        return Evaluation(energy, weight_gradients=self.fields + pull if weight_gradients else None)

    def energies(self, positions, cells, weights):
        flat = torch.as_tensor(weights, dtype=torch.float64)
        return self.evaluate(None, None, flat.flatten(0, 1)).energy.reshape(flat.shape[:2])


class IsingSquare(EnergyModel):
    """The model of :func:`ising` without a matrix of couplings, for larger lattices."""

    device = torch.device("cpu")

    def __init__(self, rows: int, columns: int, coupling_eV: float) -> None:
        self.shape = rows, columns
        self.coupling_eV = coupling_eV

    def evaluate(self, positions, cells, weights, *, forces=True, stress=True, weight_gradients=True):
        w = torch.as_tensor(weights, dtype=torch.float64)
        spins = (w[:, ::2] - w[:, 1::2]).reshape(-1, *self.shape)
        # Of each bond, one half counts at each of its ends.
        pull = -self.coupling_eV * sum(spins.roll(step, axis) for step in (1, -1) for axis in (1, 2))
        energy = (spins * pull).sum(dim=(1, 2)) / 2
        return Evaluation(energy, weight_gradients=torch.stack([pull, -pull], dim=-1).flatten(1))

    def energies(self, positions, cells, weights):
        flat = torch.as_tensor(weights, dtype=torch.float64)
        return self.evaluate(None, None, flat.flatten(0, 1)).energy.reshape(flat.shape[:2])


def sites_of(elements: list[list[str]], **sublattices) -> Arrangements:
    """Return the arrangements of elements on sites in a row, far apart."""
    n = len(elements)
    structure = Structure(
        Lattice.orthorhombic(3.0 * n, 3.0, 3.0), [each[0] for each in elements], [[k / n, 0, 0] for k in range(n)]
    )
    groups = tuple(uniform_group([k], each) for k, each in enumerate(elements))
    return Arrangements(AlchemicalSystem(structure, groups), **sublattices)


def ising(rows: int, columns: int, coupling_eV: float) -> tuple[Arrangements, PairLattice]:
    """Return the Ising model E = −J Σ_<ij> s_i s_j on a periodic square lattice, s = 1 for Na and −1 for K."""
    n = rows * columns
    spins = np.kron(np.eye(n), [[1.0, -1.0]])  # s = spins @ w
    bonds = np.zeros((n, n))
    for i, j in product(range(rows), range(columns)):
        for di, dj in ((1, 0), (0, 1)):
            other = (i + di) % rows * columns + (j + dj) % columns
            bonds[i * columns + j, other] += 1
            bonds[other, i * columns + j] += 1
    return sites_of([[UP, DOWN]] * n), PairLattice(np.zeros(2 * n), -coupling_eV * spins.T @ bonds @ spins)


def random_mixture(seed: int = 0) -> tuple[Arrangements, PairLattice]:
    """Return two sublattices of three sites, (Na, K, vacancy) and (Cl, I), with random interactions."""
    arrangements = sites_of([["Na", "K"]] * 3 + [["Cl", "I"]] * 3, vacant=[0])
    rng = np.random.default_rng(seed)
    couplings = rng.normal(scale=0.05, size=(12, 12))
    couplings = (couplings + couplings.T) * (1 - np.kron(np.eye(6), np.ones((2, 2))))
    return arrangements, PairLattice(rng.normal(scale=0.05, size=12), couplings)


def everything(arrangements: Arrangements) -> np.ndarray:
    """Return the labels of all arrangements, shape (arrangements, sites)."""
    return np.array(list(product(*(np.flatnonzero(allowed) for allowed in arrangements.allowed))))


def places(arrangements: Arrangements, n_replicas: int) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and cells of a batch."""
    structure = arrangements.system.structure
    return np.tile(structure.cart_coords, (n_replicas, 1, 1)), np.tile(structure.lattice.matrix, (n_replicas, 1, 1))

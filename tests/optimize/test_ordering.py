"""Tests of the search for ordered arrangements, with a pair model of known ground state and with mace-demo."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pymatgen.core import Composition, Lattice, Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.interfaces import Evaluation
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.optimize import ordering
from alchemflows.optimize.ordering import search
from alchemflows.schemas.potential import PotentialSpec


class PairModel:
    """Pair model E = Σ_ij J_ij p_i p_j + k Σ_i p_i², with p = w_first − w_second and self-curvature k; no forces."""

    def __init__(self, couplings: np.ndarray, self_curvature: float) -> None:
        self.J = torch.as_tensor(couplings)
        self.self_curvature = self_curvature

    def evaluate(self, positions, cells, weights, *, forces=True, stress=True, weight_gradients=True) -> Evaluation:
        w = weights.clone().requires_grad_()
        p = w.reshape(len(w), -1, 2)
        p = p[..., 0] - p[..., 1]
        energy = torch.einsum("bi,ij,bj->b", p, self.J, p) + self.self_curvature * (p**2).sum(dim=1)
        (gradients,) = torch.autograd.grad(energy.sum(), w)
        return Evaluation(energy.detach(), torch.zeros_like(positions), None, gradients)


class Device:
    device = torch.device("cpu")


@pytest.mark.parametrize("self_curvature", [0.0, 3.0, -3.0])
def test_search_finds_the_most_unstable_wave_regardless_of_self_curvature(monkeypatch, self_curvature):
    """Repulsive like neighbours on a simple cubic lattice order as rocksalt; the self-curvature is an artefact."""
    cell = Structure(Lattice.cubic(4.0), [{"Mg": 0.5, "W": 0.5}], [[0, 0, 0]])
    disorder = Disorder(cell, (2, 2, 2))
    sites = disorder.system.structure
    apart = sites.distance_matrix
    couplings = np.where(np.isclose(apart, 4.0), 0.05, 0.0)
    monkeypatch.setattr(ordering, "AlchemicalPotential", lambda system, backend: PairModel(couplings, self_curvature))
    found = search(disorder, sites, Device(), n_starts=8, seed=1)
    rocksalt = disorder.wave((0.5, 0.5, 0.5), cell)
    key = disorder.same_by_symmetry([np.array([site.specie.symbol == "W" for site in rocksalt], dtype=int)])
    right = [disorder.same_by_symmetry(end.labels) == key for end in found]
    assert sum(right) >= 6  # by chance, 2 of the 70 arrangements
    assert all(end.sharpness > 0.95 for end in found)


def test_search_ends_in_whole_atoms_with_the_given_composition_and_vacancies():
    salt = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.7), [{"Na": 0.5, "K": 0.25}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    disorder = Disorder(salt)
    backend = load_potential(PotentialSpec(name="mace-demo", device="cpu"))
    found = search(disorder, disorder.system.structure, backend, n_starts=3, n_steps=5)
    again = search(disorder, disorder.system.structure, backend, n_starts=3, n_steps=5)
    for end, same in zip(found, again, strict=True):
        assert end.structure.composition == Composition("Na2 K Cl4")
        assert end.structure == same.structure


def test_scaled_weights_keep_the_composition():
    block = ordering._SublatticeWeights.of(["Na", "K", None], [4, 3, 1])
    logs = block.scaled(torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3)
    weights = logs.exp()
    assert torch.allclose(weights.sum(dim=2), torch.ones(5, 8, dtype=torch.float64))
    assert torch.allclose(weights.sum(dim=1), block.counts.expand(5, 3), atol=1e-3)
    assert np.bincount(block.nearest(weights[0].numpy())).tolist() == [4, 3, 1]


def test_atoms_relax_during_the_search():
    """O between a large and a small cation moves, which lowers the energy of the same arrangement."""
    oxide = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.3), [{"Ce": 0.5, "Zr": 0.5}, "O"], [[0, 0, 0], [0.25, 0.25, 0.25]]
    )
    disorder = Disorder(oxide)
    backend = load_potential(PotentialSpec(name="mace-demo", device="cpu"))
    end = search(disorder, disorder.system.structure, backend, n_starts=1, n_steps=20)[0]
    unmoved = disorder.structure(end.labels)
    assert _energy(end.structure, backend) < _energy(unmoved, backend) - 1e-3


def _energy(structure, backend):
    from alchemflows.alchemy.potential import AlchemicalPotential

    potential = AlchemicalPotential(AlchemicalSystem(structure), backend)
    return float(potential.energies(structure.cart_coords[None], structure.lattice.matrix[None], np.zeros((1, 1, 0))))

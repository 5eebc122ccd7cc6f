"""Springs beside a potential: derivatives, paths, and what is not evaluated."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from harmonic import HarmonicCrystal, assert_derivatives, chain
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.alchemy.tether import Springs, TetheredPath, TetheredPotential
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.potential import PotentialSpec

SITES = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.5], [0.8, 0.9, 0.1], [0.6, 0.1, 0.7]]
CELL = np.array([[4.0, 0.1, 0.0], [0.3, 5.0, -0.2], [0.0, 0.4, 4.5]])
SPRINGS = Springs(SITES, (1.0, 2.0, 0.0, 3.5))
WEIGHTS = torch.tensor([[0.3, 0.7, 1.0, 0.0], [0.5, 0.2, 0.6, 0.4], [1.0, 0.0, 0.0, 1.0]], dtype=torch.float64)


class Counted(HarmonicCrystal):
    n_evaluations = 0

    def evaluate(self, *args, **options):
        self.n_evaluations += 1
        return super().evaluate(*args, **options)


def potential() -> Counted:
    sites = np.array(SITES) + 0.02 * np.arange(12).reshape(4, 3) % 0.07  # not those of the springs
    return Counted(sites, [chain(4, (2.0, 1.0)), chain(4, (1.0, 4.0))], [0.3, 0.6], [80.0, 95.0])


def replicas() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    cells = CELL + rng.normal(scale=0.1, size=(3, 3, 3))
    return torch.tensor(np.array(SITES) @ cells + rng.normal(scale=0.2, size=(3, 4, 3))), torch.tensor(cells)


def test_the_energy_is_the_sum_of_potential_and_springs():
    x, h = replicas()
    found = TetheredPotential(potential(), SPRINGS).evaluate(x, h, WEIGHTS).energy
    plain = potential().evaluate(x, h, WEIGHTS[:, :2]).energy
    distances = np.linalg.norm(x.numpy() - np.array(SITES) @ h.numpy(), axis=2)
    springs = 0.5 * (np.array(SPRINGS.stiffness_eV_per_A2) * distances**2).sum(axis=1)
    np.testing.assert_allclose(found, WEIGHTS[:, 2] * plain + WEIGHTS[:, 3] * springs, rtol=1e-12)
    # An atom that is not held has no energy, wherever it is.
    moved = x.clone()
    moved[2, 2] += 1.0
    assert float(TetheredPotential(potential(), SPRINGS).evaluate(moved, h, WEIGHTS).energy[2]) == float(found[2])


def test_forces_stress_and_weight_gradients_are_derivatives():
    assert_derivatives(TetheredPotential(potential(), SPRINGS), *replicas(), WEIGHTS)


@pytest.fixture(scope="module")
def shipped() -> tuple[AlchemicalPath, TetheredPotential, torch.Tensor, torch.Tensor]:
    """The potential of the package around a vanishing atom, in a sheared cell."""
    structure = Structure(
        Lattice([[4.1, 0.1, 0.0], [0.0, 4.0, 0.2], [0.1, 0.0, 4.2]]), ["Cs", "Cl"], [[0] * 3, [0.5] * 3]
    )
    structure.make_supercell([2, 1, 1])
    path = AlchemicalPath.from_substitution(structure, {"Cl": None}, sites=[2])
    spec = PotentialSpec(name="mace-demo", dtype="float64", device="cpu")
    springs = Springs(structure.frac_coords.tolist(), (1.0, 2.0, 3.0, 4.0))
    shift = np.random.default_rng(2).normal(scale=0.15, size=(2, 4, 3))
    return (
        path,
        TetheredPotential(AlchemicalPotential(path.system, load_potential(spec)), springs),
        torch.tensor(structure.cart_coords + shift),
        torch.tensor(np.array([structure.lattice.matrix] * 2)),
    )


def test_derivatives_around_an_alchemical_potential(shipped):
    _, model, x, h = shipped
    assert_derivatives(model, x, h, [[0.5, 0.8, 0.3], [1.0, 0.4, 1.0]], rtol=1e-5)


@pytest.mark.parametrize("same_potential", [True, False])
def test_energies_at_many_weights_are_those_of_evaluate(shipped, same_potential):
    path, model, x, h = shipped
    ends = (
        TetheredPath.to_einstein_crystal(path.system, [0.7])
        if same_potential
        else TetheredPath.with_growing_springs(path)
    )
    lambdas = [0.0, 0.3, 1.0]
    table = np.broadcast_to(ends.weights(lambdas), (2, 3, 3))
    found = model.energies(x, h, table)
    assert found.shape == (2, 3)
    for k in range(3):
        torch.testing.assert_close(
            found[:, k], model.evaluate(x, h, torch.tensor(table[:, k])).energy, rtol=0, atol=1e-9
        )


def test_a_system_without_weights(shipped):
    _, model, x, h = shipped
    plain = AlchemicalPotential(AlchemicalSystem(model.model.system.structure), model.model.backend)
    tethered = TetheredPotential(plain, model.springs)
    path = TetheredPath.to_einstein_crystal(plain.system, [])
    assert path.initial == (1.0, 0.0) and path.final == (0.0, 1.0)
    assert_derivatives(tethered, x, h, path.weights([0.3, 0.6]), rtol=1e-5)
    table = np.broadcast_to(path.weights([0.0, 0.5]), (2, 2, 2))
    torch.testing.assert_close(tethered.energies(x, h, table)[:, 0], plain.evaluate(x, h, np.zeros((2, 0))).energy)


def test_the_potential_is_left_out_where_nothing_is_left_of_it():
    model = TetheredPotential(potential(), SPRINGS)
    x, h = replicas()
    crystal = WEIGHTS[2:].expand(3, 4)
    alone = model.evaluate(x, h, crystal, weight_gradients=False)
    assert model.model.n_evaluations == 0 and alone.weight_gradients is None
    full = model.evaluate(x, h, crystal)
    assert model.model.n_evaluations == 1
    for name in ("energy", "forces", "stress"):
        torch.testing.assert_close(getattr(alone, name), getattr(full, name), rtol=1e-12, atol=1e-14)
    model.evaluate(x, h, WEIGHTS, weight_gradients=False)
    assert model.model.n_evaluations == 2  # one replica needs it
    less = model.evaluate(x, h, crystal, forces=False, stress=False, weight_gradients=False)
    assert less.forces is None and less.stress is None


def test_paths_lead_where_they_say():
    structure = Structure(Lattice.cubic(4.0), ["Cs", "Cl"], [[0] * 3, [0.5] * 3])
    path = AlchemicalPath.from_substitution(structure, {"Cl": {"Br": 0.5, "Cl": 0.5}})
    crystal = TetheredPath.to_einstein_crystal(path.system, [0.25, 0.75])
    np.testing.assert_allclose(
        crystal.weights([0.0, 0.25, 1.0]), [[0.25, 0.75, 1, 0], [0.25, 0.75, 0.75, 0.25], [0.25, 0.75, 0, 1]]
    )
    np.testing.assert_allclose(crystal.direction, [0, 0, -1, 1])
    np.testing.assert_allclose(crystal.masses([0.0, 1.0]), path.system.masses([[0.25, 0.75]] * 2))
    growing = TetheredPath.with_growing_springs(path)
    np.testing.assert_allclose(growing.weights([0.0, 1.0]), [[1, 0, 1, 0], [0.5, 0.5, 1, 1]])
    np.testing.assert_allclose(growing.masses(0.4), path.masses(0.4))
    for thing in (crystal, SPRINGS):
        assert json.loads(json.dumps(thing, cls=MontyEncoder), cls=MontyDecoder) == thing
    with pytest.raises(InvalidInputError, match=r"1\.2"):
        TetheredPath.to_einstein_crystal(path.system, [0.6, 0.6])


@pytest.mark.parametrize(
    ("sites", "stiffness", "reason"),
    [
        (SITES, (1.0, 2.0), "shape"),
        ([[0.0, 0.0]], (1.0,), "shape"),
        (SITES, (1.0, -2.0, 1.0, 1.0), "-2"),
        (SITES, (1.0, np.inf, 1.0, 1.0), "finite"),
        ([[0.0, np.nan, 0.0]], (1.0,), "finite"),
    ],
)
def test_impossible_springs_are_refused(sites, stiffness, reason):
    with pytest.raises(InvalidInputError, match=reason):
        Springs(sites, stiffness)

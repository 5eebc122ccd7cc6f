"""Symmetries of space, permutations of atoms, repeated cells, and systems without groups."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from alchemical import COUPLINGS, FOUNDATION_MODELS, assert_same, evaluate, present, system_for
from models import CUTOFF_A, GROUPS, interior, perovskite, perovskite_system, variants, vertices
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.groups import SiteGroup
from alchemflows.alchemy.interfaces import Backend, Evaluation, single
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem


def rotation(seed: int = 12) -> np.ndarray:
    """Return a random proper rotation."""
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("model", ["residual", "zbl-agnesi-density", "heads-zbl-non-linear", "sevennet", "chgnet"])
def test_rotation_and_translation(model, coupling, backend):
    system = system_for(model, "several groups", coupling)
    potential = AlchemicalPotential(system, backend(model))
    x, h, w = system.structure.cart_coords, system.structure.lattice.matrix, interior(system)
    turn = rotation()
    rng = np.random.default_rng(13)
    lattice_vectors = rng.integers(-2, 3, x.shape)
    assert (lattice_vectors != 0).any(axis=1).all()
    moved = np.stack([x, x @ turn.T, x + rng.normal(0, 9, 3), x + lattice_vectors @ h])
    result = potential.evaluate(moved, np.stack([h, h @ turn.T, h, h]), np.tile(w, (4, 1)))
    energy, forces, stress, slopes = (
        getattr(result, name).numpy() for name in ("energy", "forces", "stress", "weight_gradients")
    )
    # SevenNet's checkpoint holds its coupling coefficients in single precision.
    tolerance = 1e-7 if model == "sevennet" else 1e-10
    near = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(energy, np.full(4, energy[0]), **near)
    np.testing.assert_allclose(slopes, np.tile(slopes[0], (4, 1)), **near)
    np.testing.assert_allclose(forces, [forces[0], forces[0] @ turn.T, forces[0], forces[0]], **near)
    np.testing.assert_allclose(stress, [stress[0], turn @ stress[0] @ turn.T, stress[0], stress[0]], **near)
    np.testing.assert_allclose(forces[0].sum(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(stress[0], stress[0].T, **near)


def permuted(system: AlchemicalSystem, order: np.ndarray) -> AlchemicalSystem:
    """Atom k of the result is atom order[k]; the sites of a group stay in their order."""
    place = np.argsort(order)
    groups = tuple(SiteGroup([place[site] for site in g.sites], g.channels) for g in system.groups)
    return AlchemicalSystem(Structure.from_sites([system.structure[i] for i in order]), groups, system.coupling)


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("groups", ["several groups", "unlike elements"])
@pytest.mark.parametrize("model", ["zbl-agnesi-density", "sevennet", "chgnet"])
def test_permutation_of_atoms(model, groups, coupling, backend):
    system = system_for(model, groups, coupling)
    order = np.random.default_rng(14).permutation(system.n_sites)
    before = evaluate(backend(model), system, interior(system))
    after = evaluate(backend(model), permuted(system, order), interior(system))
    expected = Evaluation(before.energy, before.forces[:, order], before.stress, before.weight_gradients)
    assert_same(after, expected, atol=1e-10)


def repeated(system: AlchemicalSystem, scaling: tuple[int, int, int]) -> AlchemicalSystem:
    """Repeat the cell; the copies of a site belong to its group."""
    structure = system.structure.copy()
    structure.make_supercell(scaling, to_unit_cell=False)
    n = int(np.prod(scaling))  # pymatgen puts the copies of an atom next to each other
    groups = tuple(
        SiteGroup(
            [n * site + copy for site in g.sites for copy in range(n)],
            [[z for z in channel for _ in range(n)] for channel in g.channels],
        )
        for g in system.groups
    )
    return AlchemicalSystem(structure, groups, system.coupling)


def assert_extensive(backend: Backend, system: AlchemicalSystem, weights: np.ndarray, scaling=(1, 2, 1)) -> None:
    n = int(np.prod(scaling))
    one = evaluate(backend, system, weights)
    many = evaluate(backend, repeated(system, scaling), weights)
    expected = Evaluation(n * one.energy, one.forces.repeat_interleave(n, dim=1), one.stress, n * one.weight_gradients)
    assert_same(many, expected, atol=1e-9)


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("model", ["zbl-agnesi-density", "heads-zbl-non-linear", "sevennet", "chgnet"])
def test_paired_energy_is_proportional_to_the_number_of_cells(model, groups, backend):
    system = system_for(model, groups, "paired")
    assert_extensive(backend(model), system, interior(system))


@pytest.mark.parametrize("model", ["zbl-agnesi-density", "sevennet", "chgnet"])
def test_mean_field_energy_is_proportional_to_the_number_of_cells_at_vertices(model, backend):
    system = system_for(model, "several groups", "mean-field")
    for corner in vertices(system)[[0, 3, 8]]:
        one = evaluate(backend(model), system, corner)
        two = evaluate(backend(model), repeated(system, (1, 2, 1)), corner)
        here = present(system, corner)
        there = [2 * i + copy for i in here for copy in range(2)]
        torch.testing.assert_close(two.energy, 2 * one.energy, rtol=0, atol=1e-9)
        torch.testing.assert_close(two.stress, one.stress, rtol=0, atol=1e-9)
        torch.testing.assert_close(
            two.forces[:, there], one.forces[:, here].repeat_interleave(2, dim=1), rtol=0, atol=1e-9
        )


def test_mean_field_sees_the_number_of_cells_only_through_own_images(backend):
    """An atom and its own image are one element; in the repeated cell they are two sites that mix.

    So energies are extensive where no alchemical atom sees its own image, and not elsewhere.
    """
    loaded = backend("residual")
    small = perovskite_system("several groups", "mean-field")
    weights = interior(small)
    one, two = (evaluate(loaded, s, weights).energy for s in (small, repeated(small, (1, 2, 1))))
    assert abs(float(two - 2 * one)) > 1e-4
    wide = perovskite_system("several groups", "mean-field", 5.3)
    assert min(wide.structure.lattice.abc) > CUTOFF_A
    assert_extensive(loaded, wide, weights, (1, 2, 1))
    others = np.random.default_rng(0).permutation(perovskite(5.3).distance_matrix[1])
    assert (others[others > 0] < CUTOFF_A).any()


@pytest.mark.parametrize("model", [*variants(), *variants(("sevennet", "chgnet"), core=())])
def test_systems_without_groups_and_atoms_without_neighbours(model, backend):
    """An ordinary structure is a system with no weights; far-apart atoms have no edges."""
    far = Structure(Lattice.cubic(30.0), ["Cs", "I"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    near = perovskite(6.0 if model in FOUNDATION_MODELS else 3.9)
    for structure in (far, near):
        system = AlchemicalSystem(structure)
        result = single(
            AlchemicalPotential(system, backend(model)).evaluate(
                structure.cart_coords[None], structure.lattice.matrix[None], np.zeros((1, 0))
            )
        )
        assert result["weight_gradients"].shape == (0,)
        # the same as a vertex of a system with groups
        groups = (SiteGroup((1,), ((int(system.numbers[1]),), (55,))),)
        alchemical = AlchemicalSystem(structure, groups)
        vertex = single(
            AlchemicalPotential(alchemical, backend(model)).evaluate(
                structure.cart_coords[None], structure.lattice.matrix[None], [[1.0, 0.0]]
            )
        )
        assert result["energy"] == pytest.approx(vertex["energy"], abs=1e-9)
        np.testing.assert_allclose(result["forces"], vertex["forces"], atol=1e-9)
        np.testing.assert_allclose(result["stress"], vertex["stress"], atol=1e-9)

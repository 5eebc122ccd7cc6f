"""Exactness: vertices against the plain calculators, derivatives, batches, and the symmetries of space."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from ase import Atoms
from mace.calculators import MACECalculator
from models import (
    CUTOFF_A,
    GROUPS,
    VARIANTS,
    groups_and_couplings,
    interior,
    perovskite,
    perovskite_system,
    variants,
    vertices,
)
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.groups import SiteGroup
from alchemflows.alchemy.interfaces import Backend, Evaluation
from alchemflows.alchemy.potential import AlchemicalPotential, single
from alchemflows.alchemy.system import AlchemicalSystem

COUPLINGS = ("paired", "mean-field")
#: Variants whose derivatives are compared with finite differences.
DERIVATIVES = ("residual", "density", "non-linear-cutoff", "zbl-agnesi-density", "heads-zbl-non-linear")
#: Lattice parameter (Å) at which SevenNet-0 still sees periodic images but no absurdly short distances.
SEVENNET_A = 4.7

Load = Callable[[str], Backend]
Plain = Callable[[Atoms], tuple[float, np.ndarray, np.ndarray]]


def system_for(model: str, groups: str, coupling: str) -> AlchemicalSystem:
    return perovskite_system(groups, coupling, SEVENNET_A if model == "sevennet" else 3.9)


def evaluate(backend: Backend, system: AlchemicalSystem, weights: np.ndarray, **wanted: bool) -> Evaluation:
    """Evaluate the host structure at one (C,) or several (B, C) sets of weights."""
    weights = np.atleast_2d(weights)
    positions, cells = (
        np.repeat(array[None], len(weights), axis=0)
        for array in (system.structure.cart_coords, system.structure.lattice.matrix)
    )
    return AlchemicalPotential(system, backend).evaluate(positions, cells, weights, **wanted)


def present(system: AlchemicalSystem, weights: np.ndarray) -> list[int]:
    """Atoms that exist at a vertex."""
    gone = {
        site
        for index, group in enumerate(system.groups)
        if weights[system.group_of_weight == index].sum() == 0
        for site in group.sites
    }
    return [i for i in range(system.n_sites) if i not in gone]


def assert_vertices(backend: Backend, system: AlchemicalSystem, plain: Plain, seed: int, atol: float = 1e-10) -> None:
    """Compare the first vertex and up to three others with a plain calculator."""
    corners = vertices(system)
    chosen = np.random.default_rng(seed).permutation(len(corners) - 1)[:3] + 1
    corners = corners[[0, *chosen]]
    result = evaluate(backend, system, corners)
    for k, corner in enumerate(corners):
        energy, forces, stress = plain(system.at_vertex(corner).to_ase_atoms())
        here = present(system, corner)
        np.testing.assert_allclose(result.energy[k], energy, rtol=1e-12, atol=atol)
        np.testing.assert_allclose(result.forces[k, here], forces, rtol=1e-10, atol=10 * atol)
        np.testing.assert_allclose(result.stress[k], stress, rtol=1e-10, atol=10 * atol)
        gone = [i for i in range(system.n_sites) if i not in here]
        assert (result.forces[k, gone] == 0).all()


def calculated(atoms: Atoms, calculator: object) -> tuple[float, np.ndarray, np.ndarray]:
    atoms.calc = calculator
    return atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)


def remembered(plain: Plain) -> Plain:
    """Return a function that computes the same atoms only once: the couplings have vertices in common."""

    @cache
    def of(numbers: tuple[int, ...], positions: bytes, cell: bytes) -> tuple[float, np.ndarray, np.ndarray]:
        places, vectors = (np.frombuffer(array).reshape(-1, 3) for array in (positions, cell))
        return plain(Atoms(numbers, positions=places, cell=vectors, pbc=True))

    return lambda atoms: of(tuple(atoms.numbers), atoms.positions.tobytes(), atoms.cell.array.tobytes())


# Vertices


@pytest.mark.parametrize("variant", variants())
def test_mace_vertices_equal_the_plain_calculator(variant, mace_file, backend):
    loaded = backend(variant)
    calculators: list[MACECalculator] = []

    def plain(atoms):
        # made after our own evaluation, because it changes torch's default dtype
        if not calculators:
            calculators.append(
                MACECalculator(
                    model_paths=str(mace_file(variant)),
                    default_dtype="float64",
                    device="cpu",
                    head=loaded.record.head or "Default",
                )
            )
        return calculated(atoms, calculators[0])

    once = remembered(plain)
    for groups in GROUPS:
        for coupling in COUPLINGS:
            system = system_for(variant, groups, coupling)
            torch.set_default_dtype(torch.float32)
            assert_vertices(loaded, system, once, seed=list(VARIANTS).index(variant))


@pytest.fixture(scope="module")
def sevennet_in_double() -> Plain:
    """Plain SevenNet-0, which is written for float32, made to run in float64."""
    pytest.importorskip("sevenn")
    import sevenn.util
    from sevenn.calculator import SevenNetCalculator

    def in_double(_module, _inputs, data):
        return data.update({k: v.double() for k, v in data.items() if torch.is_tensor(v) and v.is_floating_point()})

    calculator = SevenNetCalculator("7net-0", device="cpu")
    calculator.model.double()
    calculator.model.onehot_idx_to_onehot.register_forward_hook(in_double)
    basis = calculator.model.edge_embedding.basis_function
    basis.coeffs = basis.coeffs.double()
    original = sevenn.util.dtype_correct

    def plain(atoms):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sevenn.util, "dtype_correct", lambda value: original(value, torch.float64))
            return calculated(atoms, calculator)

    return remembered(plain)


@pytest.mark.parametrize(("groups", "coupling"), groups_and_couplings())
def test_sevennet_vertices_equal_the_plain_model_in_double(groups, coupling, backend, sevennet_in_double):
    system = system_for("sevennet", groups, coupling)
    assert_vertices(backend("sevennet"), system, sevennet_in_double, seed=3, atol=1e-9)


def test_sevennet_vertices_equal_the_published_calculator(backend):
    loaded = backend("sevennet")
    from sevenn.calculator import SevenNetCalculator

    calculator = SevenNetCalculator("7net-0", device="cpu")
    system = system_for("sevennet", "several groups", "mean-field")
    corners = vertices(system)[[0, 3, 7, 12]]
    result = evaluate(loaded, system, corners)
    for k, corner in enumerate(corners):
        energy, forces, stress = calculated(system.at_vertex(corner).to_ase_atoms(), calculator)
        np.testing.assert_allclose(result.energy[k], energy, atol=1e-4)
        np.testing.assert_allclose(result.forces[k, present(system, corner)], forces, atol=1e-3)
        np.testing.assert_allclose(result.stress[k], stress, atol=1e-5)


@pytest.mark.parametrize("model", [*DERIVATIVES, "sevennet"])
@pytest.mark.parametrize("groups", GROUPS)
def test_couplings_differ_between_the_vertices(groups, model, backend):
    energies = [
        float(evaluate(backend(model), system, interior(system), forces=False, stress=False).energy[0])
        for system in (system_for(model, groups, coupling) for coupling in COUPLINGS)
    ]
    # Groups of one site differ only by the atom's own images, which both couplings treat alike.
    if groups == "site resolved":
        assert energies[0] == pytest.approx(energies[1], abs=1e-11)
    else:
        assert abs(energies[0] - energies[1]) > 1e-4


def test_edges_between_groups_matter(backend):
    """A model that dropped the edges between groups would not see the other group change."""
    system = perovskite_system("site resolved", "paired")
    loaded = backend("residual")
    weights = np.tile(interior(system), (3, 1))
    weights[1, :2] = weights[1, 1::-1]  # another mixture on the first group
    weights[2, :2] = 0  # no atom there
    slopes = evaluate(loaded, system, weights).weight_gradients[:, 2:]
    assert (slopes[1:] - slopes[0]).abs().max(dim=1).values.min() > 1e-3


# Derivatives

STENCIL = np.array([-2.0, -1.0, 1.0, 2.0])
FIVE_POINT = np.array([1.0, -8.0, 8.0, -1.0]) / 12.0


def differences(energies: torch.Tensor, step: float) -> np.ndarray:
    """Return fourth-order central differences of energies (number of directions · 4,)."""
    return energies.numpy().reshape(-1, 4) @ FIVE_POINT / step


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("model", [*DERIVATIVES, "sevennet"])
def test_derivatives_equal_finite_differences(model, coupling, backend):
    system = system_for(model, "several groups", coupling)
    potential = AlchemicalPotential(system, backend(model))
    weights = interior(system, seed=2)
    positions, cell = system.structure.cart_coords, system.structure.lattice.matrix
    exact = potential.evaluate(positions[None], cell[None], weights[None])
    # Pairs that cross the cutoff on the way cost accuracy: MACE's envelope has two derivatives there, SevenNet's one.
    step = 1e-4 if model == "sevennet" else 1e-3
    rng = np.random.default_rng(4)
    # one direction that moves all atoms, one for each of an alchemical, a vanishing and an ordinary atom
    moves = rng.normal(0, 1, (4, *positions.shape))
    for move, atom in zip(moves[1:], (1, 5, 0), strict=True):
        move[np.arange(len(positions)) != atom] = 0
    strains = np.array([np.outer(a, b) + np.outer(b, a) for a in np.eye(3) for b in np.eye(3)])[[0, 4, 8, 1, 2, 5]]
    strains /= 2

    def energies(x, h, w):
        return potential.evaluate(x, h, w, forces=False, stress=False, weight_gradients=False).energy

    n = 4 * len(moves)
    moved = positions + (step * STENCIL[None, :, None, None] * moves[:, None]).reshape(n, *positions.shape)
    numeric = differences(energies(moved, np.tile(cell, (n, 1, 1)), np.tile(weights, (n, 1))), step)
    analytic = -np.einsum("dni,ni->d", moves, exact.forces[0].numpy())
    assert np.abs(analytic).min() > 1e-4
    np.testing.assert_allclose(analytic, numeric, rtol=1e-7, atol=1e-8)

    n = 4 * len(strains)
    deformed = np.eye(3) + (step * STENCIL[None, :, None, None] * strains[:, None]).reshape(n, 3, 3)
    numeric = differences(energies(positions @ deformed, cell @ deformed, np.tile(weights, (n, 1))), step)
    analytic = np.einsum("dij,ij->d", strains, exact.stress[0].numpy()) * system.structure.volume
    assert np.abs(analytic).max() > 1e-2
    np.testing.assert_allclose(analytic, numeric, rtol=1e-7, atol=1e-7)

    n = 4 * len(weights)
    changed = weights + (step * STENCIL[None, :, None] * np.eye(len(weights))[:, None]).reshape(n, -1)
    numeric = differences(energies(np.tile(positions, (n, 1, 1)), np.tile(cell, (n, 1, 1)), changed), step)
    np.testing.assert_allclose(exact.weight_gradients[0], numeric, rtol=1e-8, atol=1e-8)


def test_energy_is_not_linear_in_the_weights(backend):
    system = perovskite_system("one group")
    energy = evaluate(backend("residual"), system, np.array([[1, 0], [0.5, 0.5], [0, 1]])).energy
    assert abs(energy[1] - (energy[0] + energy[2]) / 2) > 1e-3


def test_only_what_is_asked_for_is_computed(backend):
    system = perovskite_system()
    everything = evaluate(backend("density"), system, interior(system))
    for name in ("forces", "stress", "weight_gradients"):
        wanted = {key: key == name for key in ("forces", "stress", "weight_gradients")}
        result = evaluate(backend("density"), system, interior(system), **wanted)
        assert torch.equal(result.energy, everything.energy)
        for key, asked in wanted.items():
            value = getattr(result, key)
            if asked:
                torch.testing.assert_close(value, getattr(everything, key), rtol=0, atol=1e-13)
            else:
                assert value is None


# Batches


def replicas(system: AlchemicalSystem, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Different positions, cells (so different neighbours) and weights."""
    rng = np.random.default_rng(seed)
    strains = np.eye(3) + rng.normal(0, 0.05, (n, 3, 3)) + np.linspace(-0.05, 0.3, n)[:, None, None] * np.eye(3)
    positions = system.structure.cart_coords + rng.normal(0, 0.05, (n, system.n_sites, 3))
    return positions @ strains, system.structure.lattice.matrix @ strains, interior(system, seed, n)


def assert_same(result: Evaluation, expected: Evaluation, atol: float = 1e-11) -> None:
    for name in ("energy", "forces", "stress", "weight_gradients"):
        torch.testing.assert_close(getattr(result, name), getattr(expected, name), rtol=1e-11, atol=atol)


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("model", ["zbl-agnesi-density", "heads-zbl-non-linear", "sevennet"])
def test_batch_equals_single_evaluations(model, coupling, backend):
    system = system_for(model, "several groups", coupling)
    batch = replicas(system, 4, seed=6)
    together = AlchemicalPotential(system, backend(model)).evaluate(*batch)
    assert len(set(together.energy.tolist())) == 4
    alone = [
        AlchemicalPotential(system, backend(model)).evaluate(*(part[b : b + 1] for part in batch)) for b in range(4)
    ]
    expected = Evaluation(
        *(torch.cat([getattr(e, name) for e in alone]) for name in ("energy", "forces", "stress", "weight_gradients"))
    )
    assert_same(together, expected, atol=1e-10)


@pytest.mark.parametrize("model", ["residual", "sevennet"])
def test_energies_at_other_weights_equal_evaluations(model, backend):
    system = system_for(model, "several groups", "mean-field")
    potential = AlchemicalPotential(system, backend(model))
    positions, cells, _ = replicas(system, 3, seed=7)
    weights = interior(system, seed=8, n=12).reshape(3, 4, -1)
    energies = potential.energies(positions, cells, weights)
    assert energies.shape == (3, 4)
    assert energies.dtype == torch.float64
    expected = [potential.evaluate(positions, cells, weights[:, k]).energy for k in range(4)]
    torch.testing.assert_close(energies, torch.stack(expected, dim=1), rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    "variant",
    [
        "residual",
        "no-apply-cutoff",
        "non-linear",
        "zbl-agnesi-density",
        pytest.param("sevennet", marks=pytest.mark.slow),
    ],
)
def test_potential_in_long_use_equals_a_new_one(variant, backend):
    """Small moves keep the neighbour list, large ones and new cells renew it, for some replicas only."""
    system = system_for(variant, "several groups", "paired")
    potential = AlchemicalPotential(system, backend(variant), skin_A=0.2)
    positions, cells, weights = replicas(system, 3, seed=9)
    rng = np.random.default_rng(10)
    kept = 0
    for step in range(12):
        if step == 9:  # another number of replicas
            positions, cells, weights = positions[:2], cells[:2], weights[:2]
        sizes = np.array([0.02, 0.06, 0.003])[: len(positions), None, None] * (step % 5 != 4)
        positions = positions + rng.normal(0, 1, positions.shape) * sizes
        if step % 4 == 3:
            cells[1, 2] *= 0.95  # the atoms stay, their images come closer
        if step % 5 != 4:
            positions[0, 0] += 0.06  # in small steps a long way
        before = list(potential._topologies.values())
        result = potential.evaluate(positions, cells, weights)
        kept += set(before) <= set(potential._topologies.values())
        fresh = AlchemicalPotential(system, backend(variant), skin_A=0.0)
        assert_same(result, fresh.evaluate(positions, cells, weights), atol=1e-10)
        weights[0, step % 2] = 0.0 if step % 3 else 0.3  # comes and goes
        torch.testing.assert_close(
            *(p.evaluate(positions, cells, weights, weight_gradients=False).forces for p in (potential, fresh)),
            rtol=1e-9,
            atol=1e-10,
        )
    assert 0 < kept < 12


def test_the_skin_does_not_matter(backend):
    system = perovskite_system(coupling="mean-field")
    batch = replicas(system, 2, seed=11)
    results = [
        AlchemicalPotential(system, backend("non-linear"), skin_A=skin).evaluate(*batch) for skin in (0.0, 0.3, 1.5)
    ]
    assert_same(results[1], results[0], atol=1e-10)
    assert_same(results[2], results[0], atol=1e-10)


# Symmetries


def rotation(seed: int = 12) -> np.ndarray:
    """Return a random proper rotation."""
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("model", ["residual", "zbl-agnesi-density", "heads-zbl-non-linear", "sevennet"])
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
@pytest.mark.parametrize("model", ["zbl-agnesi-density", "sevennet"])
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
@pytest.mark.parametrize("model", ["zbl-agnesi-density", "heads-zbl-non-linear", "sevennet"])
def test_paired_energy_is_proportional_to_the_number_of_cells(model, groups, backend):
    system = system_for(model, groups, "paired")
    assert_extensive(backend(model), system, interior(system))


@pytest.mark.parametrize("model", ["zbl-agnesi-density", "sevennet"])
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


@pytest.mark.parametrize("model", [*variants(), "sevennet"])
def test_systems_without_groups_and_atoms_without_neighbours(model, backend):
    """An ordinary structure is a system with no weights; far-apart atoms have no edges."""
    far = Structure(Lattice.cubic(30.0), ["Cs", "I"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    near = perovskite(6.0 if model == "sevennet" else 3.9)
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

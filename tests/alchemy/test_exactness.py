"""Exactness: vertices against the plain calculators, derivatives and batches."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from alchemical import COUPLINGS, FOUNDATION_MODELS, assert_same, evaluate, present, system_for
from ase import Atoms
from mace.calculators import MACECalculator
from models import (
    GROUPS,
    VARIANTS,
    groups_and_couplings,
    interior,
    perovskite_system,
    variants,
    vertices,
)

from alchemflows.alchemy.interfaces import Backend, Evaluation
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem

#: Variants whose derivatives are compared with finite differences.
DERIVATIVES = ("residual", "non-linear-cutoff", "zbl-agnesi-density", "heads-zbl-non-linear")
Load = Callable[[str], Backend]
Plain = Callable[[Atoms], tuple[float, np.ndarray, np.ndarray]]


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

    once, number = remembered(plain), list(VARIANTS).index(variant)
    for g, groups in enumerate(GROUPS):
        # the other coupling with every second variant
        system = system_for(variant, groups, COUPLINGS[(g + number) % 2])
        torch.set_default_dtype(torch.float32)
        assert_vertices(loaded, system, once, seed=number)


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


@pytest.mark.slow
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


@pytest.mark.parametrize("model", ["residual", "heads-zbl-non-linear", "sevennet", "chgnet"])
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
@pytest.mark.parametrize("model", [*DERIVATIVES, "sevennet", "chgnet"])
def test_derivatives_equal_finite_differences(model, coupling, backend):
    system = system_for(model, "several groups", coupling)
    potential = AlchemicalPotential(system, backend(model))
    weights = interior(system, seed=2)
    positions, cell = system.structure.cart_coords, system.structure.lattice.matrix
    exact = potential.evaluate(positions[None], cell[None], weights[None])
    # Pairs that cross the cutoff on the way cost accuracy: MACE's envelope has two derivatives there, SevenNet's one.
    step = 1e-4 if model in FOUNDATION_MODELS else 1e-3
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
    everything = evaluate(backend("zbl-agnesi-density"), system, interior(system))
    for name in ("forces", "stress", "weight_gradients"):
        wanted = {key: key == name for key in ("forces", "stress", "weight_gradients")}
        result = evaluate(backend("zbl-agnesi-density"), system, interior(system), **wanted)
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


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("model", ["zbl-agnesi-density", "heads-zbl-non-linear", "sevennet", "chgnet"])
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


@pytest.mark.parametrize("model", ["residual", "sevennet", "chgnet"])
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
        "zbl-agnesi-density",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("no-apply-cutoff", "non-linear", "sevennet", "chgnet")
        ),
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
        AlchemicalPotential(system, backend("non-linear-cutoff"), skin_A=skin).evaluate(*batch)
        for skin in (0.0, 0.3, 1.5)
    ]
    assert_same(results[1], results[0], atol=1e-10)
    assert_same(results[2], results[0], atol=1e-10)

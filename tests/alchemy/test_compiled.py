"""Compiled evaluations give the results of usual ones."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from comparison import RELATIVE, assert_same, batch
from models import groups_and_couplings, interior, perovskite_system, save_mace, variants, vertices
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy import compiled
from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.compiled import CompiledEnergy
from alchemflows.alchemy.groups import SiteGroup
from alchemflows.alchemy.inductor import Arrays, Program
from alchemflows.alchemy.interfaces import Backend
from alchemflows.alchemy.joint import JointPotential, Request
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import PotentialError
from alchemflows.sampling.langevin import Langevin
from alchemflows.schemas.potential import PotentialSpec

#: Models with unlike terms; the others take longer together, in CI.
CORE = ("residual", "attention", "heads-zbl-non-linear")


class Interpreted:
    """In place of the compiler: the function itself, which holds for the arrays that a test accepts."""

    def __init__(self, holds: Callable[[Arrays], bool] = lambda _: True) -> None:
        self.n_compiled = 0
        self._holds = holds

    def __call__(self, function: Program, _arrays: Arrays, _symbolic: object) -> tuple[Program, Callable]:
        self.n_compiled += 1
        return function, self._holds


def both(
    system: AlchemicalSystem, backend: Backend, compiler: object = None
) -> tuple[AlchemicalPotential, AlchemicalPotential]:
    """Return a potential with a compiler, by default that of torch, and the usual one."""
    own, usual = (AlchemicalPotential(system, backend) for _ in range(2))
    own._compiled = CompiledEnergy(compiler)  # type: ignore[arg-type]
    return own, usual


@pytest.mark.parametrize("model", [*variants(core=CORE), pytest.param("sevennet", marks=pytest.mark.slow)])
def test_results_are_those_of_usual_evaluations(model, backend):
    system = perovskite_system("several groups", "mean-field", 4.7 if model == "sevennet" else 3.9)
    own, usual = both(system, backend(model), Interpreted())
    assert_same(own.evaluate(*batch(system)), usual.evaluate(*batch(system)))


@pytest.mark.parametrize(("groups", "coupling"), groups_and_couplings())
def test_results_are_those_of_usual_evaluations_for_every_rule(groups, coupling, backend):
    """Nodes of weight zero stay in the graph, which changes nothing."""
    system, compiler = perovskite_system(groups, coupling), Interpreted()
    own, usual = both(system, backend("residual"), compiler)
    for weights in (interior(system, seed=2, n=3), np.resize(vertices(system), (3, system.n_weights))):
        positions, cells, _ = batch(system)
        results = [each.evaluate(positions, cells, weights, weight_gradients=False) for each in (own, usual)]
        for name in ("energy", "forces", "stress"):
            torch.testing.assert_close(*(getattr(r, name) for r in results), rtol=RELATIVE, atol=1e-9)
        assert results[0].weight_gradients is None
    assert compiler.n_compiled == 1


def test_only_evaluations_with_forces_are_compiled(backend):
    system, compiler = perovskite_system("one group"), Interpreted()
    own, usual = both(system, backend("residual"), compiler)
    arguments = batch(system)
    results = [each.evaluate(*arguments, forces=False, stress=False) for each in (own, usual)]
    torch.testing.assert_close(*(each.weight_gradients for each in results), rtol=0, atol=0)
    assert compiler.n_compiled == 0
    results = [each.evaluate(*arguments, stress=False, weight_gradients=False) for each in (own, usual)]
    torch.testing.assert_close(*(each.forces for each in results), rtol=RELATIVE, atol=1e-9)
    assert results[0].stress is None
    assert compiler.n_compiled == 1


@pytest.mark.parametrize("model", ["residual", "heads-zbl-non-linear"])
def test_new_neighbour_lists_need_no_new_code(model, backend):
    system, compiler = perovskite_system("one group"), Interpreted()
    own, usual = both(system, backend(model), compiler)
    positions, cells, weights = batch(system, 1)
    generator, n_pairs = np.random.default_rng(5), set()
    for _ in range(4):
        positions = positions + 0.2 * generator.normal(size=positions.shape)
        assert_same(own.evaluate(positions, cells, weights), usual.evaluate(positions, cells, weights))
        n_pairs.add(tuple(own._n_pairs()))
    assert len(n_pairs) > 1
    assert compiler.n_compiled == 1


def test_code_that_holds_for_other_sizes_only_is_compiled_again(backend):
    system, sizes = perovskite_system("one group"), set()

    def is_known(arrays: Arrays) -> bool:
        return arrays[0].shape in sizes or bool(sizes.add(arrays[0].shape))

    compiler = Interpreted(is_known)
    own, usual = both(system, backend("residual"), compiler)
    arguments = batch(system, 1)
    for scale in (1.0, 1.0, 1.1):
        moved = scale * arguments[0], scale * arguments[1], arguments[2]
        assert_same(own.evaluate(*moved), usual.evaluate(*moved))
    assert compiler.n_compiled > 1


def test_an_atom_without_neighbours_is_not_compiled(backend):
    alone = AlchemicalSystem(Structure(Lattice.cubic(30), ["I"], [[0, 0, 0]]), (SiteGroup((0,), ((53,), (17,))),))
    compiler = Interpreted()
    own, usual = both(alone, backend("residual"), compiler)
    arguments = np.zeros((1, 1, 3)), 30 * np.eye(3)[None], np.array([[0.3, 0.7]])
    results = [each.evaluate(*arguments) for each in (own, usual)]
    torch.testing.assert_close(*(each.energy for each in results), rtol=RELATIVE, atol=0)
    torch.testing.assert_close(*(each.weight_gradients for each in results), rtol=RELATIVE, atol=0)
    assert not results[0].forces.any()
    assert compiler.n_compiled == 0


def test_members_of_a_batch_are_compiled(backend, monkeypatch):
    compiler = Interpreted()
    monkeypatch.setattr(compiled, "compile_program", compiler)
    systems = [perovskite_system(groups) for groups in ("one group", "several groups")]
    joint = JointPotential([AlchemicalPotential(each, backend("residual"), compiled=True) for each in systems])
    requests = [Request(k, *batch(each)) for k, each in enumerate(systems)]
    found = joint.evaluate_members(requests)
    for system, result in zip(systems, found, strict=True):
        assert_same(result, AlchemicalPotential(system, backend("residual")).evaluate(*batch(system)))
    assert compiler.n_compiled == 2


def wrong(function: Program, _arrays: Arrays, _symbolic: object) -> tuple[Program, Callable]:
    return lambda arrays: tuple(value + 1.0 for value in function(arrays)), lambda _: True


def test_code_with_other_results_is_refused(backend):
    system = perovskite_system("one group")
    with pytest.raises(PotentialError, match="built-in"):
        both(system, backend("residual"), wrong)[0].evaluate(*batch(system))


def test_potentials_with_bonds_are_refused(backend):
    with pytest.raises(PotentialError, match="bonds"):
        system = perovskite_system("one group", lattice_parameter_A=6.0)
        both(system, backend("chgnet"), Interpreted())[0].evaluate(*batch(system))


def test_a_missing_compiler_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(PotentialError, match="CXX"):
        CompiledEnergy()


def test_a_folder_that_cannot_be_written_is_named(backend, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ALCHEMFLOWS_COMPILED", str(tmp_path / "file"))
    system = perovskite_system("one group")
    with pytest.raises(PotentialError, match="ALCHEMFLOWS_COMPILED"):
        both(system, backend("residual"))[0].evaluate(*batch(system))


def test_compiled_kernels_are_for_cpus():
    with pytest.raises(PotentialError, match="meta"):
        load_potential(PotentialSpec(name="mace-demo", device="meta", kernels="compiled"))


@pytest.mark.slow
def test_compiled_code_gives_the_results_for_all_sizes_and_parameters(monkeypatch, tmp_path):
    """Code of the folder is used by other potentials of the architecture, with their own parameters."""
    monkeypatch.setenv("ALCHEMFLOWS_COMPILED", str(tmp_path / "compiled"))
    system, n_pairs, n_files = perovskite_system("several groups", "mean-field"), set(), []
    positions, cells, weights = batch(system)
    generator = np.random.default_rng(5)
    for seed in (1, 2):
        file = save_mace(tmp_path / f"{seed}.model", "residual", seed=seed)
        own, usual = both(system, load_potential(PotentialSpec(name=str(file), dtype="float64", device="cpu")))
        for scale in (1.0, 1.05, 0.97):
            moved = scale * positions + 0.1 * generator.normal(size=positions.shape), scale * cells, weights
            assert_same(own.evaluate(*moved), usual.evaluate(*moved))
            n_pairs.update(own._n_pairs())
        assert len(own._compiled._programs) == 1
        n_files.append(len(list(tmp_path.rglob("*.so"))))
    assert len(n_pairs) > 3
    assert n_files[0] == n_files[1] > 0


@pytest.mark.slow
def test_dynamics_continue_bit_for_bit(monkeypatch, tmp_path):
    monkeypatch.setenv("ALCHEMFLOWS_COMPILED", str(tmp_path))
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    system = AlchemicalSystem(salt, (SiteGroup((0, 1), ((11, 11), (19, 19))),))

    def dynamics() -> Langevin:
        model = AlchemicalPotential(system, load_potential("mace-demo"), compiled=True)
        weights = [[0.5, 0.5], [1.0, 0.0]]
        x, h = (np.tile(v, (2, 1, 1)) for v in (salt.cart_coords, salt.lattice.matrix))
        masses = np.tile([site.specie.atomic_mass for site in salt], (2, 1))
        conditions = {"temperature_K": 300.0, "timestep_fs": 2.0, "friction_per_ps": 5.0, "seeds": [1, 2]}
        return Langevin(model, x, h, weights, masses, **conditions)

    whole = dynamics()
    for step in range(40):
        if step == 20:
            snapshot = copy.deepcopy(whole.snapshot())  # it shares memory with the running dynamics
        whole.step()
    rest = dynamics()
    rest.restore(snapshot)
    for _ in range(20):
        rest.step()
    assert torch.equal(rest.positions, whole.positions)
    assert torch.equal(rest.velocities, whole.velocities)

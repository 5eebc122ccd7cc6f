"""What makes steps cheap changes no energy: each optimization against the slow way, in float64."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from copy import copy, deepcopy

import numpy as np
import pytest
import torch
from ase import units
from models import GROUPS, VARIANTS, interior, perovskite_system, vertices

from alchemflows.alchemy import potential as potential_module
from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.backends.contraction import fold
from alchemflows.alchemy.backends.cuequivariance import convert
from alchemflows.alchemy.backends.mace import MACEBackend
from alchemflows.alchemy.backends.trimming import keep_elements
from alchemflows.alchemy.graph import EdgeGraph
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.potential import AlchemicalPotential, Backend, Evaluation
from alchemflows.alchemy.system import AlchemicalSystem, SiteGroup
from alchemflows.errors import InvalidInputError, PotentialError
from alchemflows.sampling.langevin import Langevin
from alchemflows.schemas.potential import PotentialSpec

MERGING = {
    "residual",
    "non-residual-first",
    "non-residual",
    "no-apply-cutoff",
    "gaussian",
    "heads",
    "agnostic-product",
    "last-readout-only",
    "one-layer",
    "three-layers",
    "so3",
    "keep-last-irreps",
    "full-couplings",
    "scalars",
}
RELATIVE = 1e-10


class AsItIs:
    """A backend that is not specialised further."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def specialised(self, _numbers: frozenset[int]) -> Backend:
        return self._backend


def batch(system: AlchemicalSystem, n: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    positions = system.structure.cart_coords + rng.normal(0, 0.05, (n, system.n_atoms, 3))
    return positions, np.tile(system.structure.lattice.matrix, (n, 1, 1)), interior(system, seed=2, n=n)


def evaluated(backend: Backend, system: AlchemicalSystem) -> Evaluation:
    return AlchemicalPotential(system, AsItIs(backend)).evaluate(*batch(system))


def assert_same(result: Evaluation, expected: Evaluation) -> None:
    for name in ("energy", "forces", "stress", "weight_gradients"):
        value, reference = getattr(result, name), getattr(expected, name)
        scale = float(reference.abs().max())
        assert scale > 0
        torch.testing.assert_close(value, reference, rtol=RELATIVE, atol=RELATIVE * scale)


# MACE: trimming, folding, merging, and all of it


@pytest.mark.parametrize("variant", VARIANTS)
def test_trimmed_elements(variant, backend):
    system = perovskite_system("one group", "mean-field")
    trimmed = copy(backend(variant))
    trimmed.model = keep_elements(trimmed.model, system.elements)
    trimmed._set_elements()
    assert trimmed.numbers == system.elements < backend(variant).numbers
    assert_same(evaluated(trimmed, system), evaluated(backend(variant), system))


@pytest.mark.parametrize("variant", VARIANTS)
def test_folded_contractions(variant, backend):
    system = perovskite_system("one group")
    folded = copy(backend(variant))
    folded.contractions = [fold(product) for product in folded.model.products]
    assert None not in folded.contractions
    assert_same(evaluated(folded, system), evaluated(backend(variant), system))


@pytest.mark.parametrize("variant", VARIANTS)
def test_convolutions(variant, backend):
    system = perovskite_system("several groups", "mean-field")
    fast = copy(backend(variant))
    fast.model = deepcopy(fast.model)
    fast._replace_convolutions(merge=False)
    assert_same(evaluated(fast, system), evaluated(backend(variant), system))


@pytest.mark.parametrize("coupling", ["paired", "mean-field"])
@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("variant", ["residual", "non-residual", "three-layers", "no-apply-cutoff"])
def test_merged_messages(variant, groups, coupling, backend):
    system = perovskite_system(groups, coupling)
    merged = copy(backend(variant))
    merged.model = deepcopy(merged.model)
    merged._replace_convolutions(merge=True)
    assert_same(evaluated(merged, system), evaluated(backend(variant), system))


@pytest.mark.parametrize("variant", VARIANTS)
def test_specialised(variant, backend):
    """Everything together; and it is known of each variant whether its messages can be merged."""
    system = perovskite_system("several groups", "mean-field")
    specialised = backend(variant).specialised(system.elements)
    assert specialised.merges_messages == (variant in MERGING)
    assert specialised is backend(variant).specialised(system.elements)
    assert_same(evaluated(specialised, system), evaluated(backend(variant), system))


class Unknown(torch.nn.Module):
    """An interaction block of another kind: it takes the edges as MACE hands them out, and knows no fused ones."""

    def __init__(self, block: torch.nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, *, edge_index: torch.Tensor, **arguments: object) -> object:
        assert torch.is_tensor(edge_index)
        return self.block(edge_index=edge_index, **arguments)


def test_an_unknown_architecture_is_left_as_it_is(backend, caplog):
    other = copy(backend("residual"))
    other._specialised = {}
    other.model = deepcopy(other.model)
    other.model.interactions[0] = Unknown(other.model.interactions[0])
    system = perovskite_system("one group")
    with caplog.at_level(logging.INFO):
        specialised = other.specialised(system.elements)
    assert "keeps all its elements" in caplog.text
    assert "unknown interaction block Unknown" in caplog.text
    assert specialised.numbers == backend("residual").numbers
    assert not specialised.merges_messages
    assert_same(evaluated(specialised, system), evaluated(backend("residual"), system))


def test_specialised_backends_can_be_specialised_for_other_systems(backend):
    """Each from the whole model; only a few are remembered."""
    loaded = copy(backend("residual"))
    loaded._specialised = {}
    large, small = (perovskite_system(groups) for groups in ("several groups", "one group"))
    assert small.elements < large.elements
    specialised = loaded.specialised(large.elements)
    assert specialised.specialised(small.elements) is loaded.specialised(small.elements)
    potential = AlchemicalPotential(small, AlchemicalPotential(large, loaded).backend)
    assert_same(potential.evaluate(*batch(small)), evaluated(backend("residual"), small))
    for number in loaded.numbers:
        loaded.specialised(frozenset({number}))
    assert len(loaded._specialised) == 4


def test_potentials_in_several_threads_do_not_disturb_each_other(backend):
    system = perovskite_system("one group")
    loaded = backend("residual")
    expected = AlchemicalPotential(system, loaded).evaluate(*batch(system))

    def work(seed: int) -> list[Evaluation]:
        potential = AlchemicalPotential(system, loaded)
        positions, cells, weights = batch(system)
        results = []
        for _ in range(6):
            results.append(potential.evaluate(positions, cells, weights))
            potential.evaluate(positions[: 1 + seed % 2] + 0.1 * seed, cells[: 1 + seed % 2], weights[: 1 + seed % 2])
        return results

    with ThreadPoolExecutor(3) as pool:
        for results in pool.map(work, range(3)):
            for result in results:
                assert_same(result, expected)


def test_contractions_too_large_to_fold_are_left_alone(backend, monkeypatch):
    from alchemflows.alchemy.backends import contraction

    monkeypatch.setattr(contraction, "MAX_COEFFICIENTS", 1000)
    model = backend("scalars").model
    assert [fold(product) for product in model.products] == [None, None]


def test_folded_contractions_are_on_the_device_of_the_model(backend):
    product = deepcopy(backend("three-layers").model.products[0]).to("meta")
    assert {buffer.device.type for buffer in fold(product).buffers()} == {"meta"}


def test_folded_contractions_can_be_differentiated_twice(backend):
    folded = fold(backend("scalars").model.products[1])
    x = torch.randn(3, 8, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)

    def contract(values):
        return folded(values, [(1, 2), (3, 1)])

    assert torch.autograd.gradcheck(contract, x)
    assert torch.autograd.gradgradcheck(contract, x)


# cuEquivariance

NOT_CONVERTED = {"gaussian", "keep-last-irreps"}  # by mace-torch 0.3.16


@pytest.mark.parametrize("variant", VARIANTS)
def test_cuequivariance_gives_the_same_energies_or_is_refused(variant, backend):
    pytest.importorskip("cuequivariance_torch")
    system = perovskite_system("several groups", "mean-field")
    asked = copy(backend(variant))
    asked._specialised = {}
    asked.record = asked.record.model_copy(update={"kernels": "cuequivariance"})
    if variant in NOT_CONVERTED:
        with pytest.raises(PotentialError, match="cannot convert"):
            asked.specialised(system.elements)
        return
    converted = asked.specialised(system.elements)
    assert "cuequivariance" in type(converted.model.interactions[0].linear_up).__module__
    assert converted.numbers == system.elements
    assert_same(evaluated(converted, system), evaluated(backend(variant), system))
    again = copy(converted)  # as a model that was converted before it was loaded
    again._specialised = {}
    assert_same(evaluated(again.specialised(system.elements), system), evaluated(backend(variant), system))


def test_cuequivariance_that_changes_energies_is_refused(backend, monkeypatch):
    pytest.importorskip("cuequivariance_torch")
    import mace.cli.convert_e3nn_cueq

    def run(model, device):
        other = deepcopy(model)
        other.scale_shift.scale = other.scale_shift.scale * (1 + 1e-6)
        return other

    monkeypatch.setattr(mace.cli.convert_e3nn_cueq, "run", run)
    with pytest.raises(PotentialError, match="other energies"):
        convert(backend("residual").model)


# SevenNet


class EdgewiseSevenNet:
    """SevenNet as :class:`~alchemflows.alchemy.backends.sevennet.SevenNetBackend` without merged messages."""

    merges_messages = False

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def geometry(self, graph: EdgeGraph) -> None:
        return None

    def node_energies(self, graph: EdgeGraph, _geometry: None) -> torch.Tensor:
        import sevenn._keys as KEY

        data = {
            KEY.NODE_FEATURE: self._index[graph.numbers],
            KEY.EDGE_IDX: torch.stack([graph.receiver, graph.sender]),
            KEY.EDGE_VEC: -graph.vectors,
            KEY.BATCH: graph.node_replica,
        }
        for module in self._modules:
            data = module(data)
            if module is self._embedding:
                data[KEY.EDGE_ATTR] = data[KEY.EDGE_ATTR] * graph.edge_weights[:, None]
            elif data[KEY.NODE_FEATURE].is_floating_point():
                for key in (KEY.NODE_FEATURE, KEY.NODE_ATTR):
                    data[key] = data[key].double()
        return data[KEY.ATOMIC_ENERGY].squeeze(-1)


@pytest.mark.parametrize("coupling", ["paired", "mean-field"])
@pytest.mark.parametrize("groups", GROUPS)
def test_merged_messages_of_sevennet(groups, coupling, backend):
    system = perovskite_system(groups, coupling, 4.7)
    loaded = backend("sevennet")
    assert loaded.merges_messages
    assert_same(evaluated(loaded, system), evaluated(EdgewiseSevenNet(loaded), system))


# Every backend


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("model", ["residual", "zbl-agnesi-density", "sevennet"])
def test_nodes_of_zero_weight_are_left_out(model, groups, backend):
    system = perovskite_system(groups, "mean-field", 4.7 if model == "sevennet" else 3.9)
    corners = vertices(system)
    weights = np.vstack([corners[:: max(1, len(corners) // 4)], interior(system)])
    arguments = [
        np.tile(a, (len(weights), 1, 1)) for a in (system.structure.cart_coords, system.structure.lattice.matrix)
    ]
    potential = AlchemicalPotential(system, backend(model))
    everything = potential.evaluate(*arguments, weights)
    less = potential.evaluate(*arguments, weights, weight_gradients=False)
    sizes = {len(topology.numbers) for topology in potential._topologies.values()}
    assert len(sizes) == 2
    for name in ("energy", "forces", "stress"):
        torch.testing.assert_close(getattr(less, name), getattr(everything, name), rtol=RELATIVE, atol=1e-10)


@pytest.mark.parametrize("model", ["residual", "density", "zbl", "sevennet"])
def test_energies_at_several_weights_at_once(model, backend):
    system = perovskite_system("several groups", "paired", 4.7 if model == "sevennet" else 3.9)
    positions, cells, _ = batch(system, 2)
    weights = interior(system, seed=3, n=10).reshape(2, 5, -1)
    spy = Small(backend(model).specialised(system.elements), 10**6, *OUT_OF_MEMORY[0])
    potential = AlchemicalPotential(system, spy)
    potential.evaluate(positions, cells, weights[:, 0])
    n_vectors = max(len(first) for first, _, _ in potential._pairs.pairs)
    n_nodes = spy.sizes[0] // 2
    results = []
    for at_once, sizes in (
        (1, [1] * 10),
        (2 * n_vectors, [2] * 5),
        (int(2.5 * n_vectors), [2] * 5),
        (4 * n_vectors, [4, 4, 2]),  # both replicas at 2, 2 and 1 sets of weights
        (10**7, [10]),
    ):
        potential._vectors_at_once = at_once
        spy.sizes.clear()
        results.append(potential.energies(positions, cells, weights))
        assert spy.sizes == [n * n_nodes for n in sizes]
    for k in range(5):
        torch.testing.assert_close(
            results[0][:, k], potential.evaluate(positions, cells, weights[:, k]).energy, rtol=RELATIVE, atol=0
        )
    for result in results:
        torch.testing.assert_close(result, results[0], rtol=RELATIVE, atol=0)
    assert (results[0].std(dim=1) > 1e-3).all()


@pytest.mark.parametrize("model", ["residual", "density", "zbl-agnesi-density", "sevennet"])
@pytest.mark.parametrize("broken", [0, 2])
def test_a_broken_replica_does_not_touch_the_others(model, broken, backend):
    system = perovskite_system("one group", "paired", 4.7 if model == "sevennet" else 3.9)
    positions, cells, weights = batch(system)
    potential = AlchemicalPotential(system, backend(model))
    expected = potential.evaluate(positions, cells, weights)
    positions[broken, 3] = positions[broken, 4]  # atoms on top of each other
    result = AlchemicalPotential(system, backend(model)).evaluate(positions, cells, weights)
    assert not result.forces[broken].isfinite().all()
    others = [b for b in range(3) if b != broken]
    for name in ("energy", "forces", "stress", "weight_gradients"):
        torch.testing.assert_close(getattr(result, name)[others], getattr(expected, name)[others], rtol=1e-9, atol=1e-9)


def test_replicas_in_which_nothing_is_left(backend):
    """All atoms alchemical, all weights zero, in one replica or in all."""
    structure = perovskite_system("one group").structure
    groups = (SiteGroup(tuple(range(10)), (tuple(int(z) for z in structure.atomic_numbers),)),)
    potential = AlchemicalPotential(AlchemicalSystem(structure, groups), backend("residual"))
    arguments = [np.tile(array, (2, 1, 1)) for array in (structure.cart_coords, structure.lattice.matrix)]
    for weights in ([[0.0], [1.0]], [[0.0], [0.0]]):
        result = potential.evaluate(*arguments, weights, weight_gradients=False)
        assert result.energy[0] == 0
        assert (result.forces[0] == 0).all()


def test_caches_do_not_grow_with_ever_new_patterns_of_weights(backend):
    system = perovskite_system("site resolved")
    potential = AlchemicalPotential(system, backend("residual"))
    positions, cells, _ = batch(system, 1)
    energies = []
    for _ in range(2):
        for corner in vertices(system)[:20]:
            result = potential.evaluate(positions, cells, corner[None], weight_gradients=False)
            energies.append(float(result.energy))
            assert max(len(c) for c in (potential._topologies, potential._edges, potential._nodes)) <= 8
    assert energies[:20] == energies[20:]


def test_shapes_that_do_not_fit_are_refused(backend):
    system = perovskite_system("one group")
    potential = AlchemicalPotential(system, backend("residual"))
    x, h, w = batch(system)
    for arguments, text in (
        ((x, h, w[:1]), "weights must have shape"),
        ((x, h[:1], w), "cells must have shape"),
        ((x[:, :-1], h, w), "positions must have shape"),
        ((x, h, np.hstack([w, w])), "weights must have shape"),
        ((x[0], h[0], w[0]), "positions must have shape"),
        ((x, h, w[:, None]), "weights must have shape"),
        ((x[:0], h[:0], w[:0]), "no replica"),
    ):
        with pytest.raises(InvalidInputError, match=text):
            potential.evaluate(*arguments)
    for weights, text in ((w, "weights must have shape"), (w[:, None][:, :0], "no set of weights")):
        with pytest.raises(InvalidInputError, match=text):
            potential.energies(x, h, weights)
    with pytest.raises(InvalidInputError, match="skin_A"):
        AlchemicalPotential(system, backend("residual"), skin_A=-0.1)
    with torch.no_grad():
        assert_same(potential.evaluate(x, h, w), potential.evaluate(x, h, w))


# Memory


class Small:
    """A backend on a device that holds only so many nodes."""

    def __init__(self, backend: Backend, n_nodes: int, error: type[Exception], text: str) -> None:
        self._backend, self._n_nodes, self._error, self._text = backend, n_nodes, error, text
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def specialised(self, _numbers: frozenset[int]) -> Small:
        return self

    def node_energies(self, graph: EdgeGraph, geometry: object) -> torch.Tensor:
        self.sizes.append(len(graph.numbers))
        if len(graph.numbers) > self._n_nodes:
            raise self._error(self._text)
        return self._backend.node_energies(graph, geometry)


OUT_OF_MEMORY: list[tuple[type[Exception], str]] = [
    (torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 2.00 GiB"),
    (RuntimeError, "The following operation failed in the TorchScript interpreter.\nRuntimeError: CUDA out of memory"),
    (RuntimeError, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    (RuntimeError, "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to"),
]


@pytest.mark.parametrize(("error", "text"), OUT_OF_MEMORY)
def test_a_device_out_of_memory_halves_the_batch(error, text, backend, caplog, monkeypatch):
    monkeypatch.setitem(potential_module.VECTORS_AT_ONCE, "cpu", 10**6)
    system = perovskite_system("one group")
    loaded = backend("residual").specialised(system.elements)
    arguments = batch(system, 7)
    expected = AlchemicalPotential(system, AsItIs(loaded)).evaluate(*arguments)
    small = Small(loaded, 24, error, text)  # a replica has 12
    potential = AlchemicalPotential(system, small)
    with caplog.at_level(logging.WARNING):
        result = potential.evaluate(*arguments)
    assert small.sizes == [84, 36, 12, 12, 12, 12, 12, 12, 12]
    assert "out of memory with 7 replicas at once; trying half" in caplog.text
    assert_same(result, expected)
    small.sizes.clear()
    potential.evaluate(*arguments)
    assert small.sizes == [12] * 7
    weights = interior(system, n=14).reshape(7, 2, -1)
    torch.testing.assert_close(
        potential.energies(*arguments[:2], weights),
        AlchemicalPotential(system, AsItIs(loaded)).energies(*arguments[:2], weights),
        rtol=RELATIVE,
        atol=0,
    )


def test_a_device_out_of_memory_halves_the_sets_of_weights(backend):
    system = perovskite_system("one group")
    loaded = backend("residual").specialised(system.elements)
    positions, cells, _ = batch(system, 1)
    weights = interior(system, n=9)[None]
    small = Small(loaded, 36, *OUT_OF_MEMORY[0])  # three sets for a replica of 12 nodes
    potential = AlchemicalPotential(system, small)
    potential._vectors_at_once = 10**7
    expected = AlchemicalPotential(system, loaded).energies(positions, cells, weights)
    torch.testing.assert_close(potential.energies(positions, cells, weights), expected, rtol=RELATIVE, atol=0)
    assert max(small.sizes[-4:]) <= 36


def test_large_batches_are_split(backend, monkeypatch):
    system = perovskite_system("one group")
    loaded = backend("residual").specialised(system.elements)
    expected = AlchemicalPotential(system, loaded).evaluate(*batch(system, 5))
    spy = Small(loaded, 10**6, *OUT_OF_MEMORY[0])
    probe = AlchemicalPotential(system, loaded)
    probe.evaluate(*batch(system, 5))
    n_vectors = max(len(first) for first, _, _ in probe._pairs.pairs)
    monkeypatch.setitem(potential_module.VECTORS_AT_ONCE, "cpu", int(2.5 * n_vectors))
    potential = AlchemicalPotential(system, spy)
    assert_same(potential.evaluate(*batch(system, 5)), expected)
    assert spy.sizes == [24, 24, 12]


def test_too_little_memory_for_one_replica_is_said(backend):
    system = perovskite_system("one group")
    potential = AlchemicalPotential(system, Small(backend("residual"), 5, *OUT_OF_MEMORY[0]))
    with pytest.raises(PotentialError, match="too little memory for one replica"):
        potential.evaluate(*batch(system, 2))


def test_other_errors_are_not_taken_for_a_lack_of_memory(backend):
    system = perovskite_system("one group")
    small = Small(backend("residual"), 5, RuntimeError, "expected scalar type Double")
    with pytest.raises(RuntimeError, match="scalar type"):
        AlchemicalPotential(system, small).evaluate(*batch(system, 2))
    assert len(small.sizes) == 1


# Dynamics


@pytest.mark.parametrize("model", ["gentle", "mace-demo"])
def test_energy_is_conserved_with_skin_and_batch(model, gentle_model, perovskite):
    """Drift of E_pot + E_kin below 1e-5 eV/atom/ps at 1 fs, over lists that are rebuilt replica by replica."""
    system = AlchemicalPath.from_substitution(perovskite, {"Pb": "Sn"}).system
    name = str(gentle_model) if model == "gentle" else model
    spec = PotentialSpec(name=name, dtype="float64", device="cpu")
    potential = AlchemicalPotential(system, load_potential(spec), skin_A=0.1)
    assert isinstance(potential.backend, MACEBackend)
    weights = np.array([[1.0, 0.0], [0.7, 0.3], [0.2, 0.8]])
    nve = Langevin(
        potential,
        np.tile(perovskite.cart_coords, (3, 1, 1)),
        np.tile(perovskite.lattice.matrix, (3, 1, 1)),
        weights,
        system.masses(weights),
        temperature_K=300,
        timestep_fs=1.0,
        friction_per_ps=1e-12,  # neither friction nor noise to speak of
        seeds=[1, 2, 3],
    )
    rebuilt, energies = set(), []
    for _ in range(1000):
        lists = [pairs[0] for pairs in potential._pairs.pairs]
        nve.step()
        rebuilt |= {
            b for b, (old, new) in enumerate(zip(lists, potential._pairs.pairs, strict=True)) if old is not new[0]
        }
        kinetic = 1.5 * units.kB * nve.kinetic_temperatures() * system.n_atoms
        energies.append((nve.evaluation.energy + kinetic).numpy())
    assert rebuilt == {0, 1, 2}
    time_ps = np.arange(1000) * 1e-3
    drift = np.polyfit(time_ps, np.array(energies) / system.n_atoms, 1)[0]
    assert np.abs(drift).max() < 1e-5

"""What makes steps cheap changes no energy: each optimization against the slow way, in float64."""

from __future__ import annotations

import logging
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
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import PotentialError
from alchemflows.sampling.langevin import Langevin
from alchemflows.schemas.potential import PotentialSpec

MERGING = [v for v in VARIANTS if not any(k in v for k in ("density", "attention", "linear", "agnesi", "soft", "zbl"))]
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


def test_elements_of_an_unknown_architecture_are_kept(backend, caplog):
    model = copy(backend("residual"))
    model.model = copy(model.model)
    model._specialised = {}

    class Block(type(model.model.interactions[0])):
        pass

    other = copy(model.model.interactions[0])
    other.__class__ = Block
    model.model._modules = dict(model.model._modules)
    model.model.interactions = torch.nn.ModuleList([other, model.model.interactions[1]])
    system = perovskite_system("one group")
    with caplog.at_level(logging.INFO):
        specialised = model.specialised(system.elements)
    assert "keeps all its elements" in caplog.text
    assert "interaction block Block" in caplog.text
    assert specialised.numbers == model.numbers
    assert not specialised.merges_messages
    assert_same(evaluated(specialised, system), evaluated(backend("residual"), system))


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
def test_energies_at_several_weights_at_once(model, backend, monkeypatch):
    system = perovskite_system("several groups", "paired", 4.7 if model == "sevennet" else 3.9)
    potential = AlchemicalPotential(system, backend(model))
    positions, cells, _ = batch(system, 2)
    weights = interior(system, seed=3, n=10).reshape(2, 5, -1)
    results = []
    for n_vectors in (1, 1000, 10**6):
        monkeypatch.setitem(potential_module.VECTORS_AT_ONCE, "cpu", n_vectors)
        results.append(potential.energies(positions, cells, weights))
    for result in results:
        torch.testing.assert_close(result, results[0], rtol=RELATIVE, atol=0)
    assert (results[0].std(dim=1) > 1e-3).all()


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


OUT_OF_MEMORY = [
    (torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 2.00 GiB"),
    (RuntimeError, "The following operation failed in the TorchScript interpreter.\nRuntimeError: CUDA out of memory"),
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
    assert "out of memory with 7 replicas at once; trying 3" in caplog.text
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


def test_large_batches_are_split(backend, monkeypatch):
    system = perovskite_system("one group")
    loaded = backend("residual").specialised(system.elements)
    expected = AlchemicalPotential(system, loaded).evaluate(*batch(system, 5))
    spy = Small(loaded, 10**6, *OUT_OF_MEMORY[0])
    potential = AlchemicalPotential(system, spy)
    potential.evaluate(*batch(system, 1))
    n_vectors = len(potential._pairs.pairs[0][0])
    monkeypatch.setitem(potential_module.VECTORS_AT_ONCE, "cpu", int(2.5 * n_vectors))
    spy.sizes.clear()
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


def test_energy_is_conserved_with_skin_and_batch(gentle_model, perovskite):
    """Drift of E_pot + E_kin below 1e-5 eV/atom/ps at 1 fs, over lists that are rebuilt replica by replica."""
    system = AlchemicalPath.from_substitution(perovskite, {"Pb": "Sn"}).system
    spec = PotentialSpec(name=str(gentle_model), dtype="float64", device="cpu")
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

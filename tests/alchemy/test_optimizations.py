"""What makes steps cheap changes no energy: each optimization against the slow way, in float64."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from copy import copy, deepcopy

import numpy as np
import pytest
import torch
from ase import units
from comparison import assert_same, batch, evaluated
from models import VARIANTS, groups_and_couplings, perovskite_system, variants

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.backends.contraction import fold
from alchemflows.alchemy.backends.mace import MACEBackend
from alchemflows.alchemy.backends.trimming import keep_elements
from alchemflows.alchemy.interfaces import Evaluation
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.errors import PotentialError
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


# MACE: trimming, folding, merging, and all of it


@pytest.mark.parametrize("variant", variants())
def test_trimmed_elements(variant, backend):
    system = perovskite_system("one group", "mean-field")
    trimmed = copy(backend(variant))
    trimmed.model = keep_elements(trimmed.model, system.elements)
    trimmed._set_elements()
    assert trimmed.numbers == system.elements < backend(variant).numbers
    assert_same(evaluated(trimmed, system), evaluated(backend(variant), system))


@pytest.mark.parametrize("variant", variants())
def test_folded_contractions(variant, backend):
    system = perovskite_system("one group")
    folded = copy(backend(variant))
    folded.contractions = [fold(product) for product in folded.model.products]
    assert None not in folded.contractions
    assert_same(evaluated(folded, system), evaluated(backend(variant), system))


@pytest.mark.parametrize("variant", variants())
def test_convolutions(variant, backend):
    system = perovskite_system("several groups", "mean-field")
    fast = copy(backend(variant))
    fast.model = deepcopy(fast.model)
    fast._replace_convolutions(merge=False)
    assert_same(evaluated(fast, system), evaluated(backend(variant), system))


@pytest.mark.parametrize(("groups", "coupling"), groups_and_couplings())
def test_merged_messages(groups, coupling, backend):
    assert_merged("residual", groups, coupling, backend)


@pytest.mark.parametrize("variant", ["non-residual", "three-layers", "no-apply-cutoff"])
def test_merged_messages_of_other_layers(variant, backend):
    """Of the groups, layers see only the edges."""
    assert_merged(variant, "several groups", "mean-field", backend)


def assert_merged(variant, groups, coupling, backend) -> None:
    system = perovskite_system(groups, coupling)
    merged = copy(backend(variant))
    merged.model = deepcopy(merged.model)
    merged._replace_convolutions(merge=True)
    assert_same(evaluated(merged, system), evaluated(backend(variant), system))


@pytest.mark.parametrize("variant", variants())
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
        with pytest.raises(PotentialError, match=r"(?i)cuequivariance"):
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
    asked = copy(backend("residual"))
    asked._specialised = {}
    asked.record = asked.record.model_copy(update={"kernels": "cuequivariance", "sha256": "2" * 64})
    with pytest.raises(PotentialError, match="cuEquivariance kernels"):
        asked.specialised(frozenset({53, 55, 82}))


def test_cuequivariance_is_not_quietly_left_out_for_an_unknown_architecture(backend):
    other = copy(backend("residual"))
    other._specialised = {}
    other.model = deepcopy(other.model)
    other.model.interactions[0] = Unknown(other.model.interactions[0])
    other.record = other.record.model_copy(update={"kernels": "cuequivariance"})
    with pytest.raises(PotentialError, match=r"cuEquivariance.*Unknown"):
        other.specialised(frozenset({53, 55, 82}))


# SevenNet


@pytest.mark.parametrize(
    ("groups", "coupling"),
    # Each pair of the others has the same elements as its other coupling, which is slow.
    [pair for pair in groups_and_couplings() if pair.marks or pair.values[0] in ("several groups", "unlike elements")],
)
def test_merged_messages_of_sevennet(groups, coupling, backend):
    system = perovskite_system(groups, coupling, 4.7)
    fast = backend("sevennet").specialised(system.elements)
    assert fast.merges_messages and not backend("sevennet").merges_messages
    assert_same(evaluated(fast, system), evaluated(backend("sevennet"), system))


# Dynamics


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gentle", pytest.param("mace-demo", marks=pytest.mark.slow)])
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
        kinetic = 1.5 * units.kB * nve.kinetic_temperatures() * system.n_sites
        energies.append((nve.evaluation.energy + kinetic).numpy())
    assert rebuilt == {0, 1, 2}
    time_ps = np.arange(1000) * 1e-3
    drift = np.polyfit(time_ps, np.array(energies) / system.n_sites, 1)[0]
    assert np.abs(drift).max() < 1e-5

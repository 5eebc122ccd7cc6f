"""A model is compared with its library where it is used; the fast form is off where it gives other results."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import copy, deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from comparison import assert_same, batch, evaluated
from mace.modules import ScaleShiftMACE
from models import perovskite_system

from alchemflows.alchemy.backends import check_records, load_potential, mace, selfcheck
from alchemflows.alchemy.backends.contraction import FoldedContraction
from alchemflows.alchemy.backends.convolution import Convolution
from alchemflows.alchemy.potential import AlchemicalPotential, Backend
from alchemflows.errors import AlchemflowsWarning, PotentialError
from alchemflows.schemas.potential import PotentialSpec

SYSTEM = perovskite_system("one group", lattice_parameter_A=4.7)


@pytest.fixture(autouse=True)
def nothing_known(tmp_path, monkeypatch) -> Path:
    """Start each test as a new process would, with an empty folder of records; return the folder."""
    monkeypatch.setattr(selfcheck, "_found", {})
    monkeypatch.setenv("ALCHEMFLOWS_CHECKS", str(tmp_path / "checks"))
    return tmp_path / "checks"


@pytest.fixture
def comparisons(monkeypatch) -> list[Backend]:
    """Return the backends that are compared with their libraries, as they are."""
    compared = []
    with_library = selfcheck._Comparison.with_library

    def counted(self: selfcheck._Comparison) -> None:
        compared.append(self.plain)
        with_library(self)

    monkeypatch.setattr(selfcheck._Comparison, "with_library", counted)
    return compared


def fresh(backend: Backend) -> Backend:
    """Return a backend that remembers no fast form."""
    again = copy(backend)
    if hasattr(again, "_specialised"):
        again._specialised = {}
    for cached in ("_with_convolutions", "_with_split_gates", "_fastest"):
        again.__dict__.pop(cached, None)
    return again


def demo(dtype: str = "float64") -> Backend:
    return fresh(load_potential(PotentialSpec(name="mace-demo", dtype=dtype, device="cpu")))


def evaluate(backend: Backend):
    return AlchemicalPotential(SYSTEM, backend).evaluate(*batch(SYSTEM))


# Planted faults


def scaled_parameters(model: torch.nn.Module, numbers: frozenset[int]) -> torch.nn.Module:
    """Trim with a wrong normalisation."""
    trimmed = keep_elements(model, numbers)
    trimmed.node_embedding.linear.weight *= 1.01
    return trimmed


keep_elements = mace.keep_elements


def plant_in_trimming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mace, "keep_elements", scaled_parameters)


def plant_in_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    couplings = Convolution._couplings
    monkeypatch.setattr(Convolution, "_couplings", lambda self, product: [1.01 * c for c in couplings(self, product)])


def plant_in_contractions(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = FoldedContraction.forward
    monkeypatch.setattr(FoldedContraction, "forward", lambda *arguments: 1.01 * forward(*arguments))


def plant_missing_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release of mace-torch in which a name has changed."""
    monkeypatch.setattr(mace.internals, "RADIAL_NETWORK", "conv_tp_weights_of_tomorrow")


def plant_not_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = FoldedContraction.forward
    monkeypatch.setattr(FoldedContraction, "forward", lambda *arguments: torch.nan * forward(*arguments))


FAULTS = {
    "trimmed elements": plant_in_trimming,
    "convolutions": plant_in_convolutions,
    "folded contractions": plant_in_contractions,
}


def assert_off(plain: Backend, plant: Callable, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that a planted fault is noticed once, and that results are those of the model as it is."""
    expected = evaluated(plain, SYSTEM)
    plant(monkeypatch)
    with pytest.warns(AlchemflowsWarning, match=f"{plain.record.name}: {named}") as caught:
        result = evaluate(plain)
        evaluate(plain)
        evaluate(fresh(plain))
    assert sum(issubclass(w.category, AlchemflowsWarning) for w in caught) == 1
    for name in ("energy", "forces", "stress", "weight_gradients"):
        torch.testing.assert_close(getattr(result, name), getattr(expected, name), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("named", FAULTS)
def test_a_fault_in_each_module_of_mace_demo(named, dtype, monkeypatch):
    assert_off(demo(dtype), FAULTS[named], named, monkeypatch)


@pytest.mark.parametrize("plant", [plant_missing_name, plant_not_a_number])
def test_other_faults(plant, monkeypatch):
    named = "convolutions" if plant is plant_missing_name else "folded contractions"
    assert_off(demo(), plant, named, monkeypatch)


@pytest.mark.parametrize("variant", ["density", "zbl-agnesi-density"])
def test_a_wrong_belief_that_messages_can_be_merged(variant, backend, monkeypatch):
    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mace, "_can_merge", lambda model: True)

    plain = fresh(backend(variant))
    named = "convolutions"
    plain.record = plain.record.model_copy(update={"name": variant})
    assert_off(plain, plant, named, monkeypatch)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_a_fault_in_sevennet(dtype, monkeypatch):
    pytest.importorskip("sevenn")
    plain = fresh(load_potential(PotentialSpec(name="sevennet-0", dtype=dtype, device="cpu")))
    assert_off(plain, plant_in_convolutions, "convolutions", monkeypatch)


def test_nothing_is_said_of_models_in_order(backend):
    with warnings.catch_warnings():
        warnings.simplefilter("error", AlchemflowsWarning)
        fast = demo().specialised(SYSTEM.elements)
        assert fast.merges_messages
        assert_same(evaluated(fast, SYSTEM), evaluated(demo(), SYSTEM))


def test_a_fault_in_chgnet(monkeypatch):
    pytest.importorskip("chgnet")
    from alchemflows.alchemy.backends import gates

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        part = gates.SplitGate.part
        monkeypatch.setattr(gates.SplitGate, "part", lambda *arguments: 1.01 * part(*arguments))

    plain = fresh(load_potential(PotentialSpec(name="chgnet", device="cpu")))
    assert_off(plain, plant, "gates", monkeypatch)


# Faults in the model as it is


def test_a_term_that_is_not_known(monkeypatch, nothing_known):
    """A release of mace-torch in which ScaleShiftMACE.forward adds something for which there is no name here."""
    forward = ScaleShiftMACE.forward

    def with_charges(self, data, **options):
        results = forward(self, data, **options)
        return results | {"forces": results["forces"] + 0.01 * torch.ones_like(results["forces"])}

    monkeypatch.setattr(ScaleShiftMACE, "forward", with_charges)
    with pytest.raises(PotentialError, match=r"mace-demo.*mace.*forces"):
        evaluate(demo())
    assert not nothing_known.exists()


def test_a_model_with_a_term_of_its_own(backend, monkeypatch):
    """The term hangs on an attribute that only some models have, as mace-torch's optional terms do."""
    forward = ScaleShiftMACE.forward

    def with_optional_term(self, data, **options):
        results = forward(self, data, **options)
        if hasattr(self, "dispersion"):
            results["energy"] = results["energy"] + self.dispersion * len(data["positions"])
        return results

    monkeypatch.setattr(ScaleShiftMACE, "forward", with_optional_term)
    plain = fresh(backend("residual"))
    evaluate(plain)  # without the attribute all is well
    other = fresh(plain)
    other.model = deepcopy(plain.model)
    other.model.dispersion = 0.01
    other.record = plain.record.model_copy(update={"sha256": "1" * 64})
    with pytest.raises(PotentialError, match="energy"):
        evaluate(other)


def test_a_fault_in_sevennets_own_modules(monkeypatch):
    pytest.importorskip("sevenn")
    from alchemflows.alchemy.backends.sevennet import SevenNetBackend

    node_energies = SevenNetBackend.node_energies
    monkeypatch.setattr(SevenNetBackend, "node_energies", lambda *arguments: 1.01 * node_energies(*arguments))
    plain = fresh(load_potential(PotentialSpec(name="sevennet-0", device="cpu")))
    with pytest.raises(PotentialError, match=r"sevennet-0.*energy"):
        evaluate(plain)


def test_a_fault_in_chgnets_own_modules(monkeypatch):
    """A release of chgnet whose layers do something else than those of the backend."""
    pytest.importorskip("chgnet")
    from chgnet.model.model import CHGNet

    forward = CHGNet.forward

    def with_dispersion(self, graphs, **options):
        results = forward(self, graphs, **options)
        return results | {"e": results["e"] - 0.01}

    monkeypatch.setattr(CHGNet, "forward", with_dispersion)
    plain = fresh(load_potential(PotentialSpec(name="chgnet", device="cpu")))
    with pytest.raises(PotentialError, match=r"chgnet.*energy"):
        evaluate(plain)


def test_a_calculator_that_cannot_be_used(monkeypatch):
    def fails(*arguments, **options):
        raise TypeError("unexpected keyword models")

    monkeypatch.setattr(mace.internals, "LibraryCalculator", fails)
    with pytest.raises(PotentialError, match=r"mace-demo.*unexpected keyword models"):
        evaluate(demo())


# What is remembered


def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfcheck, "_found", {})


def test_each_comparison_is_made_once(comparisons, monkeypatch):
    evaluate(demo())
    evaluate(demo())
    assert len(comparisons) == 1
    new_process(monkeypatch)
    evaluate(demo())
    assert len(comparisons) == 1
    evaluate(demo("float32"))
    assert len(comparisons) == 2


@pytest.mark.parametrize("package", check_records.PACKAGES)
def test_other_versions_are_compared_again(package, comparisons, monkeypatch):
    evaluate(demo())
    new_process(monkeypatch)
    versions = check_records.installed() | {package: "999"}
    monkeypatch.setattr(check_records, "installed", lambda: versions)
    evaluate(demo())
    assert len(comparisons) == 2


def test_other_elements_are_compared_again(comparisons):
    for numbers in ({55, 82, 53}, {55, 50, 53}, {26}):
        demo().specialised(frozenset(numbers))
    assert len(comparisons) == 3


def test_a_fault_is_not_written_down(comparisons, nothing_known, monkeypatch):
    """Once the cause is removed, the next process uses the fast form again."""
    with monkeypatch.context() as planted:
        plant_in_convolutions(planted)
        with pytest.warns(AlchemflowsWarning):
            evaluate(demo())
    new_process(monkeypatch)
    assert demo().specialised(SYSTEM.elements).merges_messages
    assert len(comparisons) == 2
    assert len(list(nothing_known.iterdir())) == 1


@pytest.mark.parametrize("folder", ["/dev/null/checks", "/proc/checks"])
def test_a_folder_that_cannot_be_written(folder, comparisons, monkeypatch):
    monkeypatch.setenv("ALCHEMFLOWS_CHECKS", folder)
    evaluate(demo())
    evaluate(demo())
    assert len(comparisons) == 1


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'{"another": "comparison"}'])
def test_damaged_records_count_for_nothing(content, comparisons, nothing_known, monkeypatch):
    evaluate(demo())
    (path,) = nothing_known.iterdir()
    path.write_bytes(content)
    new_process(monkeypatch)
    evaluate(demo())
    assert len(comparisons) == 2


def test_nothing_is_compared_without_an_evaluation(comparisons):
    """Flows are made on machines that need not be able to run the model."""
    potential = AlchemicalPotential(SYSTEM, demo())
    assert potential.record.name == "mace-demo"
    assert potential.device.type == "cpu"
    assert comparisons == []


# The test system


@pytest.mark.parametrize("numbers", [[26], [3, 17], [55, 82, 53], list(range(1, 90))])
def test_the_test_system_has_all_elements_apart(numbers):
    system = selfcheck.random_system(4.5, numbers)
    assert system.elements == set(numbers)
    assert set(system.numbers) == set(numbers)
    distances = system.structure.distance_matrix[~np.eye(system.n_sites, dtype=bool)]
    assert 1.0 < distances.min() < 4.5
    assert system.check_weights(selfcheck._weights(system)[0]) is not None
    assert len(system.at_vertex(selfcheck._weights(system)[1])) == system.n_sites

"""Tests of the flows that compare order and disorder and search for order, with mace-demo."""

from __future__ import annotations

import numpy as np
import pytest
from ase.units import kB
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from alchemflows.cli.tables import order_tables
from alchemflows.errors import InvalidInputError
from alchemflows.flows.order_disorder import PEROVSKITE_ORDERS, OrderDisorderMaker
from alchemflows.flows.ordering_search import OrderingSearchMaker
from alchemflows.free_energy.errors import error_of_mean
from alchemflows.jobs.order_disorder import OrderComparisonMaker
from alchemflows.jobs.ordering import SearchMaker
from alchemflows.jobs.relax import relaxing
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.ordering import OrderDisorderDocument, OrderingSearchDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.relax import RelaxDocument


def run(flow, folder):
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    outputs = run_locally(flow, store=store, create_folders=True, root_dir=folder, ensure_success=True, log=False)
    return outputs[flow.jobs[-1].uuid][1].output


def oxide(*elements: str) -> Structure:
    metal = {element: 1 / len(elements) for element in elements}
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.3), [metal, "O"], [[0, 0, 0], [0.25, 0.25, 0.25]])
    return cell.get_primitive_structure()


@pytest.mark.slow
def test_ordering_energies_follow_from_all_arrangements_of_a_small_cell(tmp_path):
    """In 8 fluorite cells, the values in the document follow from the energies of its arrangements."""
    maker = OrderDisorderMaker(potential="mace-demo", n_random=3, relax_maker=relaxing(0.05))
    flow = maker.make(oxide("Ce", "Zr"), (2, 2, 2), "distinct")
    document = run(flow, tmp_path)
    assert isinstance(document, OrderDisorderDocument) and document.verdict.converged
    of = {
        kind: [a for a in document.arrangements if a.kind == kind] for kind in {a.kind for a in document.arrangements}
    }
    assert {kind: len(found) for kind, found in of.items() if kind != "ordered"} == {
        "paired": 1, "mean-field": 1, "random": 3, "quasirandom": 1,
    }  # fmt: skip
    assert sum(a.multiplicity for a in of["ordered"]) == 70
    random = [a.energy_eV_per_atom for a in of["random"]]
    best = min(of["ordered"], key=lambda a: a.energy_eV_per_atom)
    assert document.best_ordered == best.name
    assert document.random_energy_eV_per_atom == pytest.approx(np.mean(random))
    assert document.random_error_eV_per_atom == pytest.approx(error_of_mean(random))
    # The ordered ones are all arrangements, so no random one is lower than the best.
    assert min(random) > best.energy_eV_per_atom - 1e-3
    entropy = np.log(2) * 8 / 24
    assert document.entropy_kB_per_atom == pytest.approx(entropy)
    for kind, energy in document.ordering_energies_eV_per_atom.items():
        t = document.transition_temperatures_K[kind]
        assert t == (pytest.approx(-energy / (kB * entropy)) if energy < 0 else None)


@pytest.mark.slow
def test_search_finds_the_lowest_of_all_arrangements(tmp_path):
    """In (Ce,Zr)O2 with 4 cations, the search finds the lowest of all relaxed arrangements."""
    relax = relaxing(0.05)
    search = OrderingSearchMaker(
        potential="mace-demo", search_maker=SearchMaker(n_starts=6, n_steps=40, n_relaxed=2), relax_maker=relax
    )
    found = run(search.make(oxide("Ce", "Zr"), (2, 2, 1)), tmp_path)
    assert isinstance(found, OrderingSearchDocument) and found.verdict.converged
    assert found.n_arrangements == 6 and found.arrangements == sorted(
        found.arrangements, key=lambda a: a.energy_eV_per_atom
    )
    every = OrderDisorderMaker(potential="mace-demo", n_random=1, quasirandom=False, relax_maker=relax)
    document = run(every.make(oxide("Ce", "Zr"), (2, 2, 1), "distinct"), tmp_path)
    best = min(a.energy_eV_per_atom for a in document.arrangements if a.kind == "ordered")
    assert found.arrangements[0].energy_eV_per_atom == pytest.approx(best, abs=1e-3)


def test_search_provides_the_ordered_arrangements(tmp_path):
    maker = OrderDisorderMaker(
        potential="mace-demo", n_random=1, quasirandom=False, relax_maker=relaxing(0.1),
        search_maker=SearchMaker(n_starts=2, n_steps=10, n_relaxed=1),
    )  # fmt: skip
    document = run(maker.make(oxide("Ce", "Zr"), (2, 1, 1)), tmp_path)
    assert [a.kind for a in document.arrangements] == ["paired", "mean-field", "random", "ordered"]
    assert document.best_ordered.startswith("order ") and document.random_error_eV_per_atom is None


ONE = Counts(atoms=1, sites=1, formula_units=1)


def relaxed(energy: float, converged: bool = True) -> RelaxDocument:
    return RelaxDocument(
        structure=Structure(Lattice.cubic(4), ["Na"], [[0, 0, 0]]), formula="Na", weights=[], weight_labels=[],
        coupling="paired", counts=ONE, energy_eV=energy, weight_gradients_eV=[], volume_A3=64.0,
        cell_parameters=[4, 4, 4, 90, 90, 90], max_force_eV_per_A=0.0, n_steps=1, converged=converged, relax_cell=True,
        key="0", provenance=Provenance(),
    )  # fmt: skip


def compare(energies: dict, **kwargs) -> OrderDisorderDocument:
    kinds = {"rocksalt": "ordered", "layered": "ordered", "a": "random", "b": "random"}
    names = [(name, kinds.get(name, name), None) for name in energies]
    documents = [None if energy is None else relaxed(energy) for energy in energies.values()]
    return OrderComparisonMaker.make.original(OrderComparisonMaker(), names, documents, None, ONE, np.log(2), **kwargs)


def test_arrangements_sampled_at_a_temperature(tmp_path):
    """They are relaxed, and their mean is a further model of disorder."""
    maker = OrderDisorderMaker(
        potential="mace-demo", n_random=1, quasirandom=False, relax_maker=relaxing(0.3), sampled_temperature_K=900.0,
        n_sampled=2, n_sampling_sweeps=8,
    )  # fmt: skip
    document = run(maker.make(oxide("Ce", "Zr"), (2, 1, 1), {"layers": (0.5, 0, 0)}), tmp_path)
    sampled = [each for each in document.arrangements if each.kind == "sampled"]
    assert [each.name for each in sampled] == ["sampled 1", "sampled 2"] and document.sampled_temperature_K == 900
    best = next(each for each in document.arrangements if each.name == document.best_ordered)
    mean = np.mean([each.energy_eV for each in sampled])
    assert document.ordering_energies_eV["sampled"] == pytest.approx(best.energy_eV - mean)
    # The two sites have one arrangement.
    assert mean == pytest.approx(best.energy_eV, abs=0.05)
    assert document.sampled_error_eV == pytest.approx(error_of_mean([each.energy_eV for each in sampled]))
    assert document.transition_temperatures_K["sampled"] is None
    assert any(reason.startswith("sampled arrangements: 900 K: ") for reason in document.verdict.reasons)


def test_sampling_is_checked_before_work():
    for wrong, named in (
        ({"n_sampled": 3}, "n_sampled"),
        ({"n_sampling_sweeps": 2}, "n_production_sweeps"),
        ({"sampled_temperature_K": -1.0}, "temperature_K"),
    ):
        maker = OrderDisorderMaker(potential="mace-demo", **{"sampled_temperature_K": 900.0, **wrong})
        with pytest.raises(InvalidInputError, match=named):
            maker.make(oxide("Ce", "Zr"), (2, 1, 1), "distinct")


def test_verdict_names_sampling_that_failed():
    document = compare({"paired": -1.2, "a": -1.0, "rocksalt": -1.1}, sampled_temperature_K=900.0)
    assert "sampled" not in document.ordering_energies_eV and document.sampled_error_eV is None
    assert any("900 K" in reason for reason in document.verdict.reasons)


def test_verdict_names_a_coupling_that_ranks_order_wrongly():
    document = compare({"paired": -1.2, "mean-field": -1.02, "a": -1.0, "b": -1.02, "rocksalt": -1.1, "layered": -1.05})
    assert document.best_ordered == "rocksalt" and document.nearest_coupling == "mean-field"
    assert document.ordering_energies_eV_per_atom["random"] == pytest.approx(-0.09)
    assert document.coupling_deviations_eV_per_atom == pytest.approx({"paired": -0.19, "mean-field": -0.01})
    assert document.ranks_rightly == {"paired": False, "mean-field": True}
    assert document.transition_temperatures_K["paired"] is None
    assert document.transition_temperatures_K["random"] == pytest.approx(0.09 / (kB * np.log(2)))
    assert document.verdict.reasons == [
        "the paired cell ranks order and disorder the other way round than random arrangements do"
    ]


def test_failed_relaxations_are_named_and_omitted():
    document = compare({"paired": None, "mean-field": -1.0, "a": -1.0, "b": None, "rocksalt": -1.1, "layered": None})
    assert [reason.split(":")[0] for reason in document.verdict.reasons] == ["paired", "b", "layered"]
    assert document.coupling_deviations_eV_per_atom == {"mean-field": 0.0}
    with pytest.raises(InvalidInputError, match="rocksalt"):
        compare({"paired": -1.0, "a": -1.0, "rocksalt": None})


def test_invalid_input_is_refused_before_any_work():
    maker = OrderDisorderMaker(potential="mace-demo")
    cell = oxide("Ce", "Zr")
    with pytest.raises(InvalidInputError, match="n_random"):
        OrderDisorderMaker(potential="mace-demo", n_random=0).make(cell, (2, 2, 2))
    with pytest.raises(InvalidInputError, match="CeO2"):
        maker.make(oxide("Ce"), (2, 2, 2))
    with pytest.raises(InvalidInputError, match=r"0.5"):
        maker.make(cell, (2, 1, 1), PEROVSKITE_ORDERS)
    with pytest.raises(InvalidInputError, match="max_distinct"):
        OrderDisorderMaker(potential="mace-demo", max_distinct=2).make(cell, (2, 2, 2), "distinct")
    with pytest.raises(InvalidInputError, match=r"orders: .*search.*all"):
        maker.make(cell, (2, 2, 2), "all")
    with pytest.raises(InvalidInputError, match="supercell"):
        OrderingSearchMaker(potential="mace-demo").make(oxide("Ce", "Zr", "Sn"), (2, 1, 1))
    with pytest.raises(InvalidInputError, match=r"\bHf\b"):
        maker.make(oxide("Ce", "Hf"), (2, 2, 2))
    with pytest.raises(InvalidInputError, match="n_starts"):
        OrderingSearchMaker(potential="mace-demo", search_maker=SearchMaker(n_starts=0)).make(cell, (2, 2, 2))


def test_composition_without_whole_atoms_is_refused_or_rounded_with_a_note(tmp_path):
    """Ce0.4Zr0.6O2 on two cation sites is refused, or computed as Ce0.5Zr0.5O2 with a note."""
    cell = oxide("Ce", "Zr")
    cell.replace(next(i for i, site in enumerate(cell) if len(site.species) > 1), {"Ce": 0.4, "Zr": 0.6})
    for kind in (OrderDisorderMaker, OrderingSearchMaker):
        with pytest.raises(InvalidInputError, match=r"Ce 0\.8 → 1"):
            kind(potential="mace-demo").make(cell, (2, 1, 1))
    maker = OrderDisorderMaker(
        potential="mace-demo", n_random=1, quasirandom=False, relax_maker=relaxing(0.2), round_composition=True
    )
    document = run(maker.make(cell, (2, 1, 1), "distinct"), tmp_path)
    for text in (document.rounding, *document.verdict.notes):
        assert "0.8 → 1" in text
    assert len(document.verdict.notes) == 1 and "0.8 → 1" in order_tables(document).renderables[0].caption

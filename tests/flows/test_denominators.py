"""Tests of values per atom in crystals with vacant sites: all are divided by the number of existing atoms."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure
from rich.console import Console

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.calculator import AlchemicalCalculator
from alchemflows.alchemy.compositions import CompositionGrid
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.analysis.phases import Point, compare
from alchemflows.cli.phase_tables import phase_table
from alchemflows.cli.tables import absolute_table, free_energy_tables, order_tables, sweep_table
from alchemflows.errors import InvalidInputError
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.order_disorder import OrderDisorderMaker
from alchemflows.flows.ordering_search import OrderingSearchMaker
from alchemflows.flows.switching import SwitchingMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.jobs.order_disorder import OrderComparisonMaker
from alchemflows.jobs.ordering import SearchMaker
from alchemflows.jobs.relax import relaxing
from alchemflows.jobs.sweep import SweepMaker
from alchemflows.optimize.quantities import quantities
from alchemflows.plotting import plot_gradient, plot_order
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.relax import RelaxDocument

DEMO = PotentialSpec(name="mace-demo", device="cpu")
PRECISE = DEMO.model_copy(update={"dtype": "float64"})


def salt(sodium: float = 0.75) -> Structure:
    """Return rock salt with 4 Na sites, partly vacant, and 4 Cl sites."""
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), [{"Na": sodium}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def iron() -> Structure:
    return Structure.from_spacegroup("Im-3m", Lattice.cubic(2.83), [{"Fe": 0.875}], [[0, 0, 0]])


def run(flow, folder):
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    outputs = run_locally(flow, store=store, create_folders=True, root_dir=folder, ensure_success=True, log=False)
    jobs = [job for job, _ in flow.iterflow()]
    return outputs[jobs[-1].uuid][max(outputs[jobs[-1].uuid])].output


def shown(table) -> str:
    console = Console(width=200, file=StringIO())
    console.print(table)
    return console.file.getvalue()


def test_counts_of_cells_with_vacancies():
    system, weights = AlchemicalSystem.from_structure(salt())
    assert system.counts(weights) == Counts(atoms=7, sites=8, formula_units=4)
    system, weights = AlchemicalSystem.from_structure(salt() * (2, 1, 1))
    assert system.counts(weights) == Counts(atoms=14, sites=16, formula_units=8)
    assert system.counts([0.5]).title == "12 atoms on 16 sites" and system.counts([1.0]).title == "16 atoms"
    lone, _ = AlchemicalSystem.from_structure(iron())
    with pytest.raises(InvalidInputError, match="atom"):
        lone.counts([0.0])
    with pytest.raises(InvalidInputError, match="atom"):
        CompositionGrid.line(iron(), {"Fe": None}, [0.0, 1.0])


@pytest.mark.parametrize("structure", [salt(), salt(1.0), iron()])
def test_energies_per_atom_do_not_depend_on_the_cell(structure):
    values = []
    for repeats in ((1, 1, 1), (2, 1, 1)):
        system, weights = AlchemicalSystem.from_structure(structure * repeats)
        calculator = AlchemicalCalculator(system, weights, PRECISE)
        atoms = calculator.make_atoms()
        counts = system.counts(weights)
        values.append([f(atoms.get_potential_energy()) for f in (counts.per_atom, counts.per_site)])
        values[-1].append(counts.per_formula_unit(atoms.get_volume()))
    np.testing.assert_allclose(*values, rtol=1e-9)


@pytest.mark.slow
def test_ordering_energies_with_vacancies_are_per_existing_atom(tmp_path):
    """All energies of Fe14 on 16 sites are divided by 14, in documents, tables and figures."""
    maker = OrderDisorderMaker(potential=DEMO, n_random=2, quasirandom=False, relax_maker=relaxing(0.1))
    document = run(maker.make(iron(), (2, 2, 2), "distinct"), tmp_path)
    assert document.counts == Counts(atoms=14, sites=16, formula_units=16)
    cell = {each.kind: each.energy_eV for each in document.arrangements if each.kind in ("paired", "mean-field")}
    random = np.mean([each.energy_eV for each in document.arrangements if each.kind == "random"])
    best = min(each.energy_eV for each in document.arrangements if each.kind == "ordered")
    for kind, energy in cell.items():
        assert document.coupling_deviations_eV_per_atom[kind] == pytest.approx((energy - random) / 14)
        assert document.ordering_energies_eV_per_atom[kind] == pytest.approx((best - energy) / 14)
        assert document.ranks_rightly[kind] == ((best < energy) == (best < random))
    assert document.coupling_deviations_eV_per_atom["paired"] == pytest.approx(-0.181, abs=0.02)
    entropy = -16 * (0.875 * np.log(0.875) + 0.125 * np.log(0.125))
    assert document.entropy_kB_per_atom == pytest.approx(entropy / 14)
    paired = next(each for each in document.arrangements if each.kind == "paired")
    assert f"{paired.energy_eV / 14:.5f}" in shown(order_tables(document))
    assert "14 atoms on 16 sites" in plot_order(document).axes[0].get_title()


def test_ordering_search_compares_cells_with_equal_numbers_of_atoms(tmp_path):
    maker = OrderingSearchMaker(
        potential=DEMO, search_maker=SearchMaker(n_starts=2, n_steps=5, n_relaxed=1), relax_maker=relaxing(0.2)
    )
    document = run(maker.make(iron(), (2, 2, 2)), tmp_path)
    assert document.counts.atoms == 14 and document.arrangements[0].counts.atoms == 14
    # Both cells have 14 atoms; dividing one energy by 16 sites would cause a difference of 1 eV.
    gap = document.counts.per_atom(document.disordered_energy_eV) - document.arrangements[0].energy_eV_per_atom
    assert abs(gap) < 0.3


def relaxed(energy_eV: float, counts: Counts, weights=(), volume_A3: float = 60.0, gradients=()) -> RelaxDocument:
    return RelaxDocument(
        structure=Structure(Lattice.cubic(4), ["Na"], [[0, 0, 0]]), formula="Na", weights=list(weights),
        weight_labels=[], coupling="paired", counts=counts, energy_eV=energy_eV, weight_gradients_eV=list(gradients),
        volume_A3=volume_A3, cell_parameters=[4, 4, 4, 90, 90, 90], max_force_eV_per_A=0.0, n_steps=1, converged=True,
        relax_cell=True, key="0", provenance=Provenance(),
    )  # fmt: skip


def ordering(repeats: int = 1, inert: int = 0):
    """Return the comparison for 2 Fe on 3 sites per cell and `inert` atoms of −3 eV on another sublattice."""
    counts = Counts(atoms=repeats * (2 + inert), sites=repeats * (3 + inert), formula_units=repeats)
    explicit = Counts(atoms=repeats * (2 + inert), sites=repeats * (2 + inert), formula_units=repeats)
    energies = {"paired": -3.9, "mean-field": -4.1, "a": -4.0, "b": -4.04, "order": -4.2}
    kinds = {"order": "ordered", "a": "random", "b": "random"}
    names = [(name, kinds.get(name, name), None) for name in energies]
    documents = [
        relaxed(repeats * (energy - 3.0 * inert), counts if name == kinds.get(name, name) else explicit)
        for name, energy in energies.items()
    ]
    entropy = -repeats * (2 * np.log(2 / 3) + np.log(1 / 3))
    return OrderComparisonMaker.make.original(OrderComparisonMaker(), names, documents, None, counts, entropy)


@pytest.mark.parametrize("repeats", [1, 2, 5])
@pytest.mark.parametrize("inert", [0, 1, 4])
def test_ordering_results_do_not_depend_on_the_cell_or_on_inert_sublattices(repeats, inert):
    one, other = ordering(), ordering(repeats, inert)
    assert other.transition_temperatures_K == pytest.approx(one.transition_temperatures_K)
    assert (other.ranks_rightly, other.best_ordered) == (one.ranks_rightly, one.best_ordered)
    assert other.nearest_coupling == one.nearest_coupling
    for name in ("ordering_energies_eV", "coupling_deviations_eV"):
        a, b = ({k: d.counts.per_formula_unit(v) for k, v in getattr(d, name).items()} for d in (one, other))
        assert b == pytest.approx(a)
    if not inert:
        assert other.ordering_energies_eV_per_atom == pytest.approx(one.ordering_energies_eV_per_atom)
        assert other.entropy_kB_per_atom == pytest.approx(one.entropy_kB_per_atom)


def test_arrangements_with_different_numbers_of_atoms_are_refused():
    kinds = ["paired", "random", "ordered"]
    documents = [relaxed(-4.0, Counts(atoms=n, sites=3, formula_units=1)) for n in (2, 2, 3)]
    names = [(kind, kind, None) for kind in kinds]
    with pytest.raises(InvalidInputError, match=r"ordered.*\b3\b"):
        OrderComparisonMaker.make.original(
            OrderComparisonMaker(), names, documents, None, Counts(atoms=2, sites=3, formula_units=1), 1.0
        )


def swept(repeats: int):
    """Return a sweep from NaCl to Na0.5Cl, in which the energy is quadratic in the amount of Na."""
    grid = CompositionGrid.line(salt(1.0) * (repeats, 1, 1), {"Na": None}, [0.0, 0.25, 0.5])
    documents = []
    for (w,) in grid.weights:
        counts = grid.system.counts([w])
        energy = repeats * (-20.0 * w - 10.0 + 3.0 * w**2)
        slope = repeats * (-20.0 + 6.0 * w)
        documents.append(relaxed(energy, counts, [w], 160.0 * repeats, [slope]))
    return SweepMaker.make.original(SweepMaker(), grid, ["0"] * 3, documents)


def test_sweep_over_vacancies_divides_by_the_atoms_of_each_point():
    one, two = swept(1), swept(2)
    assert [point.counts.atoms for point in one.points] == [8, 7, 6]
    for a, b, w in zip(one.points, two.points, (1.0, 0.75, 0.5), strict=True):
        energy, atoms = -20.0 * w - 10.0 + 3.0 * w**2, 4 + 4 * w
        assert a.energy_eV_per_atom == pytest.approx(energy / atoms)
        assert a.volume_A3_per_atom == pytest.approx(160 / atoms)
        # d(E/N)/dx, where x along the line is 2 (1 − w), from 0 to 1.
        slope = -((-20.0 + 6.0 * w) * atoms - energy * 4) / atoms**2 / 2
        assert a.slope_eV_per_atom == pytest.approx(slope)
        for name in ("energy_eV_per_atom", "volume_A3_per_atom", "slope_eV_per_atom"):
            assert getattr(b, name) == pytest.approx(getattr(a, name))
    assert f"{one.points[1].energy_eV / 7:.5f}" in shown(sweep_table(one))
    # Vegard's law is not defined, since a cell without Na was not computed.
    assert one.points[1].volume_deviation is None


def test_energy_per_atom_in_an_optimization_follows_the_number_of_atoms():
    system, weights = AlchemicalSystem.from_structure(salt())
    potential = AlchemicalPotential(system, load_potential(PRECISE))
    x, h = system.structure.cart_coords, system.structure.lattice.matrix

    def value(w: float):
        derivatives = potential.second_derivatives(x, h, np.array([w]))
        return quantities(system, h, np.array([w]), derivatives)["energy_eV_per_atom"]

    here = value(weights[0])
    energy = float(potential.energies(x[None], h[None], [[list(weights)]])[0, 0])
    assert here.value == pytest.approx(energy / 7)
    expected = (value(weights[0] + 1e-4).value - value(weights[0] - 1e-4).value) / 2e-4
    assert here.gradient[-1] == pytest.approx(expected, rel=1e-5)


LENGTHS = {"n_equilibration_steps": 10, "timestep_fs": 2.0, "relax_maker": None, "temperature": 100.0}


def test_ladders_and_switches_divide_by_the_existing_atoms(tmp_path):
    ladder = ThermodynamicIntegrationMaker(
        potential=DEMO, n_windows=2, windows_per_job=2, n_production_steps=40, **LENGTHS
    )
    document = run(ladder.make(salt(), {"Na": "K"}), tmp_path)
    assert document.counts == Counts(atoms=7, sites=8, formula_units=4)
    for estimate in (document.ti, document.mbar, document.total):
        assert estimate.delta_f_eV_per_atom == pytest.approx(estimate.delta_f_eV / 7)
    assert document.mass_term_eV_per_atom == pytest.approx(document.mass_term_eV / 7)
    text = shown(free_energy_tables(document))
    assert "7 atoms on 8 sites" in text and f"{document.total.delta_f_eV / 7:.6f}" in text
    assert "7 atoms on 8 sites" in plot_gradient(document).axes[0].get_title()
    switching = SwitchingMaker(potential=DEMO, n_repeats=2, n_switching_steps=20, **LENGTHS)
    document = run(switching.make(salt(), {"Na": "K"}), tmp_path)
    assert document.total.delta_f_eV_per_atom == pytest.approx(document.total.delta_f_eV / 7)
    assert document.work.dissipation_eV_per_atom == pytest.approx(document.work.dissipation_eV / 7)


def test_absolute_free_energies_and_phases_divide_by_the_existing_atoms(tmp_path):
    maker = FrenkelLaddMaker(
        potential=DEMO, n_repeats=2, n_switching_steps=40, n_cell_steps=80, n_sampling_steps=40, **LENGTHS
    )
    document = run(maker.make(salt()), tmp_path)
    assert document.counts == Counts(atoms=7, sites=8, formula_units=4)
    assert document.gibbs.value_eV_per_atom == pytest.approx(document.gibbs.value_eV / 7)
    assert f"{document.gibbs.value_eV / 7:.6f}" in shown(absolute_table(document))
    point = Point("salt", "Na0.75Cl", None, 100.0, document.counts, -0.2)
    phases = compare([point], [document])
    assert phases.points[0].gibbs_eV_per_atom == pytest.approx((document.gibbs.value_eV - 0.2) / 7)
    assert phases.points[0].volume_A3_per_atom == pytest.approx(document.volume_A3 / 7)
    assert f"{phases.points[0].gibbs_eV_per_atom:.6f}" in shown(phase_table(phases))

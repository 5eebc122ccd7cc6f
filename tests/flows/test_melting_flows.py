"""Melting points and liquids as flows: short runs, and what is refused before any work."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure
from rich.console import Console

from alchemflows.alchemy.targets import PotentialTarget
from alchemflows.analysis.absolute_states import absolute_states
from alchemflows.cli.shown import show
from alchemflows.errors import InvalidInputError
from alchemflows.flows.corrected_states import CorrectedLiquidMaker, CorrectedMeltingPointMaker
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.isolines import PressureSweepMaker, TemperatureSweepMaker
from alchemflows.flows.liquid import LiquidFreeEnergyMaker
from alchemflows.flows.melting import MeltingPointMaker
from alchemflows.flows.state_correction import StateCorrectionMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.free_energy.einstein import HBAR
from alchemflows.jobs.cost import JobCost, cost_of
from alchemflows.plotting import figures_of
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.frames import Frames
from alchemflows.schemas.potential import PotentialSpec

OFFSET_EV = -0.25
DEMO = PotentialSpec(name="mace-demo", device="cpu")
ABSOLUTE = FrenkelLaddMaker(
    potential=DEMO,
    timestep_fs=4.0,
    n_repeats=2,
    n_cell_steps=60,
    n_equilibration_steps=10,
    n_sampling_steps=40,
    n_switching_steps=20,
    relax_maker=None,
)
MELTING = MeltingPointMaker(
    frenkel_ladd_maker=ABSOLUTE,
    n_repeats=2,
    n_equilibration_steps=10,
    n_switching_steps=40,
    n_points=3,
    n_heating_steps=20,
)
LIQUID = LiquidFreeEnergyMaker(
    potential=DEMO,
    temperature=1500.0,
    n_repeats=2,
    n_heating_steps=10,
    n_cell_steps=60,
    n_equilibration_steps=20,
    n_switching_steps=20,
)
#: Another potential, whose energies differ by a constant for each atom.
CORRECTION = StateCorrectionMaker(target=CalculatorSpec(path="calculators:Shifted", arguments={"offset_eV": OFFSET_EV}))
#: Fields for solid and liquid in contact.
CONTACT = {"n_coexistence_temperatures": 2, "n_coexistence_repeats": 8, "n_coexistence_steps": 60}
SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def run(flow, folder):
    """Run a flow; return the outputs of its jobs by their classes."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    found = run_locally(flow, store=store, create_folders=True, root_dir=folder, ensure_success=True, log=False)
    return {type(each.output).__name__: each.output for job in found.values() for each in job.values()}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Return the outputs of a melting point that is corrected to another potential."""
    flow = CorrectedMeltingPointMaker(melting_maker=MELTING, correction_maker=CORRECTION).make(SALT, [300.0, 500.0])
    return run(flow, tmp_path_factory.mktemp("melting"))


@pytest.mark.slow
def test_a_melting_point_has_both_curves(outputs):
    document = outputs["MeltingDocument"]
    assert document.solid.anchor.temperature_K == 300.0 and document.liquid.anchor.temperature_K == 500.0
    assert document.solid.sites is not None and document.solid.liquid is None
    assert document.liquid.sites is None and document.liquid.liquid is not None
    assert document.range_K == (300.0, 500.0) and len(document.temperatures_K) == 101
    g = [curve.gibbs_eV.values[0] for curve in (document.solid, document.liquid)]
    size = -0.5 * 8.617333e-5 * 300 * np.log(8) / 8
    assert document.difference_eV_per_atom.values[0] == pytest.approx((g[1] - g[0]) / 8 + size)
    assert any(reason.startswith("liquid: anchor: melt: ") for reason in document.verdict.reasons)
    text = StringIO()
    show(document, Console(file=text, width=200))
    assert "melting point (K)" in text.getvalue()
    (drawn,) = figures_of(document).values()
    assert len(drawn().axes) == 2


def test_the_terms_of_a_liquid(outputs):
    """The ideal gas has the wavelengths of the Einstein crystal, and F is the sum of its terms."""
    document = outputs["LiquidFreeEnergyDocument"]
    kT = 8.617333262e-5 * 500
    masses = np.array([site.specie.atomic_mass for site in document.structure], dtype=float)
    wavelengths = np.sqrt(2 * np.pi * HBAR**2 / (masses * kT))
    ideal = kT * (np.log(4 * wavelengths**3 / document.volume_A3) - 1).sum()
    assert document.ideal_gas_eV == pytest.approx(ideal, rel=1e-4)
    total = document.ideal_gas_eV + document.excess_eV + document.switching_eV
    assert document.helmholtz.value_eV == pytest.approx(total)
    assert document.gibbs.value_eV == pytest.approx(total + document.pv_eV - document.cell_bias_eV)


def test_a_curve_of_a_stored_liquid(outputs, tmp_path):
    anchor = outputs["LiquidFreeEnergyDocument"]
    lengths = {"n_repeats": 2, "n_equilibration_steps": 10, "n_switching_steps": 20, "n_points": 3}
    maker = TemperatureSweepMaker(frenkel_ladd_maker=replace(ABSOLUTE, cell_freedom="full"), **lengths)
    found = run(maker.from_anchor(anchor, SALT, 500.0, 600.0), tmp_path)
    document = found["TemperatureSweepDocument"]
    assert document.temperatures_K == [500.0, 550.0, 600.0] and document.settings.cell_freedom == "isotropic"
    assert document.gibbs_eV.values[0] == pytest.approx(anchor.gibbs.value_eV)
    assert document.liquid is not None and document.sites is None
    with pytest.raises(InvalidInputError, match="pressure"):
        maker.from_anchor(anchor.model_copy(update={"pressure_GPa": 1.0}), SALT, 500.0, 600.0)
    with pytest.raises(InvalidInputError, match="anchor"):
        PressureSweepMaker(frenkel_ladd_maker=replace(ABSOLUTE, temperature=500.0)).from_anchor(anchor, SALT, 0.0, 1.0)


def test_a_ladder_in_a_stored_liquid(outputs, tmp_path):
    """It starts from a configuration of the liquid, and atoms may leave their sites."""
    maker = ThermodynamicIntegrationMaker(
        potential=DEMO,
        temperature=500.0,
        pressure_GPa=outputs["LiquidFreeEnergyDocument"].pressure_GPa,
        cell_freedom="isotropic",
        crystal=False,
        relax_maker=None,
        n_windows=2,
        windows_per_job=2,
        n_equilibration_steps=5,
        n_production_steps=40,
    )
    found = run(maker.make(outputs["LiquidFreeEnergyDocument"].structure, {"Na": "K"}), tmp_path)
    document = found["FreeEnergyDocument"]
    assert document.initial_formula == "NaCl" and document.final_formula == "KCl"
    assert all(window.sites is None for window in document.windows)
    momenta = -6 * 8.617333262e-5 * 500 * np.log(39.0983 / 22.98976928)  # 4 atoms, 3/2 k_B T ln(m_Na/m_K) each
    assert document.total.delta_f_eV - document.mbar.delta_f_eV == pytest.approx(momenta, rel=1e-3)


def test_states_of_a_melting_point_have_frames(outputs):
    """Energies of the liquid's frames are those of the potential, and its states name the jobs that have them."""
    melted = outputs["LiquidDocument"]
    frames = Frames.unpacked(melted.frames)
    assert len(frames) == 2 * 4 and frames.time_fs.tolist() == [40.0, 80.0, 120.0, 160.0] * 2
    assert melted.volume_A3 == pytest.approx(np.linalg.det(frames.cells_A).mean())
    energies = PotentialTarget(DEMO).energies(frames.atoms())
    np.testing.assert_allclose(energies, frames.energy_eV, atol=2e-3)
    solid, liquid = absolute_states(outputs["MeltingDocument"])
    assert (solid.name, liquid.name) == ("solid NaCl, 300 K", "liquid NaCl, 500 K")
    assert solid.gibbs_eV == outputs["FrenkelLaddDocument"].gibbs.value_eV
    assert liquid.job == outputs["LiquidFreeEnergyDocument"].mean_cell_job != solid.job
    assert liquid.gibbs_eV == outputs["LiquidFreeEnergyDocument"].gibbs.value_eV


def test_a_melting_point_is_corrected(outputs):
    """Both states have the constant difference, and the correction names the melting point."""
    corrected, melting = outputs["StateCorrectionDocument"], outputs["MeltingDocument"]
    solid, liquid = corrected.states
    assert (solid.phase, liquid.phase) == ("solid", "liquid") and corrected.left_out == []
    for state, anchor in ((solid, melting.solid.anchor), (liquid, melting.liquid.anchor)):
        assert state.uncorrected.value_eV == anchor.gibbs.value_eV
        assert state.reweighting.best.delta_f_eV == pytest.approx(8 * OFFSET_EV, abs=1e-3)
        assert state.total.value_eV == pytest.approx(anchor.gibbs.value_eV + 8 * OFFSET_EV, abs=1e-3)
    # The curves do not cross in these short runs, so that there is no melting point to shift.
    assert melting.melting_K is None and corrected.transitions == []


@pytest.mark.slow
def test_a_liquid_is_computed_and_corrected(tmp_path):
    found = run(CorrectedLiquidMaker(liquid_maker=LIQUID, correction_maker=CORRECTION).make(SALT), tmp_path)
    (state,) = found["StateCorrectionDocument"].states
    assert state.uncorrected == found["LiquidFreeEnergyDocument"].gibbs and state.temperature_K == 1500.0
    assert state.reweighting.best.delta_f_eV == pytest.approx(8 * OFFSET_EV, abs=1e-3)


@pytest.mark.parametrize(
    ("temperatures", "changed", "named"),
    [
        ([900.0], {}, "two different"),
        ([900.0, 900.0], {}, "two different"),
        ([900.0, 1200.0], {"heating_temperature": 1000.0}, "1200 K"),
        ([900.0, 1200.0], {"n_points": 2}, "n_points"),
        ([900.0, 1200.0], {"reference_density": 4.5}, "reference_density.*at most 4"),
        ([900.0, 1200.0], {"n_heating_steps": -1}, "n_heating_steps"),
        ([900.0, 1200.0], {"n_coexistence_temperatures": 1}, "n_coexistence_temperatures.*bracket"),
        ([900.0, 1200.0], CONTACT | {"coexistence_spread": 1.5}, "coexistence_spread"),
        ([900.0, 1200.0], CONTACT | {"n_coexistence_replicas": 0}, "n_coexistence_replicas"),
        ([900.0, 1200.0], CONTACT | {"n_coexistence_steps": 40}, "n_coexistence_steps.*50"),
        ([900.0, 1200.0], CONTACT | {"n_coexistence_repeats": 5}, "n_coexistence_repeats.*even"),
        ([900.0, 1200.0], CONTACT | {"n_coexistence_repeats": 2}, "3.6 layers"),
        ([900.0, 1200.0], {"frenkel_ladd_maker": replace(ABSOLUTE, pressure_GPa=None)}, "pressure_GPa"),
    ],
)
def test_invalid_input_is_refused(temperatures, changed, named):
    with pytest.raises(InvalidInputError, match=named):
        replace(MELTING, **changed).make(SALT, temperatures)


def test_the_cost_of_solid_and_liquid_in_contact():
    *_, contact, analysis = (job for job, _ in replace(MELTING, **CONTACT).make(SALT, [900.0, 1200.0]).iterflow())
    assert (contact.name, analysis.name) == ("coexistence", "melting point")
    assert cost_of(contact) == JobCost("sampling", 2, 2 * (20 + 60)) and contact.maker.seed != 0
    assert contact.function_args[0].n_sites == 64 and contact.maker.heating_temperature_K == 1800.0
    assert contact.maker.dynamics.cell_freedom == "axes" and contact.metadata == analysis.metadata
    assert contact.maker.dynamics.n_equilibration_steps == 12 and contact.maker.dynamics.n_production_steps == 48


def test_a_liquid_needs_whole_atoms_and_a_volume():
    maker = LiquidFreeEnergyMaker(potential=DEMO, temperature=1200.0)
    mixed = SALT.copy()
    mixed.replace(0, {"Na": 0.5, "K": 0.5})
    for change, structure, named in (
        ({}, mixed, "partial occupancies"),
        ({"cell_freedom": "axes"}, SALT, "cell_freedom"),
        ({"reference_p": 30.0}, SALT, "1, 25, 50, 75, 100"),
        ({"n_repeats": 1}, SALT, "n_repeats"),
    ):
        with pytest.raises(InvalidInputError, match=named):
            replace(maker, **change).make(structure)

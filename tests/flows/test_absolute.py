"""Tests of flows for switching, Frenkel–Ladd, vacancies and phases: invalid input, and short runs."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from jobflow import JobStore, run_locally
from jobflow.managers.fireworks import flow_to_workflow
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.targets import PotentialTarget
from alchemflows.analysis.frames import equilibrium_state
from alchemflows.cli.phase_tables import phase_table
from alchemflows.cli.tables import absolute_table, results_table, switching_table
from alchemflows.errors import InvalidInputError, UnstableCrystalError
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.phase_stability import PhaseStabilityMaker
from alchemflows.flows.switching import SwitchingMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.flows.vacancy import VacancyFreeEnergyMaker
from alchemflows.free_energy.corrections import mass_term_eV
from alchemflows.free_energy.einstein import einstein_free_energy_eV
from alchemflows.plotting import plot_phases
from alchemflows.schemas.chemical_potentials import ChemicalPotentials
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.potential import PotentialSpec

DEMO = PotentialSpec(name="mace-demo", device="cpu")
SHORT = {"n_repeats": 2, "n_equilibration_steps": 10, "n_switching_steps": 20, "timestep_fs": 4.0, "relax_maker": None}
CELL = {"n_cell_steps": 60, "n_sampling_steps": 40}


def iron(repeats: int = 2, a: float = 2.84) -> Structure:
    return Structure(Lattice.cubic(a), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]]) * ([repeats] * 3)


def rocksalt() -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def vacancy_maker(**settings) -> VacancyFreeEnergyMaker:
    return VacancyFreeEnergyMaker(frenkel_ladd_maker=FrenkelLaddMaker(**{"potential": DEMO} | settings))


def phase_maker(**settings) -> PhaseStabilityMaker:
    return PhaseStabilityMaker(frenkel_ladd_maker=FrenkelLaddMaker(**{"potential": DEMO} | settings))


def run(flow, folder, **options):
    """Run a flow; return the output of its last job, and all outputs by name."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    outputs = run_locally(flow, store=store, create_folders=True, root_dir=folder, log=False, **options)
    jobs = [job for job, _ in flow.iterflow()]
    by_name = {job.name: outputs[job.uuid][1].output for job in jobs if job.uuid in outputs}
    return outputs[jobs[-1].uuid][1].output, by_name


@pytest.mark.parametrize(
    ("maker", "settings", "reason"),
    [
        (SwitchingMaker, {"temperature": -1.0}, "temperature .* -1"),
        (SwitchingMaker, {"pressure_GPa": float("nan")}, "pressure_GPa"),
        (SwitchingMaker, {"schedule": "cubic"}, "schedule"),
        (SwitchingMaker, {"n_repeats": 1}, "n_repeats"),
        (SwitchingMaker, {"cell_freedom": "none"}, "cell_freedom"),
        (SwitchingMaker, {"barostat_time_ps": 0.01}, "barostat_time_ps"),
        (SwitchingMaker, {"seed": -1}, "seed"),
        (FrenkelLaddMaker, {"temperature": 0.0}, "temperature .* 0"),
        (FrenkelLaddMaker, {"schedule": ""}, "schedule"),
        (FrenkelLaddMaker, {"springs_eV_per_A2": {"Fe": 2.0}}, "Cl, Na"),
        (FrenkelLaddMaker, {"springs_eV_per_A2": {"Na": 2.0, "Cl": 1.0, "Fe": 1.0}}, "Fe"),
        (FrenkelLaddMaker, {"springs_eV_per_A2": {"Na": 2.0, "Cl": -1.0}}, "-1.0"),
        (FrenkelLaddMaker, {"n_sampling_steps": 3}, "n_sampling_steps"),
        (FrenkelLaddMaker, {"n_cell_steps": 3}, r"n_cell_steps.*\b4\b"),
        (vacancy_maker, {"pressure_GPa": None}, "pressure"),
        (vacancy_maker, {"n_switching_steps": 0}, "n_switching_steps"),
    ],
)
def test_invalid_settings_are_refused(maker, settings, reason):
    arguments = [{"Na": "K"}] if maker is SwitchingMaker else []
    with pytest.raises(InvalidInputError, match=reason) as caught:
        maker(**{"potential": DEMO} | settings).make(rocksalt(), *arguments)
    assert "\n" not in str(caught.value)


def test_invalid_structures_and_supercells_are_refused():
    with pytest.raises(InvalidInputError, match="vanish"):
        SwitchingMaker(potential=DEMO).make(iron(), {"Fe": None}, sites=[0])
    with pytest.raises(InvalidInputError, match=r"\bAu\b"):
        SwitchingMaker(potential=DEMO).make(rocksalt(), {"Na": "Au"})
    with pytest.raises(InvalidInputError, match="supercells"):
        FrenkelLaddMaker(potential=DEMO).make(iron(), supercells=[(1, 1, 2), (2, 1, 1)])
    with pytest.raises(InvalidInputError, match="site 99"):
        vacancy_maker().make(iron(), 99)
    mixed = rocksalt().replace_species({"Na": {"Na": 0.5, "K": 0.5}}, in_place=False)
    with pytest.raises(InvalidInputError, match="vacancy"):
        vacancy_maker().make(mixed)
    with pytest.raises(InvalidInputError, match="Fe, NaCl"):
        phase_maker().make({"a": iron(), "b": rocksalt()}, [300.0])
    with pytest.raises(InvalidInputError, match=r"freedom_of.*c"):
        PhaseStabilityMaker(freedom_of={"c": "full"}).make({"a": iron()}, [300.0])


def test_work_and_mass_term_of_a_switching_flow(tmp_path):
    maker = SwitchingMaker(potential=DEMO, temperature=300.0, seed=2, **SHORT | {"n_switching_steps": 60})
    flow = maker.make(rocksalt(), {"Na": "K", "Cl": {"Cl": 1.0}} | {"Na": "K"})
    document, _ = run(flow, tmp_path)
    assert (document.initial_formula, document.final_formula) == ("NaCl", "KCl")
    assert document.pressure_GPa is not None and len(document.work.forward_work_eV) == 2
    curves = document.work.curves.arrays()
    assert curves["lambdas"][0] == 0 and curves["lambdas"][-1] == 1
    # the integral of ∂U/∂λ along a switch is its work, except for the spacing of the stored points
    area = np.trapezoid(curves["forward_dudl_eV"][0], curves["lambdas"])
    assert area == pytest.approx(document.work.forward_work_eV[0], abs=0.02 * abs(area))
    masses = mass_term_eV([22.98976928] * 4, [39.0983] * 4, 300.0)
    assert document.mass_term_eV == pytest.approx(masses)
    assert document.total.delta_f_eV == pytest.approx(document.work.best.delta_f_eV + masses)
    assert document.terms_not_in_total == {}


def test_terms_of_an_absolute_free_energy_add_up(tmp_path):
    maker = FrenkelLaddMaker(potential=DEMO, temperature=100.0, quantum=True, **SHORT, **CELL)
    document, outputs = run(maker.make(iron()), tmp_path)
    d = document
    assert d.space_group == 229 and d.free_volume_A3 == pytest.approx(d.volume_A3 / 16)
    assert [(s.element, s.n_atoms) for s in d.springs] == [("Fe", 16)]
    assert d.einstein_eV == pytest.approx(einstein_free_energy_eV(d.stiffness_eV_per_A2, [55.845] * 16, 100.0))
    assert d.switching_eV == pytest.approx(-d.work.best.delta_f_eV)
    assert d.helmholtz.value_eV == pytest.approx(d.einstein_eV + d.switching_eV + d.centre_of_mass_eV)
    pv = d.pressure_GPa * units.GPa * d.volume_A3
    assert d.gibbs.value_eV == pytest.approx(d.helmholtz.value_eV + pv - d.cell_bias_eV)
    assert d.gibbs.error_eV == pytest.approx(np.hypot(d.switching_error_eV, d.cell_bias_error_eV))
    cell = outputs["mean cell, 16 atoms"].mean_cell
    assert (cell.bias_eV, cell.bias_error_eV) == (d.cell_bias_eV, d.cell_bias_error_eV)
    # Four samples count as one independent sample, with a mean energy of at most k_B T/2 for one free strain.
    assert cell.n_free_directions == 1 and 0 < cell.bias_eV <= 0.5 * units.kB * 100 * 1.000001
    assert 0 < d.quantum_correction_eV / 16 < 0.05
    assert d.volume_A3 == pytest.approx(outputs["mean cell, 16 atoms"].volume_A3)
    assert d.provenance.potential.sha256
    state = equilibrium_state(outputs["mean cell, 16 atoms"])
    assert d.mean_cell_job and len(state.frames) == len(state.frames.energy_eV) > 1 and state.unit == "fs"
    assert state.frames.volume_A3.mean() == pytest.approx(d.volume_A3, rel=0.01)
    target = PotentialTarget(DEMO)
    np.testing.assert_allclose(target.energies(state.frames.atoms()), state.frames.energy_eV, atol=1e-3)
    with pytest.raises(InvalidInputError, match="n_frames"):
        FrenkelLaddMaker(potential=DEMO, n_frames=-1).make(iron())


@pytest.mark.slow
def test_drift_of_the_mean_cell_is_a_reason_in_the_verdict(tmp_path):
    """The crystal starts compressed, and the run is too short for it to expand."""
    maker = FrenkelLaddMaker(
        potential=DEMO, temperature=100.0, barostat_time_ps=1.0, **SHORT | CELL | {"n_cell_steps": 240}
    )
    document, by_name = run(maker.make(iron(a=2.75)), tmp_path)
    cell = by_name["mean cell, 16 atoms"]
    assert cell.verdict.status == "not converged" and "volume" in cell.verdict.reasons[0]
    assert f"mean cell: {cell.verdict.reasons[0]}" in document.verdict.reasons


def test_given_springs_are_used_at_constant_volume(tmp_path):
    springs = {"Cl": 1.2, "K/Na": 1.5}
    mixed = rocksalt().replace_species({"Na": {"Na": 0.5, "K": 0.5}}, in_place=False)
    maker = FrenkelLaddMaker(
        potential=DEMO, temperature=50.0, pressure_GPa=None, springs_eV_per_A2=springs, **SHORT, n_sampling_steps=40
    )
    document, outputs = run(maker.make(mixed), tmp_path)
    assert document.volume_A3 == pytest.approx(rocksalt().volume) and len(outputs) == 1
    assert sorted({(s.element, s.stiffness_eV_per_A2) for s in document.springs}) == [("Cl", 1.2), ("K/Na", 1.5)]
    assert document.formula == "KNaCl2"
    # mean over the masses of the mixture, not the value at the mean mass
    oscillators = [einstein_free_energy_eV([1.5] * 4, [mass] * 4, 50.0) for mass in (22.98976928, 39.0983)]
    chlorine = einstein_free_energy_eV([1.2] * 4, [35.45] * 4, 50.0)
    assert document.einstein_eV == pytest.approx(np.mean(oscillators) + chlorine)
    assert document.mixing_term_eV == pytest.approx(-4 * units.kB * 50 * np.log(2)) and document.is_mixed
    assert document.helmholtz.value_eV == pytest.approx(
        document.einstein_eV + document.switching_eV + document.centre_of_mass_eV
    )
    shown = cell_texts(absolute_table(document))
    assert any("not in F and G" in text for text in shown)
    assert f"{document.mixing_term_eV:.5f}" in shown


def test_terms_of_switching_to_a_mixture_on_some_sites(tmp_path):
    """The mass term is half that of the full substitution; the table lists the terms that the total excludes."""
    maker = SwitchingMaker(potential=DEMO, temperature=300.0, **SHORT | {"n_equilibration_steps": 5})
    document, _ = run(maker.make(rocksalt(), {"Na": {"Na": 0.5, "K": 0.5}}, sites=[0, 1]), tmp_path)
    half = 0.5 * mass_term_eV([22.98976928] * 2, [39.0983] * 2, 300.0)
    assert document.mass_term_eV == pytest.approx(half)
    assert document.total.delta_f_eV == pytest.approx(document.work.best.delta_f_eV + half)
    kT = units.kB * 300
    assert document.mixing_term_eV == pytest.approx(-2 * kT * np.log(2))
    whole = 4 * kT * (0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert document.mixing_term_eV + document.arrangement_term_eV == pytest.approx(whole)
    shown = cell_texts(switching_table(document))
    assert sum("not in the total" in text for text in shown) == 2
    for value in (document.mixing_term_eV, document.arrangement_term_eV):
        assert f"{value:.5f}" in shown


@pytest.mark.parametrize(("mixing", "arrangement", "named"), [(0.0, 0.0, False), (-0.1, 0.0, True), (0.0, -0.1, True)])
def test_table_of_results_names_terms_that_are_not_included(mixing, arrangement, named):
    row = {
        "uuid": "0123abcd", "kind": "ladder", "system": "NaCl → KNaCl2", "temperature_K": 300.0, "verdict": "converged",
        "potential": "mace-demo", "quantity": "ΔF", "value": 1.0, "error": 0.1, "unit": "eV", "completed_at": "2026",
    }  # fmt: skip
    caption = results_table([row | {"mixing_term_eV": mixing, "arrangement_term_eV": arrangement}]).caption
    assert ("mixing_term_eV" in (caption or "")) == named


def cell_texts(table) -> list[str]:
    """Return the texts of all cells of a table."""
    return [cell for column in table.columns for cell in column.cells]


def test_spring_too_stiff_for_the_time_step_is_refused():
    with pytest.raises(InvalidInputError, match="atom 0"):
        FrenkelLaddMaker(potential=DEMO, springs_eV_per_A2={"Fe": 1e4}, timestep_fs=4.0).make(iron())


def test_missing_quantum_correction_is_a_reason_but_the_classical_value_is_kept(tmp_path, monkeypatch):
    def unstable(*args):
        raise UnstableCrystalError("2 modes are not stable")

    monkeypatch.setattr("alchemflows.alchemy.phonons.mode_frequencies", unstable)
    maker = FrenkelLaddMaker(
        potential=DEMO, temperature=50.0, pressure_GPa=None, quantum=True, **SHORT, n_sampling_steps=40
    )
    document, _ = run(maker.make(iron()), tmp_path)
    assert document.quantum_correction_eV is None and np.isfinite(document.gibbs.value_eV)
    assert document.verdict.status == "not converged"
    assert any("no quantum correction: 2 modes" in reason for reason in document.verdict.reasons)


@pytest.mark.slow
def test_free_energies_of_several_sizes_are_extrapolated(tmp_path):
    maker = FrenkelLaddMaker(
        potential=DEMO, temperature=50.0, pressure_GPa=None, quantum=True, **SHORT, n_sampling_steps=40
    )
    document, _ = run(maker.make(iron(1), supercells=[(2, 2, 2), (2, 2, 3)]), tmp_path)
    assert document.n_atoms == [16, 24]
    x = 1 / np.array(document.n_atoms)
    np.testing.assert_allclose(document.logarithmic_terms_eV_per_atom, 0.5 * units.kB * 50 * x * np.log(x))
    line = np.array(document.gibbs_eV_per_atom) - document.logarithmic_terms_eV_per_atom
    slope = np.diff(line)[0] / np.diff(x)[0]
    assert document.gibbs_limit_eV_per_atom == pytest.approx(line[0] - slope * x[0])
    assert document.chi_squared_per_degree is None
    # Quantum corrections are not extrapolated; the limit is the correction of the largest cell.
    per_atom = [cell.quantum_correction_eV / cell.counts.atoms for cell in document.cells]
    assert document.quantum_correction_limit_eV_per_atom == pytest.approx(per_atom[1])
    assert document.quantum_correction_change_eV_per_atom == pytest.approx(abs(per_atom[1] - per_atom[0]))


@pytest.mark.slow
def test_both_routes_to_the_formation_of_a_vacancy(tmp_path):
    maker = vacancy_maker(temperature=50.0, **SHORT, **CELL)
    document, _ = run(maker.make(iron(), 3), tmp_path)
    assert (document.counts.atoms, document.defective.counts.atoms, document.removal.site) == (16, 15, 3)
    # the vacancy does not move, so the free volume is that of the primitive cell of the perfect crystal
    assert document.defective.free_volume_A3 == pytest.approx(document.defective.volume_A3 / 16)
    assert document.frenkel_ladd_eV == pytest.approx(
        document.defective.gibbs.value_eV - 15 / 16 * document.perfect.gibbs.value_eV
    )
    assert document.alchemical_eV == pytest.approx(document.removal.removal_eV + document.perfect.gibbs.value_eV / 16)
    assert document.removal.centre_of_mass_eV == pytest.approx(3 * units.kB * 50 * np.log(16 / 15))
    assert document.difference_eV == pytest.approx(document.alchemical_eV - document.frenkel_ladd_eV)


@pytest.mark.slow
def test_phase_stability_names_a_failed_phase_and_keeps_the_other(tmp_path):
    """The strongly compressed phase fails; the results of the other phase are kept."""
    maker = phase_maker(**SHORT, **CELL)
    flow = maker.make({"bcc": iron(), "crushed": iron(a=1.2)}, [50.0, 100.0])
    document, _ = run(flow, tmp_path)
    assert [p.gibbs_eV_per_atom is None for p in document.points] == [False, False, True, True]
    assert all(p.failure for p in document.points[2:])
    assert document.verdict.status == "not converged"
    assert sum("crushed" in reason for reason in document.verdict.reasons) >= 2
    assert [s.phase for s in document.stable] == ["bcc", "bcc"] and document.transitions == []


@pytest.mark.slow
def test_phases_include_ideal_mixing(tmp_path):
    maker = phase_maker(**SHORT, **CELL)
    flow = maker.make({"rocksalt": rocksalt()}, [100.0], substitution={"Na": "K"}, compositions=[0.0, 0.25])
    document, outputs = run(flow, tmp_path)
    pure, mixed = document.points
    assert (pure.formula, mixed.formula) == ("NaCl", "KNa3Cl4") and pure.ideal_mixing_eV_per_atom == 0
    entropy = 0.25 * np.log(0.25) + 0.75 * np.log(0.75)
    assert mixed.ideal_mixing_eV_per_atom == pytest.approx(units.kB * 100 * entropy / 2)
    # Both runs have the same name, so `outputs` contains only the second one.
    (absolute,) = (output for output in outputs.values() if isinstance(output, FrenkelLaddDocument))
    assert absolute.formula == "KNa3Cl4" and absolute.mixing_term_eV == pytest.approx(4 * units.kB * 100 * entropy)
    assert mixed.gibbs_eV_per_atom == pytest.approx((absolute.gibbs.value_eV + absolute.mixing_term_eV) / 8)
    assert f"{mixed.ideal_mixing_eV_per_atom:.6f}" in cell_texts(phase_table(document))
    assert "ideal mixing included" in plot_phases(document).axes[0].get_ylabel()


def nitride() -> Structure:
    sites = [[1 / 3, 2 / 3, 0.0], [1 / 3, 2 / 3, 0.382]]
    return Structure.from_spacegroup("P6_3mc", Lattice.hexagonal(3.13, 5.02), ["Al", "N"], sites) * (2, 2, 1)


def freedoms(flow) -> list[str]:
    """Return the cell freedom of each mean-cell job and each removal job of a flow."""
    makers = [job.maker for job, _ in flow.iterflow()]
    cells = [maker.dynamics.cell_freedom for maker in makers if maker.name.startswith("mean cell")]
    return cells + [maker.settings.cell_freedom for maker in makers if maker.name.startswith("removal")]


def test_default_cell_freedom_follows_from_the_symmetry(caplog):
    make = FrenkelLaddMaker(potential=DEMO).make
    assert freedoms(make(iron())) == ["isotropic"] and freedoms(make(nitride())) == ["axes"]
    assert freedoms(make(iron(1), supercells=[(2, 2, 2), (2, 2, 3)])) == ["isotropic", "axes"]
    assert freedoms(phase_maker().make({"a": nitride()}, [300.0, 400.0])) == ["axes"] * 2
    # A vacancy lowers the symmetry to that of its site; all runs for the vacancy use the same freedom.
    assert freedoms(vacancy_maker().make(iron(), 3)) == ["isotropic"] * 3
    skewed = nitride() * (1, 2, 1)
    assert (
        freedoms(vacancy_maker().make(skewed, 0, chemical_potentials=ChemicalPotentials({"Al": -4.0}))) == ["full"] * 3
    )
    assert not caplog.records
    # A freedom chosen by the user is used, with a warning if the symmetry allows more strains.
    assert freedoms(FrenkelLaddMaker(potential=DEMO, cell_freedom="isotropic").make(nitride())) == ["isotropic"]
    assert len(caplog.records) == 1 and "isotropic" in caplog.text and "186" in caplog.text and "AlN" in caplog.text
    FrenkelLaddMaker(potential=DEMO, cell_freedom="isotropic", pressure_GPa=None).make(nitride())
    FrenkelLaddMaker(potential=DEMO, cell_freedom="full").make(nitride())
    assert len(caplog.records) == 1
    SwitchingMaker(potential=DEMO, cell_freedom="isotropic").make(nitride(), {"Al": "Ga"})
    assert len(caplog.records) == 2


def test_default_cell_freedom_of_transformations_follows_from_the_symmetry():
    for maker in (SwitchingMaker(potential=DEMO), ThermodynamicIntegrationMaker(potential=DEMO, pressure_GPa=0.0)):
        for structure, substitution, expected in (
            (nitride(), {"Al": "Ga"}, "axes"),
            (rocksalt(), {"Na": "K"}, "isotropic"),
        ):
            jobs = [job.maker for job, _ in maker.make(structure, substitution).iterflow()]
            found = [getattr(job, "settings", None) or getattr(job, "dynamics", None) for job in jobs]
            assert {settings.cell_freedom for settings in found if settings is not None} == {expected}


@pytest.mark.parametrize("symmetrise", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_mean_structure_is_symmetrised_by_default(symmetrise, tmp_path):
    """The verdict has a reason if the noise of the mean cell exceeds the error of the switching."""
    maker = FrenkelLaddMaker(
        potential=DEMO, temperature=300.0, cell_freedom="full", symmetrise=symmetrise, **SHORT | CELL
    )
    document, by_name = run(maker.make(nitride()), tmp_path)
    cell = by_name["mean cell, 16 atoms"]
    assert cell.mean_cell.n_free_directions == (2 if symmetrise else 6)
    a, b = document.structure.lattice.abc[:2]
    assert bool(abs(a - b) < 1e-9) is symmetrise
    apart = np.abs(document.structure.frac_coords[0] - nitride().frac_coords[0])[:2].max()
    assert bool(apart < 1e-9) is symmetrise
    assert document.cell_bias_eV == pytest.approx(cell.mean_cell.bias_eV)
    told = any("noise adds" in reason for reason in document.verdict.reasons)
    assert told is (document.cell_bias_eV > document.switching_error_eV)


def test_all_jobs_but_the_comparison_have_the_category():
    flow = vacancy_maker(category="h200").make(iron())
    for firework in flow_to_workflow(flow).fws:
        expected = None if firework.name == "vacancy" else "h200"
        assert firework.spec.get("_category") == expected


def test_compared_runs_have_different_seeds():
    """Perfect and defective crystals, the removal of an atom, and other temperatures have different seeds."""

    def seeds(temperature):
        flow = vacancy_maker(temperature=temperature, seed=5).make(iron())
        found = [job.maker for job, _ in flow.iterflow()]
        return [maker.seed for maker in found if maker.name.startswith(("Frenkel", "removal"))]

    assert len({*seeds(100.0), *seeds(200.0)}) == 6
    assert seeds(100.0) == seeds(100.0)


def test_phases_require_a_pressure_and_distinct_temperatures():
    with pytest.raises(InvalidInputError, match="pressure_GPa"):
        phase_maker(pressure_GPa=None).make({"a": iron()}, [300.0])
    with pytest.raises(InvalidInputError, match="temperature"):
        phase_maker().make({"a": iron()}, [300.0, 300.0])

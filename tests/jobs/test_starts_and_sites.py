"""Tests of windows that start from both ends, and of crystals that melt, with the real jobs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from harmonic import HarmonicWells, harmonic_path
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.analysis.ladder import reanalysed
from alchemflows.analysis.terms import shape_notes
from alchemflows.errors import InvalidInputError
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker, alternating
from alchemflows.jobs.analyse import free_energy
from alchemflows.jobs.switching import SwitchesMaker
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.schemas.dynamics import DynamicsSettings, SwitchingSettings
from alchemflows.schemas.potential import PotentialRecord

LAMBDAS = [0.0, 0.5, 1.0]


@pytest.fixture
def wells(monkeypatch, tmp_path):
    """Return a function that replaces the potential with harmonic wells of a given stiffness."""
    monkeypatch.chdir(tmp_path)
    path = harmonic_path(2)

    def of(*stiffness):
        model = HarmonicWells(path.system.structure.cart_coords, stiffness)
        model.record = PotentialRecord(name="wells", backend="none", sha256="0" * 64, dtype="float64", device="cpu")
        monkeypatch.setattr("alchemflows.alchemy.potential.AlchemicalPotential", lambda *_, **__: model)
        monkeypatch.setattr("alchemflows.alchemy.backends.load_potential", lambda *_: None)
        return SimpleNamespace(path=path, model=model)

    return of


def maker(**options) -> WindowsMaker:
    dynamics = DynamicsSettings(temperature_K=300.0, timestep_fs=2.0, n_equilibration_steps=20, n_production_steps=1000)
    return WindowsMaker(lambdas=LAMBDAS, dynamics=dynamics, **options)


def sampled(made: WindowsMaker, path, indices=(0, 1, 2), **keywords):
    return WindowsMaker.make.original(made, path, list(indices), **keywords)


def moved(structure: Structure, by: float) -> Structure:
    positions = structure.cart_coords + np.array([[by, 0, 0], [-by, 0, 0]])
    return Structure(structure.lattice, structure.species, positions, coords_are_cartesian=True)


def test_start_structures_alternate_between_the_ends():
    assert alternating(2) == [0.0, 1.0]
    assert alternating(5) == [0.0, 1.0, 0.0, 1.0, 1.0]
    assert alternating(6) == [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]


def test_continued_windows_keep_their_start_lambda(wells):
    path = wells(2.0, 3.0).path
    given = path.system.structure
    ends = [moved(given, -0.1), moved(given, 0.2)]
    first = sampled(maker(), path, ends=ends, start_lambdas=[0.0, 1.0, 1.0])
    assert [window.start_lambda for window in first.windows] == [0.0, 1.0, 1.0]
    more = sampled(maker(), path, starts=[window.final_state for window in first.windows], first_runs=[1, 1, 1])
    assert [window.start_lambda for window in more.windows] == [0.0, 1.0, 1.0]
    for document in (first, more):
        for window, start in zip(document.windows, (0, 1, 1), strict=True):
            np.testing.assert_allclose(window.series.end()["sites"], ends[start].frac_coords)
    result = free_energy(path, [first, more])
    assert [window.start_lambda for window in result.windows] == [0.0, 1.0, 1.0]
    with pytest.raises(InvalidInputError, match="λ = 0 or 1"):
        sampled(maker(), path, ends=ends, start_lambdas=[0.0, 0.5, 1.0])


def test_verdict_notes_a_single_start_and_a_fixed_cell_shape(wells):
    """Notes are not reasons, and a reanalysis of the same samples gives the same notes."""
    path = wells(2.0, 3.0).path
    given = path.system.structure
    alike = sampled(maker(), path)
    ends = sampled(maker(), path, ends=[given, moved(given, 0.1)], start_lambdas=[0.0, 1.0, 1.0])
    (note,) = free_energy(path, [alike]).verdict.notes
    assert "both ends" in note and free_energy(path, [ends]).verdict.notes == []
    # The symmetry of a tetragonal cell allows different lengths of its axes.
    tall = AlchemicalPath.from_substitution(
        Structure(Lattice.tetragonal(10, 12), ["Pb", "Pb"], [[0, 0, 0], [0.5, 0.5, 0.5]]), {"Pb": "Sn"}
    )
    for pressure, freedom, n in ((None, "isotropic", 0), (0.0, "isotropic", 1), (0.0, "axes", 0), (0.0, "full", 0)):
        notes = shape_notes(tall.system, pressure, freedom)
        assert len(notes) == n and all(freedom in text for text in notes)
    dynamics = ends.dynamics.model_copy(update={"pressure_GPa": 0.0})
    changed = {"dynamics": dynamics, "initial_weights": list(tall.initial), "final_weights": list(tall.final)}
    squeezed = ends.model_copy(update=changed)
    result = free_energy(tall, [squeezed])
    assert result.verdict.notes == shape_notes(tall.system, 0.0, "isotropic")
    assert reanalysed(result, [squeezed]).verdict.notes == result.verdict.notes


def test_convergence_curve_ends_with_the_estimate_from_all_samples(wells):
    path = wells(2.0, 3.0).path
    result = free_energy(path, [sampled(maker(), path)])
    curve = result.convergence
    for values, errors in ((curve.forward_eV, curve.forward_error_eV), (curve.backward_eV, curve.backward_error_eV)):
        assert (values[-1], errors[-1]) == (result.mbar.delta_f_eV, result.mbar.error_eV)
        assert None not in values and values[4] != values[-1]


def test_atoms_that_leave_their_sites_are_a_reason_unless_crystal_is_false(wells):
    """The wells are so soft that atoms 10 Å apart move by about 7 Å."""
    soft = wells(5e-4, 5e-4)
    made = maker()
    made.dynamics = made.dynamics.model_copy(update={"friction_per_ps": 0.5, "timestep_fs": 10.0})
    document = sampled(made, soft.path)
    assert all(window.sites.left for window in document.windows)
    reasons = free_energy(soft.path, [document]).verdict.reasons
    for value in LAMBDAS:
        assert any(f"λ = {value:g}" in reason and "(Pb)" in reason and "sites" in reason for reason in reasons)
    made.crystal = False
    allowed = free_energy(soft.path, [sampled(made, soft.path)])
    assert all(window.sites is None for window in allowed.windows)
    assert not any("sites" in reason for reason in allowed.verdict.reasons)
    firm = sampled(maker(), wells(2.0, 3.0).path)
    assert not any(window.sites.left for window in firm.windows)


@pytest.mark.parametrize("stiffness", [5e-4, 2.0])
def test_switches_report_atoms_that_left_their_sites(wells, stiffness):
    path = wells(stiffness, stiffness).path
    settings = SwitchingSettings(
        temperature_K=300.0,
        timestep_fs=10.0,
        friction_per_ps=0.5,
        n_repeats=2,
        n_equilibration_steps=500,
        n_switching_steps=500,
    )
    document = SwitchesMaker.make.original(SwitchesMaker(settings=settings), path)
    assert document.sites.left == (stiffness < 1)
    assert any("sites" in reason for reason in document.verdict.reasons) == document.sites.left
    diffusing = SwitchesMaker.make.original(SwitchesMaker(settings=settings, crystal=False), path)
    assert diffusing.sites is None


def test_flow_relaxes_the_start_structures_of_the_windows(gentle_model, perovskite):
    def names(**options):
        made = ThermodynamicIntegrationMaker(potential=str(gentle_model), n_windows=3, **options)
        flow = made.make(perovskite, {"Pb": "Sn"})
        return [job.name for job in flow.jobs if "relax" in job.name], flow.jobs[-2].function_kwargs

    found, windows = names()
    assert found == ["alchemical relax", "alchemical relax λ = 0", "alchemical relax λ = 1"]
    assert windows["start_lambdas"] == [1.0] and len(windows["ends"]) == 2
    assert names(pressure_GPa=0.0)[0] == found  # at constant pressure, only the volume of a cubic cell changes
    assert names(pressure_GPa=0.0, cell_freedom="full")[0] == ["alchemical relax λ = 0", "alchemical relax λ = 1"]
    assert names(starts="middle")[0] == ["alchemical relax"]
    found, windows = names(relax_maker=None)
    assert found == [] and "ends" not in windows
    with pytest.raises(InvalidInputError, match="sideways"):
        names(starts="sideways")

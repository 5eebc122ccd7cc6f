"""Phases by curves: one Frenkel–Ladd run and one sweep for each phase, and input that is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from alchemflows.analysis.isolines import isobar_of
from alchemflows.errors import InvalidInputError
from alchemflows.flows.corrected_states import CorrectedPhasesMaker
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.phase_stability import PhaseStabilityMaker
from alchemflows.flows.state_correction import StateCorrectionMaker
from alchemflows.jobs.cost import cost_of
from alchemflows.plotting import plot_phases
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA
from alchemflows.schemas.isolines import PressureSweepDocument, TemperatureSweepDocument
from alchemflows.schemas.phases import PhaseStabilityDocument
from alchemflows.schemas.potential import PotentialSpec

ABSOLUTE = FrenkelLaddMaker(
    potential=PotentialSpec(name="mace-demo", device="cpu"),
    timestep_fs=4.0,
    n_repeats=2,
    n_cell_steps=60,
    n_equilibration_steps=10,
    n_sampling_steps=40,
    n_switching_steps=20,
    relax_maker=None,
)
MAKER = PhaseStabilityMaker(
    frenkel_ladd_maker=ABSOLUTE, n_sweep_repeats=2, n_sweep_equilibration_steps=10, n_sweep_steps=40
)
SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
CRUSHED = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.0), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def names(flow) -> list[str]:
    return [job.name for job, _ in flow.iterflow()]


def run(flow, folder):
    """Run a flow; return the output of its last job, and those of all jobs."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    outputs = run_locally(flow, store=store, create_folders=True, root_dir=folder, log=False)
    found = [outputs[job.uuid][1].output for job, _ in flow.iterflow() if job.uuid in outputs]
    return found[-1], found


def test_phases_by_curves_and_a_phase_that_fails(tmp_path):
    """The free energies of the other phase are corrected to a potential whose energies differ by a constant."""
    target = CalculatorSpec(path="calculators:Shifted", arguments={"offset_eV": -0.25})
    maker = CorrectedPhasesMaker(phases_maker=MAKER, correction_maker=StateCorrectionMaker(target=target))
    corrected, outputs = run(maker.make({"B1": SALT, "crushed": CRUSHED}, [200.0, 300.0, 450.0]), tmp_path)
    document = next(each for each in outputs if isinstance(each, PhaseStabilityDocument))
    (sweep,) = [each for each in outputs if isinstance(each, TemperatureSweepDocument)]
    # 300 K is nearest to √(200 · 450) = 300 K.
    assert sweep.anchor.temperature_K == 300.0 and sweep.requested_K == (200.0, 450.0)
    points = [point for point in document.points if point.phase == "B1"]
    again = isobar_of(sweep, [200.0, 300.0, 450.0])
    assert [p.gibbs_eV for p in points] == pytest.approx(again.gibbs_eV.values)
    assert [p.error_eV for p in points] == pytest.approx(again.gibbs_eV.errors)
    assert [p.volume_A3 for p in points] == pytest.approx(again.volume_A3.values)
    assert points[1].gibbs_eV == pytest.approx(sweep.anchor.gibbs.value_eV)
    (curve,) = document.curves
    assert (curve.phase, curve.anchor_K) == ("B1", 300.0)
    assert curve.temperatures_K[0] == 200.0 and curve.temperatures_K[-1] == 450.0
    own = [curve.temperatures_K.index(t) for t in sweep.temperatures_K]
    assert np.array(curve.gibbs_eV.values)[own] == pytest.approx(sweep.gibbs_eV.values)
    assert np.array(curve.entropy_eV_per_K.errors)[own] == pytest.approx(sweep.entropy_eV_per_K.errors)
    assert all(p.failure for p in document.points if p.phase == "crushed") and document.transitions == []
    assert any(reason.startswith("crushed NaCl at 200 K") for reason in document.verdict.reasons)
    assert plot_phases(document).axes[0].get_legend_handles_labels()[1] == []
    (state,) = corrected.states
    assert (state.phase, state.temperature_K) == ("B1", 300.0) and state.uncorrected == curve.anchor.gibbs
    assert state.reweighting.best.delta_f_eV == pytest.approx(8 * -0.25, abs=1e-3)
    assert any("crushed" in reason for reason in corrected.verdict.reasons)


def test_runs_are_curves_for_three_temperatures():
    phases = {"one": SALT, "two": SALT * (1, 1, 2)}
    curves = MAKER.make(phases, [300.0, 400.0, 500.0])
    assert [name for name in names(curves) if "sweep" in name] == ["temperature sweep"] * 2
    assert len([name for name in names(curves) if name.startswith("Frenkel–Ladd")]) == 2
    assert not any("sweep" in name for name in names(MAKER.make(phases, [300.0, 500.0])))
    assert any("sweep" in name for name in names(replace(MAKER, runs="curves").make(phases, [300.0, 500.0])))
    points = replace(MAKER, runs="points").make(phases, [300.0, 400.0, 500.0])
    assert len([name for name in names(points) if name.startswith("Frenkel–Ladd")]) == 6
    assert names(points)[-1] == names(curves)[-1] == "phase stability"
    # A sweep has the cost of its switches.
    (sweep, *_) = [job for job, _ in curves.iterflow() if job.name == "temperature sweep"]
    assert cost_of(sweep).n_steps == 4 * (10 + 40)


def test_curves_of_compositions_share_the_anchor():
    maker = replace(MAKER, anchor_temperature=350.0)
    flow = maker.make({"B1": SALT}, [300.0, 400.0, 500.0], substitution={"Na": "K"}, compositions=[0.0, 0.5])
    sweeps = [job.maker for job, _ in flow.iterflow() if job.name == "temperature sweep"]
    assert [(each.low, each.high) for each in sweeps] == [(300.0, 500.0)] * 2
    switches = [job.maker.settings for job, _ in flow.iterflow() if job.name.startswith("Frenkel–Ladd")]
    assert [each.temperature_K for each in switches] == [350.0, 350.0]


def test_crystals_with_vacancies_have_points_or_are_refused():
    vacant = SALT.copy()
    vacant.replace(0, {"Na": 0.9})
    flow = MAKER.make({"B1": vacant}, [300.0, 400.0, 500.0])
    assert not any("sweep" in name for name in names(flow))
    with pytest.raises(InvalidInputError, match="vacant"):
        replace(MAKER, runs="curves").make({"B1": vacant}, [300.0, 400.0, 500.0])


@pytest.mark.parametrize(
    ("change", "temperatures", "named"),
    [
        ({"runs": "lines"}, [300.0, 400.0], "runs.*lines"),
        ({"runs": "curves"}, [300.0], "curves need at least two temperatures"),
        ({"anchor_temperature": 600.0}, [300.0, 400.0, 500.0], "anchor_temperature.*600"),
        ({"anchor_temperature": 400.0, "runs": "points"}, [300.0, 500.0], "anchor_temperature.*curves"),
        ({"n_sweep_repeats": 1}, [300.0, 400.0, 500.0], "n_sweep_repeats.*1"),
        ({"n_sweep_steps": 0}, [300.0, 400.0, 500.0], "n_sweep_steps.*0"),
        ({}, [-300.0, 400.0, 500.0], "-300"),
    ],
)
def test_invalid_input_of_curves_is_refused(change, temperatures, named):
    with pytest.raises(InvalidInputError, match=named):
        replace(MAKER, **change).make({"B1": SALT}, temperatures)


@pytest.mark.slow
def test_curves_at_a_further_pressure_start_from_a_sweep_of_the_pressure(tmp_path):
    maker = replace(MAKER, frenkel_ladd_maker=replace(ABSOLUTE, quantum=True))
    flow = maker.make({"B1": SALT}, [250.0, 300.0, 400.0], boundary_pressures=[0.4])
    assert names(flow)[-4:] == ["temperature sweep", "pressure sweep", "temperature sweep, 0.4 GPa", "phase stability"]
    seeds = [job.maker.seed for job, _ in flow.iterflow() if "sweep" in job.name]
    assert len(set(seeds)) == 3
    document, outputs = run(flow, tmp_path)
    first, isotherm, other = outputs[-4:-1]
    assert isinstance(isotherm, PressureSweepDocument) and isotherm.temperature_K == first.anchor.temperature_K == 300.0
    assert (first.pressure_GPa, other.pressure_GPa) == (pytest.approx(ATMOSPHERE_GPA), 0.4)
    assert other.anchor.pressure_GPa == 0.4 and other.anchor.volume_A3 == pytest.approx(isotherm.volumes_A3.values[-1])
    for known in (other.anchor.gibbs.value_eV, other.gibbs_eV.values[other.temperatures_K.index(300.0)]):
        assert known == pytest.approx(isotherm.gibbs_eV.values[-1])
    assert other.anchor.gibbs.error_eV == pytest.approx(isotherm.gibbs_eV.errors[-1])
    # The smaller crystal under pressure has stiffer modes, and so a larger correction for quantum nuclei.
    assert other.volumes_A3.values[1] < first.volumes_A3.values[1]
    squares = [sum(np.array(each.anchor.mode_energies_eV) ** 2) for each in (first, other)]
    assert 1.001 < squares[1] / squares[0] < 1.3
    assert all(np.array(other.quantum.harmonic_eV) > first.quantum.harmonic_eV)
    assert document.pressure_GPa == first.pressure_GPa and document.boundaries == []
    assert any(reason.startswith("B1 NaCl at 0.4 GPa: ") for reason in document.verdict.reasons)


@pytest.mark.parametrize(
    ("change", "pressures", "named"),
    [
        ({"runs": "points"}, [1.0], "boundary_pressures.*curves"),
        ({}, [1.0, 1.0], "boundary_pressures.*twice"),
        ({}, [ATMOSPHERE_GPA], "boundary_pressures.*0.000101325"),
    ],
)
def test_invalid_pressures_of_boundaries_are_refused(change, pressures, named):
    with pytest.raises(InvalidInputError, match=named):
        replace(MAKER, **change).make({"B1": SALT}, [300.0, 400.0, 500.0], boundary_pressures=pressures)

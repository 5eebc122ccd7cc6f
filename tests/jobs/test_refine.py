"""Tests of the refinement of ladders with the real jobs, run by jobflow in this process."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from harmonic import HarmonicWells, harmonic_path
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.analysis.collect import collect
from alchemflows.errors import InvalidInputError
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.free_energy.ladders import ladder
from alchemflows.jobs.analyse import AnalyseMaker
from alchemflows.jobs.refine import RoundMaker
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.plotting import plot_convergence
from alchemflows.sampling.windows import WindowsStoppedError
from alchemflows.sampling.windows import run_windows as sample
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.potential import PotentialRecord, PotentialSpec
from alchemflows.schemas.refinement import RefinementSettings

T = 300.0
TARGET = 0.005
N_REPEATS = 16


@pytest.fixture(autouse=True)
def _separate_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(flow: Flow, folder, *, ensure_success: bool = True) -> tuple[object, JobStore]:
    """Return the last output under the identifier of the flow's last job, and the store."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    run_locally(flow, store=store, create_folders=True, root_dir=folder, ensure_success=ensure_success, log=False)
    output = MontyDecoder().process_decoded(store.get_output(flow.jobs[-1].uuid))
    assert MontyDecoder().process_decoded(flow.output.resolve(store)) == output
    return output, store


@pytest.fixture
def wells(monkeypatch):
    """Replace the potential with harmonic wells, so stiff at λ = 1 that the two ends hardly overlap."""
    path = harmonic_path(2)
    model = HarmonicWells(path.system.structure.cart_coords, (8.0, 120.0), (0.0, 0.05))
    model.record = PotentialRecord(name="wells", backend="none", sha256="0" * 64, dtype="float64", device="cpu")
    monkeypatch.setattr("alchemflows.alchemy.potential.AlchemicalPotential", lambda *_, **__: model)
    monkeypatch.setattr("alchemflows.alchemy.backends.load_potential", lambda *_: None)
    return SimpleNamespace(path=path, model=model)


def refining_flow(path, *, seed, target, budget, n_windows=2, windows_per_job=8, n_steps=500) -> Flow:
    dynamics = DynamicsSettings(
        temperature_K=T,
        timestep_fs=4.0,
        friction_per_ps=40.0,
        n_equilibration_steps=100,
        n_production_steps=n_steps,
    )
    planned = ladder(n_windows).refinable()
    windows = WindowsMaker(dynamics=dynamics, lambdas=planned.grid, seed=seed)
    first = windows.make(path, list(planned.windows))
    analyse = AnalyseMaker(
        windows=list(planned.windows),
        refinement=RefinementSettings(target_error_eV_per_atom=target, budget=budget),
        rounds=RoundMaker(windows, windows_per_job),
    ).make(path, [first.output])
    return Flow([first, analyse], output=analyse.output)


@pytest.mark.slow
def test_refined_ladder_reaches_its_target_with_a_calibrated_error(wells, tmp_path):
    exact, z, reasons, extended = wells.model.delta_f_eV(T), [], [], 0
    for seed in range(N_REPEATS):
        document, store = run(refining_flow(wells.path, seed=seed, target=TARGET, budget=60), tmp_path)
        record = document.refinement
        reasons += document.verdict.reasons
        assert record.target_met and document.total.error_eV_per_atom <= TARGET
        assert not any("target" in reason for reason in document.verdict.reasons)
        # the record of the rounds agrees with the windows
        inserted = sorted(value for each in record.rounds for value in each.inserted)
        assert [0.0, *inserted, 1.0] == [window.lambda_value for window in document.windows]
        runs = {window.lambda_value: 1 for window in document.windows}
        for each in record.rounds:
            for added in each.extended:
                runs[added.lambda_value] += added.n_runs
        assert runs == {window.lambda_value: window.n_runs for window in document.windows}
        assert all(window.n_samples == 50 * window.n_runs for window in document.windows)
        assert record.n_runs_added == sum(runs.values()) - 2 <= record.budget
        assert record.rounds[0].n_runs == 0
        assert record.rounds[-1].error_eV_per_atom == document.total.error_eV_per_atom
        assert record.n_runs_added > 0
        extended += sum(runs.values()) > len(runs)
        # the database contains only the final result
        assert store.count({"output.@class": "FreeEnergyDocument"}) == 1
        z.append((document.mbar.delta_f_eV - exact) / document.mbar.error_eV)
    z = np.array(z)
    print(z, reasons)
    assert extended > N_REPEATS // 2
    assert len(reasons) <= N_REPEATS // 4
    assert 0.4 <= (np.abs(z) < 1).mean() <= 0.95
    assert (np.abs(z) < 2).mean() >= 0.79
    assert abs(z.mean()) < 0.8


@pytest.mark.slow
@pytest.mark.parametrize("target", [0.0025, 0.00125])
def test_cost_of_small_targets_follows_from_the_error_before(wells, tmp_path, target):
    """The variance of long windows is proportional to 1/runs."""
    exact, z, cost = wells.model.delta_f_eV(T), [], []
    for seed in range(2):
        flow = refining_flow(wells.path, seed=seed, target=target, budget=400, n_steps=2000)
        document, _ = run(flow, tmp_path)
        record = document.refinement
        assert record.target_met and document.total.error_eV_per_atom <= target
        z.append((document.mbar.delta_f_eV - exact) / document.mbar.error_eV)
        # After the last insertion, at variance V, extensions should increase the number of runs by V / target².
        last = max(k for k, each in enumerate(record.rounds) if each.inserted)
        runs = 2 + sum(each.n_runs for each in record.rounds[: last + 1])
        needed = runs * max(1.0, (record.rounds[last].error_eV_per_atom / target) ** 2)
        cost.append((2 + record.n_runs_added) / needed)
        print(target, needed, cost[-1], z[-1], len(record.rounds), [w.n_runs for w in document.windows])
    assert max(cost) < 2 and np.abs(z).max() < 3.5


def test_refinement_stops_at_the_budget(wells, tmp_path):
    document, _ = run(refining_flow(wells.path, seed=0, target=1e-5, budget=5), tmp_path)
    assert document.refinement.n_runs_added == 5
    assert document.refinement.target_met is False
    assert document.verdict.status == "not converged"
    assert any("target" in reason for reason in document.verdict.reasons)


def test_budget_without_a_target_only_improves_the_overlap(wells, tmp_path, monkeypatch):
    monkeypatch.setattr("alchemflows.free_energy.refinement.MIN_OVERLAP", 0.15)
    document, _ = run(refining_flow(wells.path, seed=0, target=None, budget=20), tmp_path)
    assert document.refinement.target_met is None
    assert all(w.overlap_with_next >= 0.15 for w in document.windows[:-1])
    assert 0 < document.refinement.n_runs_added < 20


def test_failed_round_ends_the_refinement_and_earlier_samples_are_analysed(wells, tmp_path, monkeypatch):
    runs = []

    def run_windows(*arguments, **options):
        runs.append(options["start"])
        if len(runs) == 3:
            raise WindowsStoppedError("replica 0 exploded", [])
        return sample(*arguments, **options)

    monkeypatch.setattr("alchemflows.sampling.windows.run_windows", run_windows)
    flow = refining_flow(wells.path, seed=0, target=1e-5, budget=9, windows_per_job=1)
    document, _ = run(flow, tmp_path, ensure_success=False)
    record = document.refinement
    *before, last = [each.n_failed_jobs for each in record.rounds]
    assert last == 1 and not any(before) and len(runs) == 3
    assert np.isfinite(document.mbar.delta_f_eV) and record.n_runs_added < record.budget
    assert any("1 jobs of the last round" in reason for reason in document.verdict.reasons)


@pytest.mark.parametrize("pressure", [pytest.param(None, marks=pytest.mark.slow), 0.5])
def test_continued_window_equals_one_longer_window(gentle_model, perovskite, pressure):
    """Without friction there is no noise, so that two jobs of one run equal one job of two runs."""
    path = AlchemicalPath.from_substitution(perovskite, {"Pb": "Sn"})
    dynamics = DynamicsSettings(
        temperature_K=200,
        friction_per_ps=1e-14,
        pressure_GPa=pressure,
        barostat_time_ps=1e12,
        n_equilibration_steps=30,
        n_production_steps=100,
    )
    potential = PotentialSpec(name=str(gentle_model), dtype="float64")
    maker = WindowsMaker(potential=potential, dynamics=dynamics, lambdas=[0.0, 0.5, 1.0], seed=1)
    make = WindowsMaker.make.original
    whole = make(maker, path, [0, 1], n_runs=2)
    first = make(maker, path, [0, 1])
    starts = [window.final_state for window in first.windows]
    second = make(maker, path, [0, 1], starts=starts, first_runs=[1, 1])
    assert [w.seed for w in first.windows] != [w.seed for w in second.windows]
    joined = collect(path, [second, first], [0, 1])
    for k in (0, 1):
        series, expected = joined.windows[k].series([0, 1, 2]), whole.windows[k].series.unpack()
        for name, values in vars(expected).items():
            np.testing.assert_allclose(getattr(series, name), values, rtol=1e-7, atol=1e-7, err_msg=name)
        assert joined.windows[k].n_runs == 2 and joined.windows[k].n_samples == 20
        assert joined.windows[k].mean("mean_dudl_eV") == pytest.approx(whole.windows[k].mean_dudl_eV)
    assert (whole.windows[0].series.unpack().volume_A3[0] == perovskite.volume) == (pressure is None)


@pytest.mark.slow
def test_continued_window_has_independent_noise(wells):
    make, maker = (
        WindowsMaker.make.original,
        WindowsMaker(
            dynamics=DynamicsSettings(temperature_K=T, n_equilibration_steps=0, n_production_steps=3000),
            lambdas=(0.0, 1.0),
        ),
    )
    state = make(maker, wells.path, [0]).windows[0].final_state
    second = make(maker, wells.path, [0], starts=[state], first_runs=[1]).windows[0]
    third = make(maker, wells.path, [0], starts=[state], first_runs=[2]).windows[0]
    correlation = np.corrcoef(second.series.unpack().energy_eV, third.series.unpack().energy_eV)[0, 1]
    assert abs(correlation) < 0.3


def test_windows_with_gaps_or_repetitions_are_refused(wells):
    dynamics = DynamicsSettings(temperature_K=T, n_equilibration_steps=0, n_production_steps=40)
    maker, make = WindowsMaker(dynamics=dynamics, lambdas=(0.0, 1.0)), WindowsMaker.make.original
    first = make(maker, wells.path, [0, 1])
    starts = [window.final_state for window in first.windows]
    second = make(maker, wells.path, [0], starts=starts[:1], first_runs=[1])
    fourth = make(maker, wells.path, [0], starts=starts[:1], first_runs=[3])
    assert collect(wells.path, [second, first]).windows[0].n_runs == 2
    for documents in ([second], [first, fourth], [first, second, second], [first, second, fourth]):
        with pytest.raises(InvalidInputError, match="windows"):
            collect(wells.path, documents)
    with pytest.raises(InvalidInputError, match="start"):
        make(maker, wells.path, [0], first_runs=[1])
    with pytest.raises(InvalidInputError, match="batch"):
        make(maker, wells.path, [0, 1], starts=starts, first_runs=[1, 0])


SHORT = {"n_equilibration_steps": 20, "n_production_steps": 60, "temperature": 200.0, "relax_maker": None}


def test_refined_flow_at_constant_pressure_with_gauss_legendre_and_replica_exchange(gentle_model, perovskite, tmp_path):
    maker = ThermodynamicIntegrationMaker(
        potential=str(gentle_model),
        n_windows=2,
        spacing="gauss-legendre",
        windows_per_job=4,
        pressure_GPa=2.0,
        cell_freedom="axes",
        replica_exchange=True,
        budget=3,
        seed=2,
        **SHORT,
    )
    flow = maker.make(perovskite, {"Pb": "Sn"})
    assert "2 GPa" in flow.name
    document, _ = run(flow, tmp_path)
    assert (document.ensemble, document.pressure_GPa, document.ti_rule) == ("NPT", 2.0, "gauss-legendre")
    assert document.dynamics.replica_exchange and document.dynamics.cell_freedom == "axes"
    planned = [w for w in document.windows if w.ti_weight > 0]
    assert [w.lambda_value for w in planned] == pytest.approx([0.5 - 12**-0.5, 0.5 + 12**-0.5])
    assert [w.ti_weight for w in planned] == [0.5, 0.5]
    assert document.ti.delta_f_eV == pytest.approx(np.mean([w.mean_dudl_eV for w in planned]))
    assert document.windows[0].lambda_value == 0 and document.windows[-1].lambda_value == 1
    volumes = [w.mean_volume_A3 for w in document.windows]
    assert len(set(volumes)) == len(volumes) and document.volume_A3 == pytest.approx(np.mean(volumes))
    # six samples per window are fewer than ten, so windows are extended until the budget is spent
    assert document.refinement.n_runs_added == 3
    assert sum(window.n_runs for window in document.windows) == 4 + 3
    figure = plot_convergence(document)
    assert "ΔG" in figure.axes[0].get_ylabel()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"pressure_GPa": float("nan")}, "pressure_GPa"),
        ({"cell_freedom": "free"}, "cell_freedom"),
        ({"spacing": "odd"}, "spacing.*gauss-legendre.*odd"),
        ({"target_error": 0.0}, "target_error_eV_per_atom"),
        ({"target_error": -1.0}, "target_error_eV_per_atom"),
        ({"budget": -1}, "budget"),
        ({"pressure_GPa": 0.0, "barostat_time_ps": 0.01}, "barostat_time_ps"),
    ],
)
def test_invalid_settings_are_refused(gentle_model, perovskite, settings, reason):
    with pytest.raises(InvalidInputError, match=reason):
        ThermodynamicIntegrationMaker(potential=str(gentle_model), **settings).make(perovskite, {"Pb": "Sn"})


def test_default_budget_is_twice_the_planned_windows(gentle_model, perovskite):
    """Without a target error and a budget, no windows are added."""
    for options, budget, n_grid in (({"target_error": 0.01}, 6, 17), ({}, 0, 3), ({"budget": 2}, 2, 17)):
        maker = ThermodynamicIntegrationMaker(potential=str(gentle_model), n_windows=3, **SHORT, **options)
        flow = maker.make(perovskite, {"Pb": "Sn"})
        assert flow.jobs[-1].maker.refinement.budget == budget
        assert len(flow.jobs[0].maker.lambdas) == n_grid
        assert [job.maker.lambdas[job.function_args[1][0]] for job in flow.jobs[:3]] == [0.0, 0.5, 1.0]

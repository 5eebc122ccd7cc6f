"""Ladders whose windows exchange configurations with replicas at other temperatures, run by jobflow in this process."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from ase import units
from harmonic import HarmonicWells, harmonic_path
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder

from alchemflows.analysis.combination import combined
from alchemflows.analysis.ladder import reanalysed
from alchemflows.analysis.stored_ladders import StoredLadder
from alchemflows.cli.tables import free_energy_tables
from alchemflows.errors import InvalidInputError
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.free_energy import ladders
from alchemflows.jobs.analyse import AnalyseMaker
from alchemflows.jobs.cost import cost_of
from alchemflows.jobs.refine import RoundMaker, Standing
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.sampling import windows
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.frames import Frames
from alchemflows.schemas.potential import PotentialRecord
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.refinement import RefinementSettings
from alchemflows.schemas.windows import PackedState

T = 300.0


@pytest.fixture
def wells(monkeypatch, tmp_path):
    """Replace the potential with harmonic wells."""
    path = harmonic_path(2)
    model = HarmonicWells(path.system.structure.cart_coords, (4.0, 8.0), (0.0, 0.05))
    model.record = PotentialRecord(name="wells", backend="none", sha256="0" * 64, dtype="float64", device="cpu")
    monkeypatch.setattr("alchemflows.alchemy.potential.AlchemicalPotential", lambda *_, **__: model)
    monkeypatch.setattr("alchemflows.alchemy.backends.load_potential", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(path=path, model=model)


def ladder(path, others, n_steps=600, **changes) -> Flow:
    """Return a ladder of two jobs: two windows in one batch, and one alone."""
    dynamics = DynamicsSettings(
        temperature_K=T,
        exchange_temperatures_K=others,
        timestep_fs=4.0,
        friction_per_ps=40.0,
        n_equilibration_steps=50,
        n_production_steps=n_steps,
        **changes,
    )
    maker = WindowsMaker(dynamics=dynamics, lambdas=[0.0, 0.5, 1.0], seed=3, n_frames=5)
    jobs = [maker.make(path, [0, 1]), maker.make(path, [2])]
    analyse = AnalyseMaker().make(path, [job.output for job in jobs])
    return Flow([*jobs, analyse], output=analyse.output)


def outcome(flow, folder):
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    run_locally(flow, store=store, create_folders=True, root_dir=folder, ensure_success=True, log=False)
    return [MontyDecoder().process_decoded(store.get_output(job.uuid, load=True)) for job in flow.jobs]


def test_the_document_has_the_result_at_one_temperature_and_the_rates(wells, tmp_path):
    flow = ladder(wells.path, (500.0, 250.0), replica_exchange=True)
    assert [cost_of(job).n_steps for job in flow.jobs[:2]] == [6 * 650, 3 * 650]
    first, second, document = outcome(flow, tmp_path)
    assert document.temperature_K == T and len(first.windows) == 2 and len(second.windows) == 1
    assert abs(document.mbar.delta_f_eV - wells.model.delta_f_eV(T)) < 4 * document.mbar.error_eV
    for window, stored in zip(document.windows, [*first.windows, *second.windows], strict=True):
        assert window.exchange == stored.exchange
        assert window.exchange.temperatures_K == [250.0, 300.0, 500.0]
        assert all(0.2 < share <= 1 for share in window.exchange.acceptance)
        assert window.exchange.round_trips > 0 and window.n_samples == 60
        assert window.mean_temperature_K == pytest.approx(T, rel=0.2)
        assert stored.sites is not None
    assert len(Frames.unpacked(first.windows[0].frames)) == 5
    table = free_energy_tables(document).renderables[0]
    assert "250, 300, 500 K" in str(table.columns[-2].header)
    assert list(table.columns[-1].cells) == [str(window.exchange.round_trips) for window in document.windows]
    again = reanalysed(document, [first, second])
    assert [window.exchange for window in again.windows] == [window.exchange for window in document.windows]
    assert all(len(window.exchange.sites) == 3 for window in document.windows)
    curve = combined([StoredLadder("0" * 8, document, [first, second])], [250.0, 300.0, 400.0, 500.0])
    for point in curve.points:
        exact = wells.model.delta_f_eV(point.temperature_K) + point.mass_term_eV
        assert abs(point.total.delta_f_eV - exact) < 4 * point.total.error_eV
    assert [part.temperature_K for part in curve.ladders] == [250.0, 300.0, 500.0]


def test_samples_at_all_temperatures_are_in_the_estimate_of_space(wells):
    sizes = [cost_of(ladder(wells.path, others).jobs[0]).n_bytes for others in ((), (350.0,), (350.0, 400.0))]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] == 2 * 60 * (4 * 3 + 40) * 4 // 3


def test_rare_exchanges_are_reasons(wells, tmp_path):
    *_, document = outcome(ladder(wells.path, (6000.0,), n_steps=80), tmp_path)
    found = [text for text in document.verdict.reasons if Reason.of(text) in (Reason.RARE_EXCHANGE, Reason.NO_TRIPS)]
    assert {Reason.of(text) for text in found} == {Reason.RARE_EXCHANGE, Reason.NO_TRIPS}
    assert all("300" in text and "6000 K" in text for text in found)


def test_without_other_temperatures_there_is_no_exchange(wells, tmp_path):
    *_, document = outcome(ladder(wells.path, (), n_steps=100), tmp_path)
    assert [window.exchange for window in document.windows] == [None] * 3


def test_replicas_at_other_temperatures_have_other_seeds(wells, tmp_path):
    first, *_ = outcome(ladder(wells.path, (300.001,), n_steps=100), tmp_path)
    alone, *_ = outcome(ladder(wells.path, (), n_steps=100), tmp_path)
    differ = [
        not np.allclose(a.series.unpack().energy_eV, b.series.unpack().energy_eV)
        for a, b in zip(first.windows, alone.windows, strict=True)
    ]
    assert all(differ)  # nearly all exchanges are accepted


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"exchange_temperatures": [300.0]}, "exchange_temperatures"),
        ({"exchange_temperatures": [400.0, 400.0]}, "exchange_temperatures"),
        ({"exchange_temperatures": [-1.0]}, "exchange_temperatures"),
    ],
)
def test_bad_input(perovskite, changes, message):
    maker = ThermodynamicIntegrationMaker(potential="mace-demo", temperature=T, **changes)
    with pytest.raises(InvalidInputError, match=message):
        maker.make(perovskite, {"Pb": "Sn"})


def replicas_of(window) -> list[dict]:
    """Return the stored final states of a window and of its replicas at other temperatures."""
    own = window.series.end()
    return [own, *PackedState.exchanged(own)]


def test_windows_and_their_replicas_are_extended(wells, tmp_path, monkeypatch):
    flow = ladder(wells.path, (500.0, 250.0), n_steps=300, replica_exchange=True)
    first, second, document = outcome(flow, tmp_path / "first")
    maker = flow.jobs[0].maker
    standing = {window.index: Standing(1, window.final_state) for window in first.windows}
    started = []
    sampled = windows.run_windows

    def recorded(*args, **options):
        started.append(options["start"])
        return sampled(*args, **options)

    monkeypatch.setattr(windows, "run_windows", recorded)
    (more,) = RoundMaker(maker, windows_per_job=2).continued(wells.path, standing, {0: 2, 1: 2})
    (extended,) = outcome(Flow([more], output=more.output), tmp_path / "more")
    (begun,) = started
    expected = [replicas_of(window)[j] for j in range(3) for window in first.windows]
    for state, positions, velocities in zip(expected, begun.positions, begun.velocities, strict=True):
        assert np.array_equal(positions.numpy(), state["positions_A"])
        np.testing.assert_allclose(velocities.numpy() * units.fs, state["velocities_A_per_fs"], rtol=1e-12)
    again = reanalysed(document, [first, second, extended])
    assert [window.n_runs for window in again.windows] == [3, 3, 1]
    for window, parts in zip(again.windows, zip(first.windows, extended.windows, strict=True), strict=False):
        shares = np.transpose([part.exchange.acceptance for part in parts])
        assert window.exchange.acceptance == pytest.approx(list(shares @ [1 / 3, 2 / 3]))
        assert window.exchange.round_trips == sum(part.exchange.round_trips for part in parts)
        assert len(window.exchange.sites) == 3
    assert again.mbar.error_eV < document.mbar.error_eV
    curve = combined([StoredLadder("0" * 8, again, [first, second, extended])], [250.0, 500.0])
    for point in curve.points:
        exact = wells.model.delta_f_eV(point.temperature_K) + point.mass_term_eV
        assert abs(point.total.delta_f_eV - exact) < 4 * point.total.error_eV


def test_new_windows_start_from_replicas_at_the_same_temperature(wells, tmp_path):
    flow = ladder(wells.path, (500.0,), n_steps=100)
    first, *_ = outcome(flow, tmp_path)
    state = first.windows[1].final_state
    maker = flow.jobs[0].maker
    states = [replica["positions_A"] for replica in replicas_of(first.windows[1])]
    assert not np.array_equal(*states)
    begun = maker.plan(wells.path, [1], starts=[state]).starts.positions_and_cells()[0]
    np.testing.assert_allclose(begun, states)
    # without stored replicas, all start from the window
    alone = PackedState(npz_base64=PackedState.encode(**{k: v for k, v in state.end().items() if "exch" not in k}))
    begun = maker.plan(wells.path, [1], starts=[alone]).starts.positions_and_cells()[0]
    np.testing.assert_allclose(begun, [states[0]] * 2)
    with pytest.raises(InvalidInputError, match="exchange_temperatures"):
        maker.plan(wells.path, [1], starts=[alone], first_runs=[1])


def test_ladders_with_other_temperatures_are_refined(wells, tmp_path):
    wells.model.stiffness[1] = 60.0  # the first two windows hardly overlap
    planned = ladders.ladder(2).refinable()
    dynamics = DynamicsSettings(
        temperature_K=T,
        exchange_temperatures_K=(400.0,),
        timestep_fs=4.0,
        friction_per_ps=40.0,
        n_equilibration_steps=50,
        n_production_steps=200,
    )
    maker = WindowsMaker(dynamics=dynamics, lambdas=planned.grid, seed=3)
    first = maker.make(wells.path, list(planned.windows))
    refinement = RefinementSettings(budget=3, target_error_eV_per_atom=1e-6)
    analyse = AnalyseMaker(
        windows=list(planned.windows), refinement=refinement, rounds=RoundMaker(maker, windows_per_job=2)
    ).make(wells.path, [first.output])
    *_, document = outcome(Flow([first, analyse], output=analyse.output), tmp_path)
    assert document.refinement.n_runs_added == 3
    rounds = document.refinement.rounds
    assert any(each.inserted for each in rounds) and any(each.extended for each in rounds)
    assert sum(window.n_runs for window in document.windows) == 2 + 3
    assert all(window.exchange.temperatures_K == [300.0, 400.0] for window in document.windows)
    assert abs(document.mbar.delta_f_eV - wells.model.delta_f_eV(T)) < 4 * document.mbar.error_eV

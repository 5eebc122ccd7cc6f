"""Ladders whose windows exchange configurations with replicas at other temperatures, run by jobflow in this process."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
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
from alchemflows.jobs.analyse import AnalyseMaker
from alchemflows.jobs.cost import cost_of
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.frames import Frames
from alchemflows.schemas.potential import PotentialRecord
from alchemflows.schemas.reasons import Reason

T = 300.0


@pytest.fixture
def wells(monkeypatch, tmp_path):
    """Replace the potential with harmonic wells."""
    path = harmonic_path(2)
    model = HarmonicWells(path.system.structure.cart_coords, (4.0, 8.0), (0.0, 0.05))
    model.record = PotentialRecord(name="wells", backend="none", sha256="0" * 64, dtype="float64", device="cpu")
    monkeypatch.setattr("alchemflows.alchemy.potential.AlchemicalPotential", lambda *_: model)
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
        ({"exchange_temperatures": [400.0], "target_error": 1e-3}, "target_error"),
        ({"exchange_temperatures": [400.0], "budget": 2}, "budget"),
    ],
)
def test_bad_input(perovskite, changes, message):
    maker = ThermodynamicIntegrationMaker(potential="mace-demo", temperature=T, **changes)
    with pytest.raises(InvalidInputError, match=message):
        maker.make(perovskite, {"Pb": "Sn"})


def test_such_ladders_are_not_extended(wells, perovskite):
    maker = ThermodynamicIntegrationMaker(potential="mace-demo", temperature=T, exchange_temperatures=[400.0])
    with pytest.raises(InvalidInputError, match="extended"):
        maker.extended(perovskite, {"Pb": "Sn"}, {}, [])

"""Tests of the jobs of a ladder, run by jobflow in this process."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.analysis.frames import end_frames
from alchemflows.analysis.ladder import reanalysed
from alchemflows.cli.tables import free_energy_tables
from alchemflows.errors import DatabaseError, InvalidInputError, TrajectoryError
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.jobs.analyse import free_energy
from alchemflows.jobs.frames import frames_of_ladder
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.frames import RESOLUTION_A
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import read_progress
from alchemflows.schemas.windows import WindowsDocument

SHORT = {"n_windows": 3, "n_equilibration_steps": 20, "n_production_steps": 100, "temperature": 200.0}


def store() -> JobStore:
    return JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})


@pytest.fixture(scope="module")
def ran(gentle_model, perovskite, tmp_path_factory):
    """Run a flow with relaxation and two window jobs; return the flow, its outputs, its store and its folder."""
    maker = ThermodynamicIntegrationMaker(potential=str(gentle_model), windows_per_job=2, seed=3, **SHORT)
    maker.relax_maker.maker.relax_kwargs = {"fmax": 1e-5}
    maker.relax_maker.maker.steps = 20
    maker.relax_maker.require_convergence = False
    flow = maker.make(perovskite, {"Pb": "Sn"})
    job_store = store()
    folder = tmp_path_factory.mktemp("run")
    outputs = run_locally(flow, store=job_store, create_folders=True, root_dir=folder, ensure_success=True, log=False)
    return flow, [outputs[job.uuid][1].output for job in flow.jobs], job_store, folder


def test_flow_relaxes_samples_and_analyses(ran):
    flow, (relaxed, *ends, first, second, result), _, _ = ran
    assert [job.name for job in flow.jobs] == [
        "alchemical relax",
        "alchemical relax λ = 0",
        "alchemical relax λ = 1",
        "λ = 0, 0.5",
        "λ = 1",
        "free energy",
    ]
    for end, weights in zip(ends, ([1.0, 0.0], [0.0, 1.0]), strict=True):
        assert end.weights == weights and not end.relax_cell
        np.testing.assert_array_equal(end.structure.lattice.matrix, relaxed.structure.lattice.matrix)
    assert [w.start_lambda for w in (*first.windows, *second.windows)] == [0.0, 1.0, 1.0]
    assert [w.start_lambda for w in result.windows] == [0.0, 1.0, 1.0]
    assert relaxed.structure.volume != pytest.approx(6.3**3, abs=1e-3)
    assert first.volume_A3 == pytest.approx(relaxed.structure.volume)
    assert [w.index for w in (*first.windows, *second.windows)] == [0, 1, 2]
    assert (result.initial_formula, result.final_formula) == ("CsPbI3", "CsSnI3")
    assert result.mass_term_eV == pytest.approx(1.5 * units.kB * 200 * np.log(207.2 / 118.71))
    assert result.total.delta_f_eV == pytest.approx(result.mbar.delta_f_eV + result.mass_term_eV)
    assert result.total.delta_f_eV_per_atom == pytest.approx(result.total.delta_f_eV / 5)
    assert result.terms_not_in_total == {}
    assert [w.n_samples for w in result.windows] == [10, 10, 10]


def test_terms_of_a_ladder_that_ends_in_a_mixture(gentle_model, perovskite, tmp_path):
    """The mass term is half that of the full substitution; the total does not include the entropy of mixing."""
    maker = ThermodynamicIntegrationMaker(
        potential=str(gentle_model), windows_per_job=3, relax_maker=None, **SHORT | {"n_equilibration_steps": 0}
    )
    flow = maker.make(perovskite, {"Pb": {"Pb": 0.5, "Sn": 0.5}})
    outputs = run_locally(flow, store=store(), create_folders=True, root_dir=tmp_path, log=False, ensure_success=True)
    first, result = (outputs[job.uuid][1].output for job in flow.jobs)
    assert result.mass_term_eV == pytest.approx(0.5 * 1.5 * units.kB * 200 * np.log(207.2 / 118.71))
    assert result.total.delta_f_eV == pytest.approx(result.mbar.delta_f_eV + result.mass_term_eV)
    assert result.mixing_term_eV == pytest.approx(-units.kB * 200 * np.log(2))
    assert result.arrangement_term_eV == 0.0
    _, estimates = free_energy_tables(result).renderables
    names = list(estimates.columns[0].cells)
    assert names[-1] == "ideal mixing k_B T Σ x ln x, not in the total" and names[-2].startswith("total")
    again = reanalysed(result, [first])
    for name in ("mass_term_eV", "mixing_term_eV", "arrangement_term_eV", "total"):
        assert getattr(again, name) == getattr(result, name)


def test_documents_contain_provenance_and_settings(ran):
    _, (*_, first, _, result), _, _ = ran
    for document in (first, result):
        assert document.provenance.potential.backend == "mace"
        assert len(document.provenance.potential.sha256) == 64
        assert {"torch", "mace-torch", "alchemflows"} <= set(document.provenance.versions)
        assert document.provenance.seed == 3
    assert first.dynamics.n_production_steps == 100
    assert first.windows[0].seed != first.windows[1].seed
    assert first.weight_labels == ["Pb[1]", "Sn[1]"]


def test_samples_are_stored_in_the_data_store_only(ran):
    flow, (*_, first, _, _), job_store, _ = ran
    stored = job_store.query_one({"uuid": flow.jobs[3].uuid})["output"]["windows"][0]["series"]
    assert "npz_base64" not in stored and stored["store"] == "data"
    loaded = MontyDecoder().process_decoded(job_store.get_output(flow.jobs[3].uuid, load=True))
    assert isinstance(loaded, WindowsDocument)
    series = loaded.windows[1].series.unpack()
    np.testing.assert_allclose(series.energies_eV[:, 1], series.energy_eV, atol=1e-5)
    assert series.dudl_eV.mean() == pytest.approx(first.windows[1].mean_dudl_eV)


def test_frames_of_both_ends_are_stored_and_read(ran):
    flow, (*_, result), job_store, _ = ran
    stored = [
        window["frames"]
        for job in flow.jobs[3:5]
        for window in job_store.query_one({"uuid": job.uuid})["output"]["windows"]
    ]
    assert [None if each is None else each["store"] for each in stored] == ["data", None, "data"]
    sampled = frames_of_ladder(job_store, result)
    for index, (element, end) in enumerate(zip(("Pb", "Sn"), sampled, strict=True)):
        window = load(job_store, flow.jobs[3 + index].uuid).windows[0]
        assert window.lambda_value == index
        assert np.array_equal(end.frames.energy_eV, window.series.unpack().energy_eV)  # there are only ten samples
        assert end.spacing_fs == 20.0 and end.correlation_time_fs >= 0
        atoms = end.frames.atoms()[-1]
        assert atoms.get_chemical_symbols()[1] == element
        np.testing.assert_allclose(atoms.positions, window.final_state.arrays()["positions_A"], atol=RESOLUTION_A)


def test_ladders_without_frames_are_refused(ran):
    flow, (*_, result), job_store, _ = ran
    documents = [load(job_store, job.uuid) for job in flow.jobs[3:5]]
    documents[1].windows[0].frames = None
    with pytest.raises(InvalidInputError, match="λ = 1 has no stored configurations"):
        end_frames(documents)
    (empty := store()).connect()
    with pytest.raises(DatabaseError, match="not in the database"):
        frames_of_ladder(empty, result)


def load(job_store, uuid):
    return MontyDecoder().process_decoded(job_store.get_output(uuid, load=True))


def test_jobs_write_their_progress(ran):
    folders = [folder for folder in ran[3].iterdir() if (folder / "progress.json").exists()]
    assert len(folders) == 2
    assert all(read_progress(folder).step == 120 for folder in folders)
    assert read_progress(ran[3]) is None


def test_analysis_requires_every_window_once_from_one_ladder(ran):
    flow, _, job_store, _ = ran
    first, second = (MontyDecoder().process_decoded(job_store.get_output(flow.jobs[k].uuid, load=True)) for k in (3, 4))
    path = flow.jobs[5].function_args[0]
    with pytest.raises(InvalidInputError, match="3 windows"):
        free_energy(path, [first])
    with pytest.raises(InvalidInputError, match="3 windows"):
        free_energy(path, [first, first, second])
    with pytest.raises(InvalidInputError, match="temperature_K"):
        free_energy(path, [first, second.model_copy(update={"temperature_K": 1.0})])
    with pytest.raises(InvalidInputError, match="volume_A3"):
        free_energy(path, [first, second.model_copy(update={"volume_A3": 1.0})])
    other_model = second.provenance.potential.model_copy(update={"sha256": "0" * 64})
    provenance = second.provenance.model_copy(update={"potential": other_model})
    with pytest.raises(InvalidInputError, match="different"):
        free_energy(path, [first, second.model_copy(update={"provenance": provenance})])
    backwards = AlchemicalPath(path.system, path.final, path.initial)
    with pytest.raises(InvalidInputError, match="path"):
        free_energy(backwards, [first, second])
    assert free_energy(path, [second, first]).mbar == ran[1][5].mbar


@pytest.mark.slow
def test_samples_before_a_sampling_error_are_kept(gentle_model, perovskite, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = AlchemicalPath.from_substitution(perovskite, {"Pb": "Sn"})
    maker = WindowsMaker(
        lambdas=[0.0, 0.5, 1.0],
        potential=PotentialSpec(name=str(gentle_model)),
        dynamics=DynamicsSettings(
            temperature_K=300, timestep_fs=5000.0, n_equilibration_steps=0, sample_interval_steps=1
        ),
    )
    # With a time step of 5 ps atoms move freely and forces stay finite, so lower the limit of the temperature.
    monkeypatch.setattr("alchemflows.sampling.langevin.MAX_TEMPERATURE_RATIO", 3.0)
    with pytest.raises(TrajectoryError, match=f"step.*λ = 0.5.*{tmp_path}"):
        WindowsMaker.make.original(maker, path, [0, 1])
    kept = [np.load(tmp_path / f"stopped-window-{index}.npz") for index in (0, 1)]
    assert len(kept[0]["energy_eV"]) == len(kept[1]["dudl_eV"]) > 0
    assert kept[0]["energies_eV"].shape == (len(kept[0]["energy_eV"]), 3)


def test_formulas_of_pure_and_mixed_ends():
    from pymatgen.core import Lattice, Structure

    salt = Structure(Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    path = AlchemicalPath.from_substitution(salt, {"Na": {"K": 0.25, "Li": 0.75}})
    assert path.system.formula(path.initial) == "NaCl"
    assert path.system.formula(path.weights(1.0)) == "K0.25Li0.75Cl"

"""Jobs use compiled kernels if these were asked for and the job is long enough."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from alchemflows.alchemy import compiled
from alchemflows.alchemy.inductor import Arrays, Program
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.schemas.potential import PotentialSpec

N_STEPS = 2 * (20 + 40)


@pytest.fixture
def compilations(monkeypatch) -> list[int]:
    """Numbers of arrays of the functions that were compiled; they run as they are."""
    found = []

    def compile_program(function: Program, arrays: Arrays, _symbolic: object) -> tuple[Program, Callable]:
        found.append(len(arrays))
        return function, lambda _: True

    monkeypatch.setattr(compiled, "compile_program", compile_program)
    return found


def delta_f_eV(gentle_model, perovskite, folder, kernels: str) -> float:
    spec = PotentialSpec(name=str(gentle_model), dtype="float64", device="cpu", kernels=kernels)
    maker = ThermodynamicIntegrationMaker(
        potential=spec,
        relax_maker=None,
        n_windows=2,
        windows_per_job=2,
        n_equilibration_steps=20,
        n_production_steps=40,
        temperature=200.0,
        sample_interval_steps=5,
    )
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    flow = maker.make(perovskite, {"Pb": "Sn"})
    outputs = run_locally(flow, store=store, create_folders=True, root_dir=folder, ensure_success=True, log=False)
    documents = [outputs[job.uuid][1].output for job in flow.jobs]
    assert {each.provenance.potential.kernels for each in documents} == {kernels}
    return documents[-1].total.delta_f_eV


def test_long_jobs_are_compiled(gentle_model, perovskite, tmp_path, compilations, monkeypatch):
    monkeypatch.setattr(compiled, "MIN_ATOM_STEPS", N_STEPS * len(perovskite))
    found = [delta_f_eV(gentle_model, perovskite, tmp_path / k, k) for k in ("built-in", "compiled")]
    assert len(compilations) == 1
    assert found[0] == pytest.approx(found[1], abs=1e-7)


def test_short_jobs_are_not_compiled(gentle_model, perovskite, tmp_path, compilations, monkeypatch):
    monkeypatch.setattr(compiled, "MIN_ATOM_STEPS", N_STEPS * len(perovskite) + 1)
    delta_f_eV(gentle_model, perovskite, tmp_path, "compiled")
    assert not compilations

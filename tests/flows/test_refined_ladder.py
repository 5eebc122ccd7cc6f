"""Test of a refined ladder with mace-demo, on a path whose first windows do not overlap."""

from __future__ import annotations

import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.free_energy.estimators import MIN_OVERLAP

TARGET = 0.015


@pytest.mark.slow
def test_refinement_from_three_windows_reaches_the_target(tmp_path):
    """The ions of (Li→K)Cl, 16 atoms, 500 K, differ so much in size that three windows do not overlap at all.

    Atoms leave their sites in this small cell, and longer windows have longer correlation times, so that the error
    decreases slowly. Small targets are tested with harmonic wells in `tests/jobs/test_refine.py`.
    """
    # A cell between those of the two ends; in the cell relaxed at λ = ½, LiCl would not be stable.
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.65), ["Li", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    maker = ThermodynamicIntegrationMaker(
        potential="mace-demo",
        temperature=500.0,
        n_windows=3,
        windows_per_job=3,
        timestep_fs=4.0,
        friction_per_ps=10.0,
        n_equilibration_steps=150,
        n_production_steps=500,
        relax_maker=None,
        target_error=TARGET,
        budget=24,
    )
    flow = maker.make(salt.get_primitive_structure() * (2, 2, 2), {"Li": "K"})
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    outputs = run_locally(flow, store=store, create_folders=True, root_dir=tmp_path, ensure_success=True, log=False)
    last = outputs[flow.jobs[-1].uuid]
    document = last[max(last)].output
    record = document.refinement
    print(document.total, document.ti, document.verdict, *record.rounds, sep="\n")
    assert len(document.windows) > 3 and record.rounds[0].smallest_overlap < 1e-3
    assert any(each.inserted for each in record.rounds) and any(each.extended for each in record.rounds)
    assert record.target_met and document.total.error_eV_per_atom <= TARGET
    assert record.n_runs_added == sum(window.n_runs for window in document.windows) - 3 <= 24
    assert all(window.overlap_with_next > MIN_OVERLAP for window in document.windows[:-1])
    difference = abs(document.bar.delta_f_eV - document.mbar.delta_f_eV)
    assert difference < 3 * (document.bar.error_eV**2 + document.mbar.error_eV**2) ** 0.5

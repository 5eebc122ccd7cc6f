"""Calculations of chosen frames, one job for each, run by jobflow in this process."""

from __future__ import annotations

import numpy as np
import pytest
from calculators import Springs, SpringsMaker
from jobflow import run_locally
from monty.serialization import dumpfn, loadfn
from pymatgen.core import Lattice, Structure

from alchemflows.errors import InvalidInputError
from alchemflows.flows.frame_calculations import frame_calculations
from alchemflows.jobs.frame_jobs import FrameLabels

ID = "a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10"


def frames(n: int = 3) -> list[tuple[Structure, FrameLabels]]:
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return [(salt.copy().perturb(0.02 * (k + 1)), FrameLabels(ID, "λ = 1", k, {"lambda": 1.0})) for k in range(n)]


@pytest.mark.parametrize("as_flow", [False, True])
def test_each_frame_has_its_job(tmp_path, as_flow):
    """The flow is as when it is read from a file."""
    chosen = frames()
    dumpfn(frame_calculations(SpringsMaker(as_flow=as_flow), chosen, category="dft"), tmp_path / "flow.json")
    flow = loadfn(tmp_path / "flow.json")
    jobs = [job for job, _ in flow.iterflow()]
    expected = [{"result": ID, "state": "λ = 1", "lambda": 1.0, "index": k} for k in range(3)]
    assert [job.metadata["frame"] for job in jobs] == expected
    assert {job.config.manager_config["_category"] for job in jobs} == {"dft"}
    outputs = run_locally(flow, root_dir=tmp_path, log=False, ensure_success=True)
    found = [outputs[reference.uuid][1].output["output"]["energy"] for reference in flow.output]
    expected = []
    for structure, _ in chosen:
        atoms = structure.to_ase_atoms()
        atoms.calc = Springs()
        expected.append(atoms.get_potential_energy())
    np.testing.assert_allclose(found, expected)


def test_makers_that_do_not_fit_are_refused():
    class Two(SpringsMaker):
        def make(self, structure, other):
            return super().make(structure)

    with pytest.raises(InvalidInputError, match="Two"):
        frame_calculations(Two(), frames(1))
    with pytest.raises(InvalidInputError, match="springs"):
        frame_calculations(SpringsMaker(as_flow=True, with_output=False), frames(1))

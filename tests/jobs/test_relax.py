"""Tests of relaxation with the maker of atomate2, at pure and mixed compositions."""

from __future__ import annotations

import numpy as np
import pytest
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from atomate2.forcefields.jobs import ForceFieldRelaxMaker
from jobflow import JobStore, run_locally
from mace.calculators import MACECalculator
from maggma.stores import MemoryStore

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.errors import AlchemflowsError
from alchemflows.jobs.relax import AlchemicalRelaxMaker
from alchemflows.schemas.potential import PotentialSpec

N_STEPS = 12


@pytest.fixture
def path(perovskite) -> AlchemicalPath:
    structure = perovskite.copy()
    structure.apply_strain([-0.3, -0.25, -0.28])  # compressed, so that the weak forces of the model matter
    structure.translate_sites([2], [0.02, 0.01, 0.0])
    return AlchemicalPath.from_substitution(structure, {"Pb": "Sn"})


def relax(path, weights, potential, tmp_path):
    maker = AlchemicalRelaxMaker(
        require_convergence=False,
        maker=ForceFieldRelaxMaker(
            relax_cell=True, steps=N_STEPS, relax_kwargs={"fmax": 1e-6}, optimizer_kwargs={"optimizer": "BFGS"}
        ),
    )
    job = maker.make(path.system, weights, potential)
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    return run_locally(job, store=store, root_dir=tmp_path, ensure_success=True, log=False)[job.uuid][1].output


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_end_members_relax_like_the_original_potential(end, path, gentle_model, tmp_path):
    relaxed = relax(path, path.weights(end), PotentialSpec(name=str(gentle_model), device="cpu"), tmp_path)
    atoms = path.system.at_vertex(path.weights(end)).to_ase_atoms()
    start = atoms.cell.array.copy()
    atoms.calc = MACECalculator(str(gentle_model), device="cpu", default_dtype="float64")
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-6, steps=N_STEPS)
    np.testing.assert_allclose(relaxed.structure.lattice.matrix, atoms.cell.array, atol=1e-6)
    np.testing.assert_allclose(relaxed.structure.cart_coords, atoms.positions, atol=1e-6)
    assert np.abs(atoms.cell.array - start).max() > 1e-3  # the cell has changed


def test_relaxed_volume_depends_on_the_composition(path, gentle_model, tmp_path):
    spec = PotentialSpec(name=str(gentle_model), device="cpu")
    documents = [relax(path, path.weights(x), spec, tmp_path) for x in (0.0, 0.5, 1.0)]
    assert len({round(document.volume_A3, 6) for document in documents}) == 3
    assert [document.formula for document in documents] == ["CsPbI3", "CsSn0.5Pb0.5I3", "CsSnI3"]
    assert documents[1].weights == [0.5, 0.5] and documents[1].provenance.potential.dtype == "float64"
    assert not documents[1].converged


def test_unconverged_relaxation_is_an_error(path, gentle_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # atomate2 writes files to the current folder
    maker = AlchemicalRelaxMaker(maker=ForceFieldRelaxMaker(steps=1, relax_kwargs={"fmax": 1e-6}))
    spec = PotentialSpec(name=str(gentle_model), device="cpu")
    with pytest.raises(AlchemflowsError, match="1 steps"):
        AlchemicalRelaxMaker.make.original(maker, path.system, path.weights(0.5), spec)


def test_lowest_result_of_several_starts_is_returned(path, gentle_model, tmp_path):
    """The cells are fixed; a start of None is the structure of the system."""
    maker = AlchemicalRelaxMaker(
        require_convergence=False, maker=ForceFieldRelaxMaker(relax_cell=False, steps=2, relax_kwargs={"fmax": 1e-6})
    )
    spec = PotentialSpec(name=str(gentle_model), device="cpu")
    wider = path.system.structure.copy().apply_strain(0.05)
    ends = {}
    for name, starts in {"given": None, "wider": wider, "both": [wider, None], "again": [None, wider, None]}.items():
        job = maker.make(path.system, path.weights(0.5), spec, starts)
        store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
        ends[name] = run_locally(job, store=store, root_dir=tmp_path, ensure_success=True, log=False)[job.uuid][
            1
        ].output
    energies = {name: end.energy_eV for name, end in ends.items()}
    assert abs(energies["given"] - energies["wider"]) > 1e-4
    lowest = min(("given", "wider"), key=energies.__getitem__)
    assert energies["both"] == energies["again"] == energies[lowest]
    assert ends["both"].volume_A3 == ends[lowest].volume_A3

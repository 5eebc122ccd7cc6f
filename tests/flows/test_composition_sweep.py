"""Tests of composition sweeps: pure ends, slopes, reuse of known points, and failures."""

from __future__ import annotations

import numpy as np
import pytest
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.calculator import AlchemicalCalculator
from alchemflows.alchemy.compositions import CompositionGrid
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError
from alchemflows.flows.composition_sweep import CompositionSweepMaker
from alchemflows.schemas.potential import PotentialSpec

DEMO = PotentialSpec(name="mace-demo", device="cpu")


def rocksalt(a: float = 5.9) -> Structure:
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return cell.get_primitive_structure()


def run(flow, folder, **options):
    """Return the sweep, and the relaxations by formula."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    run_locally(flow, store=store, create_folders=True, root_dir=folder, log=False, **options)
    decode = MontyDecoder().process_decoded
    outputs = [store.get_output(job.uuid) for job in flow.jobs[:-1] if store.query_one({"uuid": job.uuid})]
    return decode(store.get_output(flow.jobs[-1].uuid)), [decode(output) for output in outputs]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    grid = CompositionGrid.line(rocksalt(), {"Na": "K"}, [0.0, 0.5, 1.0])
    flow = CompositionSweepMaker(potential=DEMO).make(grid)
    return grid, *run(flow, tmp_path_factory.mktemp("sweep"), ensure_success=True)


def test_pure_ends_equal_ordinary_relaxations(swept):
    _, document, relaxed = swept
    assert document.verdict.status == "converged" and len(relaxed) == 3
    for k, element in ((0, "Na"), (2, "K")):
        structure = rocksalt()
        structure.replace_species({"Na": element})
        atoms = structure.to_ase_atoms()
        plain = AlchemicalSystem(structure)
        atoms.calc = AlchemicalCalculator(plain, [], DEMO.model_copy(update={"dtype": "float64"}))
        BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4, steps=200)
        point = document.points[k]
        np.testing.assert_allclose(point.cell_parameters, atoms.cell.cellpar(), atol=1e-3)
        assert point.energy_eV_per_atom == pytest.approx(atoms.get_potential_energy() / 2, abs=1e-5)
        assert point.mixing_energy_eV_per_atom == pytest.approx(0, abs=1e-12)
        assert point.volume_deviation == pytest.approx(0, abs=1e-12)


def test_mixing_energy_and_volume_deviation_of_a_mixture(swept):
    _, document, _ = swept
    first, middle, last = document.points
    assert [p.formula for p in document.points] == ["NaCl", "K0.5Na0.5Cl", "KCl"]
    line = (first.energy_eV_per_atom + last.energy_eV_per_atom) / 2
    assert middle.mixing_energy_eV_per_atom == pytest.approx(middle.energy_eV_per_atom - line)
    vegard = (first.volume_A3_per_atom + last.volume_A3_per_atom) / 2
    assert middle.volume_deviation == pytest.approx(middle.volume_A3_per_atom / vegard - 1)
    assert document.corners == [0, 2] and document.coupling == "paired"


def test_slope_equals_the_derivative_of_the_relaxed_energy(tmp_path):
    """At relaxed points, dE/dx equals finite differences of relaxed energies."""
    step = 0.02
    grid = CompositionGrid.line(rocksalt(), {"Na": "K"}, [0.5 - step, 0.5, 0.5 + step])
    maker = CompositionSweepMaker(potential=DEMO)
    maker.relax_maker.maker.relax_kwargs = {"fmax": 1e-4}
    document, _ = run(maker.make(grid), tmp_path, ensure_success=True)
    low, middle, high = document.points
    # x goes from 0 to 1 along the line, whose length is 2 steps
    assert middle.slope_eV_per_atom == pytest.approx(high.energy_eV_per_atom - low.energy_eV_per_atom, rel=1e-3)
    assert document.corners is None and middle.mixing_energy_eV_per_atom is None


def test_known_points_are_not_computed_again(swept, tmp_path):
    _, before, relaxed = swept
    finer = CompositionGrid.line(rocksalt(), {"Na": "K"}, [0.0, 0.25, 0.5, 1.0])
    maker = CompositionSweepMaker(potential=DEMO)
    flow = maker.make(finer, known=relaxed)
    assert [job.name for job in flow.jobs] == ["relax K0.25Na0.75Cl", "composition sweep"]
    document, _ = run(flow, tmp_path, ensure_success=True)
    assert document.n_known == 3
    for old, new in ((0, 0), (1, 2), (2, 3)):
        assert document.points[new].energy_eV_per_atom == before.points[old].energy_eV_per_atom
    assert [p.key for p in document.points] == maker.keys(finer)
    # points with other settings, another coupling or another structure are computed again
    maker.relax_maker.maker.relax_kwargs = {"fmax": 0.02}
    assert len(maker.make(finer, known=relaxed).jobs) == 5
    other = CompositionGrid.line(rocksalt(5.8), {"Na": "K"}, [0.0, 1.0])
    assert len(CompositionSweepMaker(potential=DEMO).make(other, known=relaxed).jobs) == 3
    mean_field = CompositionGrid.line(rocksalt(), {"Na": "K"}, [0.0, 1.0], coupling="mean-field")
    assert len(CompositionSweepMaker(potential=DEMO).make(mean_field, known=relaxed).jobs) == 3
    # if all points are known, only the comparison remains
    grid = CompositionGrid.line(rocksalt(), {"Na": "K"}, [0.0, 1.0])
    assert len(CompositionSweepMaker(potential=DEMO).make(grid, known=relaxed).jobs) == 1


def test_failed_point_is_named_and_the_others_are_computed(tmp_path):
    """The failed point is the middle one, from which the others would start."""
    grid = CompositionGrid.line(rocksalt(), {"Na": "K"}, [0.0, 0.5, 1.0])
    flow = CompositionSweepMaker(potential=DEMO).make(grid)
    flow.jobs[0].function_args = (grid.system, [0.5, 0.7], *flow.jobs[0].function_args[2:])  # not on the simplex
    document, relaxed = run(flow, tmp_path)
    assert len(relaxed) == 2
    assert [p.energy_eV_per_atom is None for p in document.points] == [False, True, False]
    assert document.verdict.reasons == ["K0.5Na0.5Cl: the relaxation failed"]


def test_unsupported_element_is_refused_before_a_job_exists():
    grid = CompositionGrid.line(rocksalt(), {"Na": "Rb"}, [0.0, 1.0])
    with pytest.raises(InvalidInputError, match=r"\bRb\b"):
        CompositionSweepMaker(potential=DEMO).make(grid)

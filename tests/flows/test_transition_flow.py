"""The flow that finds a transition between order and disorder with mace-demo, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.errors import AlchemflowsError, InvalidInputError
from alchemflows.flows.transition import OrderDisorderTransitionMaker
from alchemflows.jobs.transition import TransitionMaker
from alchemflows.schemas.potential import PotentialSpec

DEMO = {"potential": PotentialSpec(name="mace-demo", dtype="float64", device="cpu")}
#: The primitive cell of rock salt; its repeats along a alternate along (111).
MIXED = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.95), [{"Na": 0.5, "K": 0.5}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
).get_primitive_structure()
SIZES = [(2, 1, 1), (2, 2, 1)]
TEMPERATURES_K = [400.0, 200.0, 300.0]


def test_two_supercells(tmp_path, monkeypatch):
    """All arrangements of the smaller cell are equivalent, and the random ones of the larger are those it has."""
    monkeypatch.setattr("alchemflows.sampling.starts.COOLING", (2.0, 0.5))
    maker = OrderDisorderTransitionMaker(
        **DEMO, relax_maker=None, n_replicas=2, n_equilibration_sweeps=1, n_production_sweeps=6, seed=3
    )
    flow = maker.make(MIXED, SIZES, TEMPERATURES_K)
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    outputs = run_locally(flow, store=store, create_folders=True, root_dir=tmp_path, ensure_success=True, log=False)
    document = outputs[flow.output.uuid][1].output
    assert [cell.supercell for cell in document.cells] == SIZES
    assert document.sampled_temperatures_K == [200.0, 300.0, 400.0] and document.formula == "KNaCl2"
    assert document.cells[0].order == pytest.approx(np.ones(101)) and document.cells[0].temperatures_K[0] == 200
    assert document.order_parameter.found and not document.verdict.converged
    starts = document.cells[1].starts
    difference = starts.random_eV.value - starts.lowest_eV
    assert document.estimate_K == pytest.approx(difference / (units.kB * Disorder(MIXED, SIZES[1]).entropy_kB))
    assert starts.lowest_eV <= min(document.cells[1].energy_eV) + 1e-9
    assert document.provenance.potential.name == "mace-demo" and document.provenance.wall_time_s > 0


def test_jobs():
    flow = OrderDisorderTransitionMaker(**DEMO, seed=1).make(MIXED, SIZES, TEMPERATURES_K, waves=[(0.5, 0, 0)])
    jobs = [job for job, _ in flow.iterflow()]
    assert sorted(job.name for job in jobs) == ["arrangements"] * 2 + ["relax mean-field"] * 2 + ["transition"]
    samplers = [job.function.__self__ for job in jobs if job.name == "arrangements"]
    assert all(each.settings.replica_exchange and each.temperatures_K == [200.0, 300.0, 400.0] for each in samplers)
    assert samplers[0].seed != samplers[1].seed
    assert [job.name for job in jobs if not job.config.manager_config] == ["transition"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"temperatures": [300, 400]}, "temperatures"),
        ({"temperatures": [300, 300, 400, 500]}, "temperatures"),
        ({"supercells": []}, "supercells"),
        ({"supercells": [(2, 1, 1), (1, 2, 1)]}, "supercells"),
        ({"supercells": [(1, 1, 1)]}, "supercell"),
        ({"waves": [(0.25, 0, 0)]}, "0.25"),
        ({"structure": Structure(Lattice.cubic(4.2), ["Na"], [[0, 0, 0]])}, "ordered"),
    ],
)
def test_invalid_input_is_refused(change, named):
    given = {"structure": MIXED, "supercells": SIZES, "temperatures": TEMPERATURES_K} | change
    with pytest.raises(InvalidInputError, match=named):
        OrderDisorderTransitionMaker(**DEMO).make(**given)


def test_a_failed_run_is_named():
    with pytest.raises(AlchemflowsError, match="failed"):
        TransitionMaker().make.original(TransitionMaker(), [Disorder(MIXED, SIZES[0])], [None])

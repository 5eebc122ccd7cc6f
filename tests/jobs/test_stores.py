"""Tests of errors before sampling: a store without `data`, and a checkpoint folder that is not writable."""

from __future__ import annotations

import pytest
from jobflow import SETTINGS, JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from alchemflows.errors import DatabaseError, InvalidInputError
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.monte_carlo import MonteCarloMaker
from alchemflows.flows.order_disorder import OrderDisorderMaker
from alchemflows.flows.switching import SwitchingMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.flows.vacancy import VacancyFreeEnergyMaker
from alchemflows.jobs import relax, resuming
from alchemflows.schemas.chemical_potentials import ChemicalPotentials

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
MIXED = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(6.0), [{"Na": 0.5, "K": 0.5}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)
DEMO = {"potential": "mace-demo", "relax_maker": None}
#: Number of steps. A job that samples this many does not end during the test.
LONG = 10**9
FLOWS = {
    "ti": lambda: ThermodynamicIntegrationMaker(n_production_steps=LONG, **DEMO).make(SALT, {"Na": "K"}),
    "switching": lambda: SwitchingMaker(n_switching_steps=LONG, **DEMO).make(SALT, {"Na": "K"}),
    "frenkel-ladd": lambda: FrenkelLaddMaker(n_switching_steps=LONG, pressure_GPa=None, **DEMO).make(SALT),
    "vacancy": lambda: VacancyFreeEnergyMaker(frenkel_ladd_maker=FrenkelLaddMaker(**DEMO)).make(
        SALT, chemical_potentials=ChemicalPotentials({"Na": -1.0})
    ),
}


@pytest.mark.parametrize("kind", ["ti", "switching", "frenkel-ladd"])
def test_a_store_without_data_is_refused_before_sampling(kind, tmp_path):
    store = JobStore(MemoryStore())
    with pytest.raises(Exception, match="data") as caught:
        run_locally(
            FLOWS[kind](), store=store, root_dir=tmp_path, create_folders=True, raise_immediately=True, log=False
        )
    assert isinstance(caught.value, DatabaseError)
    assert "additional_stores" in str(caught.value) and "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("progress*"))


RELAXED = {
    "ti": lambda: ThermodynamicIntegrationMaker(potential="mace-demo").make(SALT, {"Na": "K"}),
    "ti from λ = ½": lambda: ThermodynamicIntegrationMaker(potential="mace-demo", starts="middle").make(
        SALT, {"Na": "K"}
    ),
    "switching": lambda: SwitchingMaker(potential="mace-demo").make(SALT, {"Na": "K"}),
    "frenkel-ladd": lambda: FrenkelLaddMaker(potential="mace-demo").make(SALT),
    "monte-carlo": lambda: MonteCarloMaker(potential="mace-demo").make(MIXED, (2, 2, 2), [500.0]),
    "order-disorder": lambda: OrderDisorderMaker(
        potential="mace-demo", quasirandom=False, sampled_temperature_K=500.0
    ).make(MIXED, (1, 1, 1), {"ordered": [0, 0, 1]}),
}


@pytest.mark.parametrize("kind", RELAXED)
def test_a_store_without_data_is_refused_before_the_relaxation_of_what_is_sampled(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(relax, "run_in_this_job", lambda maker, structure: pytest.fail("the relaxation has started"))
    with pytest.raises(DatabaseError, match="additional store 'data'"):
        run_locally(
            RELAXED[kind](),
            store=JobStore(MemoryStore()),
            root_dir=tmp_path,
            create_folders=True,
            raise_immediately=True,
            log=False,
        )


@pytest.mark.parametrize("kind", FLOWS)
def test_every_job_that_stores_samples_has_access_to_its_store(kind):
    from alchemflows.jobs.frenkel_ladd import EinsteinSwitchesMaker
    from alchemflows.jobs.removal import RemovalMaker
    from alchemflows.jobs.switching import SwitchesMaker
    from alchemflows.jobs.windows import WindowsMaker

    makers = (EinsteinSwitchesMaker, SwitchesMaker, RemovalMaker, WindowsMaker)
    jobs = [job for job, _ in FLOWS[kind]().iterflow() if isinstance(job.maker, makers)]
    assert jobs and all(job.config.expose_store for job in jobs)


def test_default_store_of_jobflow_is_accepted(tmp_path, monkeypatch):
    monkeypatch.setattr(SETTINGS, "JOB_STORE", type(SETTINGS)().JOB_STORE)
    maker = SwitchingMaker(n_switching_steps=4, n_equilibration_steps=2, n_repeats=2, **DEMO)
    run_locally(
        maker.make(SALT, {"Na": "K"}), root_dir=tmp_path, create_folders=True, raise_immediately=True, log=False
    )


def test_unwritable_checkpoint_folder_is_refused_before_sampling(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(resuming, "checkpoint_folder", lambda settings: tmp_path / "file" / "job-1")
    with pytest.raises(InvalidInputError, match="file"), resuming.resumable():
        raise AssertionError("the job has started")

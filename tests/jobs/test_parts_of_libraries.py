"""Tests of the undocumented parts of jobflow, maggma, atomate2 and monty that this package uses.

If a test fails after an upgrade, `tests/test_house.py` names the file that uses each part.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import pytest
from atomate2.forcefields.jobs import ForceFieldRelaxMaker
from jobflow import CURRENT_JOB, Job, JobStore, Maker, Response, job, run_locally
from maggma.stores import MemoryStore, MongoStore
from monty.json import MSONable
from pymongo.collection import Collection

from alchemflows.jobs.jobflow_parts import forget_current_job, run_in_this_job, take_place_of
from alchemflows.schemas.base import OneString
from alchemflows.storage.database import collection_of


@dataclass
class CountMaker(Maker):
    """Maker that counts down by jobs that replace one another."""

    name: str = "count"

    @job
    def make(self, number: int):
        """Return 0, or replace this job with a job for the next lower number."""
        if number == 0:
            return 0
        current = CURRENT_JOB.job
        if current is None:
            return number
        again = self.make(number - 1)
        take_place_of(again, current)
        return Response(replace=again)


@dataclass
class PlainMaker(OneString):
    """A maker that is serialised as one string."""

    number: int = 3


def test_jobflow_keeps_the_undecorated_make():
    assert run_in_this_job(CountMaker(), 5) == 5
    assert hasattr(ForceFieldRelaxMaker.make, "original")


def test_replacing_job_has_the_identity_of_the_replaced_job():
    first = CountMaker().make(2)
    outputs = run_locally(first, store=JobStore(MemoryStore()), log=False, ensure_success=True)
    assert set(outputs) == {first.uuid}
    assert {index: response.output for index, response in outputs[first.uuid].items()}[3] == 0


def test_current_job_is_cleared():
    CURRENT_JOB.job = CountMaker().make(1)
    forget_current_job()
    assert CURRENT_JOB.job is None


@pytest.mark.parametrize("test", ["first", "second"])
def test_failed_job_is_not_the_current_job_of_the_next_test(test):
    assert CURRENT_JOB.job is None and CURRENT_JOB.store is None
    with pytest.raises(ZeroDivisionError):
        Job(divmod, function_args=(1, 0)).run(JobStore(MemoryStore()))
    assert CURRENT_JOB.job is not None  # the fixture `no_current_job` clears it


def test_store_gives_access_to_its_collection(shared_database):
    store = MongoStore.from_dict(shared_database.job_store.docs_store.as_dict())
    store.connect()
    assert isinstance(collection_of(store), Collection)
    assert collection_of(store).name == store.collection_name
    store.close()


def test_atomate2_stores_the_force_field_in_the_task_document():
    assert "task_document_kwargs" in {field.name for field in fields(ForceFieldRelaxMaker)}
    maker = ForceFieldRelaxMaker(force_field_name="CHGNet")
    assert "force_field_name" in maker.task_document_kwargs


def test_monty_adds_module_class_and_version():
    assert set(MSONable.as_dict(PlainMaker())) == {"@module", "@class", "@version", "number"}
    assert set(PlainMaker().as_dict()) == {"@module", "@class", "@version", "json"}
    assert PlainMaker.from_dict(PlainMaker(number=4).as_dict()).number == 4

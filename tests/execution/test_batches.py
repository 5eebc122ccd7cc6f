"""Sampling jobs of several tasks in one batch, on a real MongoDB."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from fireworks import FWorker
from jobflow import Job

from alchemflows.alchemy.joint import JointPotential
from alchemflows.campaign.specification import campaign_of, tasks
from alchemflows.campaign.status import campaign_status
from alchemflows.campaign.submission import submit_campaign
from alchemflows.execution.batches import claimed_jobs
from alchemflows.execution.worker import Worker
from alchemflows.jobs import resuming
from alchemflows.schemas.samples import PackedSeries
from alchemflows.storage.fireworks import read_jobs


@pytest.fixture
def submitted(database, gentle_model, perovskite, monkeypatch):
    """Return a function that submits a campaign of four tasks, whose jobs this process can run."""
    for name, value in database.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("jobflow.SETTINGS.JOB_STORE", database.job_store)

    def submit(name, jobs_per_batch):
        lengths = {"n_equilibration_steps": 10, "n_production_steps": 60, "n_windows": 2, "windows_per_job": 2}
        campaign = campaign_of(
            {
                "name": name,
                "structures": {"CsPbI3": {"structure": perovskite.as_dict()}},
                "transformations": {"PbSn": {"Pb": "Sn"}, "ICl": {"I": "Cl"}},
                "temperatures_K": [200.0, 250.0],
                "pressures_GPa": [0.0],
                "method": {"kind": "thermodynamic-integration", "settings": {"relax": False, **lengths}},
                "potential": {"name": str(gentle_model), "dtype": "float64", "device": "cpu"},
                "resources": {"jobs_per_batch": jobs_per_batch},
            }
        )
        assert submit_campaign(database, campaign, tasks(campaign)).n_new == 4

    return submit


def series(database, name):
    """Return the samples of each window of a campaign, by its task and λ."""
    query = {"output.@class": "WindowsDocument", "metadata.campaign.name": name}
    return {
        (row["metadata"]["campaign"]["task"], window["lambda_value"]): PackedSeries.read(window["series"]).unpack()
        for row in database.job_store.query(query, load=True)
        for window in row["output"]["windows"]
    }


@pytest.mark.slow
def test_jobs_of_a_campaign_in_one_batch_store_what_they_store_alone(database, submitted, tmp_path, monkeypatch):
    """The batch is interrupted once; each job then has its own document, and its task the key that it has alone."""
    said, sizes, evaluate = [], [], JointPotential.evaluate_members

    def counted(potential, requests, **wanted):
        sizes.append(len(requests))
        if len(sizes) == 40:
            resuming.request_stop()
        return evaluate(potential, requests, **wanted)

    monkeypatch.setattr(JointPotential, "evaluate_members", counted)
    worker = Worker(database.launchpad, FWorker(), tmp_path, sleep_s=0.1, report=said.append)
    submitted("together", 3)
    worker.run(until_idle=True)
    assert set(sizes) == {3} and any("returned to the queue" in line for line in said)
    states = sum((row.states for row in campaign_status(database, "together")), Counter())
    assert states == {"READY": 4, "WAITING": 4}
    worker.run(until_idle=True)
    assert 3 * 70 < sum(sizes) < 3 * 85  # not from the beginning, and the fourth job alone
    assert len([line for line in said if "in one batch with" in line]) == 2
    submitted("alone", 1)
    worker.run(until_idle=True)
    together, alone = series(database, "together"), series(database, "alone")
    assert together.keys() == alone.keys() and len(alone) == 8
    for key, one in alone.items():
        np.testing.assert_allclose(together[key].energies_eV, one.energies_eV, rtol=1e-6)
        np.testing.assert_allclose(together[key].volume_A3, one.volume_A3, rtol=1e-6)
    for name in ("together", "alone"):
        states = sum((row.states for row in campaign_status(database, name)), Counter())
        assert states == {"COMPLETED": 8}


def test_a_job_without_the_setting_does_not_ask_the_database(monkeypatch):
    job = Job(print, metadata={"fw_id": 3})
    monkeypatch.setattr("jobflow.CURRENT_JOB.job", job)
    with claimed_jobs(None, FWorker(), print, lambda other: True) as jobs:  # no database would be an error
        assert jobs == []
    job.config.manager_config["batch"] = {"key": "one", "n_jobs": 2}
    with pytest.raises(AttributeError), claimed_jobs(None, FWorker(), print, lambda other: True):
        pass


@pytest.mark.slow
def test_jobs_are_held_while_they_are_sampled_and_returned_then(database, submitted, monkeypatch):
    submitted("together", 3)
    launchpad, rejected = database.launchpad, []
    first = launchpad.fireworks.find_one({"state": "READY"}, sort=[("fw_id", 1)])["fw_id"]
    (job,) = read_jobs(launchpad, [first])
    job.metadata["fw_id"] = first
    launchpad.fireworks.update_one({"fw_id": first}, {"$set": {"state": "RUNNING"}})
    monkeypatch.setattr("jobflow.CURRENT_JOB.job", job)

    def accepts(other):
        if not rejected:
            rejected.append(other.uuid)
            return False
        return True

    def count(state):
        return launchpad.fireworks.count_documents({"state": state})

    with claimed_jobs(launchpad, FWorker(), lambda line: None, accepts) as jobs:
        assert len(jobs) == 2 and rejected[0] not in {other.uuid for other in jobs}
        assert (count("RESERVED"), count("READY")) == (2, 1)
        with claimed_jobs(launchpad, FWorker(category="other"), lambda line: None, accepts) as others:
            assert others == []
    assert (count("RESERVED"), count("READY")) == (0, 3)

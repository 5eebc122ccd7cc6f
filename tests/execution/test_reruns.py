"""Which jobs count as lost or failed, and how often they are rerun."""

from __future__ import annotations

import pytest
from firetasks import Run
from fireworks import Firework, FWorker, Workflow
from fireworks.core.rocket_launcher import launch_rocket

from alchemflows.campaign.submission import retry
from alchemflows.execution.reruns import RerunPolicy, can_be_rerun, is_needed, was_interrupted
from alchemflows.storage.fireworks import Attempts, Launch, Relatives

POLICY = RerunPolicy(retries=2, lost_retries=3, worker_restarts=1)


def test_reruns_are_used_up():
    assert [POLICY.reruns_failed(Attempts(n, 0)) for n in (1, 2, 3)] == [True, True, False]
    assert [POLICY.reruns_failed(Attempts(1, n)) for n in (3, 4)] == [True, False]
    assert [POLICY.reruns_lost(Attempts(9, n)) for n in (2, 3)] == [True, False]
    assert [POLICY.restarts_worker(n) for n in (0, 1)] == [True, False]


@pytest.mark.parametrize(
    ("state", "error", "interrupted"),
    [
        ("RUNNING", None, True),
        ("FIZZLED", "pymongo.errors.AutoReconnect: connection closed", True),
        ("FIZZLED", "alchemflows.errors.RunStoppedError: stopped", True),
        ("FIZZLED", "ValueError: AutoReconnect", False),
        ("FIZZLED", None, False),
        ("COMPLETED", None, False),
    ],
)
def test_a_job_that_was_interrupted_is_not_at_fault(state, error, interrupted):
    assert was_interrupted(Launch(1, 1, state, "node", "/launches", error)) is interrupted


@pytest.mark.parametrize(
    ("around", "can", "needed"),
    [
        (Relatives("FIZZLED", {"COMPLETED"}, {"WAITING"}), True, True),
        (Relatives("FIZZLED", {"FIZZLED"}, set()), False, True),
        (Relatives("RUNNING", set(), {"RUNNING", "WAITING"}), False, True),
        (Relatives("RUNNING", set(), {"RESERVED"}), False, True),
        (Relatives("COMPLETED", set(), {"COMPLETED"}), True, False),
        (Relatives("DEFUSED", set(), set()), True, False),
        (None, False, False),
    ],
)
def test_a_rerun_depends_on_jobs_before_and_after(around, can, needed):
    assert (can_be_rerun(around), is_needed(around)) == (can, needed)


def test_a_campaign_retries_by_the_same_policy(database, tmp_path, monkeypatch):
    """A failed job is rerun only after a dependent job that runs without its output has ended."""
    monkeypatch.chdir(tmp_path)
    launchpad = database.launchpad
    labels = {"campaign": {"name": "small"}}
    failing = Firework(Run(command="false"), spec=dict(labels))
    without = Firework(Run(command="true"), spec={**labels, "_allow_fizzled_parents": True})
    temporary = [failing.fw_id, without.fw_id]
    ids = launchpad.add_wf(Workflow([failing, without], {failing: [without]}))
    first, second = (ids[each] for each in temporary)
    launch_rocket(launchpad, FWorker(), fw_id=first, strm_lvl="CRITICAL")
    _, launch = launchpad.checkout_fw(FWorker(), str(tmp_path), fw_id=second)
    assert retry(database, "other") == 0
    assert retry(database, "small") == 0
    launchpad.mark_fizzled(launch)
    assert retry(database, "small") == 1  # the second follows the first
    states = {row["fw_id"]: row["state"] for row in launchpad.fireworks.find({}, {"fw_id": 1, "state": 1})}
    assert states == {first: "READY", second: "WAITING"}

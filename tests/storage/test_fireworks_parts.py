"""What this package uses of FireWorks beyond its documented calls, as the installed version has it.

If one of these fails after an upgrade: what has to be changed is in `alchemflows/storage/fireworks.py`.
"""

from __future__ import annotations

import inspect
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier

import pytest
from firetasks import Run
from fireworks import Firework, FWorker, LaunchPad, Workflow
from fireworks.core import launchpad as fireworks_launchpad
from fireworks.core import rocket
from fireworks.core.launchpad import WFLock
from fireworks.core.rocket_launcher import launch_rocket
from fireworks.utilities import fw_utilities
from jobflow import Flow, job
from jobflow.managers.fireworks import flow_to_workflow
from pymongo.errors import AutoReconnect

from alchemflows.errors import DatabaseError
from alchemflows.storage import fireworks
from alchemflows.storage.fireworks import Attempts, Relatives


@job
def add_one(number: int) -> int:
    """Return the next number."""
    return number + 1


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("launches")


@pytest.fixture
def launchpad(shared_database) -> LaunchPad:
    return shared_database.launchpad


@pytest.fixture(scope="module")
def failed(shared_database, workdir):
    """Return the ids of a job that failed in a real launch, and of one that waits for it."""
    first, second = Firework(Run(command="false"), name="first"), Firework(Run(command="true"), name="second")
    temporary = [first.fw_id, second.fw_id]
    launchpad = shared_database.launchpad
    ids = launchpad.add_wf(Workflow([first, second], {first: [second]}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workdir)
        launch_rocket(launchpad, FWorker(), fw_id=ids[temporary[0]], strm_lvl="CRITICAL")
    return [ids[each] for each in temporary]


def names(function) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_replaced_functions_have_the_signatures_of_their_replacements():
    assert names(WFLock.__init__) == ["self", "lp", "fw_id", "expire_secs", "kill"]
    assert fireworks_launchpad.WFLock is WFLock
    assert names(rocket.ping_launch) == ["launchpad", "launch_id", "stop_event", "master_thread"]
    assert names(rocket.do_ping) == ["launchpad", "launch_id"]
    assert isinstance(rocket.PING_TIME_SECS, int | float)
    # Both are looked up where they are used, so that a replacement is seen.
    assert "ping_launch" in rocket.start_ping_launch.__code__.co_names
    assert "WFLock" in LaunchPad._refresh_wf.__code__.co_names
    wanted = {"expiration_secs", "fizzle", "rerun", "refresh", "query", "launch_query"}
    assert wanted <= set(names(LaunchPad.detect_lostruns))


def test_the_logger_of_a_launchpad_shows_only_errors(launchpad):
    before = launchpad.m_logger.level
    try:
        fireworks.log_only_errors()
        assert launchpad.m_logger.level == logging.ERROR, f"FireWorks logs to {launchpad.m_logger.name}"
    finally:
        launchpad.m_logger.setLevel(before)


def test_what_fireworks_logs_about_a_job_goes_only_to_its_files(launchpad, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fw_utilities, "PREVIOUS_STREAM_LOGGERS", [])
    monkeypatch.setattr(fw_utilities, "PREVIOUS_FILE_LOGGERS", [])
    monkeypatch.setattr(launchpad, "logdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("rocket.launcher")
    before, logger.handlers = logger.handlers, []
    try:
        ids = launchpad.add_wf(Workflow([Firework(Run(command="true")) for _ in range(2)]))
        said = []
        for fw_id in ids.values():
            launch_rocket(launchpad, FWorker(), fw_id=fw_id)
            said.append(capsys.readouterr().out)
            fireworks.print_only_warnings()
        for handler in logger.handlers:
            handler.close()
    finally:
        logger.handlers = before
    assert "Task completed" in said[0] and not said[1]
    assert (tmp_path / "rocket_launcher-debug.log").read_text().count("Task completed") == 2


def test_the_lock_is_a_field_of_the_workflow(launchpad, failed):
    with WFLock(launchpad, failed[0]):
        assert launchpad.workflows.find_one({"nodes": failed[0]})["locked"] is True
    assert "locked" not in launchpad.workflows.find_one({"nodes": failed[0]})
    launchpad.workflows.update_one({"nodes": failed[0]}, {"$set": {"locked": True}})
    fireworks.unlock(launchpad, failed[:1], 0.0)
    assert "locked" not in launchpad.workflows.find_one({"nodes": failed[0]})


def test_a_failed_launch_has_its_stack_trace(launchpad, failed, workdir):
    (launch,) = launchpad.launches.find({"fw_id": failed[0]})
    assert set(launch["action"]["stored_data"]["_exception"]) == {"_stacktrace", "_details"}
    (found,) = fireworks.last_launches(launchpad, fireworks.jobs_by_id(launchpad, failed)).values()
    assert (found.fw_id, found.state, found.folder) == (failed[0], "FIZZLED", str(workdir))
    assert found.error_class == "CalledProcessError"
    assert found.error and "exit status 1" in found.error
    assert found.host == launch["host"] != ""
    assert fireworks.launch_in(launchpad, [str(workdir)]) == found
    (stored,) = fireworks.jobs_by_id(launchpad, failed[:1])
    assert fireworks.job_of(launchpad, found) == stored
    assert fireworks.attempts(launchpad, stored) == Attempts(1, 0)


def test_a_workflow_has_links_and_states(launchpad, failed):
    states = {each.fw_id: each.state for each in fireworks.jobs_by_id(launchpad, failed)}
    assert states == dict(zip(failed, ("FIZZLED", "WAITING"), strict=True))
    assert fireworks.relatives(launchpad, failed[0]) == Relatives("FIZZLED", set(), {"WAITING"})
    assert fireworks.relatives(launchpad, failed[1]) == Relatives("FIZZLED", {"FIZZLED"}, set())
    assert fireworks.relatives(launchpad, 10**9) is None
    assert fireworks.members(launchpad, failed[:1]) == (failed, False)


def test_a_rerun_archives_launches(database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    launchpad = database.launchpad
    launchpad.add_wf(Workflow([Firework(Run(command="false"))]))
    launch_rocket(launchpad, FWorker(), strm_lvl="CRITICAL")
    launchpad.rerun_fw(1)
    (job_,) = fireworks.jobs_by_id(launchpad, [1])
    assert (job_.state, job_.launches, job_.earlier_launches) == ("READY", [], [1])
    assert fireworks.attempts(launchpad, job_) == Attempts(1, 0)
    # A launch that is lost has no exception.
    _, launch = launchpad.checkout_fw(FWorker(), str(tmp_path))
    launchpad.detect_lostruns(expiration_secs=0, fizzle=True)
    (job_,) = fireworks.jobs_by_id(launchpad, [1])
    assert (job_.state, job_.launches) == ("FIZZLED", [launch])
    assert fireworks.attempts(launchpad, job_) == Attempts(1, 1)


def test_a_job_that_was_taken_has_a_date_and_no_launch(database):
    """FireWorks reserves a job before it stores the launch; this is the state in between."""
    launchpad = database.launchpad
    launchpad.add_wf(Workflow([Firework(Run(command="true"))]))
    firework = launchpad._get_a_fw_to_run()
    stored = launchpad.fireworks.find_one({"fw_id": firework.fw_id})
    assert (stored["state"], stored["launches"]) == ("RESERVED", [])
    assert isinstance(stored["updated_on"], datetime)
    assert fireworks.any_taken(launchpad, [1])
    assert fireworks.taken_and_not_started(launchpad, 60.0) == []
    assert fireworks.make_ready(launchpad, [1], 0.0) == 1
    assert fireworks.n_ready(launchpad, FWorker()) == 1


@pytest.fixture
def ready(launchpad, request):
    """Return the ids of six ready jobs, whose key of a batch is the name of the test."""
    ids = []
    for _ in range(6):
        workflow = flow_to_workflow(Flow([add_one(1)]))
        (firework,) = workflow.fws
        firework.spec["batch"] = {"key": request.node.name}
        ids += launchpad.add_wf(workflow).values()
    return sorted(ids)


def states_of(launchpad, fw_ids) -> list[str]:
    return [each.state for each in fireworks.jobs_by_id(launchpad, fw_ids)]


def test_two_workers_never_claim_the_same_job(launchpad, ready, request, monkeypatch):
    key, take, both_know_all = request.node.name, fireworks._take, Barrier(2, timeout=10.0)
    tried = []

    def together(launchpad, fw_id):
        if fw_id == ready[0]:
            both_know_all.wait()
        tried.append(take(launchpad, fw_id))
        return tried[-1]

    monkeypatch.setattr(fireworks, "_take", together)
    with ThreadPoolExecutor(2) as pool:
        claims = [pool.submit(fireworks.claim, launchpad, FWorker(), key, 3, lambda _: True) for _ in range(2)]
        first, second = (claim.result() for claim in claims)
    assert len(first) == len(second) == 3 and sorted([*first, *second]) == ready
    assert not all(tried)  # they wanted the same jobs
    assert set(states_of(launchpad, ready)) == {"RESERVED"}
    assert fireworks.claim(launchpad, FWorker(), key, 3, lambda _: True) == {}


def test_claimed_jobs_return_unless_they_were_paused_or_cancelled(launchpad, ready, request):
    asked = []

    def not_the_first(job):
        asked.append(job)
        return len(asked) > 1

    assert list(fireworks.claim(launchpad, FWorker(), request.node.name, 3, not_the_first)) == ready[1:4]
    launchpad.pause_fw(ready[1])
    launchpad.defuse_fw(ready[2])
    fireworks.keep_claimed(launchpad, ready)
    # A supervisor returns those that a killed worker held, but not while a worker says that it holds them.
    assert fireworks.make_ready(launchpad, ready, 60.0) == 0
    assert fireworks.make_ready(launchpad, ready, 0.0) == 1
    assert states_of(launchpad, ready) == ["READY", "PAUSED", "DEFUSED", "READY", "READY", "READY"]


def test_a_claim_that_loses_the_database_holds_no_job(launchpad, ready, request, monkeypatch):
    read = fireworks.read_jobs

    def once(launchpad, fw_ids):
        monkeypatch.setattr(fireworks, "read_jobs", lost)
        return read(launchpad, fw_ids)

    def lost(*_):
        assert states_of(launchpad, ready).count("RESERVED") == 2
        raise AutoReconnect("away")

    monkeypatch.setattr(fireworks, "read_jobs", once)
    with pytest.raises(AutoReconnect):
        fireworks.claim(launchpad, FWorker(), request.node.name, 3, lambda _: True)
    assert set(states_of(launchpad, ready)) == {"READY"}


def test_a_flow_has_its_jobs_in_the_tasks(database):
    first = add_one(1)
    flow = Flow([first, add_one(first.output)])
    flow.update_metadata({"campaign": {"name": "numbers", "task": "one"}})
    workflow = flow_to_workflow(flow, metadata={"campaign": {"name": "numbers", "task": "key", "n_runs": 2}})
    assert [each.uuid for _, each in fireworks.jobs_of(workflow)] == [each.uuid for each in flow.jobs]
    for firework, _ in fireworks.jobs_of(workflow):
        fireworks.add_to_spec(firework, {"_category": "gpu"}, {"n_atom_steps": 3})
    launchpad = database.launchpad
    ids = sorted(launchpad.add_wf(workflow).values())
    stored = fireworks.jobs_by_uuid(launchpad, [each.uuid for each in flow.jobs])
    assert sorted(uuid for each in stored for uuid in each.uuids) == sorted((each.uuid, 1) for each in flow.jobs)
    assert {each.labels["n_atom_steps"] for each in stored} == {3}
    # Jobs that one of them adds have the flow's identifier among their hosts, and are found by it.
    query = fireworks.worker_query(launchpad, ids[:1])
    assert [each.fw_id for each in fireworks.find_jobs(launchpad, query)] == ids
    counts = list(fireworks.count_states(launchpad, "numbers", ["task"]))
    assert sorted(counts) == [(("one",), "READY", 1, 3), (("one",), "WAITING", 1, 3)]
    assert fireworks.campaign_names(launchpad) == ["numbers"]
    assert fireworks.submitted_tasks(launchpad, "numbers") == {"key": 2}
    assert fireworks.unfinished_tasks(launchpad, "numbers", ["key", "other"]) == {"key"}


def test_indexes_belong_to_existing_collections(launchpad, failed):
    there = set(fireworks.database_of(launchpad).list_collection_names())
    assert {"fireworks", "workflows", "launches", "fw_id_assigner"} <= there
    for rights in fireworks.RIGHTS.values():
        assert set(rights) <= there | set(fireworks.LARGE_ACTIONS) | {"offline_runs"}


def test_a_killed_submission_leaves_no_jobs_without_a_workflow(launchpad, monkeypatch):
    """The workflow is added first; a later submission of the campaign removes what is incomplete."""
    flow = Flow([add_one(1)])
    flow.update_metadata({"campaign": {"name": "killed"}})
    workflow = flow_to_workflow(flow, metadata={"campaign": {"name": "killed"}})

    def killed(self, documents):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(launchpad.fireworks), "insert_many", _only(launchpad.fireworks.name, killed))
        with pytest.raises(KeyboardInterrupt):
            fireworks.add_workflows(launchpad, [workflow])
    assert launchpad.fireworks.count_documents({"spec.campaign.name": "killed"}) == 0
    assert launchpad.workflows.count_documents({"metadata.campaign.name": "killed"}) == 1
    fireworks.remove_incomplete(launchpad, "killed")
    assert launchpad.workflows.count_documents({"metadata.campaign.name": "killed"}) == 0
    again = flow_to_workflow(flow, metadata={"campaign": {"name": "killed"}})
    fireworks.add_workflows(launchpad, [again])
    assert [each.fw_id for each in again.fws] == launchpad.get_fw_ids({"spec.campaign.name": "killed"})


def _only(collection: str, replacement):
    """Return a method of collections that is replaced for one of them."""
    from pymongo.collection import Collection

    original = Collection.insert_many

    def chosen(self, documents, *arguments, **options):
        of_one = self.name == collection
        return replacement(self, documents) if of_one else original(self, documents, *arguments, **options)

    return chosen


def test_workflows_need_an_initialised_launchpad(launchpad, monkeypatch):
    class Empty:
        def find_one(self, *_):
            return None

    monkeypatch.setattr(launchpad, "fw_id_assigner", Empty())
    with pytest.raises(DatabaseError, match="lpad reset"):
        fireworks.add_workflows(launchpad, [])

"""The supervisor on a real MongoDB: lost runs, poisoned jobs, a queue, and an unreachable database."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command_line import StartedCommand, assert_one_line, run_command
from firetasks import Run
from fireworks import Firework, FWAction, FWorker, LaunchPad, Workflow
from fireworks.core.rocket_launcher import launch_rocket, rapidfire
from jobflow import Flow
from jobflow.managers.fireworks import flow_to_workflow
from paced import pause

from alchemflows.errors import InvalidInputError
from alchemflows.execution.reruns import RerunPolicy
from alchemflows.execution.supervisor import Queue, Supervisor
from alchemflows.storage.database import Database
from alchemflows.storage.mongod import PrivateMongod

GOOD = Run(command="true")
POISON = Run(command="false")
#: For commands that load jobs.
PYTHONPATH = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture
def launchpad(request) -> LaunchPad:
    """Return the LaunchPad of the test's own database if it has one, else that of the module's, without jobs."""
    if "database" in request.fixturenames:
        return request.getfixturevalue("database").launchpad
    launchpad = request.getfixturevalue("shared_database").launchpad
    launchpad.reset("", require_password=False)
    return launchpad


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(launchpad, said) -> Supervisor:
    return Supervisor(launchpad, said.append, RerunPolicy(retries=2, lost_retries=2, lost_after_s=60))


@pytest.fixture
def work(launchpad, tmp_path, monkeypatch) -> Callable[[], None]:
    """Return what does all jobs that are ready."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return lambda: rapidfire(launchpad, FWorker(), sleep_time=1, strm_lvl="CRITICAL")


def add(launchpad: LaunchPad, *fireworks: Firework, links: dict | None = None) -> list[int]:
    temporary = [firework.fw_id for firework in fireworks]
    ids = launchpad.add_wf(Workflow(list(fireworks), links))
    return [ids[fw_id] for fw_id in temporary]


def state(launchpad: LaunchPad, fw_id: int) -> str:
    return launchpad.fireworks.find_one({"fw_id": fw_id})["state"]


def be_silent(launchpad: LaunchPad, launch_id: int, seconds: float) -> None:
    """Set the last heartbeat of a launch to a time in the past."""
    then = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
    launchpad.launches.update_one(
        {"launch_id": launch_id},
        {"$set": {"state_history.$[run].updated_on": then}},
        array_filters=[{"run.state": "RUNNING"}],
    )


def test_a_lost_job_is_rerun_and_a_running_one_is_not(launchpad, supervisor, said, work, tmp_path):
    lost, alive = (add(launchpad, Firework(GOOD, name=name))[0] for name in ("lost", "alive"))
    launches = [launchpad.checkout_fw(FWorker(name="node"), str(tmp_path), fw_id=fw_id)[1] for fw_id in (lost, alive)]
    be_silent(launchpad, launches[0], 61)
    be_silent(launchpad, launches[1], 30)
    assert supervisor.look()
    assert said == [f"job {lost} (lost) is lost: run again (failed 0, lost 1 times)"]
    assert [state(launchpad, fw_id) for fw_id in (lost, alive)] == ["READY", "RUNNING"]
    work()
    assert supervisor.look() and len(said) == 1
    assert state(launchpad, lost) == "COMPLETED"


def test_a_job_that_kills_its_workers_is_not_run_again(launchpad, supervisor, said, tmp_path):
    (deadly,) = add(launchpad, Firework(GOOD, name="deadly"))
    for _ in range(3):
        _, launch = launchpad.checkout_fw(FWorker(name="node"), str(tmp_path), fw_id=deadly)
        be_silent(launchpad, launch, 61)
        supervisor.look()
    supervisor.look()
    assert said == [
        f"job {deadly} (deadly) is lost: run again (failed 0, lost 1 times)",
        f"job {deadly} (deadly) is lost: run again (failed 0, lost 2 times)",
        f"job {deadly} (deadly) is not run again (failed 0, lost 3 times): reason unknown",
    ]
    assert state(launchpad, deadly) == "FIZZLED"


def test_a_poisoned_job_is_not_run_again_and_the_others_are_completed(launchpad, supervisor, said, work):
    poison, after = Firework(POISON, name="poison"), Firework(GOOD, name="after")
    fw_ids = add(launchpad, poison, after, links={poison: [after]})
    others = [add(launchpad, Firework(GOOD))[0] for _ in range(2)]
    for _ in range(5):
        work()
        supervisor.look()

    assert [line.partition("(poison) ")[2].partition("Command")[0] for line in said] == [
        "has failed: run again (failed 1, lost 0 times): subprocess.CalledProcessError: ",
        "has failed: run again (failed 2, lost 0 times): subprocess.CalledProcessError: ",
        "is not run again (failed 3, lost 0 times): subprocess.CalledProcessError: ",
    ]
    assert launchpad.launches.count_documents({"fw_id": fw_ids[0]}) == 3
    assert [state(launchpad, fw_id) for fw_id in fw_ids] == ["FIZZLED", "WAITING"]
    assert {state(launchpad, fw_id) for fw_id in others} == {"COMPLETED"}
    # As from cron: another process counts the same.
    again: list[str] = []
    Supervisor(launchpad, again.append, supervisor.policy).look()
    assert again == said[-1:] and state(launchpad, fw_ids[0]) == "FIZZLED"


def test_a_job_that_fails_once_is_completed_with_those_behind_it(launchpad, supervisor, said, work, tmp_path):
    fails_once = Firework(Run(command=f"test -e {tmp_path}/needed"), name="first")
    after = Firework(GOOD, name="after")
    fw_ids = add(launchpad, fails_once, after, links={fails_once: [after]})
    work()
    (tmp_path / "needed").touch()
    supervisor.look()
    work()
    assert [state(launchpad, fw_id) for fw_id in fw_ids] == ["COMPLETED", "COMPLETED"]
    assert len(said) == 1 and "CalledProcessError" in said[0]


def test_a_failure_that_others_do_without_is_rerun_only_while_they_wait(launchpad, supervisor, said, work, tmp_path):
    """A comparison of phases runs with the available results, although some of its parents have failed."""
    poison = Firework(POISON, name="poison")
    follows = Firework(POISON, {"_allow_fizzled_parents": True}, name="follows")
    last = Firework(GOOD, {"_allow_fizzled_parents": True}, name="last")
    fw_ids = add(launchpad, poison, follows, last, links={poison: [follows], follows: [last]})
    for fw_id in fw_ids[:2]:
        rapidfire_one(launchpad, fw_id)
    launchpad.checkout_fw(FWorker(name="node"), str(tmp_path), fw_id=fw_ids[2])
    supervisor.look()  # a running job that depends on it is not disturbed
    assert said == [] and state(launchpad, fw_ids[2]) == "RUNNING"
    launchpad.detect_lostruns(expiration_secs=0, rerun=True)
    supervisor.look()  # the first one, which the second follows
    assert len(said) == 1 and "(poison)" in said[0]
    assert [state(launchpad, fw_id) for fw_id in fw_ids] == ["READY", "WAITING", "WAITING"]
    work()
    assert [state(launchpad, fw_id) for fw_id in fw_ids] == ["FIZZLED", "FIZZLED", "COMPLETED"]
    supervisor.look()  # the workflow is completed without it
    assert len(said) == 1


def test_a_job_that_cannot_be_imported_here_does_not_keep_others_waiting(launchpad, supervisor, said, work):
    foreign, own = (add(launchpad, Firework(POISON, name=name))[0] for name in ("foreign", "own"))
    work()
    launchpad.fireworks.update_one({"fw_id": foreign}, {"$set": {"spec._tasks.0._fw_name": "{{of_a_colleague.Task}}"}})
    supervisor.look()
    supervisor.look()
    assert [line.partition(":")[0] for line in said] == [
        f"job {foreign} (foreign) cannot be checked now",
        f"job {own} (own) has failed",
    ]
    assert [state(launchpad, fw_id) for fw_id in (foreign, own)] == ["FIZZLED", "READY"]


def test_an_unreadable_job_does_not_end_the_supervisor(launchpad, supervisor, said, tmp_path):
    """The worker died after the launch ended and before the job did; FireWorks cannot read such a job."""
    (fw_id,) = add(launchpad, Firework(GOOD, name="unsaid"))
    _, launch = launchpad.checkout_fw(FWorker(name="node"), str(tmp_path), fw_id=fw_id)
    launchpad.launches.update_one(
        {"launch_id": launch}, {"$set": {"state": "COMPLETED", "action": FWAction().to_dict()}}
    )
    task = launchpad.fireworks.find_one({"fw_id": fw_id})["spec"]["_tasks"][0]["_fw_name"]
    foreign = {"$set": {"spec._tasks.0._fw_name": "{{of_a_colleague.Task}}"}}
    launchpad.fireworks.update_one({"fw_id": fw_id}, foreign)
    assert supervisor.look()
    problem = f"job {fw_id} (unsaid) cannot be checked now: ModuleNotFoundError: No module named 'of_a_colleague'"
    assert said == [problem]
    launchpad.fireworks.update_one({"fw_id": fw_id}, {"$set": {"spec._tasks.0._fw_name": task, "state": "RUNNING"}})
    assert supervisor.look()
    assert state(launchpad, fw_id) == "COMPLETED"


def test_a_job_whose_worker_died_as_it_took_it_is_ready_again(launchpad, supervisor, said, work, monkeypatch):
    """FireWorks marks a job as reserved before it stores the launch."""
    (fw_id,) = add(launchpad, Firework(GOOD, name="taken"))
    with monkeypatch.context() as patch:
        patch.setattr(launchpad, "get_new_launch_id", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            launchpad.checkout_fw(FWorker(name="node"), "here")
    assert state(launchpad, fw_id) == "RESERVED"
    supervisor.look()
    assert said == [] and state(launchpad, fw_id) == "RESERVED"  # it may have been taken just now
    then = {"$set": {"updated_on": datetime.now(UTC) - timedelta(seconds=61)}}
    launchpad.fireworks.update_one({"fw_id": fw_id}, then)
    supervisor.look()
    assert said == [f"job {fw_id} (taken) was taken but did not start: returned to the queue"]
    work()
    assert state(launchpad, fw_id) == "COMPLETED"


def test_a_job_that_waits_in_a_queue_is_left_alone(launchpad, supervisor, said, tmp_path):
    (fw_id,) = add(launchpad, Firework(GOOD, name="queued"))
    launchpad.reserve_fw(FWorker(name="node"), str(tmp_path))
    then = {"$set": {"updated_on": datetime.now(UTC) - timedelta(days=3)}}
    launchpad.fireworks.update_one({"fw_id": fw_id}, then)
    supervisor.look()
    assert said == [] and state(launchpad, fw_id) == "RESERVED"


def rapidfire_one(launchpad: LaunchPad, fw_id: int) -> None:
    launch_rocket(launchpad, FWorker(), fw_id=fw_id, strm_lvl="CRITICAL")


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.1)


@pytest.fixture
def supervise(database, tmp_path) -> Iterator[Callable[..., Callable[[], list[str]]]]:
    """Return what starts the command, which looks every second; it returns what reads the lines of its log."""
    processes: list[StartedCommand] = []
    log = tmp_path / "log"

    def lines() -> list[str]:
        assert processes[0].poll() is None
        said = log.read_text().splitlines()
        assert all(datetime.fromisoformat(line[:19]) for line in said)
        return [line[20:] for line in said]

    def start(*arguments: object, **more: str) -> Callable[[], list[str]]:
        command = ["supervise", "--interval", "1", *arguments]
        home = {"ALCHEMFLOWS_HOME": str(tmp_path / "home")}
        environment = os.environ | database.environment | PYTHONPATH | home | more
        errors = tmp_path / "errors"  # log of FireWorks
        processes.append(StartedCommand(command, Path.cwd(), environment, log, errors))
        return lines

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def queue(tmp_path, monkeypatch) -> Path:
    """Make commands of a SLURM that runs no job; return the file that lists its batch jobs, one per line."""
    jobs = tmp_path / "jobs"
    jobs.touch()
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "squeue").write_text(f"#!/bin/sh\ncat {jobs}\n")
    (programs / "sbatch").write_text(f'#!/bin/sh\necho job >>{jobs}\necho "Submitted batch job $(wc -l <{jobs})"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    adapter = {"_fw_name": "CommonAdapter", "_fw_q_type": "SLURM", "rocket_launch": "rlaunch rapidfire"}
    (tmp_path / "qadapter.yaml").write_text(json.dumps(adapter))
    (tmp_path / "fworker.yaml").write_text(json.dumps({"name": "gpu", "category": ["gpu"], "query": "{}"}))
    return jobs


@pytest.mark.slow
def test_the_queue_is_filled_as_long_as_jobs_are_ready(launchpad, queue, supervise, tmp_path):
    files = ["-q", tmp_path / "qadapter.yaml", "-w", tmp_path / "fworker.yaml", "-d", tmp_path / "batch", "-m", 3]
    add(launchpad, Firework(GOOD))  # an analysis: no work for a GPU
    for _ in range(2):
        add(launchpad, Firework(GOOD, {"_category": "gpu"}))
    lines = supervise(*files)
    wait_for(lambda: len(lines()) >= 2)
    time.sleep(3)  # time for one that would be too many
    assert lines() == ["submitted 2 batch jobs: 1, 2", "submitted 1 batch jobs: 3"]
    assert len(queue.read_text().splitlines()) == 3
    assert len(list((tmp_path / "batch").glob("launcher_*/FW_submit.script"))) == 3
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\nexit 1\n")
    queue.write_text("")
    wait_for(lambda: "rejected a batch job" in lines()[-1])
    assert "Error in job submission with SLURM" in (tmp_path / "errors").read_text()
    (tmp_path / "bin" / "squeue").write_text("#!/bin/sh\nexit 1\n")
    wait_for(lambda: "the queue does not report" in lines()[-1])


def test_files_for_the_queue_are_checked(queue, tmp_path):
    with pytest.raises(InvalidInputError, match=r"missing\.yaml"):
        Queue(tmp_path / "missing.yaml", tmp_path / "fworker.yaml", 1, tmp_path)
    with pytest.raises(InvalidInputError, match=r"fworker\.yaml"):
        Queue(tmp_path / "fworker.yaml", tmp_path / "fworker.yaml", 1, tmp_path)


@pytest.mark.slow
def test_command_outlives_an_unreachable_database(launchpad, work, supervise, tmp_path):
    lines = supervise("--retries", 1)
    (first,) = add(launchpad, Firework(POISON, name="first"))
    rapidfire_one(launchpad, first)  # once, though the command makes the job ready again at any time
    wait_for(lambda: len(lines()) == 1)
    server = PrivateMongod(tmp_path / "home")
    server.stop()
    wait_for(lambda: len(lines()) == 2)
    time.sleep(8)  # time for a second look in vain
    server.start()
    wait_for(lambda: len(lines()) == 3)
    rapidfire_one(launchpad, first)
    wait_for(lambda: len(lines()) == 4)
    beginnings = [
        f"job {first} (first) has failed: run again",
        "the database does not answer (",
        "the database answers again",
        f"job {first} (first) is not run again",
    ]
    assert all(line.startswith(beginning) for line, beginning in zip(lines(), beginnings, strict=True)), lines()


def move_configuration(database: Database, tmp_path: Path) -> dict[str, str]:
    """Move the configuration so that the database is no longer the private one and is not started; return variables."""
    (tmp_path / "home" / "config").rename(tmp_path / "config")
    for path in (tmp_path / "config").iterdir():
        path.write_text(path.read_text().replace("/home/config/", "/config/"))
    return {name: value.replace("/home/config/", "/config/") for name, value in database.environment.items()}


@pytest.mark.slow
def test_command_waits_for_a_database_unreachable_at_its_start(database, launchpad, work, supervise, tmp_path):
    (first,) = add(launchpad, Firework(POISON, name="first"))
    work()
    server = PrivateMongod(tmp_path / "home")
    server.stop()
    moved = move_configuration(database, tmp_path)
    lines = supervise(**moved, ALCHEMFLOWS_DATABASE_TIMEOUT_S="1")
    wait_for(lambda: len(lines()) == 1)
    time.sleep(3)  # time for a second look in vain
    server.start()
    wait_for(lambda: len(lines()) == 3)
    assert "does not answer" in lines()[0] and lines()[0].endswith("; waiting for it")
    assert lines()[1] == "the database answers again"
    assert lines()[2].startswith(f"job {first} (first) has failed: run again")


def test_checkpoints_of_completed_jobs_are_removed(launchpad, supervisor, said, tmp_path):
    """Checkpoints of unfinished jobs and of other LaunchPads, and other files, are kept."""
    flows = {name: Flow([pause(0)]) for name in ("completed", "running", "failed", "ready", "twice", "elsewhere")}
    states = {"completed": "COMPLETED", "running": "RUNNING", "failed": "FIZZLED", "ready": "READY", "twice": "READY"}
    for name, there in [*states.items(), ("twice", "COMPLETED")]:
        (fw_id,) = launchpad.add_wf(flow_to_workflow(flows[name])).values()
        launchpad.fireworks.update_one({"fw_id": fw_id}, {"$set": {"state": there}})
    checkpoints = tmp_path / "checkpoints"
    folders = {name: checkpoints / f"{flow.jobs[0].uuid}-1" for name, flow in flows.items()}
    for folder in folders.values():
        (folder / "windows").mkdir(parents=True)
    folders["completed"].with_name(folders["completed"].name[:-1] + "2").mkdir()  # of the job that replaced it
    (checkpoints / "notes").mkdir()
    (checkpoints / "notes.txt").touch()
    before = set(checkpoints.iterdir())
    supervisor.checkpoints = checkpoints
    supervisor.look()
    supervisor.look()
    assert before - set(checkpoints.iterdir()) == {folders["completed"]}
    assert [line for line in said if "checkpoints" in line] == ["removed the checkpoints of 1 completed jobs"]


@pytest.mark.slow
def test_command_looks_once(database, launchpad, work, queue, tmp_path):
    environment = os.environ | database.environment | PYTHONPATH | {"ALCHEMFLOWS_HOME": str(tmp_path / "home")}

    def once(*arguments: str, **more: str) -> subprocess.CompletedProcess:
        return run_command(("supervise", "--once", *arguments), tmp_path, environment | more, timeout=60)

    (poison,) = add(launchpad, Firework(POISON, {"_category": "gpu"}, name="poison"))
    work()
    files = ["-q", str(tmp_path / "qadapter.yaml"), "-w", str(tmp_path / "fworker.yaml"), "-d", str(tmp_path / "batch")]
    done = once(*files)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2, lines
    assert f"job {poison} (poison) has failed: run again" in lines[0] and "submitted 1 batch jobs: 1" in lines[1]
    assert_one_line(once(*files[:2]), "my_fworker_gpu.yaml does not exist")
    PrivateMongod(tmp_path / "home").stop()
    assert_one_line(once(**move_configuration(database, tmp_path)), "does not answer")

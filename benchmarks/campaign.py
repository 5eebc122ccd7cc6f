"""Measure the cost of large campaigns apart from their MD, relative to plain FireWorks, pymongo, GridFS and pymbar.

``python benchmarks/campaign.py`` (``--json FILE``, ``--quick``) uses a private database in a temporary folder.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import gridfs
import numpy as np
from fireworks import LaunchPad, Workflow
from jobflow import Flow, Job, job
from jobflow.managers.fireworks import flow_to_workflow
from measure import Contender, Report, interleave
from pymatgen.core import Lattice, Structure
from wells import NAME, read_plainly, reaggregate, write_ladder

from alchemflows.campaign.campaign import Campaign
from alchemflows.campaign.status import campaign_status, outlook, running_jobs
from alchemflows.results.ladders import read_series
from alchemflows.schemas.samples import PackedSeries, WindowSeries
from alchemflows.settings import Settings
from alchemflows.storage.database import Database, start_private
from alchemflows.storage.mongod import PrivateMongod

WINDOWS_PER_TASK = 10
N_LAMBDA = 41

#: One worker: it runs a first job to load all modules, prints "ready", and waits for the start signal.
WORKER = """
import logging, os, sys, time
from pathlib import Path
from fireworks import FWorker, LaunchPad
from fireworks.core.rocket_launcher import launch_rocket, rapidfire
from jobflow import SETTINGS
import alchemflows.sampling.windows as windows
from alchemflows.storage.database import connect
from alchemflows.execution.worker import Worker

logging.disable(logging.CRITICAL)  # log messages of the workers are not needed
kind, folder = sys.argv[1], Path(sys.argv[2])
database = connect()
SETTINGS.JOB_STORE = database.job_store
md, run = 0.0, windows.run_windows
def timed(*arguments, **options):
    global md
    started = time.perf_counter()
    try:
        return run(*arguments, **options)
    finally:
        md += time.perf_counter() - started
windows.run_windows = timed
fworker = FWorker("benchmark", category=kind, query={})
folder.mkdir(parents=True)
os.chdir(folder)
assert launch_rocket(database.launchpad, fworker)
md = 0.0
print("ready", flush=True)
sys.stdin.readline()
started = time.perf_counter()
if kind == "windows":
    Worker(database.launchpad, fworker, folder, sleep_s=0.1).run(idle_for_s=0.0)
else:
    rapidfire(database.launchpad, fworker, str(folder), strm_lvl="CRITICAL")
print(time.perf_counter() - started, md, flush=True)
"""


#: A trivial job that workers can import.
trivial_job = job(statistics.fmean)


@cache
def salt() -> Structure:
    """Return a cell of NaCl."""
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def campaign(name: str, n_tasks: int, **settings: Any) -> Campaign:
    """Return a campaign of NaCl → KCl ladders at n_tasks temperatures."""
    plain = {"n_windows": WINDOWS_PER_TASK, "windows_per_job": WINDOWS_PER_TASK}
    return Campaign(
        name=name,
        structures={"NaCl": {"structure": salt().as_dict()}},
        transformations={"NaK": {"Na": "K"}},
        temperatures_K=np.linspace(300, 400, n_tasks).tolist(),
        pressures_GPa=[None],
        method={"kind": "thermodynamic-integration", "settings": plain | settings},
        potential={"name": "mace-demo", "device": "cpu"},
    )


def seconds(work: Callable[[], Any]) -> float:
    """Time one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def submission(report: Report, database: Database, n_windows: int, rounds: int) -> None:
    """Measure target 1: submission."""
    launchpad, n_tasks = database.launchpad, n_windows // WINDOWS_PER_TASK

    def trivial() -> tuple[float, float]:
        workflows: list[Workflow] = []
        convert = seconds(lambda: workflows.extend(flow_to_workflow(trivial_job([1.0, 2.0])) for _ in range(n_windows)))
        return convert, seconds(lambda: launchpad.bulk_add_wfs(workflows))

    times: dict[str, list[float]] = {name: [] for name in ("convert", "add", "batches", "single")}
    for k in range(rounds):
        for name, value in zip(("convert", "add"), trivial(), strict=True):
            times[name].append(value)
        times["batches"].append(seconds(lambda k=k: campaign(f"batches-{k}", n_tasks).submit(database)))
        times["single"].append(
            seconds(lambda k=k: campaign(f"single-{k}", n_tasks, windows_per_job=1).submit(database))
        )
    converted = np.array(times["convert"]) + np.array(times["add"])
    report.measure(f"bulk_add_wfs of {n_windows} trivial fireworks", np.array(times["add"]), "s")
    report.measure("conversion of the same number of trivial jobflow jobs, and bulk_add_wfs", converted, "s")
    report.measure(f"submission of {n_windows} windows, ten per job", np.array(times["batches"]), "s")
    report.measure(f"submission of {n_windows} windows, one per job", np.array(times["single"]), "s")
    what = f"submitting {n_windows} windows"
    peers = "trivial jobflow jobs"
    report.target(1, f"{what}, ten per job / the same number of {peers}", np.array(times["batches"]) / converted, 2.0)
    report.target(1, f"{what}, one per job / the same number of {peers}", np.array(times["single"]) / converted, 2.0)
    only = np.array(times["batches"]) / np.array(times["add"])
    report.target(1, f"{what}, ten per job / bulk_add_wfs alone, without conversion", only, None)
    again = seconds(lambda: campaign("batches-0", n_tasks).submit(database))
    report.measure("the same submission again, without new tasks", again, "s")


def run_jobs(database: Database, kind: str, n_workers: int, folder: Path) -> float:
    """Run all jobs of a kind with workers; return the time of a worker per job without its MD (s)."""
    # The first job of each worker is not timed.
    n_jobs = database.launchpad.fireworks.count_documents({"spec._category": kind}) - n_workers
    environment = os.environ | database.environment | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, kind, str(folder / uuid4().hex)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=folder,
        )
        for _ in range(n_workers)
    ]
    for worker in workers:
        assert worker.stdout is not None
        while (line := worker.stdout.readline().strip()) != "ready":
            assert line or worker.poll() is None, "a worker did not start"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    total = 0.0
    for worker in workers:
        said, _ = worker.communicate(timeout=3600)
        spent, md = map(float, said.strip().splitlines()[-1].split())
        total += spent - md
    left = database.launchpad.fireworks.count_documents({"spec._category": kind, "state": {"$ne": "COMPLETED"}})
    assert not left, f"{left} jobs of the kind {kind} are not completed"
    return total / n_jobs


def trivial_ladder() -> Flow:
    """Return a flow of trivial jobs shaped like a ladder of two windows: two jobs, and one that depends on both."""
    windows = [trivial_job([1.0, 2.0]) for _ in range(2)]
    return Flow([*windows, trivial_job([job.output for job in windows])])


def add_trivial(launchpad: LaunchPad, category: str, flows: list[Job | Flow]) -> None:
    """Add flows; all jobs except the last of each flow with several jobs get the category."""
    workflows = [flow_to_workflow(flow) for flow in flows]
    for workflow in workflows:
        for firework in workflow.fws[:-1] or workflow.fws:
            firework.spec["_category"] = category
    launchpad.bulk_add_wfs(workflows)


def operations(launchpad: LaunchPad) -> int:
    """Return the number of operations of the server since its start."""
    return sum(launchpad.connection.admin.command("serverStatus")["opcounters"].values())


def overhead(
    report: Report, database: Database, n_jobs: int, crews: tuple[int, ...], rounds: int, folder: Path
) -> None:
    """Measure target 2: time of a worker per job."""
    launchpad = database.launchpad
    short = {
        "n_windows": 2,
        "windows_per_job": 1,
        "n_equilibration_steps": 10,
        "n_production_steps": 20,
        "sample_interval_steps": 5,
        "relax": False,
    }
    commands: list[float] = []

    def alone() -> None:
        add_trivial(launchpad, "trivial", [trivial_job([1.0, k]) for k in range(n_jobs)])

    def shaped() -> None:
        add_trivial(launchpad, "shaped", [trivial_ladder() for _ in range(n_jobs // 2)])

    def windows() -> None:
        spec = campaign("overhead", n_jobs // 2, **short)
        resources = spec.resources.model_copy(update={"category": "windows"})
        spec.model_copy(update={"resources": resources}).submit(database)

    def contender(kind: str, add: Callable[[], None], n_workers: int) -> Contender:
        def work() -> float:
            launchpad.reset("", require_password=False, max_reset_wo_password=10**9)
            database.ensure_indexes()
            add()
            before = operations(launchpad)
            spent = 1e3 * run_jobs(database, kind, n_workers, folder)
            commands.append((operations(launchpad) - before) / n_jobs)
            return spent

        return work

    for n_workers in crews:
        kinds = {"trivial": alone, "shaped": shaped, "windows": windows}
        contenders = {kind: contender(kind, add, n_workers) for kind, add in kinds.items()}
        times = interleave(contenders, rounds, warmup=0)
        report.measure(f"a trivial job alone, {n_workers} workers (rapidfire)", times["trivial"])
        report.measure(f"a trivial job in a flow like a ladder's, {n_workers} workers (rapidfire)", times["shaped"])
        report.measure(f"a job of one window without its MD, {n_workers} workers", times["windows"])
        name = f"a window job without its MD, {n_workers} workers / a trivial job"
        report.target(2, f"{name} in a flow of the same shape", times["windows"] / times["shaped"], 1.5)
        report.target(2, f"{name} alone", times["windows"] / times["trivial"], 1.5)
    report.measure("database commands per window job", commands[-1], "")
    outputs = database.outputs()
    for collection in (outputs, launchpad.fireworks, launchpad.workflows, launchpad.launches):
        stats = outputs.database.command("collStats", collection.name)
        report.measure(f"a document of the collection {collection.name}", stats["avgObjSize"] / 1e3, "kB")


def grow(launchpad: LaunchPad, name: str, n_windows: int) -> None:
    """Copy the jobs of a campaign, with other conditions and states, until it has n_windows windows."""
    documents = list(launchpad.fireworks.find({"spec.campaign.name": name}))
    windows = sum(document["name"].startswith("λ") for document in documents)
    next_id, rng = 10**7, np.random.default_rng(0)
    states = ("COMPLETED", "READY", "WAITING", "FIZZLED")
    for copy in range(1, n_windows // windows):
        for document in documents:
            del document["_id"]
            next_id += 1
            document["fw_id"] = next_id
            document["state"] = states[rng.integers(len(states))]
            document["spec"]["campaign"]["pressure_GPa"] = float(copy)
        launchpad.fireworks.insert_many(documents)


def status(report: Report, database: Database, n_windows: int, rounds: int) -> None:
    """Measure target 3: status."""
    launchpad = database.launchpad
    launchpad.reset("", require_password=False, max_reset_wo_password=10**9)
    database.ensure_indexes()
    campaign(NAME, min(n_windows, 1000) // WINDOWS_PER_TASK, windows_per_job=1).submit(database)
    grow(launchpad, NAME, n_windows)
    match = {"$match": {"spec.campaign.name": NAME}}
    labels = {k: f"$spec.campaign.{k}" for k in ("structure", "transformation", "temperature_K", "pressure_GPa")}
    by_state = [match, {"$group": {"_id": "$state", "n": {"$sum": 1}}}]
    by_condition = [match, {"$group": {"_id": labels | {"state": "$state"}, "n": {"$sum": 1}}}]

    def ours() -> None:
        running = running_jobs(database, NAME)
        outlook(campaign_status(database, NAME), running)

    states, plain, mine = [], [], []
    for _ in range(rounds):
        states.append(seconds(lambda: list(launchpad.fireworks.aggregate(by_state))))
        plain.append(seconds(lambda: list(launchpad.fireworks.aggregate(by_condition))))
        mine.append(seconds(ours))
    report.measure("plain aggregation: jobs by state", np.array(states), "s")
    report.measure("plain aggregation: jobs by condition and state", np.array(plain), "s")
    report.measure("status by condition, running jobs, outlook", np.array(mine), "s")
    what = f"status of a campaign of {n_windows} windows"
    report.target(3, f"{what} / plain aggregation by condition and state", np.array(mine) / np.array(plain), 3.0)
    report.target(3, f"{what} / plain aggregation by state alone", np.array(mine) / np.array(states), None)
    report.target(3, f"{what}, s", np.array(mine), 2.0, unit="seconds")


def reaggregation(report: Report, database: Database, n_windows: int, n_samples: int) -> None:
    """Measure target 4: recalculation of free energies from stored windows."""
    per_ladder = WINDOWS_PER_TASK + 1
    n_ladders = max(1, round(n_windows / per_ladder))
    for seed in range(n_ladders):
        write_ladder(database, per_ladder, n_samples, seed)
    reading = read_plainly(database)
    total, pymbar = reaggregate(database)
    what = f"{n_ladders * per_ladder} windows of {n_samples} samples"
    report.measure(f"reading {what} with plain pymongo", reading, "s")
    report.measure("pymbar's own time", pymbar, "s")
    report.measure("reaggregation", total, "s")
    report.target(4, f"reaggregating {what} / reading them and pymbar", np.array([total / (reading + pymbar)]), 3.0)


def storage(report: Report, database: Database, n_samples: int, rounds: int) -> None:
    """Measure target 5: storage of samples."""
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=n_samples) for name in ("time_fs", "energy_eV", "dudl_eV", "temperature_K")}
    series = WindowSeries(
        **columns, energies_eV=rng.normal(size=(n_samples, N_LAMBDA)), volume_A3=rng.normal(size=n_samples)
    )
    files = gridfs.GridFS(database.outputs().database, "plain")
    uuid = str(uuid4())

    def plain_write() -> Any:
        buffer = io.BytesIO()
        np.savez(buffer, **vars(series))  # all arrays in double precision
        return files.put(buffer.getvalue())

    def write() -> None:
        output = {"@class": "Benchmark", "windows": [{"series": PackedSeries.pack(series)}]}
        row = {"uuid": uuid, "index": 1, "output": output, "metadata": {}, "hosts": [], "name": ""}
        database.job_store.update(row, save={"data": ["series"]})

    def read() -> WindowSeries:
        row = database.outputs().find_one({"uuid": uuid})
        blob = row["output"]["windows"][0]["series"]["blob_uuid"]
        return read_series(database.samples(), [blob])[blob].unpack()

    times: dict[str, list[float]] = {name: [] for name in ("plain write", "plain read", "write", "read")}
    for _ in range(rounds):
        started = time.perf_counter()
        key = plain_write()
        times["plain write"].append(time.perf_counter() - started)
        times["plain read"].append(seconds(lambda key=key: dict(np.load(io.BytesIO(files.get(key).read())))))
        times["write"].append(seconds(write))
        times["read"].append(seconds(read))
        files.delete(key)
    assert np.allclose(read().energies_eV, series.energies_eV, atol=1e-6)
    for name, values in times.items():
        report.measure(f"{name} of {n_samples} x {N_LAMBDA} samples", np.array(values), "s")
    for name in ("write", "read"):
        speed = np.array(times[f"plain {name}"]) / np.array(times[name])
        details: dict[str, Any] = {"sense": "at least"}
        report.target(5, f"{name} {n_samples} x {N_LAMBDA} samples: speed / plain GridFS", speed, 0.5, **details)


def memory(report: Report, database: Database, folder: Path, n_windows: int, *, quick: bool) -> None:
    """Measure target 6: memory of the commands, in the database that the other targets have filled.

    A quick run measures two of them.
    """
    file = folder / "memory.yaml"
    n_tasks = n_windows // WINDOWS_PER_TASK
    spec = campaign("memory", n_tasks, windows_per_job=1).model_dump(mode="json", exclude_none=True)
    spec["pressures_GPa"] = [None]
    spec["structures"]["NaCl"].pop("supercell")
    file.write_text(json.dumps(spec))  # JSON is valid YAML
    commands = {
        "campaign check": ["campaign", "check", str(file), "--no-measure"],
        "campaign submit": ["campaign", "submit", str(file)],
        "campaign status": ["campaign", "status", NAME],
        "campaign failures": ["campaign", "failures", NAME],
        "export windows": ["export", "windows", str(folder / "windows.parquet"), "--campaign", NAME],
        "export samples": ["export", "samples", str(folder / "samples.parquet"), "--campaign", NAME],
        "results": ["results", "--campaign", NAME],
        "reanalyse": ["reanalyse", "--campaign", NAME],
        "campaign report": ["campaign", "report", NAME, str(folder / "report.html")],
    }
    for name in ("campaign submit", "campaign report") if quick else commands:
        arguments = commands[name]
        code = (
            "import resource, subprocess, sys\n"
            "done = subprocess.run([sys.executable, '-c', 'from alchemflows.cli import main; main()', *sys.argv[1:]], "
            "stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)\n"
            "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6, done.stderr[-300:])"
        )
        environment = os.environ | database.environment | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], env=environment, cwd=folder, capture_output=True, text=True
        )
        status, peak = done.stdout.split()[:2]
        assert status == "0", done.stdout
        report.measure(f"alchemflows {name}", time.perf_counter() - started, "s")
        report.target(6, f"alchemflows {name}: memory, GB", np.array([float(peak)]), 1.0, unit="GB")


def main() -> None:
    """Measure the targets and print their table."""
    parser = argparse.ArgumentParser(description="Measure the cost of campaigns apart from their MD.")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    parser.add_argument("--quick", action="store_true", help="use few windows; the bounds do not apply")
    parser.add_argument("--threads", type=int, default=1, help="number of torch threads")
    parser.add_argument(
        "--windows", type=int, default=10_000, help="number of windows of a campaign; ten times as many for status"
    )
    parser.add_argument("--only", type=int, nargs="+", choices=range(1, 7), help="targets to measure")
    arguments = parser.parse_args()
    quick, wanted = arguments.quick, arguments.only or range(1, 7)
    sizes = {"quick": quick, "windows": 100 if quick else arguments.windows, "rounds": 1 if quick else 3}
    report = Report("Campaigns", "benchmarks/campaign.py", {**sizes, "threads": arguments.threads})
    n_windows, rounds = sizes["windows"], sizes["rounds"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        server = PrivateMongod(folder / "home")
        try:
            database = start_private(Settings(home=folder / "home"))
            if 5 in wanted:
                storage(report, database, 2000 if quick else 200_000, rounds)
            if 1 in wanted:
                submission(report, database, n_windows, rounds)
            if 2 in wanted:
                overhead(report, database, 10 if quick else 200, (1,) if quick else (1, 2, 4), rounds, folder)
            if 3 in wanted or 6 in wanted:
                status(report, database, 10 * n_windows, rounds)
            if 4 in wanted or 6 in wanted:
                reaggregation(report, database, n_windows, 100)
            if 6 in wanted:
                memory(report, database, folder, n_windows, quick=quick)
        finally:
            server.stop()
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    report.note(f"Peak memory of this process: {own:.2f} GB.")
    report.finish(arguments.json)


if __name__ == "__main__":
    main()

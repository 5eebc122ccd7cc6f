"""Campaigns on a real MongoDB: read and check specifications, submit, monitor, pause, retry and cancel."""

from __future__ import annotations

import copy
import io
import json
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from fireworks import FWorker
from pymatgen.core import Lattice, Structure
from rich.console import Console

from alchemflows.campaign.campaign import Campaign
from alchemflows.campaign.durations import hours_of_jobs, seconds_per_atom_step
from alchemflows.campaign.estimate import jobs_of_flow, total, work_of
from alchemflows.campaign.specification import campaign_of, json_schema, read_campaign, tasks
from alchemflows.campaign.status import Condition, Outlook, campaign_status, outlook, running_jobs
from alchemflows.campaign.submission import (
    cancel,
    failures,
    pause,
    resume,
    retry,
    submit_campaign,
)
from alchemflows.cli.status import status_view
from alchemflows.errors import InvalidInputError, PotentialError
from alchemflows.execution.local import LocalWorkers, wait
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.results.readout import free_energies
from alchemflows.schemas.progress import Progress
from alchemflows.storage.locking import SUBMISSIONS, submitting

pytestmark = pytest.mark.usefixtures("quick_workers")

SALT = {
    "name": "salts",
    "structures": {"NaCl": {"file": "NaCl.cif"}},
    "transformations": {"NaK": {"Na": "K"}},
    "temperatures_K": [300.0],
    "pressures_GPa": [None],
    "method": {
        "kind": "thermodynamic-integration",
        "settings": {
            "n_windows": 2, "n_equilibration_steps": 10, "n_production_steps": 60, "relax": False, "windows_per_job": 2,
        },
    },
    "potential": {"name": "mace-demo", "device": "cpu"},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with structures."""
    path = tmp_path_factory.mktemp("campaign")
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    cell.to(str(path / "NaCl.cif"))
    (path / "broken.cif").write_text("data_nothing\n")
    near = Structure(Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.01, 0, 0]])
    near.to(str(path / "near.cif"))
    return path


def changed(*path_and_value):
    """Return the campaign with one value changed, or with a field removed for `...`."""
    content = copy.deepcopy(SALT)
    *path, value = path_and_value
    place = content
    for key in path[:-1]:
        place = place.setdefault(key, {})
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return content


def read(folder, content):
    file = folder / "campaign.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return read_campaign(file)


SETTINGS = ("method", "settings")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name: [", ["line 1"]),
        ("- a list", ["campaign.yaml", "structures"]),
        ("", ["campaign.yaml", "structures"]),
        (changed("name", ...), ["name", "required"]),
        (changed("name", "two words"), ["name", "two words"]),
        (changed("name", 7), ["name", "7"]),
        (changed("nmae", "x"), ["nmae"]),
        (changed("structures", ...), ["structures", "required"]),
        (changed("structures", {}), ["structures", "at least one"]),
        (changed("structures", "NaCl", {}), ["structures.NaCl", "either `file` or `structure`"]),
        (changed("structures", "NaCl", "file", "no.cif"), ["structures.NaCl.file", "no.cif"]),
        (changed("structures", "NaCl", "file", "broken.cif"), ["structures.NaCl", "broken.cif"]),
        (changed("structures", "NaCl", {"structure": {"a": 1}}), ["structures.NaCl", "dictionary"]),
        (changed("structures", "NaCl", "supercell", [0, 1, 1]), ["structures.NaCl.supercell.0", "0"]),
        (changed("structures", "NaCl", "supercell", [2, 2]), ["structures.NaCl.supercell"]),
        (changed("structures", "Na Cl", {"file": "NaCl.cif"}), ["structures.Na Cl"]),
        (changed("structures", "NaCl", "flie", "x"), ["structures.NaCl.flie"]),
        (changed("transformations", ...), ["transformations", "at least one"]),
        (changed("transformations", {"NaK": "K"}), ["transformations.NaK"]),
        (changed("transformations", {"MgK": {"Mg": "K"}}), ["Mg"]),
        (changed("transformations", {"NaX": {"Na": "Xx"}}), ["Xx"]),
        (changed("transformations", {"NaAu": {"Na": "Au"}}), ["NaAu", "mace-demo", "Au"]),
        (changed("transformations", {"gone": {"Na": None}}), ["VacancyFreeEnergyMaker"]),
        (changed("temperatures_K", []), ["temperatures_K", "at least 1"]),
        (changed("temperatures_K", [-5]), ["temperatures_K.0", "-5"]),
        (changed("temperatures_K", ["hot"]), ["temperatures_K.0", "hot"]),
        (changed("temperatures_K", [300, 300.0]), ["temperatures_K", "twice"]),
        (changed("pressures_GPa", [float("nan")]), ["pressures_GPa.0"]),
        (changed("method", "kind", "guessing"), ["method.kind", "guessing"]),
        (changed("method", "kind", "frenkel-ladd"), ["transformations", "takes none"]),
        (changed(*SETTINGS, "n_window", 3), ["method.settings.n_window"]),
        (changed(*SETTINGS, "n_windows", "many"), ["method.settings.n_windows", "many"]),
        (changed(*SETTINGS, "n_windows", 1), ["at least"]),
        (changed(*SETTINGS, "temperature", 300), ["method.settings.temperature"]),
        (changed(*SETTINGS, "spacing", "odd"), ["method.settings.spacing", "odd"]),
        (changed(*SETTINGS, "timestep_fs", -1), ["timestep_fs", "-1"]),
        (changed(*SETTINGS, "n_production_steps", 5), ["n_production_steps"]),
        (changed(*SETTINGS, "n_runs", 0), ["n_runs", "0"]),
        (changed("potential", "name", "nowhere.model"), ["nowhere.model"]),
        (changed("potential", "sha256", "0" * 64), ["SHA-256"]),
        (changed("potential", "dtype", "float16"), ["potential.dtype", "float16"]),
        (changed("repeats", 0), ["repeats", "0"]),
        (changed("repeats", 10**9), ["repeats", "100,000"]),
        (changed("seed", -1), ["seed", "-1"]),
        (changed("budget", "gpu_hours", -1), ["budget.gpu_hours", "-1"]),
        (changed("resources", "priority", "first"), ["resources.priority", "first"]),
        (changed("resources", "kinds", {"windows": {"priority": 1}}), ["resources.kinds.windows", "analysis"]),
    ],
)  # fmt: skip
def test_bad_specifications_name_the_field(folder, content, words):
    with pytest.raises((InvalidInputError, PotentialError)) as error:
        for task in tasks(read(folder, content)):
            task.flow()
    message = str(error.value)
    assert "\n" not in message.strip()
    for word in words:
        assert word in message


def test_atoms_too_close_are_refused_with_the_name_of_the_task(folder):
    (task, *_) = tasks(
        read(
            folder, changed("structures", "near", {"file": "near.cif"}) | {"structures": {"near": {"file": "near.cif"}}}
        )
    )
    with pytest.raises(InvalidInputError, match=r"near, NaK, 300 K, repeat 0: .*Å"):
        task.flow()


def test_the_published_schema_is_current():
    schema = json.loads(json.dumps(json_schema()))
    published = Path(__file__).parents[2] / "docs" / "campaign.schema.json"
    assert json.loads(published.read_text()) == schema, "alchemflows campaign schema > docs/campaign.schema.json"
    assert set(SALT) <= set(schema["properties"])
    known = schema["$defs"]["settings of thermodynamic-integration"]["properties"]
    assert {"n_windows", "relax", "timestep_fs"} <= set(known) and "temperature" not in known
    assert "site" in schema["$defs"]["arguments of vacancy"]["properties"]


def test_a_key_depends_on_everything_that_affects_the_result(folder):
    def key(content):
        return next(iter(tasks(read(folder, content)))).key

    here = key(SALT)
    assert here == key(changed("name", "others")) == key(changed("resources", "category", None))
    assert here == key(changed("potential", "device", "auto")) == key(changed(*SETTINGS, "n_runs", 3))
    for other in (
        changed("temperatures_K", [301.0]),
        changed("pressures_GPa", [0.0]),
        changed("seed", 1),
        changed("transformations", {"NaLi": {"Na": "Li"}}),
        changed("structures", "NaCl", "supercell", [2, 1, 1]),
        changed(*SETTINGS, "n_production_steps", 70),
        changed(*SETTINGS, "n_equilibration_steps", 20),
        changed("potential", "dtype", "float64"),
    ):
        assert key(other) != here


def test_work_is_counted(folder):
    wide = changed("temperatures_K", [300.0, 400.0]) | {"repeats": 3, "pressures_GPa": [None, 0.1]}
    every = list(tasks(read(folder, wide)))
    work = total(map(work_of, every))
    assert (work.n_tasks, work.n_jobs, work.n_replicas) == (12, 24, 24)
    assert work.n_steps == 24 * 70 and work.n_atom_steps == 24 * 70 * 8
    assert 1e-7 < seconds_per_atom_step(every[0]) < 1
    switching = changed(
        "method",
        {
            "kind": "switching",
            "settings": {"n_repeats": 3, "n_switching_steps": 40, "n_equilibration_steps": 5, "relax": False},
        },
    )
    (task,) = tasks(read(folder, switching))
    assert (work_of(task).n_replicas, work_of(task).n_steps) == (6, 6 * 45)
    absolute = changed("transformations", ...) | {
        "method": {"kind": "frenkel-ladd", "settings": {"n_repeats": 2, "n_cell_steps": 60, "relax": False}},
    }
    (task,) = tasks(read(folder, absolute))
    assert work_of(task).n_jobs >= 1 and work_of(task).n_steps > 0
    vacancy = absolute | {
        "method": {
            "kind": "vacancy",
            "settings": {"frenkel_ladd_maker": {"relax": False}},
            "arguments": {"site": 1, "chemical_potentials": {"values_eV": {"Na": -2.0}}},
        },
        "pressures_GPa": [1e-4],
    }
    (task,) = tasks(read(folder, vacancy))
    assert work_of(task).n_jobs >= 5


def test_the_time_of_a_flow_of_an_ordered_crystal_is_measured():
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    flow = FrenkelLaddMaker(potential="mace-demo", relax_maker=None).make(salt)
    hours = hours_of_jobs(jobs_of_flow(flow))
    assert 0 < hours.dynamics < 1e3 and hours.relaxations is None and hours.evaluations is None


def vacancies(degeneracy=1.0, **arguments):
    """Return a campaign of vacancies in NaCl."""
    short = {"n_repeats": 2, "n_cell_steps": 60, "relax": False}
    settings = {"frenkel_ladd_maker": short, "degeneracy": degeneracy}
    return changed("transformations", ...) | {
        "method": {"kind": "vacancy", "settings": settings, "arguments": arguments},
        "pressures_GPa": [1e-4],
    }


def values(**eV):
    return {"chemical_potentials": {"values_eV": eV}}


def test_a_campaign_of_vacancies_has_chemical_potentials(folder):
    """Paths of references are relative to the file of the campaign."""
    first = Structure(Lattice.cubic(4.2), ["Na", "Na"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    first.to(str(folder / "Na.cif"))

    def references(name):
        return {"chemical_potentials": {"references": {"Na": {"file": name}}}}

    (task,) = tasks(read(folder, vacancies(2.0, site=1, **references("Na.cif"))))
    known = task.arguments["chemical_potentials"]
    assert known.references["Na"].composition.formula == "Na2" and task.maker.degeneracy == 2.0
    assert any("reference" in job.name for job in task.flow().jobs)
    other = vacancies(2.0, site=1, **values(Na=-1.3))
    assert next(iter(tasks(read(folder, other)))).key != task.key
    for content, words in (
        (vacancies(), ["NaCl, 300 K", "chemical potential"]),
        (vacancies(site=99, **values(Na=-1.0)), ["NaCl, 300 K", "site 99"]),
        (vacancies(site="first"), ["method.arguments.site", "first"]),
        (vacancies(degeneracy=0, **values(Na=-1.0)), ["degeneracy"]),
        (vacancies(**values(Na="low")), ["line", "method.arguments.chemical_potentials.values_eV.Na", "low"]),
        (vacancies(**values(Li=-1.0, Na=-1.0)), ["Li"]),
        (vacancies(**references("no.cif")), ["method.arguments.chemical_potentials.references.Na", "no.cif"]),
        (vacancies(**references("NaCl.cif")), ["Na alone"]),
        (vacancies(**values(Na=-1.0)) | {"temperatures_K": [300.0, 400.0]}, ["one temperature"]),
        (vacancies(**values(Na=-1.0)) | {"pressures_GPa": [0.0, 1.0]}, ["one pressure"]),
    ):
        with pytest.raises(InvalidInputError) as error:
            for each in tasks(read(folder, content)):
                each.flow()
        assert all(word in str(error.value) for word in words), str(error.value)


def test_tasks_are_submitted_once_and_completed(database, folder, tmp_path):
    """A second submission adds no tasks, and a further temperature adds only its own; results have the conditions."""
    campaign = read(folder, SALT | {"resources": {"priority": 3, "queue": {"walltime": "01:00:00"}}})
    first = submit_campaign(database, campaign, tasks(campaign))
    assert (first.n_new, first.n_known, first.n_jobs) == (1, 0, 2)
    assert submit_campaign(database, campaign, tasks(campaign)).n_new == 0
    wider = read(folder, changed("temperatures_K", [300.0, 400.0]))
    second = submit_campaign(database, wider, tasks(wider))
    assert (second.n_new, second.n_known, second.n_others) == (1, 1, 0)
    narrow = read(folder, changed("temperatures_K", [400.0]))
    assert submit_campaign(database, narrow, tasks(narrow)).n_others == 1
    specs = list(database.launchpad.fireworks.find({}, {"spec": 1, "fw_id": 1}))
    assert [s["spec"].get("_priority") for s in specs].count(3) == 2
    assert {s["spec"]["campaign"]["temperature_K"] for s in specs} == {300.0, 400.0}
    fw_ids = sorted(s["fw_id"] for s in specs)
    with LocalWorkers(database, fw_ids, 1, tmp_path / "run") as workers:
        assert wait(database, fw_ids, lambda jobs: None, check=workers.check) == []
    rows = campaign_status(database, "salts")
    assert [(row.temperature_K, dict(row.states)) for row in rows] == [
        (300.0, {"COMPLETED": 2}), (400.0, {"COMPLETED": 2})
    ]  # fmt: skip
    table = free_energies(database, "salts")
    assert sorted(table["temperature_K"]) == [300.0, 400.0] and set(table["transformation"]) == {"NaK"}
    assert failures(database, "salts") == []
    # The status is read from an index, without documents of jobs.
    pipeline = [{"$match": {"spec.campaign.name": "salts"}}, {"$group": {"_id": "$state", "n": {"$sum": 1}}}]
    plan = str(database.launchpad.db.command("aggregate", "fireworks", pipeline=pipeline, explain=True, cursor={}))
    assert "IXSCAN" in plan and "FETCH" not in plan
    with pytest.raises(InvalidInputError, match=r"sugars.* salts"):
        campaign_status(database, "sugars")


@pytest.mark.slow
def test_each_kind_of_job_has_its_own_resources(database, folder, tmp_path):
    """Windows added by a refined ladder have the resources of its other windows."""
    content = copy.deepcopy(SALT)
    content["method"]["settings"] |= {"relax": True, "target_error": 1e-9, "budget": 1}
    analysis = {"category": "cpu", "priority": 7, "queue": {}}
    content["resources"] = {"priority": 3, "queue": {"walltime": "01:00:00"}, "kinds": {"analysis": analysis}}
    content["resources"]["kinds"]["relaxation"] = {"queue": {"walltime": "00:10:00"}}
    campaign = read(folder, content)
    submit_campaign(database, campaign, tasks(campaign))
    run_all(database, tmp_path / "run")
    fireworks = list(database.launchpad.fireworks.find({}, {"name": 1, "spec": 1}))
    found = {
        fw["name"].split(" ")[0]: [fw["spec"].get(key) for key in ("_category", "_priority", "_queueadapter")]
        for fw in fireworks
        if "(" not in fw["name"]
    }
    assert found == {
        "alchemical": ["gpu", 3, {"walltime": "00:10:00"}],
        "λ": ["gpu", 3, {"walltime": "01:00:00"}],
        "free": ["cpu", 7, None],
    }
    (added,) = [fw["spec"] for fw in fireworks if fw["name"].endswith(("(new)", "(more)"))]
    assert (added["_category"], added["_priority"], added["_queueadapter"]) == ("gpu", 3, {"walltime": "01:00:00"})
    assert added["campaign"]["job_kind"] == "sampling"
    kinds = {fw["name"].split(" ")[0]: fw["spec"]["campaign"]["job_kind"] for fw in fireworks if "(" not in fw["name"]}
    assert kinds == {"alchemical": "relaxation", "λ": "sampling", "free": "analysis"}
    again = [fw["spec"]["campaign"]["job_kind"] for fw in fireworks if fw["name"].startswith("free")]
    assert again == ["analysis", "analysis"]
    stored = database.outputs().distinct("metadata.campaign.job_kind", {"output.@class": "WindowsDocument"})
    assert stored == ["sampling"]


def run_all(database, folder):
    fw_ids = sorted(database.launchpad.get_fw_ids())
    with LocalWorkers(database, fw_ids, 1, folder) as workers:
        assert wait(database, fw_ids, lambda jobs: None, check=workers.check) == []


@pytest.mark.slow
def test_an_interrupted_submission_is_completed(database, folder, tmp_path):
    """FireWorks stores workflows before their jobs, so an interrupted submission can lack jobs."""
    campaign = read(folder, changed("temperatures_K", [300.0, 400.0]))
    submit_campaign(database, campaign, tasks(campaign))
    launchpad = database.launchpad
    launchpad.fireworks.delete_one({"fw_id": max(launchpad.get_fw_ids())})
    again = submit_campaign(database, campaign, tasks(campaign))
    assert (again.n_new, again.n_known, again.n_jobs) == (1, 1, 2)
    assert submit_campaign(database, campaign, tasks(campaign)).n_new == 0
    run_all(database, tmp_path / "run")
    assert [dict(row.states) for row in campaign_status(database, "salts")] == [{"COMPLETED": 2}] * 2
    summaries = [launchpad.get_wf_summary_dict(fw_id) for fw_id in launchpad.get_wf_ids()]
    assert Counter(summary["state"] for summary in summaries) == {"COMPLETED": 2, "ARCHIVED": 1}


def test_two_submissions_at_once_add_each_task_once(database, folder):
    campaign = read(folder, changed("temperatures_K", [300.0 + k for k in range(20)]))
    every = list(tasks(campaign))
    with ThreadPoolExecutor() as threads:
        both = [threads.submit(submit_campaign, database, campaign, every) for _ in range(2)]
    assert sorted(each.result().n_new for each in both) == [0, 20]
    assert database.launchpad.workflows.count_documents({}) == 20


def test_a_submission_waits_for_another_until_that_has_ended_or_died(database, caplog):
    launchpad = database.launchpad
    with submitting(launchpad, "salts", dead_after_s=2.0) as alive, ThreadPoolExecutor() as threads:

        def other() -> float:
            with submitting(launchpad, "salts"):
                return time.monotonic()

        waiting = threads.submit(other)
        for _ in range(4):
            time.sleep(1.0)
            alive()
        with submitting(launchpad, "sugars"):
            assert not waiting.done()
        last = time.monotonic()
        assert waiting.result() - last < 4.0  # the first one has sent no sign of life for 2 s
        assert "another process is submitting the campaign salts" in caplog.text
    assert launchpad.db[SUBMISSIONS].count_documents({}) == 0


@pytest.mark.slow
def test_more_runs_continue_stored_windows(database, folder, tmp_path):
    """Unfinished ladders are not extended; for finished ones only the missing runs are sampled."""
    short = Campaign(**dict(read(folder, SALT)))
    longer = Campaign(**dict(read(folder, changed(*SETTINGS, "n_runs", 3))))
    assert [task.key for task in tasks(short)] == [task.key for task in tasks(longer)]
    short.submit(database)
    done = longer.submit(database)
    assert (done.n_new, done.n_known, done.n_extended, done.n_unfinished, done.n_jobs) == (0, 1, 0, 1, 0)
    run_all(database, tmp_path / "first")
    before = short.samples(database)
    done = longer.submit(database)
    assert (done.n_new, done.n_known, done.n_extended, done.n_unfinished, done.n_jobs) == (0, 1, 1, 0, 2)
    assert longer.submit(database).n_jobs == 0 and short.submit(database).n_extended == 0
    run_all(database, tmp_path / "second")
    windows = longer.windows(database)
    assert sorted(zip(windows["index"], windows["first_run"], windows["n_runs"], strict=True)) == [
        (0, 0, 1), (0, 1, 2), (1, 0, 1), (1, 1, 2)
    ]  # fmt: skip
    after = longer.samples(database)
    assert len(before) == 2 * 6 and len(after) == 3 * len(before)
    assert after[after["first_run"] == 0].reset_index(drop=True).equals(before)
    assert len(longer.free_energies(database)) == 1  # the one from all runs, not the earlier one
    both = list(database.outputs().find({"output.@class": "FreeEnergyDocument"}, sort=[("completed_at", 1)]))
    assert [[w["n_runs"] for w in row["output"]["windows"]] for row in both] == [[1, 1], [3, 3]]
    assert longer.free_energies(database)["uuid"].tolist() == [both[1]["uuid"]]
    done = longer.submit(database)
    assert (done.n_extended, done.n_unfinished, done.n_jobs) == (0, 0, 0)


def test_running_jobs_and_time_left(database, folder, tmp_path):
    """The progress of a running job gives the speed and the estimated time left."""
    campaign = read(folder, changed("temperatures_K", [300.0, 400.0]))
    submit_campaign(database, campaign, tasks(campaign))
    conditions = campaign_status(database, "salts")
    assert [dict(row.atom_steps) for row in conditions] == [{"READY": 2 * 70 * 8, "WAITING": 0}] * 2
    assert outlook(conditions, running_jobs(database, "salts")) == Outlook(0.0, 0.0, None)
    launched, _ = database.launchpad.checkout_fw(FWorker(), str(tmp_path))
    (job,) = running_jobs(database, "salts")
    assert (job.fw_id, job.progress) == (launched.fw_id, None) and job.task["n_sites"] == 8
    (tmp_path / "progress.json").write_text(
        json.dumps(vars(Progress("production", 35, 70, (300.0, 310.0), 2.0, steps_per_s=10.0)))
    )
    (job,) = running = running_jobs(database, "salts")
    assert job.progress.ns_per_day == pytest.approx(2 * 10 * 2e-6 * 86400)
    left = outlook(campaign_status(database, "salts"), running)
    assert left.share_done == pytest.approx(0.25)
    assert left.seconds_left == pytest.approx((35 + 70) / 10)
    text = shown(status_view("salts", campaign_status(database, "salts"), running, left))
    for words in ("production", "50 %", "25.0 % of the planned", "4 jobs are left; 1 sampling", "3.46"):
        assert words in text


def shown(view):
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(view)
    return console.export_text()


def test_many_conditions_are_summarised_in_few_rows():
    conditions = [
        Condition(structure, "NaK", 300.0 + t, pressure, Counter(COMPLETED=3, READY=1))
        for structure in ("KCl", "NaCl")
        for t in range(100)
        for pressure in (None, 1.0, 2.0)
    ]
    lines = shown(status_view("salts", conditions, [], Outlook(0.5, 0.0, None))).splitlines()
    (salt,) = [line for line in lines if line.strip().startswith("NaCl")]
    assert re.split(r"\s{2,}", salt.strip())[:5] == ["NaCl", "NaK", "300 – 399 (100)", "1 – 2 (2)", "900"]
    assert any("1800" in line for line in lines) and len(lines) < 13
    few = shown(status_view("salts", conditions[:9], [], Outlook(0.5, 0.0, None))).splitlines()
    assert sum("KCl" in line for line in few) == 9


@pytest.mark.slow
def test_pause_resume_retry_and_cancel(database, folder, tmp_path):
    explosive = changed(*SETTINGS, "timestep_fs", 500.0) | {"temperatures_K": [300.0, 310.0]}
    campaign = read(folder, explosive)
    submit_campaign(database, campaign, tasks(campaign))
    assert pause(database, "salts") == 4 and campaign_status(database, "salts")[0].states == {"PAUSED": 2}
    assert resume(database, "salts") == 4
    fw_ids = database.launchpad.get_fw_ids()
    with LocalWorkers(database, fw_ids, 1, tmp_path / "run") as workers, pytest.raises(Exception, match="failed"):
        wait(database, fw_ids, lambda jobs: None, check=workers.check)
    (cause,) = failures(database, "salts")  # the numbers in the messages differ
    assert len(cause.fw_ids) == 2 and "exploded" in cause.cause
    assert retry(database, "salts", cause.fw_ids[:1]) == 1
    states = [row.states for row in campaign_status(database, "salts")]
    assert sum(s["FIZZLED"] for s in states) == 1 and sum(s["READY"] for s in states) == 1
    assert cancel(database, "salts") == 4
    assert all(set(row.states) == {"DEFUSED"} for row in campaign_status(database, "salts"))
    assert resume(database, "salts") == 0 and resume(database, "salts", cancelled=True) == 4
    states = [dict(row.states) for row in campaign_status(database, "salts")]  # failed jobs are not cancelled
    assert sorted(states, key=sorted) == [{"FIZZLED": 1, "WAITING": 1}, {"READY": 1, "WAITING": 1}]


def test_structures_can_be_disordered_and_given_as_dictionaries(folder):
    mixed = Structure.from_file(folder / "NaCl.cif").replace_species({"Na": {"Na": 0.5, "K": 0.5}}, in_place=False)
    content = changed("transformations", ...) | {
        "structures": {"mixed": {"structure": json.loads(mixed.to_json())}},
        "method": {"kind": "frenkel-ladd", "settings": {"relax": False}},
    }
    (task,) = tasks(campaign_of(content))
    assert "KNaCl2" in task.flow().name

"""Campaigns of every kind: their example files are checked, wrong fields are named, and some of them run."""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from alchemflows.campaign.corrections import add_to_campaign
from alchemflows.campaign.estimate import total, work_of
from alchemflows.campaign.methods import KINDS, method_of
from alchemflows.campaign.specification import extended, read_campaign, tasks
from alchemflows.campaign.status import Condition, Outlook, campaign_status, outlook
from alchemflows.campaign.submission import submit_campaign
from alchemflows.cli.example_files import find_example
from alchemflows.cli.status import status_view
from alchemflows.cli.tables import results_table
from alchemflows.errors import InvalidInputError
from alchemflows.execution.local import LocalWorkers, submit, wait
from alchemflows.flows.state_committee import StateCommitteeMaker
from alchemflows.flows.transition_committee import TransitionCommitteeMaker
from alchemflows.report.campaign import write_report
from alchemflows.results.listing import results
from alchemflows.results.worst_frames import worst_frames
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA

pytestmark = pytest.mark.usefixtures("quick_workers")

PAGE = (Path(__file__).parents[2] / "docs" / "campaigns.md").read_text()
FILES = sorted(name for name in find_example("campaign-kinds").contents() if name.endswith(".yaml"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the example files of all kinds, from which Python can import."""
    path = tmp_path_factory.mktemp("kinds") / "files"
    find_example("campaign-kinds").write(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(path))
        patch.setenv("PYTHONPATH", f"{path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        yield path


def changed(folder, file, change):
    """Read the campaign of an example file after a change of its content."""
    content = yaml.safe_load((folder / file).read_text())
    change(content)
    (folder / "changed.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return read_campaign(folder / "changed.yaml")


def test_the_page_shows_the_example_files():
    shown = re.findall(r"```yaml\n(name: .*?)```", PAGE, re.DOTALL)
    contents = find_example("campaign-kinds").contents()
    for file in FILES:
        assert "".join(line for line in contents[file].splitlines(True) if not line.startswith("#")) in shown, file
    assert all(f"`{kind}`" in PAGE for kind in KINDS)


def test_each_method_has_an_example_file():
    """One file is enough for the figures of the paper, which have the same settings."""
    contents = find_example("campaign-kinds").contents()
    shown = {yaml.safe_load(contents[file])["method"]["kind"] for file in FILES}
    missing = set(KINDS) - shown
    assert missing == {"fig2", "fig4", "fig5"} and "fig3" in shown


@pytest.mark.parametrize("file", FILES)
def test_each_example_is_accepted(folder, file):
    campaign = read_campaign(folder / file)
    every = list(tasks(campaign))
    assert len({task.key for task in every}) == len(every) > 0
    work = total(map(work_of, every))
    assert work.n_tasks == len(every) and work.n_jobs >= work.n_tasks
    for task in every:
        jobs = [job for job, _ in task.flow().iterflow()]
        labels = [job.metadata["campaign"] for job in jobs]
        assert {label["task"] for label in labels} == {task.key}
        assert {label["method"] for label in labels} == {campaign.method.kind}
        assert sum(label.get("is_result", False) for label in labels) == 1


@pytest.mark.parametrize(
    ("file", "n_evaluations"),
    [
        ("committee.yaml", 200),
        ("corrected_frenkel_ladd.yaml", 200),
        ("corrected_liquid.yaml", 100),
        ("corrected_melting.yaml", 400),
        ("corrected_phases.yaml", 200),
    ],
)
def test_evaluations_of_frames_that_a_task_stores_are_counted(folder, file, n_evaluations):
    task, *_ = tasks(read_campaign(folder / file))
    assert work_of(task).n_evaluations == n_evaluations


def test_conditions_of_tasks(folder):
    sweep = list(tasks(read_campaign(folder / "sweep.yaml")))
    assert [(task.transformation, task.temperature_K, task.pressure_GPa) for task in sweep] == [
        ("NaK", None, None), ("NaLi", None, None)
    ]  # fmt: skip
    assert str(sweep[0]) == "NaCl, NaK, repeat 0"
    (phases,) = tasks(read_campaign(folder / "phases.yaml"))
    assert (phases.structure, phases.temperature_K) == ("CsPbI3", None) and set(phases.crystals) == {"alpha", "delta"}
    assert phases.arguments["temperatures"] == [300.0, 400.0, 500.0] and set(phases.records) == {"alpha", "delta"}
    seeds = [task.maker.search_maker.seed for task in tasks(read_campaign(folder / "ordering_search.yaml"))]
    assert seeds == [0, 1]
    order = list(tasks(read_campaign(folder / "monte_carlo.yaml")))
    assert [(task.temperature_K, task.arguments["temperatures"], task.maker.seed) for task in order] == [
        (None, [300.0, 450.0, 600.0], seed) for seed in (0, 1)
    ]
    (mixing,) = tasks(read_campaign(folder / "mixing.yaml"))
    assert mixing.arguments["temperatures"] == [600.0, 800.0, 1000.0]
    assert mixing.arguments["choices"] == {"Na": ["Na", "K"]}
    (figure,) = tasks(read_campaign(folder / "fig3.yaml"))
    assert figure.crystals == {} and figure.n_sites == 0 and figure.maker.version == "small"


def test_settings_reach_the_makers_within_a_maker(folder):
    sweep, *_ = tasks(read_campaign(folder / "sweep.yaml"))
    relax = sweep.maker.relax_maker.maker
    assert relax.relax_kwargs["fmax"] == 0.005 and relax.steps == 1000  # that of the maker's default, which is kept
    assert relax.optimizer_kwargs["optimizer"] == "BFGS" and not sweep.maker.both_starts
    vacancy, *_ = tasks(read_campaign(folder / "vacancy.yaml"))
    inner = vacancy.maker.frenkel_ladd_maker
    assert (inner.timestep_fs, inner.temperature, inner.potential.name) == (4.0, 100.0, "mace-demo")
    off = changed(folder, "vacancy.yaml", lambda c: c["method"]["settings"]["frenkel_ladd_maker"].update(relax=False))
    assert next(tasks(off)).maker.frenkel_ladd_maker.relax_maker is None


def target_of(content):
    """Return the target in the file of a campaign that corrects free energies."""
    return content["method"]["settings"]["correction_maker"]["target"]


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("sweep.yaml", lambda c: c.update(temperatures_K=[300]), r"line \d+: temperatures_K: sweep"),
        ("sweep.yaml", lambda c: c.update(pressures_GPa=[0.1]), r"line \d+: pressures_GPa: sweep"),
        ("sweep.yaml", lambda c: c.update(repeats=2), r"line \d+: repeats: sweep"),
        ("sweep.yaml", lambda c: c.pop("transformations"), "transformations: .*grid"),
        ("sweep.yaml", lambda c: c["method"].pop("arguments"), "method.arguments.grid"),
        ("sweep.yaml", lambda c: c["method"]["arguments"]["grid"].update(share=1), "method.arguments.grid.share"),
        ("sweep.yaml", lambda c: c["method"]["arguments"]["grid"].update(choices={"Na": ["Li"]}), "arguments.grid"),
        ("sweep.yaml", lambda c: c["method"]["settings"]["relax_maker"].update(fmax=-1), "settings.relax_maker.fmax"),
        ("sweep.yaml", lambda c: c["method"].update(kind="sweeps"), r"line \d+: method.kind: .*did you mean sweep\?"),
        ("sweep.yaml", lambda c: c.pop("potential"), "potential: "),
        ("relaxation.yaml", lambda c: c.update(transformations={"NaK": {"Na": "K"}}), "transformations: relaxation"),
        ("optimization.yaml", lambda c: c["method"]["arguments"].pop("choices"), "method.arguments.choices"),
        ("optimization.yaml", lambda c: c["method"]["arguments"].update(target=[]), "arguments.target: .*targets"),
        ("optimization.yaml", lambda c: c["method"]["arguments"].update(objective="os.nothing"), "os.nothing"),
        ("ordering_search.yaml", lambda c: c["method"]["arguments"].update(supercell="big"), "arguments.supercell"),
        ("order_disorder.yaml", lambda c: c["method"]["arguments"].update(orders="best"), "orders"),
        ("monte_carlo.yaml", lambda c: c["method"]["settings"].update(mu_eV={"K": "x"}), "settings.mu_eV"),
        ("monte_carlo.yaml", lambda c: c.pop("temperatures_K"), "temperatures_K"),
        ("phases.yaml", lambda c: c.pop("temperatures_K"), "temperatures_K: .*phases"),
        ("phases.yaml", lambda c: c["method"]["arguments"].update(phases={"CsPbI3": ["beta"]}), "phases.CsPbI3.*alpha"),
        ("corrected_liquid.yaml", lambda c: c.update(pressures_GPa=[None]), "pressure_GPa"),
        ("corrected_liquid.yaml", lambda c: target_of(c).update(path="nowhere:Calculator"), "nowhere"),
        ("corrected_liquid.yaml", lambda c: target_of(c).update(name="mace-demo"), "correction_maker.target"),
        ("fig3.yaml", lambda c: c.update(structures={"NaCl": {"file": "NaCl.cif"}}), "structures: fig3"),
        ("fig3.yaml", lambda c: c.update(potential={"name": "mace-demo"}), "potential: fig3"),
        ("volumes.yaml", lambda c: c["method"].update(kind="volumes.Nothing"), r"line \d+: .*Nothing"),
        ("volumes.yaml", lambda c: c["method"].update(kind="nowhere.Maker"), "method.kind: nowhere.Maker"),
        ("volumes.yaml", lambda c: c["method"].update(kind="volumes.lowest"), "method.kind: volumes.lowest"),
        ("volumes.yaml", lambda c: c["method"]["settings"].update(scale=1), "method.settings.scale: .*scales"),
    ],
)  # fmt: skip
def test_wrong_fields_are_named(folder, file, change, words):
    with pytest.raises(InvalidInputError, match=words):
        for task in tasks(changed(folder, file, change)):
            task.flow()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def broken(:", "SyntaxError"),
        ("from volumes import *\nclass M(VolumesMaker):\n    def make(self, structure): ...", "structure of .*M.make"),
        ("from volumes import *\nclass M(VolumesMaker):\n    def make(self, *structures): ...", "M.make.*structures"),
        (
            "from volumes import *\nclass M(VolumesMaker):\n    def make(self, structure: Structure): return 1 / 0",
            "NaCl, repeat 0: .*ZeroDivisionError",
        ),
    ],
)
def test_errors_of_a_maker_of_a_user_are_named(folder, text, words):
    module = f"own_{abs(hash(text))}"
    (folder / f"{module}.py").write_text(text)
    with pytest.raises(InvalidInputError, match=words):
        for task in tasks(changed(folder, "volumes.yaml", lambda c: c["method"].update(kind=f"{module}.M"))):
            task.flow()


def test_keys_of_a_maker_of_a_user(folder):
    keys = [task.key for task in tasks(read_campaign(folder / "volumes.yaml"))]
    same = changed(folder, "volumes.yaml", lambda c: c["method"].pop("settings"))
    assert [task.key for task in tasks(same)] == keys  # the settings of the file are the defaults
    other = changed(folder, "volumes.yaml", lambda c: c["method"]["settings"].update(scales=[0.9, 1.0, 1.1]))
    precise = changed(folder, "volumes.yaml", lambda c: c["potential"].update(dtype="float64"))
    assert not {task.key for task in tasks(other)} & set(keys)
    assert not {task.key for task in tasks(precise)} & set(keys)


def test_the_order_of_temperatures_is_not_in_the_key_of_a_task_that_has_all(folder):
    straight = read_campaign(folder / "phases.yaml")
    reverse = changed(folder, "phases.yaml", lambda content: content["temperatures_K"].reverse())
    assert straight.temperatures_K != reverse.temperatures_K
    assert [task.key for task in tasks(straight)] == [task.key for task in tasks(reverse)]


def test_any_job_maker_is_a_method(folder):
    """A maker of another package whose `make` returns a job."""
    path = "atomate2.forcefields.jobs.ForceFieldStaticMaker"
    method = method_of(path)
    assert method.structure == "structure" and not method.campaign_fields
    own = {"kind": path, "settings": {"force_field_name": "MACE"}}
    campaign = changed(folder, "relaxation.yaml", lambda c: (c.update(method=own), c.pop("potential")))
    first, *_ = tasks(campaign)
    (job,) = first.flow().jobs
    assert job.metadata["campaign"]["is_result"] and job.metadata["campaign"]["structure"] == "NaCl"


def test_extensions(folder):
    read = {name: read_campaign(folder / f"{name}.yaml") for name in ("sweep", "phases", "vacancy", "ordering_search")}
    assert extended(read["vacancy"], None, [300.0, 100.0], [1.0], 3).temperatures_K == [100.0, 200.0, 300.0]
    assert extended(read["ordering_search"], repeats=5).repeats == 5
    for name, words, more in (
        ("sweep", "runs: .*sweep", {"n_runs": 2}),
        ("vacancy", "runs: .*vacancy", {"n_runs": 2}),
        ("sweep", "temperatures_K: sweep", {"temperatures_K": [300.0]}),
        ("sweep", "repeats: sweep", {"repeats": 2}),
        ("phases", "temperature: .*phases", {"temperatures_K": [600.0]}),
    ):
        with pytest.raises(InvalidInputError, match=words):
            extended(read[name], **more)


def shown(view, width=80):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(view)
    return console.export_text()


def test_the_status_fits_80_columns():
    states = {"COMPLETED": 1200, "RUNNING": 2, "READY": 30, "WAITING": 1000, "FIZZLED": 4}
    rows = [Condition("CsPbI3", "PbSn", 300.0 + t, p, Counter(states)) for t in (0, 50) for p in (ATMOSPHERE_GPA, 1.0)]
    text = shown(status_view("halides", rows, [], Outlook(0.5, 0.0, None)))
    (line,) = [line for line in text.splitlines() if "CsPbI3" in line and "350" in line and "atm" in line]
    assert line.split()[2:] == ["350", "1", "atm", "1200", "2", "30", "1000", "4"]
    rows[0].states.update(PAUSED=3)
    lines = shown(status_view("halides", rows, [], Outlook(0.5, 0.0, None))).splitlines()
    assert sum("CsPbI3" in line and "1000" in line for line in lines) == 4
    alone = Condition("NaCl", "", None, None, Counter(READY=3))
    view = shown(status_view("salts", [alone], [], Outlook(None, 0.0, None)))
    assert "structure" in view and "ready" in view and "(K)" not in view and "mation" not in view


def short(content):
    """Leave one structure, one transformation, and few jobs of a campaign."""
    content["structures"] = dict([*content["structures"].items()][:1])
    content["method"]["settings"] |= {"n_random": 1} if content["method"]["kind"] == "order-disorder" else {}
    if content["method"]["kind"] == "sweep":
        content["transformations"] = {"NaK": {"Na": "K"}}
        content["method"]["arguments"]["grid"]["shares"] = [0, 1]
    if content["method"]["kind"] == "monte-carlo":
        content["method"]["settings"] = {"n_replicas": 2, "n_equilibration_sweeps": 0, "n_production_sweeps": 4}
        content["method"]["arguments"]["supercell"] = [1, 1, 1]
        content["repeats"] = 1
    if content["method"]["kind"] == "transition":
        content["method"]["settings"] = {"n_replicas": 2, "n_equilibration_sweeps": 0, "n_production_sweeps": 4}
    if content["method"]["kind"] == "mixing":
        content["temperatures_K"] = [600]
        content["method"]["settings"] = {"n_potentials": 3, "n_equilibration_sweeps": 0, "n_production_sweeps": 4}
    if content["method"]["kind"] == "corrected-frenkel-ladd":
        content["structures"]["NaCl"].pop("supercell")
        content["temperatures_K"] = [300]
        lengths = {"n_cell_steps": 300, "n_equilibration_steps": 10, "n_sampling_steps": 40, "n_switching_steps": 20}
        content["method"]["settings"] = {
            "frenkel_ladd_maker": {"timestep_fs": 4.0, "n_repeats": 2, "n_frames": 20, "relax": False, **lengths},
            "correction_maker": {"target": {"name": "mace-demo", "dtype": "float64"}},
        }


#: Kinds of results of example files.
RUN = {
    "sweep": "sweep",
    "order_disorder": "order-disorder",
    "monte_carlo": "monte-carlo",
    "mixing": "mixing",
    "transition": "transition",
    "relaxation": "relaxation",
    "corrected_frenkel_ladd": "state-correction",
    "volumes": "VolumesMaker",
}
#: Numbers of their figures in reports.
FIGURES = {"sweep": 1, "order_disorder": 1, "monte_carlo": 3, "mixing": 2, "transition": 7, "corrected_frenkel_ladd": 2}
#: Kinds of further results, which a flow makes on its way to the last one.
FURTHER = {"transition": ["monte-carlo", "monte-carlo"], "corrected_frenkel_ladd": ["frenkel-ladd"]}


def compare_potentials(database, folder, makers):
    """Evaluate results of campaigns with committees, which are then in their status, their lists and their reports."""
    member = CalculatorSpec(path="ase.calculators.lj:LennardJones", arguments={"epsilon": 1e-4, "sigma": 2.0})
    evaluated, all_ids = {}, []
    for (name, kind), maker in makers.items():
        (evaluated[name],) = results(database, kinds=[kind], campaign=name)
        uuid = evaluated[name]["uuid"]
        committee = maker(members=[member]).make(uuid)
        assert add_to_campaign(database, committee, {uuid: committee}) == name
        fw_ids = submit(database, committee)
        waiting = sum(row.states["READY"] + row.states["WAITING"] for row in campaign_status(database, name))
        assert waiting == len(fw_ids)
        all_ids += fw_ids
    with LocalWorkers(database, all_ids, 1, folder / "committee") as workers:
        assert wait(database, all_ids, lambda jobs: None, check=workers.check) == []
    for name, before in evaluated.items():
        (condition,) = campaign_status(database, name)
        assert set(condition.states) == {"COMPLETED"}
        (row,) = [row for row in results(database, campaign=name) if row["kind"].endswith("-committee")]
        assert (row["structure"], row["repeat"]) == (before["structure"], before["repeat"])
        assert write_report(database, name, folder / "committee.html") == 4
        assert row["uuid"] in re.findall('data-uuid="(.*?)"', (folder / "committee.html").read_text())
        spreads = [frame.spread_eV for frame in worst_frames(database, row["uuid"], 2)]
        assert spreads == sorted(spreads, reverse=True) and spreads[0] > 0


@pytest.mark.slow
def test_campaigns_of_other_kinds_run(database, folder, tmp_path):
    """Each is submitted, run, shown, listed and reported; submitted again, it adds no job."""
    campaigns = {name: changed(folder, f"{name}.yaml", short) for name in RUN}
    for campaign in campaigns.values():
        assert submit_campaign(database, campaign, tasks(campaign)).n_jobs > 0
    fw_ids = sorted(database.launchpad.get_fw_ids())
    with LocalWorkers(database, fw_ids, 1, tmp_path / "run") as workers:
        assert wait(database, fw_ids, lambda jobs: None, check=workers.check) == []
    for name, campaign in campaigns.items():
        kind = RUN[name]
        again = submit_campaign(database, campaign, tasks(campaign))
        assert (again.n_new, again.n_known, again.n_jobs, again.n_others) == (0, 1, 0, 0)
        conditions = campaign_status(database, campaign.name)
        assert {state for row in conditions for state in row.states} == {"COMPLETED"}
        assert "nothing is left" in shown(status_view(campaign.name, conditions, [], outlook(conditions, [])))
        rows = results(database, campaign=campaign.name)
        kinds = [kind, *FURTHER.get(name, [])]
        assert [row["kind"] for row in rows] == kinds
        assert {row["structure"] for row in rows} <= set(campaign.structures)
        assert all(row["value"] is not None for row in rows)
        assert kind in shown(results_table(rows))
        assert write_report(database, campaign.name, tmp_path / f"{name}.html") == len(kinds)
        text = (tmp_path / f"{name}.html").read_text()
        assert set(re.findall('data-uuid="(.*?)"', text)) == {row["uuid"] for row in rows}
        assert text.count("data:image/png;base64,") == FIGURES.get(name, 0)
    (volume,) = results(database, campaign="salt-volumes")
    (relaxed,) = results(database, kinds=["relaxation"], campaign="salt-relaxations")
    assert 150 < volume["value"] < 220 and relaxed["unit"] == "eV/atom"
    makers = {
        (campaigns["transition"].name, "transition"): TransitionCommitteeMaker,
        (campaigns["corrected_frenkel_ladd"].name, "frenkel-ladd"): StateCommitteeMaker,
    }
    compare_potentials(database, tmp_path, makers)
    wider = changed(folder, "sweep.yaml", lambda c: (short(c), c["transformations"].update(NaCs={"Na": "Cs"})))
    added = submit_campaign(database, wider, tasks(wider))
    assert (added.n_new, added.n_known) == (1, 1)

"""Documents and queued jobs of all earlier releases can be read and run; those of newer releases are refused."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
from io import StringIO

import pytest
import typer
from command_line import assert_one_line, run_command
from rich.console import Console
from stored import (
    DATA,
    DOCUMENTS,
    EXAMPLES,
    FURTHER,
    MODEL,
    kind_of,
    kinds_within,
    read_example,
    read_workflow,
    store_examples,
)
from workers import WorkerProcess

import alchemflows.schemas
from alchemflows import plotting
from alchemflows.cli import defects, running
from alchemflows.cli.example_files import find_example
from alchemflows.cli.shown import TABLES, show
from alchemflows.errors import DocumentVersionError
from alchemflows.execution.interrupted import SubmittedFlow
from alchemflows.execution.local import status
from alchemflows.plotting import figures_of
from alchemflows.report import details
from alchemflows.report.campaign import write_report
from alchemflows.report.results import RESULTS
from alchemflows.results import listing, readout
from alchemflows.results.builder import FreeEnergyBuilder
from alchemflows.results.export import export
from alchemflows.results.kinds import KINDS
from alchemflows.results.ladders import analysis, window_documents
from alchemflows.results.query import relaxations
from alchemflows.results.stored import another_version, of_campaign
from alchemflows.schemas import document
from alchemflows.schemas.document import Document, current_version, decoded, migration
from alchemflows.schemas.potential import DEMO, DEMO_NOTE
from alchemflows.storage.fireworks import submitted_tasks

CAMPAIGN = "examples"
#: Documents that no job returns: base classes, and states of windows in the arguments of queued jobs.
NOT_STORED = {"DefectDocument", "MixedEnds", "PackedState", "VacancySeries"}


@pytest.fixture(scope="module")
def examples(shared_database):
    """Return a database with all examples and the queued workflow of the same campaign."""
    store_examples(shared_database, EXAMPLES)
    shared_database.launchpad.add_wf(read_workflow())
    return shared_database


@pytest.fixture
def changed(examples):
    """Return a function that changes the documents of a class until the end of the test."""
    before = list(examples.outputs().find())

    def change(kind, update):
        result = examples.outputs().update_many({"output.@class": kind}, update)
        assert result.modified_count
        return examples

    yield change
    for row in before:
        examples.outputs().replace_one({"_id": row["_id"]}, row)


def kinds(parent=Document):
    for module in pkgutil.iter_modules(alchemflows.schemas.__path__, "alchemflows.schemas."):
        importlib.import_module(module.name)
    for kind in parent.__subclasses__():
        if kind.__module__.startswith("alchemflows."):
            yield kind.__name__
        yield from kinds(kind)


def test_each_kind_has_an_example_of_each_version():
    versions = {path.stem: kinds_within(read_example(path)) for path in EXAMPLES}
    missing = set(kinds()) - NOT_STORED - set().union(*versions.values())
    assert not missing, f"no example of {', '.join(sorted(missing))}: add it to tests/data/make_documents.py and run it"
    returned = {stem.rpartition("-")[0] for stem in versions}
    wanted = {f"{kind}-{version}" for kind in returned for version in range(1, current_version(kind) + 1)}
    assert set(versions) == wanted, "run tests/data/make_documents.py, and commit files of kinds with a new version"


def test_examples_name_no_machine():
    text = "".join(path.read_text() for path in [*EXAMPLES, *FURTHER, DATA / "workflow.json"])
    assert os.sep + "tmp" + os.sep not in text and "file://" not in text and "localhost" not in text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_each_example_is_read(examples, path):
    for row in read_example(path)["outputs"]:
        read = decoded(examples.job_store.get_output(row["uuid"], load=True))
        assert isinstance(read, Document) and type(read).__name__ == kind_of(path)
        assert read.schema_version == current_version(type(read).__name__)
        assert type(read).read(read.model_dump()) == read


def test_all_kinds_are_in_tables(examples, tmp_path):
    rows = readout.free_energies(examples, CAMPAIGN).set_index("kind")
    assert set(rows.index) == {"ladder", "switching", "frenkel-ladd", "vacancy"}
    assert rows.loc["ladder", "transformation"] == "K" and rows.loc["ladder", "n_windows"] == 3
    assert rows["task"].notna().all()
    ladder = analysis(examples.job_store.docs_store, rows.loc["ladder", "uuid"])
    windows = readout.windows(examples, CAMPAIGN)
    (sampled,) = window_documents(examples.job_store.docs_store, examples.samples(), ladder.window_jobs)
    assert len(windows) == len(sampled.windows) == 3
    samples = readout.samples(examples, CAMPAIGN)
    assert len(samples) == sum(window.n_samples for window in sampled.windows)
    assert export([readout.free_energies(examples)], tmp_path / "all.csv") >= 4
    (row,) = read_example(DOCUMENTS / "RelaxDocument-1.json")["outputs"]
    (relaxed,) = relaxations(examples, [row["output"]["key"]])
    assert relaxed.energy_eV == row["output"]["energy_eV"]


@pytest.fixture
def in_campaign(examples):
    """Give the metadata of the campaign to all results that have none, until the end of the test."""
    (campaign,) = examples.outputs().aggregate(
        [{"$match": {"output.@class": "FreeEnergyDocument"}}, {"$replaceWith": "$metadata.campaign"}]
    )
    without = {"metadata.campaign": {"$exists": False}}
    rows = list(examples.outputs().find(without, {"uuid": 1, "metadata": 1}))
    for k, row in enumerate(rows):
        own = {"metadata.campaign": campaign | {"task": f"task-{k}"}}
        examples.outputs().update_one({"_id": row["_id"]}, {"$set": own})
    yield examples
    for row in rows:
        examples.outputs().update_one({"_id": row["_id"]}, {"$set": {"metadata": row["metadata"]}})


def test_all_kinds_are_in_the_report(in_campaign, tmp_path, monkeypatch):
    drawn = {"CommitteeDocument", "CorrectionDocument"}  # the others are drawn by the tests of the list of results

    def some_figures(document):
        return figures_of(document) if type(document).__name__ in drawn | set(RESULTS) else {}

    monkeypatch.setattr("alchemflows.plotting.figures_of", some_figures)
    write_report(in_campaign, CAMPAIGN, tmp_path / "report.html", 100)
    text = (tmp_path / "report.html").read_text()
    assert "cannot be read" not in text
    sections = {each.partition('"')[0]: each for each in text.split('<details open id="')[1:]}
    found = {row["uuid"]: row["output"] for row in in_campaign.outputs().find({"uuid": {"$in": list(sections)}})}
    assert {output["@class"] for output in found.values()} == {kind for kind, each in KINDS.items() if not each.is_step}
    assert {found[uuid]["@class"] for uuid, text in sections.items() if "data:image/png" in text} == drawn | set(
        RESULTS
    )
    of_kind = {output["@class"]: sections[uuid] for uuid, output in found.items()}
    of_class = {output["@class"]: output for output in found.values()}
    committee, correction = of_class["CommitteeDocument"], of_class["CorrectionDocument"]
    for name, value in (
        ("sigma_model_eV", committee["sigma_model_eV"]),
        ("sigma_stat_eV", committee["mean"]["error_eV"]),
    ):
        assert f"<th>{name}</th><td>{value:.6g}</td>" in of_kind["CommitteeDocument"]
    spreads = of_class["MixingCommitteeDocument"]["spreads"]
    largest = max(each["sigma_model"] for each in spreads if each["quantity"] == "mixing")
    assert f"sigma_model {largest:.6g}, sigma_stat" in of_kind["MixingCommitteeDocument"]
    (melting,) = of_class["StateCommitteeDocument"]["spreads"]
    for name in ("mean_K", "sigma_model_K", "sigma_stat_K"):
        assert f"<th>{name}</th><td>{melting[name]:.6g}</td>" in of_kind["StateCommitteeDocument"]
    assert f"delta_f_eV {correction['correction']['delta_f_eV']:.6g}" in of_kind["CorrectionDocument"]


def result(examples, kind):
    """Return the example of a kind of document."""
    (row,) = read_example(DOCUMENTS / f"{kind}-{current_version(kind)}.json")["outputs"]
    return decoded(examples.job_store.get_output(row["uuid"], load=True))


def shown(document):
    stream = StringIO()
    show(document, Console(file=stream, width=200))
    return stream.getvalue()


def note_in(figure):
    """Return the note below a figure."""
    return figure.legends[-1].get_title().get_text() if figure.legends else figure.get_supxlabel()


@pytest.mark.parametrize("kind", [kind.__name__ for kind in TABLES])
def test_results_of_the_demonstration_potential_say_so(examples, kind):
    document = result(examples, kind)
    assert document.provenance.potential.name == DEMO
    assert DEMO_NOTE in shown(document) and DEMO_NOTE in document._repr_html_()
    assert {name: note_in(draw()) for name, draw in figures_of(document).items()} == dict.fromkeys(
        figures_of(document), DEMO_NOTE
    )


@pytest.mark.parametrize("kind", [kind.__name__ for kind in TABLES])
def test_figures_have_a_title_and_legends_that_cover_no_data(examples, kind):
    for name, draw in figures_of(result(examples, kind)).items():
        figure = draw()
        figure.draw_without_rendering()
        assert figure.get_suptitle() or figure.axes[0].get_title(), name
        legends = [*figure.legends, *filter(None, (axes.get_legend() for axes in figure.axes))]
        for legend in legends:
            place = legend.get_window_extent()
            assert not any(place.overlaps(axes.get_window_extent()) for axes in figure.axes), name
            assert place.x0 >= 0 and place.x1 <= figure.bbox.width, name


def test_the_figure_of_a_schottky_defect_has_a_row_for_each_vacancy(examples):
    document = result(examples, "SchottkyDocument")
    figure = plotting.plot(document)
    assert len(document.vacancies) == 2 and len(figure.axes) == 4
    for left, right, vacancy in zip(figure.axes[::2], figure.axes[1::2], document.vacancies, strict=True):
        assert left.get_title().endswith(f" {vacancy.element}")
        forward = right.lines[1].get_xdata()
        assert list(forward) == sorted(vacancy.removal.work.forward_work_eV)
    assert f"{document.alchemical_eV:.4f} ± {document.alchemical_error_eV:.4f} eV" in figure.get_suptitle()


@pytest.mark.parametrize("command", ["schottky", "frenkel-pair"])
def test_commands_of_defect_pairs_draw_the_figure_of_their_result(examples, command, tmp_path, monkeypatch):
    """The flow is not run: its result is that of the example."""
    kind = {"schottky": "SchottkyDocument", "frenkel-pair": "FrenkelPairDocument"}[command]
    (row,) = read_example(DOCUMENTS / f"{kind}-{current_version(kind)}.json")["outputs"]
    seen = {}
    monkeypatch.setattr(defects, "run_and_show", lambda make, run, **settings: seen.update(settings))
    find_example("structures").write(tmp_path)
    place = ["--interstitial", "0.25", "0.25", "0.25"] if command == "frenkel-pair" else []
    arguments = [command, str(tmp_path / "NaCl.cif"), "-T", "300", "--plot", str(tmp_path / "figure.png"), *place]
    typer.main.get_command(defects.app).main(arguments, standalone_mode=False)
    flow = SubmittedFlow("defect", [], row["uuid"], seen["figures"], 1, completed=True)
    running.run_submitted(examples, flow, 0)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("kind", ["CorrectionDocument", "ReanalysisDocument"])
@pytest.mark.parametrize("target", ["sevennet-0", None], ids=["another potential", "no potential of this package"])
def test_corrections_say_that_the_demonstration_potential_was_sampled(examples, kind, target):
    document = result(examples, kind)
    sampled = document.provenance.potential
    document.provenance.potential = None if target is None else sampled.model_copy(update={"name": target})
    parts = [document] if kind == "CorrectionDocument" else document.ladders
    for part in parts:
        part.source = sampled
    note = f"sampled with {DEMO_NOTE}"
    assert f"potential: {f'{target}, ' if target else ''}{note}" in shown(document)
    assert all(note_in(draw()) == note for draw in figures_of(document).values())
    assert dict(details.provenance_facts(document, None))["note"] == note
    for part in parts:
        part.source = sampled.model_copy(update={"name": "sevennet-0"})
    assert DEMO_NOTE not in shown(document) and not any(note_in(draw()) for draw in figures_of(document).values())
    assert "note" not in dict(details.provenance_facts(document, None))


@pytest.mark.usefixtures("changed")
def test_the_report_notes_the_demonstration_potential_in_all_details_and_figures(examples, tmp_path, monkeypatch):
    labels = examples.outputs().find_one({"metadata.campaign.name": CAMPAIGN})["metadata"]["campaign"]
    examples.outputs().update_many({"metadata.campaign": None}, {"$set": {"metadata.campaign": labels}})
    drawn = []
    monkeypatch.setattr(plotting, "png", lambda figure: drawn.append(figure) or b"")
    n_results = write_report(examples, CAMPAIGN, tmp_path / "report.html", 100)
    assert len(drawn) >= n_results >= 20 and {note_in(figure) for figure in drawn} == {DEMO_NOTE}
    text = (tmp_path / "report.html").read_text()
    assert text.count(f"<th>note</th><td>{DEMO_NOTE}</td>") == n_results
    assert f"<b>{DEMO_NOTE}</b>" in text


def test_a_stored_ladder_is_estimated_again(examples):
    builder = FreeEnergyBuilder.of(examples, CAMPAIGN)
    builder.run()
    assert (builder.n_ladders, builder.failures) == (1, {})
    new, old = (readout.free_energies(examples, CAMPAIGN, reanalysed=again) for again in (True, False))
    assert new["delta_f_eV"].item() == pytest.approx(old.set_index("kind").loc["ladder", "delta_f_eV"], abs=1e-6)


def test_a_queued_workflow_runs(database, tmp_path):
    """Jobs submitted by an earlier release run in this one."""
    fw_ids = sorted(database.launchpad.add_wf(read_workflow(MODEL)).values())
    assert WorkerProcess(database, tmp_path / "worker", "--until-idle").end() == 0
    assert {job.state for job in status(database, fw_ids)} == {"COMPLETED"}
    (row,) = readout.free_energies(database, CAMPAIGN).to_dict("records")
    assert (row["kind"], row["initial"], row["final"]) == ("ladder", "CsPbI3", "CsSnI3")
    found = readout.windows(database, CAMPAIGN)
    assert len(found) == 3 and set(found["task"]) == {row["task"]}
    assert submitted_tasks(database.launchpad, CAMPAIGN) == {row["task"]: 1}


def test_older_rows_are_like_those_of_this_version(examples, changed, monkeypatch):
    """Test with a version 0 in which a field of ladders, of windows and of campaigns had another name."""
    before = [make(examples, CAMPAIGN) for make in (readout.free_energies, readout.windows)]
    monkeypatch.setattr(document, "MIGRATIONS", {})

    @migration("FreeEnergyDocument", 0)
    def _total(content):
        content["total"] = content.pop("sum")
        return content

    @migration("WindowsDocument", 0)
    def _windows(content):
        content["windows"] = content.pop("replicas")
        return content

    @migration("CampaignMetadata", 0)
    def _structure(content):
        content["structure"] = content.pop("crystal")
        return content

    names = {"output.total": "output.sum", "metadata.campaign.structure": "metadata.campaign.crystal"}
    versions = {"output.schema_version": 0, "metadata.campaign.schema_version": 0}
    changed("FreeEnergyDocument", {"$set": versions, "$rename": names})
    del names["output.total"]
    changed("WindowsDocument", {"$set": versions, "$rename": names | {"output.windows": "output.replicas"}})
    after = [make(examples, CAMPAIGN) for make in (readout.free_energies, readout.windows)]
    assert all(new.equals(old) for new, old in zip(after, before, strict=True))
    chosen = readout.windows(examples, CAMPAIGN, where={"lambda_value": {"$gt": 0.4}})
    assert chosen["lambda_value"].tolist() == [0.5, 1.0]
    uuid = before[0].set_index("kind").loc["ladder", "uuid"]
    assert (
        analysis(examples.job_store.docs_store, uuid).total.delta_f_eV
        == before[0].set_index("uuid").loc[uuid, "delta_f_eV"]
    )
    assert len(readout.samples(examples, CAMPAIGN)) > 0 and len(readout.dhdl(examples, uuid)) > 0


def test_a_newer_document_is_refused_with_what_to_install(examples, changed, tmp_path):
    changed("FreeEnergyDocument", {"$set": {"output.schema_version": 2}})
    (uuid,) = examples.outputs().distinct("uuid", {"output.@class": "FreeEnergyDocument"})
    for read in (
        lambda: readout.free_energies(examples, CAMPAIGN),
        lambda: readout.dhdl(examples, uuid),
        lambda: write_report(examples, CAMPAIGN, tmp_path / "report.html", 3),
    ):
        with pytest.raises(DocumentVersionError, match="FreeEnergyDocument"):
            read()
    environment = os.environ | examples.environment
    command = ["export", "free-energies", tmp_path / "all.csv"]
    assert_one_line(run_command(command, tmp_path, environment), "FreeEnergyDocument", "2", "pip install", uuid[:8])
    builder = FreeEnergyBuilder.of(examples, CAMPAIGN, rebuild=True)
    builder.run()
    assert "pip install" in builder.failures[uuid]


@pytest.mark.parametrize("version", [2, "text"])
def test_a_list_of_results_names_those_that_cannot_be_read(examples, changed, tmp_path, version):
    before = {row["uuid"] for row in listing.results(examples)}
    changed("FreeEnergyDocument", {"$set": {"output.schema_version": version}})
    (uuid,) = examples.outputs().distinct("uuid", {"output.@class": "FreeEnergyDocument"})
    with pytest.raises(DocumentVersionError, match=uuid[:8]):
        listing.results(examples)
    errors = []
    rows = listing.results(examples, skip=errors.append)
    assert {row["uuid"] for row in rows} == before - {uuid} and uuid[:8] in str(errors[0]) and len(errors) == 1
    done = run_command(["results", "--json"], tmp_path, os.environ | examples.environment)
    assert done.returncode == 0 and len(json.loads(done.stdout)) == len(rows)
    (note,) = done.stderr.splitlines()
    assert uuid[:8] in note and (version == "text" or "pip install" in note)


@pytest.mark.parametrize(
    "version",
    ["1", None, {}, True, [1], [0, 1], []],
    ids=["text", "null", "mapping", "boolean", "array", "two versions", "empty array"],
)
@pytest.mark.parametrize(
    ("place", "kind"), [("output", "FreeEnergyDocument"), ("metadata.campaign", "CampaignMetadata")]
)
def test_a_version_that_is_not_a_number_is_refused(examples, changed, place, kind, version):
    changed("FreeEnergyDocument", {"$set": {f"{place}.schema_version": version}})
    with pytest.raises(DocumentVersionError, match=kind):
        readout.free_energies(examples, CAMPAIGN)


def test_a_missing_version_counts_as_the_current_one(examples, changed):
    before = readout.free_energies(examples, CAMPAIGN)
    changed("FreeEnergyDocument", {"$unset": {"output.schema_version": 1, "metadata.campaign.schema_version": 1}})
    assert readout.free_energies(examples, CAMPAIGN).equals(before)


def test_documents_of_other_versions_are_found_by_indexes_alone(examples):
    outputs, kinds = examples.outputs(), ["FreeEnergyDocument", "WindowsDocument"]
    row = {"output": {"schema_version": 1}, "metadata": {"campaign": {"name": "many", "schema_version": 1}}}
    copies = [row | {"output": row["output"] | {"@class": kinds[k % 2]}} for k in range(400)]
    inserted = outputs.insert_many(copies).inserted_ids
    try:
        for criteria in (of_campaign("many", *kinds), of_campaign("many", kinds[1]), of_campaign(None, kinds[1])):
            statistics = outputs.find({"$and": [criteria, another_version(kinds)]}).explain()["executionStats"]
            assert statistics["totalDocsExamined"] == 0 and statistics["totalKeysExamined"] < 10
    finally:
        outputs.delete_many({"_id": {"$in": inserted}})


def test_newer_windows_and_samples_are_refused(examples, changed):
    changed("WindowsDocument", {"$set": {"output.schema_version": 2}})
    with pytest.raises(DocumentVersionError, match="WindowsDocument"):
        readout.windows(examples)
    with pytest.raises(DocumentVersionError, match="CampaignMetadata"):
        changed("WindowsDocument", {"$set": {"output.schema_version": 1, "metadata.campaign.schema_version": 3}})
        readout.windows(examples)


def test_a_campaign_that_a_newer_release_submitted_is_refused(database):
    database.launchpad.add_wf(read_workflow())
    newer = {"$set": {"metadata.campaign.schema_version": 2}}
    database.launchpad.workflows.update_many({}, newer)
    with pytest.raises(DocumentVersionError, match="CampaignMetadata"):
        submitted_tasks(database.launchpad, CAMPAIGN)

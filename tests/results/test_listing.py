"""Results of every kind are listed, found by the beginning of their ID, printed and plotted."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from datetime import date

import numpy as np
import pytest
from ase import Atoms
from command_line import assert_one_line, run_command
from rich.console import Console
from stored import DOCUMENTS, EXAMPLES, kind_of, read_example, store_examples

from alchemflows.alchemy.verify import Deviation
from alchemflows.analysis.frames import StateFrames
from alchemflows.cli.frame_tables import states_table, worst_frames_table
from alchemflows.cli.layout import ResultTable
from alchemflows.cli.running import as_text
from alchemflows.cli.shown import TABLES, show
from alchemflows.cli.tables import deviation_table, ensemble_table, results_table
from alchemflows.errors import DatabaseError, InvalidInputError
from alchemflows.plotting import figures_of, save
from alchemflows.results.frames import states_of
from alchemflows.results.kinds import COLUMNS, KINDS
from alchemflows.results.listing import LISTED_FIELDS, find_result, results
from alchemflows.results.query import newest_ladders
from alchemflows.results.worst_frames import WorstFrame
from alchemflows.sampling.verify import Sampled, SampledEnsemble
from alchemflows.schemas.document import decoded
from alchemflows.schemas.frames import Frames

CLASSES = {kind_of(path) for path in EXAMPLES}
#: Outputs of jobs that are no results: parts of a ladder, of an absolute free energy, and of a melting point.
PARTS = {
    *("WindowsDocument", "EquilibriumDocument", "FrameEnergies", "FrameForces", "LiquidDocument"),
    "CoexistenceDocument",
}
#: Kinds without a figure; the stored reproduction is a table.
WITHOUT_FIGURE = {"RelaxDocument", "ReproductionDocument", "SampledDisorderDocument"}


@pytest.fixture(scope="module")
def examples(shared_database):
    """Return a database with a document of every kind."""
    store_examples(shared_database, EXAMPLES)
    return shared_database


@pytest.fixture(scope="module")
def documents(examples):
    """Return the stored result of each kind, with its identifier."""
    found = {}
    for path in EXAMPLES:
        row = read_example(path)["outputs"][-1]
        if (kind := row["output"]["@class"]) in KINDS:
            found[kind] = row["uuid"], decoded(examples.job_store.get_output(row["uuid"], load=True))
    return found


def printed(renderable, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.file.getvalue()


def test_every_stored_document_has_a_kind_and_tables():
    assert CLASSES - PARTS == set(KINDS) == {each.__name__ for each in TABLES}
    assert len({kind.name for kind in KINDS.values()}) == len(KINDS)
    assert not set(COLUMNS) & set(LISTED_FIELDS)


def test_all_kinds_are_listed(examples, documents):
    rows = results(examples)
    steps = {kind.name for kind in KINDS.values() if kind.is_step}
    assert {row["kind"] for row in rows} == {kind.name for kind in KINDS.values()} - steps
    assert {row["kind"] for row in results(examples, kinds=sorted(steps))} == steps
    times = [row["completed_at"] for row in rows]
    assert times == sorted(times, reverse=True)
    for row in rows:
        assert list(row) == list(LISTED_FIELDS)
        assert row["system"] and row["value"] is not None and row["potential"]
    by_kind = {row["kind"]: row for row in rows}
    _, ladder = documents["FreeEnergyDocument"]
    assert (by_kind["ladder"]["value"], by_kind["ladder"]["error"]) == (
        pytest.approx(ladder.total.delta_f_eV),
        pytest.approx(ladder.total.error_eV),
    )
    _, absolute = documents["FrenkelLaddDocument"]
    assert by_kind["frenkel-ladd"]["value"] == pytest.approx(absolute.gibbs.value_eV_per_atom)
    _, order = documents["OrderDisorderDocument"]
    assert by_kind["order-disorder"]["value"] == pytest.approx(1e3 * order.ordering_energies_eV_per_atom["random"])
    _, optimization = documents["OptimizationDocument"]
    assert by_kind["optimization"]["value"] == optimization.runs[optimization.best].steps[-1].objective


def test_the_temperature_of_a_row_is_that_of_its_number(examples, documents):
    rows = results(examples)
    for row in rows:
        named = re.search(r"\(([\d.]+) K\)", row["quantity"])
        assert named is None or row["temperature_K"] == pytest.approx(float(named[1]), rel=1e-5), row["kind"]
    by_kind = {row["kind"]: row["temperature_K"] for row in rows}
    _, sweep = documents["TemperatureSweepDocument"]
    assert by_kind["temperature-sweep"] == max(sweep.temperatures_K)
    assert by_kind["ladder"] == documents["FreeEnergyDocument"][1].temperature_K
    assert by_kind["phases"] is by_kind["transition"] is None  # their numbers are temperatures


def test_filters(examples, documents):
    everything = results(examples)
    (ladder,) = results(examples, kinds=["ladder"])
    assert results(examples, formula=ladder["final"], kinds=["ladder"]) == [ladder]
    assert results(examples, formula="Xe") == results(examples, campaign="none") == []
    assert results(examples, potential=ladder["potential"]) and results(examples, potential="no-such") == []
    day = date.fromisoformat(ladder["completed_at"][:10])
    assert ladder in results(examples, since=day, until=day)
    assert results(examples, since=date(2999, 1, 1)) == results(examples, until=date(1999, 1, 1)) == []
    assert len(results(examples, limit=2)) == 2 and len(everything) > 10
    sweep = documents["CompositionSweepDocument"][1]
    assert "sweep" in {row["kind"] for row in results(examples, formula=sweep.points[1].formula)}
    with pytest.raises(InvalidInputError, match="no-such"):
        results(examples, kinds=["no-such"])
    for temperature in (-5.0, 0.0, float("nan")):
        with pytest.raises(InvalidInputError, match="temperature"):
            results(examples, temperature_K=temperature)
    with pytest.raises(InvalidInputError, match="2026-02-02"):
        results(examples, since=date(2026, 2, 2), until=date(2026, 1, 1))


def test_a_result_is_found_by_the_beginning_of_its_id(examples, documents):
    uuid, document = documents["SwitchingDocument"]
    for beginning in (uuid, uuid[:8], uuid[:8].upper()):
        assert find_result(examples, beginning) == (uuid, document)
    with pytest.raises(InvalidInputError, match="00000000"):
        find_result(examples, "00000000")
    for wrong in ("abc", ".*.*", "", "xyzw"):
        with pytest.raises(InvalidInputError, match=re.escape(repr(wrong))):
            find_result(examples, wrong)
    windows = read_example(DOCUMENTS / "WindowsDocument-1.json")["outputs"][-1]["uuid"]
    with pytest.raises(InvalidInputError, match="WindowsDocument"):
        find_result(examples, windows[:8])


def test_a_beginning_that_fits_two_results_is_refused(examples, documents):
    uuid, _ = documents["SwitchingDocument"]
    row = examples.outputs().find_one({"uuid": uuid}, {"_id": 0})
    twin = uuid[:-1] + ("0" if uuid[-1] != "0" else "1")
    inserted = examples.outputs().insert_one(row | {"uuid": twin}).inserted_id
    try:
        with pytest.raises(InvalidInputError, match=r"2 results.*switching"):
            find_result(examples, uuid[:10])
    finally:
        examples.outputs().delete_one({"_id": inserted})


def other_tables() -> list[ResultTable]:
    """Return tables of frames and of comparisons, with long names and numbers of many digits."""
    frames = Frames.of([{11: 1.0}], np.zeros((3, 1, 3)), np.tile(np.eye(3), (3, 1, 1)), np.zeros(3), np.arange(3.0))
    names = [f"Monte Carlo at {300 + k} K, Δμ = −0.1234 eV" for k in range(4)]
    states = [StateFrames(name, {"temperature_K": 300}, frames, 12345.5, 123456.7, "sweeps") for name in names]
    sampled = Sampled(mean=-123456.78912, error=12.34567, exact=-123456.78901)
    ensembles = [
        SampledEnsemble(f"case {k}", "semi-grand [0, −0.0123]", "informed, 4 tries", sampled, sampled, [sampled], *rest)
        for k, rest in enumerate([(987.654, 8, 10**6, 0.1234)] * 4)
    ]
    return [
        states_table(states),
        worst_frames_table([WorstFrame("", "", {"lambda": 1.0}, 12345, Atoms(), 1234.5678, 123.4567, 12.34)] * 4),
        worst_frames_table([WorstFrame("", names[0], {}, 12345, Atoms(), distance=1234.56)] * 4),
        deviation_table([Deviation(f"a case with a long name {k}", *[1.2e-10] * 4) for k in range(4)], 1e-9),
        ensemble_table(ensembles),
    ]


@pytest.mark.parametrize("width", [60, 80, 200, 10_000])
def test_no_table_cuts_a_number_or_a_formula(examples, documents, width):
    tables = [TABLES[type(document)](document) for _, document in documents.values()]
    for table in [*tables, results_table(results(examples)), *other_tables()]:
        text, wide = (printed(table, columns) for columns in (width, 10_000))
        assert "…" not in text
        words = [word for word in wide.split() if any(map(str.isdigit, word))]
        missing = [word for word in words if word not in text]
        assert not missing
        if width < 10_000:
            assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_is_plotted(documents, kind, tmp_path):
    _, document = documents[kind]
    figures = figures_of(document)
    assert bool(figures) == (kind not in WITHOUT_FIGURE)
    for name, draw in figures.items():
        axes = draw().axes
        assert axes and all(each.get_ylabel() or each.get_xlabel() or each.images for each in axes), name


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_results_of_each_kind_have_frames_or_a_reason(documents, examples, kind):
    """The first stored example of each kind is from before results had frames; others are in the further examples."""
    uuid, _ = documents[kind]
    with pytest.raises((InvalidInputError, DatabaseError), match=r"frames|stored configurations|not in the database"):
        states_of(examples, uuid)


def test_a_figure_that_cannot_be_written_is_refused(documents, tmp_path):
    _, document = documents["FreeEnergyDocument"]
    (tmp_path / "full.png").symlink_to("/dev/full")
    for path in (tmp_path / "full.png", tmp_path / "nowhere" / "x.png"):
        with pytest.raises(InvalidInputError, match=path.name):
            save(figures_of(document)["gradient"](), path)


def test_the_verdict_follows_the_tables(documents):
    _, document = documents["SwitchingDocument"]
    console = Console(width=120, file=io.StringIO(), color_system=None)
    show(document, console)
    text = console.file.getvalue()
    assert text.index(f"{document.total.delta_f_eV:.5f}") < text.index("not converged")
    assert all(reason in " ".join(text.split()) for reason in document.verdict.reasons)


def test_each_document_is_short_in_a_session(documents):
    for uuid, document in documents.values():
        text = repr(document)
        assert text.startswith(f"{type(document).__name__}(") and len(text) < 2000 and "array(" not in text
        assert f"<b>{type(document).__name__}</b>" in document._repr_html_()
        assert json.loads(as_text(uuid, document))["uuid"] == uuid
    _, document = documents["FreeEnergyDocument"]
    assert f"{document.total.error_eV:.6g}" in repr(document) and repr(document.verdict.status) in str(document)


def test_numbers_that_are_not_finite_are_null_in_json(documents):
    uuid, document = documents["FreeEnergyDocument"]
    total = document.total.model_copy(update={"error_eV": float("inf")})
    text = as_text(uuid, document.model_copy(update={"total": total}))
    assert json.loads(text, parse_constant=pytest.fail)["total"]["error_eV"] is None


def test_commands(examples, documents, tmp_path):
    environment = os.environ | examples.environment

    def run(*arguments):
        done = run_command(arguments, tmp_path, environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    uuid, document = documents["FreeEnergyDocument"]
    rows = json.loads(run("results", "--json"))
    assert uuid in {row["uuid"] for row in rows}
    assert len(list(csv.DictReader(io.StringIO(run("results", "--csv"))))) == len(rows)
    listed = run("results")
    assert all(row["uuid"][:8] in listed for row in rows)
    assert "no result matches" in run("results", "--formula", "Xe")
    assert f"{document.total.delta_f_eV:.5f}" in run("show", uuid[:8])
    stored = json.loads(run("show", uuid[:8], "--json"))
    assert stored["uuid"] == uuid and stored["total"]["delta_f_eV"] == document.total.delta_f_eV
    assert "convergence" in run("plot", uuid[:8], "main.png")
    run("plot", uuid[:8], "overlap.pdf", "--figure", "overlap")
    assert (tmp_path / "main.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "overlap.pdf").read_bytes().startswith(b"%PDF")
    assert_one_line(
        run_command(["plot", uuid[:8], "x.png", "--figure", "none"], tmp_path, environment), "--figure", "overlap"
    )
    complete = run_command(["resume", uuid[:8]], tmp_path, environment)
    assert_one_line(complete, "is complete", f"alchemflows show {uuid[:8]}")
    run("export", "results", "all.csv")
    with (tmp_path / "all.csv").open() as file:
        assert {row["kind"] for row in csv.DictReader(file)} == {row["kind"] for row in rows}


def test_ladders_of_a_task_that_differ_in_their_potential_are_all_listed():
    """As those of a committee; of the analyses of one ladder only the newest is."""
    ladder = {"kind": "ladder", "campaign": "salts", "task": "a", "potential_sha256": "1", "head": None}
    rows = [ladder | {"n": 0}, ladder | {"n": 1, "potential_sha256": "2"}, ladder | {"n": 2, "head": "pbe"}]
    assert [row["n"] for row in newest_ladders([*rows, *(row | {"n": 3} for row in rows)])] == [0, 1, 2]

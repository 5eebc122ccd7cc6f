"""Tests of the report of a campaign with real runs, read with the HTML parser of the standard library."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from html.parser import HTMLParser
from itertools import pairwise
from statistics import fmean, stdev
from types import SimpleNamespace

import numpy as np
import pytest
from campaigns import CAMPAIGN, campaign_metadata, run_into
from pymatgen.core import Lattice, Structure

from alchemflows.errors import InvalidInputError
from alchemflows.execution.local import submit
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.switching import SwitchingMaker
from alchemflows.flows.vacancy import VacancyFreeEnergyMaker
from alchemflows.free_energy.errors import small_sample_factor
from alchemflows.report import campaign as module
from alchemflows.report.campaign import write_report
from alchemflows.report.results import Crystal, Result, Value, means
from alchemflows.results import readout
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA
from alchemflows.schemas.potential import PotentialSpec

pytestmark = pytest.mark.slow  # running the campaign takes several seconds

SHORT = {"n_repeats": 2, "n_equilibration_steps": 30, "n_switching_steps": 60, "timestep_fs": 4.0, "relax_maker": None}
#: Password in an error message that quotes a connection string.
PASSWORD = "swordfish"
FAILURE = f"InvalidURI: <b>mongodb://walter:{PASSWORD}@192.0.2.1/x</b>, and walter:{PASSWORD}@192.0.2.1 either"
NASTY = "<script>alert('x')</script>"


class Page(HTMLParser):
    """A parsed page: rows of tables by heading, sections by identifier, images, and all tags with attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.sections: dict[str, str] = {}
        self.images: list[bytes] = []
        self._heading = self._section = ""
        self._cell: list[str] | None = None
        self._open: list[str] = []
        self.feed(text)
        assert not self._open, self._open

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append((tag, values))
        if tag not in ("meta", "img"):
            self._open.append(tag)
        if tag == "h2":
            self._heading = values["id"]
        elif tag == "details":
            self._section = values["id"]
            self.sections[self._section] = ""
        elif tag == "tr":
            self.tables.setdefault(self._heading, []).append([])
        elif tag in ("td", "th"):
            self._cell = []
        elif tag == "img":
            kind, _, data = values["src"].partition(",")
            assert kind == "data:image/png;base64"
            self.images.append(base64.b64decode(data, validate=True))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        if tag in ("td", "th"):
            self.tables[self._heading][-1].append("".join(self._cell).strip())
            self._cell = None
        elif tag == "details":
            self._section = ""

    def handle_data(self, data):
        if self._cell is not None:
            self._cell.append(data)
        if self._section:
            self.sections[self._section] += data


def is_whole_png(image: bytes) -> bool:
    """Return whether a PNG image is complete: all chunks with correct checksums, and the stated number of pixels."""
    place, data, size = 8, b"", (0, 0)
    while place < len(image):
        (length,) = struct.unpack(">I", image[place : place + 4])
        kind, content = image[place + 4 : place + 8], image[place + 8 : place + 8 + length]
        assert zlib.crc32(kind + content) == struct.unpack(">I", image[place + 8 + length : place + 12 + length])[0]
        size = struct.unpack(">II", content[:8]) if kind == b"IHDR" else size
        data += content if kind == b"IDAT" else b""
        place += 12 + length
    return image.startswith(b"\x89PNG\r\n\x1a\n") and len(zlib.decompress(data)) == size[1] * (1 + 4 * size[0])


@pytest.fixture(scope="module")
def stored(shared_database, ladder_flow, tmp_path_factory):
    """Store a campaign: four ladders, a switching, an absolute free energy, and a job that failed."""
    folder = tmp_path_factory.mktemp("runs")
    demo = PotentialSpec(name="mace-demo", device="cpu")
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    refining = {"pressure_GPa": 0.5, "barostat_time_ps": 50.0, "windows_per_job": 2, "target_error": 1e-7, "budget": 2}
    switching = SwitchingMaker(potential=demo, temperature=300.0, **SHORT).make(salt, {"Na": {"Na": 0.5, "K": 0.5}})
    switching.update_metadata(campaign_metadata(0, transformation=NASTY))
    absolute = FrenkelLaddMaker(potential=demo, temperature=300.0, n_cell_steps=60, n_sampling_steps=40, **SHORT)
    absolute_flow = absolute.make(salt)
    absolute_flow.update_metadata(campaign_metadata(0, transformation=""))
    ladders = [run_into(shared_database, ladder_flow(repeat), folder) for repeat in range(3)]
    refined = run_into(shared_database, ladder_flow(3, **refining), folder)
    others = [run_into(shared_database, flow, folder) for flow in (switching, absolute_flow)]
    fw_ids = submit(shared_database, ladder_flow(9))
    launchpad = shared_database.launchpad
    ended = {"launch_id": 7, "fw_id": fw_ids[0], "state": "FIZZLED", "launch_dir": str(folder)}
    launch = ended | {"action": {"stored_data": {"_exception": {"_stacktrace": f"Traceback\n{FAILURE}\n"}}}}
    launchpad.launches.insert_one(launch)
    launchpad.fireworks.update_one({"fw_id": fw_ids[0]}, {"$set": {"state": "FIZZLED", "launches": [7]}})
    return SimpleNamespace(
        database=shared_database, ladders=ladders, refined=refined, switching=others[0], absolute=others[1],
        fw_ids=fw_ids,
    )  # fmt: skip


@pytest.fixture(scope="module")
def text(stored, tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert write_report(stored.database, CAMPAIGN, path) == 6
    assert list(path.parent.iterdir()) == [path]
    return path.read_text()


@pytest.fixture(scope="module")
def page(text) -> Page:
    return Page(text)


def output(stored, uuid: str) -> dict:
    return stored.database.outputs().find_one({"uuid": uuid, "output.verdict": {"$exists": True}})["output"]


def test_table_lists_every_result_with_error_and_verdict(stored, page):
    header, *rows = page.tables["results"]
    column = {name: k for k, name in enumerate(header)}
    assert len(rows) == 7  # the absolute free energy has two rows, G and F
    rest = [tuple(row) for row in rows]
    for uuid in (*stored.ladders, stored.refined, stored.switching):
        known = output(stored, uuid)
        total, pressure = known["total"], known["pressure_GPa"]
        (row,) = [row for row in rest if row[column["eV"]] == f"{total['delta_f_eV']:.5f}"]
        rest.remove(row)
        assert row[column["± eV"]] == f"{total['error_eV']:.5f}"
        assert row[column["eV/atom"]] == f"{total['delta_f_eV_per_atom']:.6f}"
        assert row[column["± eV/atom"]] == f"{total['error_eV_per_atom']:.6f}"
        assert row[column["verdict"]] == known["verdict"]["status"]
        assert row[column["T (K)"]] == f"{known['temperature_K']:g}"
        assert row[column["quantity"]] == ("ΔF" if pressure is None else "ΔG")
        assert row[column["pressure"]] == {None: "V const.", ATMOSPHERE_GPA: "1 atm"}.get(pressure, f"{pressure} GPa")
        assert row[column["windows"]] == (str(len(known["windows"])) if "windows" in known else "")
        assert row[column["system"]] == f"{known['initial_formula']} → {known['final_formula']}"
    known = output(stored, stored.absolute)
    for row, name, symbol in zip(rest, ("gibbs", "helmholtz"), "GF", strict=True):
        expected = (known[name]["value_eV"], known[name]["error_eV"])
        assert (row[column["eV"]], row[column["± eV"]]) == tuple(f"{value:.5f}" for value in expected)
        assert row[column["quantity"]] == symbol
    assert any(row[column["verdict"]] == "not converged" for row in rows)


def test_table_lists_means_over_repeats_with_scatter_and_quoted_errors(stored, page):
    header, row = page.tables["means"]
    values = dict(zip(header, row, strict=True))
    totals = [output(stored, uuid)["total"] for uuid in stored.ladders]
    scatter = stdev(total["delta_f_eV"] for total in totals)
    assert values["n"] == "3" and values["quantity"] == "ΔF"
    assert values["eV"] == f"{fmean(total['delta_f_eV'] for total in totals):.5f}"
    error = scatter / 3**0.5 * small_sample_factor(2)
    assert values["± eV"] == f"{error:.5f}" and values["scatter (eV)"] == f"{scatter:.5f}"
    assert values["± eV/atom"] == f"{error / 5:.6f}"
    assert values["quoted (eV)"] == f"{np.sqrt(np.mean([total['error_eV'] ** 2 for total in totals])):.5f}"
    converged = sum(output(stored, uuid)["verdict"]["status"] == "converged" for uuid in stored.ladders)
    assert values["converged"] == str(converged)


def test_mean_is_omitted_for_different_settings_and_quoted_error_if_one_is_missing():
    def ladder(repeat: int, error_eV: float | None, structure: str = "a") -> Result:
        crystal = Crystal(structure, "", 300.0, None, "ladder", "NaCl → KCl", 8, "sha")
        value = Value("ΔF", 1.0 + repeat, error_eV, Counts(atoms=8, sites=8, formula_units=4))
        return Result(f"{structure}{repeat}", crystal, repeat, (value,), 5, "converged", "mace-demo")

    assert not list(means([ladder(0, 0.1)]))
    assert not list(means([ladder(0, 0.1), ladder(0, 0.1), ladder(1, 0.1)]))
    one, other = means([ladder(0, 0.3), ladder(1, 0.4), ladder(0, None, "b"), ladder(1, 0.4, "b")])
    assert one.quoted_eV == pytest.approx((0.125) ** 0.5) and other.quoted_eV is None
    error = 0.5 * small_sample_factor(1)
    assert one.mean.value_eV == 1.5 and one.mean.error_eV == pytest.approx(error)
    assert one.mean.error_eV_per_atom == pytest.approx(error / 8) and one.scatter_eV == pytest.approx(0.5**0.5)


def test_details_of_each_result(stored, page):
    assert set(page.sections) == {*stored.ladders, stored.refined, stored.switching, stored.absolute}
    for uuid, section in page.sections.items():
        known = output(stored, uuid)
        potential = known["provenance"]["potential"]
        for words in (
            *known["verdict"]["reasons"],
            potential["sha256"],
            f"on {potential['device']}",
            known["verdict"]["status"],
        ):
            assert words in section, words
        assert f"pymbar {known['provenance']['versions']['pymbar']}" in section
        assert str(known["provenance"]["seed"]) in section
        assert f"{known['provenance']['created_at']:%Y-%m-%d %H:%M:%S} UTC" in section
    mixing = output(stored, stored.switching)["mixing_term_eV"]
    assert mixing < -0.05  # four sites, each with half Na and half K
    assert readout.free_energies(stored.database).set_index("uuid")["mixing_term_eV"][stored.switching] == mixing
    rows = {row[0]: row for row in page.tables["details"] if row}
    assert f"{mixing:.5f}" in rows["ideal mixing k_B T Σ x ln x, not in ΔG"]
    windows = readout.windows(stored.database, where={"job": {"$in": output(stored, stored.refined)["window_jobs"]}})
    section = page.sections[stored.refined]
    assert "2 of 2 " in section and f"{windows['simulated_ns'].sum():.4g} ns" in section
    wall_time = windows.drop_duplicates("job")["job_wall_time_s"].sum()
    assert re.search(rf"wall time of sampling\s*{wall_time:.0f} s", section)
    assert len(page.images) == 4 * 3 + 2 and all(map(is_whole_png, page.images))


def test_report_lists_states_and_failures(stored, page):
    header, row = page.tables["jobs"]
    values = dict(zip(header, row, strict=True))
    assert (values["failed"], values["ready"], values["waiting"]) == ("1", "2", "1")
    _, (n, cause, ids) = page.tables["failures"]
    assert (n, ids) == ("1", str(stored.fw_ids[0]))
    assert cause == "InvalidURI: <b>mongodb://…"  # a password may contain any character, so the rest is omitted


def test_page_has_no_external_resources_scripts_or_secrets(stored, text, page):
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "form", "base", "svg"}
    for tag, values in page.tags:
        assert not [name for name in values if name.startswith("on")], (tag, values)
        for name in ("src", "href"):
            assert values.get(name, "#").startswith(("data:image/png;base64,", "#")), (tag, name)
    assert not re.search(r"https?:|url\(|@import", text)
    assert "<script" not in text and NASTY in {row[1] for row in page.tables["results"]}
    links = {values["href"][1:] for tag, values in page.tags if tag == "a"}
    assert links == set(page.sections)
    # no password, address of the database or folder of this machine
    assert PASSWORD not in text and "/tmp" not in text and str(stored.database.place) not in text
    assert "default-src 'none'" in next(v["content"] for t, v in page.tags if t == "meta" and "http-equiv" in v)


@pytest.mark.parametrize("n_figures", [0, 2])
def test_figures_are_limited_and_unconverged_results_come_first(stored, tmp_path, n_figures):
    outputs = stored.database.outputs()
    others = [stored.ladders[0], stored.switching]
    bad = {"output.verdict.status": "not converged"}
    every = {uuid: output(stored, uuid)["verdict"]["status"] for uuid in
             (*stored.ladders, stored.refined, stored.switching, stored.absolute)}  # fmt: skip
    try:
        for uuid in every:
            status = bad if uuid in others else {"output.verdict.status": "converged"}
            outputs.update_one({"uuid": uuid, "output.verdict": {"$exists": True}}, {"$set": status})
        assert write_report(stored.database, CAMPAIGN, tmp_path / "report.html", n_figures) == 6
    finally:
        for uuid, status in every.items():
            was = {"output.verdict.status": status}
            outputs.update_one({"uuid": uuid, "output.verdict": {"$exists": True}}, {"$set": was})
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert set(page.sections) == set(others[:n_figures]) and len(page.images) == (4 if n_figures else 0)
    assert len(page.tables["results"]) == 8
    assert f"{n_figures} of 6 results" in text and "2 of them not converged" in text


def test_results_are_read_and_written_one_at_a_time(stored, tmp_path, monkeypatch):
    """Details of a result are written before the next one is read."""
    path, sizes = tmp_path / "report.html", []
    whole = module.details

    def spy(database, result):
        (part,) = tmp_path.iterdir()
        sizes.append(part.stat().st_size)
        return whole(database, result)

    monkeypatch.setattr(module, "details", spy)
    write_report(stored.database, CAMPAIGN, path)
    assert len(sizes) == 6 and all(after - before > 20_000 for before, after in pairwise(sizes))


def test_damaged_document_is_reported_and_the_others_are_shown(stored, tmp_path):
    blobs = stored.database.outputs().database["samples.files"]
    curves = output(stored, stored.switching)["work"]["curves"]["blob_uuid"]
    row = blobs.find_one_and_delete({"metadata.blob_uuid": curves})
    try:
        write_report(stored.database, CAMPAIGN, tmp_path / "report.html")
    finally:
        blobs.insert_one(row)
    page = Page((tmp_path / "report.html").read_text())
    assert "cannot be read" in page.sections[stored.switching] and len(page.images) == 13


def test_unwritable_report_is_refused_and_an_existing_file_is_kept(stored, tmp_path, monkeypatch):
    kept = tmp_path / "kept.html"
    kept.write_text("kept")
    for path, reason in (
        (tmp_path / "report.pdf", "report.pdf"),
        (tmp_path / "nowhere/report.html", "nowhere"),
        (tmp_path, ".html"),
    ):
        with pytest.raises(InvalidInputError, match=reason):
            write_report(None, CAMPAIGN, path)  # before the database is read
    with pytest.raises(InvalidInputError, match="-1"):
        write_report(None, CAMPAIGN, kept, -1)
    with pytest.raises(InvalidInputError, match="sugars"):
        write_report(stored.database, "sugars", kept)
    monkeypatch.setattr(module, "details", lambda database, result: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(stored.database, CAMPAIGN, kept)
    assert kept.read_text() == "kept" and list(tmp_path.iterdir()) == [kept]


def test_report_gives_both_routes_of_a_vacancy(stored, tmp_path):
    absolute = FrenkelLaddMaker(
        potential=PotentialSpec(name="mace-demo", device="cpu"), temperature=50.0, n_cell_steps=60, n_sampling_steps=40,
        **SHORT,
    )  # fmt: skip
    iron = Structure(Lattice.cubic(2.87), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]]) * (2, 2, 2)
    flow = VacancyFreeEnergyMaker(frenkel_ladd_maker=absolute).make(iron, 0)
    name = {"name": "vacancies", "structure": "Fe", "transformation": ""}
    flow.update_metadata({"campaign": campaign_metadata(0)["campaign"] | name})
    submit(stored.database, flow)
    uuid = run_into(stored.database, flow, tmp_path)
    assert write_report(stored.database, "vacancies", tmp_path / "report.html") == 3
    page = Page((tmp_path / "report.html").read_text())
    rows = {row[7]: row for row in page.tables["results"] if row[2] == "vacancy of Fe"}
    known = output(stored, uuid)
    for quantity, prefix in (("G_f, two Frenkel–Ladd runs", "frenkel_ladd"), ("G_f, removal of an atom", "alchemical")):
        expected = (known[f"{prefix}_eV"], known[f"{prefix}_error_eV"])
        assert rows[quantity][8:12] == [*(f"{value:.5f}" for value in expected), "", ""]  # no values per atom
        assert rows[quantity][-1] == known["verdict"]["status"]
    assert len(page.images) == 3 and f"{known['removal']['removal_eV']:.5f}" in page.sections[uuid]


def test_report_of_a_campaign_without_results(stored, ladder_flow, tmp_path):
    flow = ladder_flow(0)
    flow.update_metadata({"campaign": campaign_metadata(0)["campaign"] | {"name": "young", "structure": NASTY}})
    submit(stored.database, flow)
    assert write_report(stored.database, "young", tmp_path / "report.html") == 0
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert "results" not in page.tables and "failures" not in page.tables and not page.images
    assert page.tables["jobs"][1][0] == NASTY and "<script" not in text

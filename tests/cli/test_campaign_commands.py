"""The tutorial of docs/campaigns.md, as written, and what the commands refuse."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import assert_one_line, programs, run_here
from pymatgen.core import Lattice, Structure

from alchemflows.cli.example_files import find_example

PAGE = Path(__file__).parents[2] / "docs" / "campaigns.md"


def test_the_campaign_file_of_the_tutorial_is_the_example():
    (shown,) = re.findall(r"```yaml\n(name: salts\n.*?)```", PAGE.read_text(), re.DOTALL)
    example = find_example("campaign").contents()["salts.yaml"]
    assert shown == "".join(line for line in example.splitlines(True) if not line.startswith("#"))


@pytest.mark.slow
def test_the_tutorial_as_written(home, tmp_path):
    blocks = re.findall(r"<!-- tutorial -->\n```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    (tmp_path / "bin").mkdir()
    with programs(tmp_path / "bin") as path:
        environment = os.environ | {"ALCHEMFLOWS_HOME": str(home), "PATH": path, "COLUMNS": "200"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
            env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=1200,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    for words in (
        "8 tasks, 40 jobs",
        "8 tasks added (40 jobs), 0 already in the database",
        "0 tasks added (0 jobs), 8 already in the database",
    ):
        assert words in done.stdout
    assert "campaign retry" not in done.stdout  # which is printed for each cause of failures
    assert "8 results: salts.html" in done.stdout
    report = (tmp_path / "campaign" / "salts.html").read_text()
    # for the first 3 results a figure of dU/dλ, of overlap, of convergence
    assert report.count("data:image/png;base64,") == 9 and "3 of 8 results" in report
    rows = (tmp_path / "campaign" / "salts.csv").read_text().splitlines()
    assert len(rows) == 9 and all("NaK" in row or "NaLi" in row for row in rows[1:])


SALTS = """
name: salts
structures:
  NaCl: {structure: %s}
transformations: {NaK: {Na: K}}
temperatures_K: [300]
pressures_GPa: [null]
method:
  kind: thermodynamic-integration
  settings: {n_windows: 2, n_equilibration_steps: 10, n_production_steps: %d, relax: false}
potential: {name: mace-demo, device: cpu}
"""


@pytest.fixture
def salts(tmp_path):
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    primitive = cell.get_primitive_structure().to_json()

    def write(n_steps: int = 60) -> Path:
        path = tmp_path / "salts.yaml"
        path.write_text(SALTS % (primitive, n_steps))
        return path

    return write


def test_check_speaks_of_narrow_cells_and_of_what_does_not_fit(run, salts):
    checked = run("campaign", "check", salts(), "--no-measure")
    assert checked.returncode == 0, checked.stderr
    assert "the cell of NaCl is 3.29 Å wide, the cutoff is" in checked.stdout
    assert "1 task, 3 jobs" in checked.stdout and "MB of samples; there is room for them" in checked.stdout
    assert_one_line(
        run("campaign", "check", salts(10**14), "--no-measure"), "GB of samples are expected", "the database's disk has"
    )


def test_the_schema_that_is_printed_is_the_published_one(run):
    printed = run("campaign", "schema").stdout
    assert json.loads(printed) == json.loads(PAGE.with_name("campaign.schema.json").read_text())


def test_extend_adds_what_the_file_does_not_say(run, salts):
    assert "1 task added (3 jobs), 0 already in the database" in run("campaign", "submit", salts()).stdout
    more = run("campaign", "extend", salts(), "-T", "400", "-p", "1", "--repeats", "2").stdout
    assert "7 tasks added (21 jobs), 1 already in the database" in more
    longer = run("campaign", "extend", salts(), "--runs", "2").stdout
    assert (
        "0 tasks added (0 jobs), 1 already in the database" in longer and "1 unfinished ladder not extended" in longer
    )
    status = run("campaign", "status", "salts").stdout
    assert "400" in status and "24 jobs are left" in status


def test_json_of_campaign_commands(home, salts, tmp_path, monkeypatch):
    """Each command prints JSON alone on stdout; a paused campaign ends a display that would be updated."""
    for name in ("JOBFLOW_CONFIG_FILE", "FW_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALCHEMFLOWS_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return run_here([str(each) for each in arguments], monkeypatch)

    def read(*arguments):
        done = run("campaign", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    path = salts()
    path.write_text(path.read_text().replace("name: salts", "name: json-salts"))
    checked = read("check", path, "--no-measure")
    assert (checked["n_tasks"], checked["n_jobs"], checked["hours"]) == (1, 3, None)
    assert checked["narrow_cells"]["NaCl"]["width_A"] == pytest.approx(3.29, abs=0.01)
    submitted = read("submit", path)
    assert (submitted["campaign"], submitted["n_new"], submitted["n_jobs"]) == ("json-salts", 1, 3)
    assert read("extend", path, "-T", "400")["n_known"] == 1
    (cold, hot) = read("status", "json-salts")["conditions"]
    assert (cold["temperature_K"], hot["temperature_K"]) == (300, 400)
    assert cold["jobs"] == {"finished": 0, "running": 0, "ready": 2, "waiting": 1, "failed": 0, "stopped": 0}
    assert read("failures", "json-salts") == []
    assert read("pause", "json-salts")["n_jobs"] == 6
    shown = run("campaign", "status", "json-salts", "--watch", "--interval", "0.1")
    assert shown.returncode == 0 and "campaign resume json-salts" in shown.stdout
    assert read("resume", "json-salts")["n_jobs"] == 6
    assert read("cancel", "json-salts")["n_jobs"] == 6
    assert read("retry", "json-salts")["n_jobs"] == 0
    assert read("report", "json-salts", "report.html")["n_results"] == 0
    assert_one_line(run("campaign", "status", "json-salts", "--watch", "--json"), "--watch", "--json")


def test_a_missing_file_is_found_before_anything_slow_is_imported(run_refused, monkeypatch):
    for module in ("alchemflows.campaign.specification", "alchemflows.campaign.estimate"):
        monkeypatch.setitem(sys.modules, module, None)  # an import fails
    for command in ("check", "submit", "extend"):
        assert_one_line(run_refused("campaign", command, "nowhere.yaml"), "nowhere.yaml", "cannot be read")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "nowhere.yaml"], ["nowhere.yaml cannot be read"]),
        (["submit", "nowhere.yaml"], ["nowhere.yaml cannot be read"]),
        (["status", "unknown"], ["no campaign 'unknown'"]),
        (["failures", "unknown"], ["no campaign 'unknown'"]),
        (["retry", "unknown"], ["no campaign 'unknown'"]),
        (["retry", "unknown", "--jobs", "a,b"], ["3,7"]),
        (["pause", "unknown"], ["no campaign 'unknown'"]),
        (["resume", "unknown"], ["no campaign 'unknown'"]),
        (["cancel", "unknown"], ["no campaign 'unknown'"]),
        (["extend", "nowhere.yaml"], ["nowhere.yaml cannot be read"]),
        (["report", "unknown", "report.html"], ["no campaign 'unknown'"]),
        (["report", "unknown", "report.pdf"], ["report.pdf"]),
        (["report", "unknown", "nowhere/report.html"], ["nowhere"]),
    ],
)
def test_bad_input_is_one_line(run, arguments, words):
    assert_one_line(run("campaign", *arguments), *words)


def test_a_report_is_written_before_anything_has_run(run, tmp_path):
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.68), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    cell.to(str(tmp_path / "NaCl.cif"))
    (tmp_path / "young.yaml").write_text(
        "{name: young, structures: {NaCl: {file: NaCl.cif}}, transformations: {NaK: {Na: K}}, temperatures_K: [300], "
        "potential: {name: mace-demo, device: cpu}, "
        "method: {kind: thermodynamic-integration, settings: {n_windows: 2, relax: false}}}"
    )
    assert run("campaign", "submit", "young.yaml").returncode == 0
    done = run("campaign", "report", "young", "report.html", "--figures", "3")
    assert done.returncode == 0, done.stderr
    assert "0 results: report.html" in done.stdout
    text = (tmp_path / "report.html").read_text()
    assert "0 results" in text and "<td>NaCl</td><td>NaK</td>" in text
    assert_one_line(run("campaign", "report", "old", "report.html"), "no campaign 'old'", "young")
    assert (tmp_path / "report.html").read_text() == text

"""Commands of switching, absolute free energies, vacancies, phases and figures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_line import assert_one_line
from pymatgen.core import Lattice, Structure

from alchemflows.settings import Settings
from alchemflows.storage.database import start_private

SHORT = ["--repeats", 2, "--equilibration", 20, "--switching", 40, "--timestep", 4, "--potential", "mace-demo"]


@pytest.fixture(scope="module")
def iron(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("iron") / "Fe.cif"
    Structure(Lattice.cubic(2.836), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]]).to(path)
    return path


@pytest.fixture(scope="module")
def salt(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("salt") / "NaCl.cif"
    Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]).to(path)
    return path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reproduce", "fig7"], ["fig2, fig3, fig4, fig5", "fig7"]),
        (["reproduce", "fig4", "--small", "--plot", "figure.png"], ["only fig2"]),
        (["reproduce", "fig4", "--small", "--medium"], ["--small or --medium"]),
        (["reproduce", "fig5", "--small", "--device", "abacus"], ["abacus"]),
        (["frenkel-ladd", "IRON", "-T", 100, "--supercell", "2x2"], ["2x2x2", "'2x2'"]),
        (["frenkel-ladd", "IRON", "-T", 100, "--spring", "Fe=2"], ["Fe:5.2"]),
        (["frenkel-ladd", "IRON", "-T", 100, "--plot", "figure.doc"], [".png"]),
        (["frenkel-ladd", "IRON", "-T", 100, "--device", "cuda:99"], ["cuda:99"]),
        (["frenkel-ladd", "nowhere.cif", "-T", 100], ["nowhere.cif"]),
        (["frenkel-ladd", "IRON", "-T", -5], ["--temperature", "-5"]),
        (["vacancy", "IRON", "-T", 100, "--site", 7], ["site 7 cannot be removed"]),
        (["vacancy", "IRON", "-T", 100, "--supercell", 2, 2, 2, "--site", 7], ["site 7 cannot be removed", "2 atoms"]),
        (["vacancy", "IRON", "-T", 100, "--size", "2x2x2", "-T", 200], ["one --temperature"]),
        (["vacancy", "SALT", "-T", 100], ["chemical potential of Na", "Cl"]),
        (["vacancy", "SALT", "-T", 100, "--chemical-potential", "Na:-1"], ["Cl=-1.93", "Na:-1"]),
        (["vacancy", "SALT", "-T", 100, "--chemical-potential", "Na@300=-1"], ["no run at 300 K"]),
        (["vacancy", "SALT", "-T", 100, "--chemical-potential", "Na=-1", "--chemical-potential", "Na=-2"], ["twice"]),
        (["vacancy", "SALT", "-T", 100, "-T", 200, "--chemical-potential", "Na=-1"], ["Na@100=-1"]),
        (["vacancy", "SALT", "-T", 100, "--reference", "Na"], ["K=K.cif"]),
        (["schottky", "IRON", "-T", 100], ["Fe is an element"]),
        (["schottky", "SALT", "-T", 100, "--site", "Na"], ["O=5", "Na"]),
        (["schottky", "SALT", "-T", 100, "--plot", "figure.doc"], [".png"]),
        (["frenkel-pair", "SALT", "-T", 100, "--interstitial", 0, 0, 0.01], ["0.5"]),
        (["frenkel-pair", "SALT", "-T", 100, "--interstitial", 0, 0, 0.5, "--plot", "figure.doc"], [".png"]),
        (["switch", "IRON", "Fe", "-T", 100], ["Pb:Sn"]),
        (["switch", "IRON", "Fe:Sn", "-T", 100, "--schedule", "cubic"], ["schedule"]),
        (["switch", "IRON", "Fe:Sn", "-T", 100, "--cell", "round"], ["--cell", "isotropic"]),
        (["phases", "IRON", "-T", 100], ["alpha=alpha.cif"]),
    ],
)
def test_bad_input_is_one_line(run_refused, iron, salt, arguments, words):
    files = {"IRON": str(iron), "SALT": str(salt)}
    texts = [files.get(a, a) if isinstance(a, str) else a for a in arguments]
    done = run_refused(*texts, *(["--potential", "mace-demo"] if arguments[0] != "reproduce" else []))
    assert_one_line(done, *words)
    assert done.stdout == ""  # nothing was submitted


@pytest.mark.slow
def test_an_absolute_free_energy_from_a_file(run, iron, tmp_path):
    done = run(
        "frenkel-ladd", iron, "-T", 100, "--supercell", "2x2x2", "--cell-steps", 60, "--sampling", 40,
        "--plot", tmp_path / "work.png", *SHORT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for word in ("Einstein crystal", "centre of mass", "pV", "springs (eV/Å²): Fe", "converged"):
        assert word in done.stdout
    assert (tmp_path / "work.png").read_bytes().startswith(b"\x89PNG")
    known = re.search(r"alchemflows show (\w+)", done.stdout)[1]
    sweep = ["temperature-sweep", iron, "-T", 100, "--from", 80, "--to", 150, "--anchor", known, "--timestep", 4]
    sweep += ["--potential", "mace-demo", "--supercell", 2, 2, 2]
    assert_one_line(run(*(120 if each == 100 else each for each in sweep)), "--temperature", "100 K", "120")
    assert_one_line(run(*sweep, "--pressure", 2), "anchor", "2 GPa")
    assert_one_line(run(*sweep, "--sampling", 40), "--sampling", "--anchor")
    lengths = ["--sweep-repeats", 2, "--sweep-equilibration", 20, "--sweep-steps", 40, "--points", 3]
    done = run(*sweep, *lengths, "--plot", tmp_path / "curve.png")
    assert done.returncode == 0, done.stderr
    assert "anchor at 100 K" in done.stdout and "S (k_B/atom)" in done.stdout
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("figure", ["fig2", "fig3", "fig4", "fig5"])
def test_small_figures(figure, run):
    """The table, the cross-checks, and that they hold."""
    done = run("reproduce", figure, "--small")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cross-checks" in done.stdout and "NO" not in done.stdout


@pytest.mark.parametrize(("relax", "n_jobs"), [([], 7), (["--no-relax", "--no-symmetrise"], 5)])
def test_phases_take_a_supercell_and_need_not_be_relaxed(run, iron, home, relax, n_jobs):
    phases = [f"{name}={iron}" for name in ("one", "two")]
    done = run("phases", *phases, "-T", 100, "--supercell", 2, 2, 1, *relax, "--submit", *SHORT)
    assert done.returncode == 0, done.stderr
    first, last = re.search(rf"{n_jobs} jobs added to the LaunchPad, (\d+) to (\d+)", done.stdout).groups()
    jobs = start_private(Settings(home=home)).launchpad.fireworks
    names = jobs.distinct("name", {"fw_id": {"$gte": int(first), "$lte": int(last)}})
    expected = {"mean cell, 8 atoms", "Frenkel–Ladd, 8 atoms", "phase stability"}
    assert set(names) == expected | (set() if relax else {"alchemical relax"})
    cells = jobs.find({"fw_id": {"$gte": int(first), "$lte": int(last)}, "name": "mean cell, 8 atoms"})
    makers = [firework["spec"]["_tasks"][0]["job"]["function"]["@bound"] for firework in cells]
    assert [maker["symmetrise"] for maker in makers] == [not relax] * 2


def test_a_submission_runs_nothing(run, iron):
    done = run("vacancy", iron, "-T", 100, "--supercell", 2, 2, 2, "--submit", *SHORT)
    assert done.returncode == 0, done.stderr
    assert "8 jobs added to the LaunchPad" in done.stdout, json.dumps(done.stdout)


@pytest.mark.parametrize(
    ("arguments", "n_jobs"),
    [
        (["vacancy", "-T", 200, "--chemical-potential", "Cl@100=-2", "--chemical-potential", "Cl@200=-2.1"], 13),
        (["vacancy", "--chemical-potential", "Na=-1:0.01", "--size", "2x1x1"], 13),
        (["schottky"], 9),
        (["frenkel-pair", "--interstitial", 0.25, 0.25, 0.25, "--supercell", 2, 1, 1], 8),
    ],
)
def test_defects_of_a_compound_are_submitted(run, salt, arguments, n_jobs):
    command, *options = arguments
    done = run(command, salt, "-T", 100, *options, "--no-relax", "--submit", *SHORT)
    assert done.returncode == 0, done.stderr
    assert f"{n_jobs} jobs added to the LaunchPad" in done.stdout, json.dumps(done.stdout)


@pytest.mark.slow
def test_a_vacancy_in_a_compound_is_shown_with_its_limits(run, salt):
    """The table has both limits, the concentration, and the note that the potential has no charges."""
    done = run(
        "vacancy", salt, "-T", 50, "--chemical-potential", "Cl=-2", "--chemical-potential", "Na=-1.3",
        "--cell-steps", 60, "--sampling", 40, "--no-relax", *SHORT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for word in ("μ(Na): μ(Na) as given", "μ(Na): μ(Cl) as given", "removal of an atom", "per cm³", "neither charges"):
        assert word in " ".join(done.stdout.split()), done.stdout

"""The option --estimate of commands: numbers and times of their work, in this process and without running it."""

from __future__ import annotations

import json

import pytest
from command_line import run_here
from pymatgen.core import Lattice, Structure

from alchemflows.storage.database import Database

SPRINGS = ("calculators:Springs", "calculators:SpringsMaker")
SHORT_RUNS = ("--sample-target", "--runs", 3, "--equilibration", 50, "--production", 200)


@pytest.fixture(scope="module")
def stored(shared_database, framed_ladder) -> tuple[Database, str]:
    """Return a database with a ladder that has 40 frames of each end, and its identifier."""
    store, uuid = framed_ladder
    shared_database.job_store.docs_store.update(list(store.docs_store.query()), key=["uuid", "index"])
    samples = [
        {name: value for name, value in row.items() if name != "_id"} for row in store.additional_stores["data"].query()
    ]
    shared_database.samples().update(samples, key="blob_uuid")
    return shared_database, uuid


@pytest.fixture
def estimate(shared_database, tmp_path, monkeypatch):
    """Return what prints the estimate of a command; nothing is submitted."""
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    salt.to(str(tmp_path / "NaCl.cif"))
    salt.replace_species({"Na": {"Na": 0.5, "K": 0.5}})
    salt.to(str(tmp_path / "mixed.cif"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("alchemflows.storage.database.connect", lambda *_: shared_database)

    def run(*arguments: object) -> str:
        before = shared_database.outputs().count_documents({})
        done = run_here([*arguments, "--estimate"], monkeypatch)
        assert done.returncode == 0, done.stderr
        assert shared_database.outputs().count_documents({}) == before
        return done.stdout

    return run


@pytest.mark.parametrize(
    ("arguments", "jobs", "relaxations", "evaluations"),
    [
        (("sweep", "NaCl.cif", "Na:K", "--points", 3), 4, 2 * 3, 0),
        (("optimize", "NaCl.cif", "--choose", "Na:Na,K", "--target", "a_A=6", "--round-to", 1), 1, 51 + 1, 0),
        (("order", "mixed.cif", "--supercell", 1, 1, 1, "--random", 2, "--starts", 4), 7, 2 + 2 + 1 + 5, 4 * 60),
    ],
)
def test_relaxations_are_counted_and_their_time_is_measured(estimate, arguments, jobs, relaxations, evaluations):
    more = ("--no-quasirandom",) if arguments[0] == "order" else ()
    found = json.loads(estimate(*arguments, *more, "--potential", "mace-demo", "--json"))
    assert (found["jobs"], found["relaxations"], found["evaluations"]) == (jobs, relaxations, evaluations)
    assert 0 < found["relaxation_hours"] < 10 and found["hours"] is None
    assert (found["evaluation_hours"] is not None) == bool(evaluations)


@pytest.mark.parametrize(
    ("arguments", "phonons"),
    [
        (("frenkel-ladd", "NaCl.cif", "-T", 300), 1),
        (("temperature-sweep", "NaCl.cif", "-T", 300, "--from", 200, "--to", 400), 1),
        (("pressure-sweep", "NaCl.cif", "-T", 300, "--from", 0, "--to", 1), 3),
        (("phases", "a=NaCl.cif", "-T", 200, "-T", 300, "--runs", "curves", "--boundary-pressure", 1), 4),
        (("phases", "a=NaCl.cif", "-T", 200, "-T", 300, "--runs", "points"), 2),
    ],
)
def test_force_evaluations_of_phonons_are_counted(estimate, arguments, phonons):
    """6N each: at the volume of the anchor, at two more in a sweep of the pressure, and at each further pressure."""
    more = ("--potential", "mace-demo", "--json")
    assert json.loads(estimate(*arguments, "--quantum", *more))["evaluations"] == phonons * 6 * 8
    assert json.loads(estimate(*arguments, *more))["evaluations"] == 0


@pytest.mark.parametrize(
    ("arguments", "jobs", "evaluations", "steps"),
    [
        (("correct", "ID", "--to", "MODEL"), 1, 80, 0),
        (("correct", "ID", "--to", "MODEL", "--max-evaluations", 20), 1, 20, 0),
        (("correct", "ID", "--to", SPRINGS[0], "--to", "MODEL", "--max-evaluations", 20), 2, 100, 0),
        (("correct", "ID", "--to", "MODEL", *SHORT_RUNS), 1, 80, 2 * 3 * 250),
        (("committee", "ID", "--with", SPRINGS[0], "--forces"), 4, 3 * 80, 0),
        (("reanalyse", "ID", "--to", SPRINGS[0]), 2, 80, 0),
    ],
)
def test_frames_of_a_stored_ladder_are_counted(estimate, stored, gentle_model, arguments, jobs, evaluations, steps):
    given = {"ID": stored[1][:8], "MODEL": gentle_model}
    found = json.loads(estimate(*(given.get(each, each) for each in arguments), "--json"))
    assert (found["jobs"], found["evaluations"], found["steps"]) == (jobs, evaluations, steps)
    assert 0 < found["evaluation_hours"] < 1 and (found["hours"] is not None) == bool(steps)


def test_a_ladder_that_is_run_again_is_counted(estimate, stored, gentle_model):
    found = json.loads(estimate("rerun", stored[1][:8], "--potential", gentle_model, "--json"))
    assert (found["replicas"], found["steps"]) == (2, 2 * 420) and found["hours"] > 0
    assert found["batch_replicas"] == 1 and 1e5 < found["batch_bytes"] < 1e9


@pytest.mark.slow
def test_memory_of_the_largest_batch(estimate):
    ti = ("ti", "NaCl.cif", "Na:K", "-T", 300, "--windows", 5, "--potential", "mace-demo")
    one, five = (json.loads(estimate(*ti, "--windows-per-job", n, "--json")) for n in (1, 5))
    assert (one["batch_replicas"], five["batch_replicas"]) == (1, 5)
    assert five["batch_bytes"] == pytest.approx(5 * one["batch_bytes"])
    assert "largest batch: 5 replicas, about 0.0" in estimate(*ti, "--windows-per-job", 5)


def test_estimates_are_printed_as_text(estimate, stored):
    text = estimate("correct", stored[1][:8], "--to", SPRINGS[0], *SHORT_RUNS)
    assert "1 job\n6 replicas, 1,500 steps of replicas: about" in text
    assert "up to 80 evaluations of single configurations: about" in text
    text = estimate("optimize", "NaCl.cif", "--choose", "Na:Na,K", "--target", "a_A=6", "--potential", "mace-demo")
    assert "up to 51 relaxations: about" in text and "if each takes 50 steps" in text


def test_the_time_of_jobs_of_other_packages_is_not_estimated(estimate, stored):
    text = estimate("correct", stored[1][:8], "--to", SPRINGS[1])
    assert "up to 80 evaluations of single configurations: time not estimated" in text

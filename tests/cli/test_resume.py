"""A command that was interrupted is continued by `alchemflows resume`."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from command_line import StartedCommand, assert_one_line


@pytest.fixture(scope="session")
def cif(perovskite, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("cif") / "CsPbI3.cif"
    perovskite.to(path)
    return path


def until(found, seconds: float = 90.0):
    """Return the first true value of a function."""
    deadline = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert value
    return value


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_command_is_resumed(run, home, cif, gentle_model, tmp_path, number):
    settings = ("--windows", 2, "--windows-per-job", 2, "--equilibration", 20, "--production", 800, "--no-relax")
    arguments = ("ti", cif, "Pb:Sn", "-T", 200, "--potential", gentle_model, *settings, "--plot", "dudl.png")
    out, err = tmp_path / "out", tmp_path / "err"
    clean = {k: v for k, v in os.environ.items() if k not in ("JOBFLOW_CONFIG_FILE", "FW_CONFIG_FILE")}
    environment = clean | {"ALCHEMFLOWS_HOME": str(home), "HOME": str(tmp_path), "COLUMNS": "160"}
    command = StartedCommand(arguments, tmp_path, environment, out, err)
    (beginning,) = until(lambda: re.findall(r"^ID (\w{8})", out.read_text(), re.MULTILINE))
    until(lambda: "production" in out.read_text())
    command.send_signal(number)
    assert command.wait(60) == 1
    (line,) = [line for line in err.read_text().splitlines() if line.startswith("error:")]
    assert f"alchemflows resume {beginning}" in line and "Traceback" not in err.read_text()
    assert not (tmp_path / "dudl.png").exists()

    left = json.loads(run("resume", beginning, "--estimate", "--json").stdout)
    assert left["jobs"] == 2 and left["replicas"] == 2 and 0 < left["steps"] < 2 * 820 and left["hours"] > 0
    done = run("resume", beginning)
    assert done.returncode == 0, done.stderr
    assert "MBAR (config" in done.stdout and (tmp_path / "dudl.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads(run("results", "--json").stdout)
    assert [row["uuid"][:8] for row in rows].count(beginning) == 1
    (row,) = (row for row in rows if row["uuid"].startswith(beginning))
    shown = json.loads(run("show", beginning, "--json").stdout)
    assert all(window["n_samples"] == 80 for window in shown["windows"])

    (tmp_path / "dudl.png").unlink()
    again = run("resume", beginning, "--json")
    assert json.loads(again.stdout)["total"]["delta_f_eV"] == row["delta_f_eV"]
    text = run("resume", beginning, "--estimate").stdout
    assert "0 jobs left" in text and f"alchemflows show {beginning}" in text
    assert (tmp_path / "dudl.png").exists()


@pytest.mark.slow
def test_a_failed_job_says_how_to_continue(run, cif, gentle_model, tmp_path):
    model = tmp_path / "own.model"
    shutil.copy(gentle_model, model)
    done = run("ti", cif, "Pb:Sn", "-T", 200, "--potential", model, "--windows", 2, "--no-relax", "--submit")
    (beginning,) = re.findall(r"^ID (\w{8})", done.stdout, re.MULTILINE)
    text = run("resume", beginning, "--estimate").stdout
    assert "3 jobs left\n2 replicas" in text and "about" in text
    model.unlink()
    assert_one_line(run("resume", beginning), "failed", "own.model", f"`alchemflows resume {beginning}`")
    for command in (("show", beginning), ("plot", beginning, "dudl.png")):
        assert_one_line(run(*command), "not computed yet", f"`alchemflows resume {beginning}`")


@pytest.mark.parametrize("given", ["0123abcd", "abc", "", "."])
def test_refused(run, given):
    assert_one_line(run("resume", given), f"ID {given}" if given == "0123abcd" else repr(given))

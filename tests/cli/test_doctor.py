"""What `alchemflows doctor` says of real states: of a healthy machine, and of one that lacks something."""

from __future__ import annotations

import json
import re
import shutil
import socket
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from command_line import assert_one_line
from packaging.utils import canonicalize_name

from alchemflows.cli import diagnosis
from alchemflows.cli.diagnosis import diagnose
from alchemflows.errors import DatabaseUnreachableError
from alchemflows.settings import Settings
from alchemflows.storage import mongod
from alchemflows.storage.database import store_spec

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nothing_is_configured(tmp_path, monkeypatch):
    for name in ("JOBFLOW_CONFIG_FILE", "FW_CONFIG_FILE", "JOBFLOW_JOB_STORE", "ALCHEMFLOWS_MONGOD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("alchemflows.storage.database.DEFAULT_CONFIG_FILE_PATH", str(tmp_path / ".jobflow.yaml"))
    monkeypatch.setattr("alchemflows.storage.database.LAUNCHPAD_LOC", None)


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(home=tmp_path / "home")


def found(settings: Settings, potential: str | None = None) -> dict[str, diagnosis.Finding]:
    return {finding.name: finding for finding in diagnose(settings, potential)}


def test_a_healthy_machine(settings):
    findings = found(settings)
    assert not [finding for finding in findings.values() if finding.state == "broken"]
    assert {"Python", "packages", "torch", "mace-demo", "sevennet-0", "chgnet", "mongod", "database"} <= set(findings)
    assert all(finding.remedy for finding in findings.values() if finding.state != "ok")
    assert not settings.home.exists()  # neither a database nor a folder was made


def test_a_home_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    findings = found(Settings(home=tmp_path / "file" / "home"))
    assert findings["ALCHEMFLOWS_HOME"].state == "broken"
    assert "ALCHEMFLOWS_HOME=" in findings["ALCHEMFLOWS_HOME"].remedy
    assert findings["packages"].state == "ok"  # the other checks are made all the same


def test_no_mongod(settings, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(mongod, "WHEEL", "no-such-package")
    finding = found(settings)["mongod"]
    assert finding.state == "broken"
    assert "alchemflows[mongod]" in finding.remedy


def test_no_mongod_is_no_fault_with_a_database_of_ones_own(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(mongod, "WHEEL", "no-such-package")
    monkeypatch.setenv("JOBFLOW_CONFIG_FILE", str(tmp_path / "jobflow.yaml"))
    findings = found(settings)
    assert findings["mongod"].state == "optional"
    assert findings["database"].state == "broken"  # the file does not exist
    assert "JOBFLOW_CONFIG_FILE" in findings["database"].text


def test_a_server_that_does_not_answer_is_given_up_soon(settings, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = tmp_path / "jobflow.yaml"
    path.write_text(yaml.safe_dump({"JOB_STORE": store_spec(f"mongodb://ada:secret@127.0.0.1:{port}/science")}))
    monkeypatch.setenv("JOBFLOW_CONFIG_FILE", str(path))
    monkeypatch.setattr(diagnosis, "DATABASE_SECONDS", 0.5)
    findings = found(settings)
    assert findings["database"].state == "broken"
    assert str(port) in findings["database"].text
    assert findings["database"].remedy
    assert "secret" not in str(findings)
    begin = time.monotonic()
    with pytest.raises(DatabaseUnreachableError, match=str(port)):
        list(diagnosis._database(settings))
    assert time.monotonic() - begin < 4.0  # settings.database_timeout_s is 5
    assert findings["jobflow configuration"].text == str(path)


def test_a_running_database(database, tmp_path, monkeypatch):
    """The private server, and the same server configured as any other."""
    settings = Settings(home=tmp_path / "home")
    assert "running" in found(settings)["database"].text
    path = tmp_path / "own.yaml"
    path.write_text((settings.home / "config" / "jobflow.yaml").read_text())
    monkeypatch.setenv("JOBFLOW_CONFIG_FILE", str(path))
    findings = found(settings)
    assert findings["database"].state == "ok"
    assert findings["database user"].state == "optional"  # it asks for no password
    assert findings["LaunchPad"].state == "optional"


def test_a_library_outside_its_range(settings, monkeypatch):
    monkeypatch.setattr(diagnosis, "version", lambda package: "0.0.1")
    finding = found(settings)["ase"]
    assert finding.state == "broken"
    assert finding.remedy.startswith('pip install "ase>=')


@pytest.mark.parametrize(("there", "kind", "others"), [("1!0", "older", "newer"), ("0.0.1", "newer", "older")])
def test_versions_that_are_not_tested(settings, monkeypatch, there, kind, others):
    pins = diagnosis.tested_versions()
    monkeypatch.setattr(diagnosis, "tested_versions", lambda: pins | {"ase": there})
    findings = found(settings)
    assert findings[f"{kind} versions"].state == "optional" and f"{others} versions" not in findings
    assert f"ase {diagnosis.version('ase')} (tested: {there})" in findings[f"{kind} versions"].text
    assert f"ase=={there}" in findings[f"{kind} versions"].remedy
    same, n_found = map(int, re.findall(r"\d+", findings["tested versions"].text))
    assert same == n_found - 1


def test_tested_versions_are_those_of_ci():
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert {f"{name}=={pin}" for name, pin in diagnosis.tested_versions().items()} == {
        f"{canonicalize_name(line.split('==')[0])}=={line.split('==')[1]}" for line in pins if line[:1] != "#"
    }
    assert (files("alchemflows") / "data" / "constraints.txt").read_text() == (ROOT / "constraints.txt").read_text()


def test_a_default_potential(settings, tmp_path, monkeypatch):
    assert "mace-demo" in found(settings)["default potential"].text
    path = tmp_path / "own.yaml"
    path.write_text("potential: chgnett")
    monkeypatch.setenv("ALCHEMFLOWS_CONFIG_FILE", str(path))
    findings = found(Settings(home=tmp_path / "home"))
    assert findings["settings file"].text == str(path)
    assert findings["default potential"].state == "broken" and findings["default potential"].remedy
    assert all(word in findings["default potential"].text for word in (f"{path}, line 1", "did you mean chgnet?"))
    monkeypatch.setenv("ALCHEMFLOWS_POTENTIAL", "medium-mpa-0")
    finding = found(Settings(home=tmp_path / "home"))["default potential"]
    assert finding.state == "ok" and finding.text == "medium-mpa-0 (ALCHEMFLOWS_POTENTIAL)"


def test_an_unknown_potential(settings):
    findings = found(settings, "no-such-potential")
    assert findings["potential"].state == "broken"
    assert "no-such-potential" in findings["potential"].text
    assert findings["mace-demo"].state == "ok"


def test_torch_that_cannot_be_imported(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert found(settings)["torch"].state == "broken"


def test_the_command(run, tmp_path):
    healthy = run("doctor", "--json")
    assert healthy.returncode == 0, healthy.stderr
    assert {"name", "state", "text", "remedy"} == set(json.loads(healthy.stdout)[0])
    (tmp_path / "file").write_text("")
    broken = run("doctor", ALCHEMFLOWS_HOME=str(tmp_path / "file" / "home"), ALCHEMFLOWS_CHECKS=str(tmp_path / "c"))
    assert_one_line(broken, "ALCHEMFLOWS_HOME")
    assert "export ALCHEMFLOWS_HOME=" in broken.stdout

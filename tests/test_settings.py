"""The configuration: environment variables, the user's file, and the page that describes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alchemflows.cli.configured import settings
from alchemflows.errors import InvalidInputError
from alchemflows.settings import Settings, config_file, origin

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return what writes the configuration file of a user whose home is the folder of the test."""
    monkeypatch.delenv("ALCHEMFLOWS_CONFIG_FILE", raising=False)
    monkeypatch.delenv("ALCHEMFLOWS_CHECKS", raising=False)
    monkeypatch.delenv("ALCHEMFLOWS_POTENTIAL", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def written(text: str, name: str = ".alchemflows.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


def test_values_of_the_file_are_defaults(write, tmp_path, monkeypatch):
    assert config_file() is None and Settings().potential is None and origin("potential") == ""
    path = write("# mine\npotential: medium-mpa-0\nhome: ~/there\ncheckpoint_interval_s: 60\n")
    found = settings()
    assert (found.potential, found.checkpoint_interval_s, found.database_timeout_s) == ("medium-mpa-0", 60.0, 5.0)
    assert (found.home, found.checks) == (tmp_path / "there", tmp_path / "there" / "checks")
    assert config_file() == path and origin("potential") == f"{path}, line 2, potential" and not origin("mongod")
    monkeypatch.setenv("ALCHEMFLOWS_POTENTIAL", "chgnet")
    assert settings().potential == "chgnet" and origin("potential") == "ALCHEMFLOWS_POTENTIAL"
    assert Settings(potential="small").potential == "small"


def test_another_file(write, monkeypatch):
    write("potential: small")
    path = write("potential: large", "other.yaml")
    monkeypatch.setenv("ALCHEMFLOWS_CONFIG_FILE", str(path))
    assert settings().potential == "large"
    path.write_text("")
    assert settings().potential is None
    path.unlink()
    with pytest.raises(InvalidInputError, match=r"ALCHEMFLOWS_CONFIG_FILE.*other\.yaml"):
        settings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("home: x\n\npotental: small", ("line 3", "potental", "did you mean potential?")),
        ("potential: small\ncheckpoint_interval_s: -1", ("line 2", "checkpoint_interval_s", "greater than or equal")),
        ("potential: small\npotential: large", ("line 2", "twice")),
        ("potential: [", ("not valid YAML", "line 1")),
        ("- potential", (".alchemflows.yaml", "potential: mace-demo")),
        ("admin_uri: mongodb://admin:secret@host", ("line 1", "admin_uri", "ALCHEMFLOWS_ADMIN_URI")),
        ("short: yes", ("line 1", "ALCHEMFLOWS_SHORT")),
    ],
)
def test_errors_name_file_and_line(write, text, words):
    write(text)
    with pytest.raises(InvalidInputError) as error:
        settings()
    assert ".alchemflows.yaml" in str(error.value) and "secret" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_errors_name_the_variable(write, monkeypatch):
    write("checkpoint_interval_s: 60")
    monkeypatch.setenv("ALCHEMFLOWS_CHECKPOINT_INTERVAL_S", "soon")
    with pytest.raises(InvalidInputError, match=r"^ALCHEMFLOWS_CHECKPOINT_INTERVAL_S: "):
        settings()


def test_the_page_describes_each_setting(write):
    text = PAGE.read_text()
    variables = re.findall(r"^\|[^|]*\| `ALCHEMFLOWS_(\w+)` \|", text, re.MULTILINE)
    assert sorted(variables) == sorted(name.upper() for name in Settings.model_fields)
    for name, variable in re.findall(r"^\| `(\w+)` \| `ALCHEMFLOWS_(\w+)` \|", text, re.MULTILINE):
        assert name.upper() == variable
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    write(example)
    assert settings().potential == "sevennet-0" and settings().checkpoints == Path("/scratch/me/checkpoints")

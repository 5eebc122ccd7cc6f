"""Errors of `create_users` before it changes a server, and the documentation of the rights."""

from __future__ import annotations

from pathlib import Path

import pytest

from alchemflows.errors import DatabaseError, InvalidInputError
from alchemflows.storage.database import Database
from alchemflows.storage.users import ROLES, create_users

ROOT = Path(__file__).parents[2]


def test_the_rights_are_those_of_the_documentation() -> None:
    text = (ROOT / "docs" / "security.md").read_text().partition("<!-- rights -->")[2].partition("- **submitter**")[0]
    header, _, *rows = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]] for line in text.split("\n") if "|" in line
    ]
    told = {
        role: {row[0]: tuple(row[k].split(", ")) for row in rows if row[k]} for k, role in enumerate(header) if k > 0
    }
    assert told == ROLES


def test_a_server_without_authorization_is_refused(database: Database, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="authorization"):
        create_users(database.launchpad.host, "alchemflows", tmp_path / "config")
    assert not (tmp_path / "config").exists()


@pytest.mark.parametrize(
    "uri", ["mongodb://a:swordfish@192.0.2.1/", "mongodb://a:swordfish@localhost,192.0.2.1/?tls=false"]
)
def test_a_network_without_tls_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"192\.0\.2\.1.*TLS") as caught:
        create_users(uri, "alchemflows", tmp_path / "config")
    assert "swordfish" not in str(caught.value)


@pytest.mark.parametrize(
    ("users", "words"),
    [({"../eve": ["reader"]}, r"\.\./eve"), ({"eve": ["root"]}, "root"), ({"eve": []}, "submitter")],
)
def test_names_and_roles_are_checked(users: dict[str, list[str]], words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=words):
        create_users("mongodb://localhost:1", "alchemflows", tmp_path, users)


def test_a_bad_uri_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="percent-encode") as caught:
        create_users("mongodb://admin:sword/fish@localhost", "alchemflows", tmp_path)
    assert "fish" not in str(caught.value)

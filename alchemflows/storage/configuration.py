"""Configuration files of jobflow and FireWorks, and the connection strings in them: checked before anything connects.

A driver takes a part of a password for a host where the password is not percent-encoded; it then looks that part up and
prints it. None of the messages here quotes a part of a connection string. Neither jobflow nor FireWorks is imported:
both read, and use, their configuration when they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from alchemflows.errors import DatabaseError, InvalidInputError
from alchemflows.yaml_file import Place, YamlFile, read_yaml

T = TypeVar("T")

ENCODE = (
    "user name and password must be percent-encoded (Python: urllib.parse.quote_plus), "
    "as in mongodb://user:p%40ss@host/database for the password p@ss"
)

_SCHEMES = ("mongodb://", "mongodb+srv://")
#: What MongoDB allows in a user name or a password.
_USERINFO = re.compile(r"(?:[^/?#\[\]@:%]|%[0-9A-Fa-f]{2})*")
#: A name or an address with a port, or the percent-encoded path of a socket.
_HOST = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+|[A-Za-z0-9._~-]*%2[Ff](?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})*)(?::[0-9]{1,5})?"
)


def check_uri(uri: str, what: str = "the MongoDB URI") -> None:
    """Refuse a connection string of which a driver could take a part of the password for a host.

    Parameters
    ----------
    uri
        The connection string.
    what
        What the message calls it.

    Raises
    ------
    DatabaseError
        If it is not ``mongodb://[user[:password]@]host[:port][,...][/database][?options]`` with all special characters
        of user and password percent-encoded; no part of it is in the message.
    """
    scheme = next((scheme for scheme in _SCHEMES if uri.startswith(scheme)), None)
    if scheme is None:
        raise DatabaseError(f"{what} must begin with mongodb:// or mongodb+srv://")
    authority, rest = re.match(r"([^/?#]*)(.*)", uri.removeprefix(scheme), re.DOTALL).groups()  # type: ignore[union-attr]
    userinfo, _, hosts = authority.rpartition("@")
    if "@" in rest or "#" in rest or re.search(r"[^\x21-\x7e]", uri) or re.search(r"%(?![0-9A-Fa-f]{2})", uri):
        raise DatabaseError(f"{what} is not valid: {ENCODE}")
    if userinfo.count(":") > 1 or not all(_USERINFO.fullmatch(part) for part in userinfo.split(":")):
        raise DatabaseError(f"{what} is not valid: {ENCODE}")
    if not all(_HOST.fullmatch(host) for host in hosts.split(",")):
        raise DatabaseError(
            f"{what} is not valid: it names no hosts such as host:27017 before the first / or ?, or its {ENCODE}"
        )


def check_host(host: str, what: str = "the host of the database") -> None:
    """Refuse a host, which may be a connection string, as :func:`check_uri` does.

    Raises
    ------
    DatabaseError
        If it is not valid; no part of it is in the message.
    """
    check_uri(host if "://" in host else f"mongodb://{host}", what)


def check_configuration(path: Path) -> YamlFile:
    """Read a file of jobflow's or FireWorks' configuration; refuse keys given twice and URIs that are not valid.

    Raises
    ------
    DatabaseError
        Naming the file and the line; no value of the file is in the message.
    """
    try:
        file = read_yaml(path, secret=True)
    except InvalidInputError as error:
        raise DatabaseError(str(error)) from None
    for place, value in _texts(file.content, ()):
        if (place and place[-1] in ("uri", "host")) or value.startswith(_SCHEMES):
            what = "the MongoDB URI" if "://" in value else "the host"
            check_host(value, f"{file.where(place)}: {what}")
    stores = file.content.get("JOB_STORE") if isinstance(file.content, dict) else None
    if isinstance(stores, str) and Path(stores).expanduser().is_file():  # jobflow takes a file of stores, too
        check_configuration(Path(stores).expanduser())
    return file


def check_configurations() -> None:
    """Check the files that jobflow and FireWorks read when they are imported, as far as they exist.

    Raises
    ------
    DatabaseError
        See :func:`check_configuration`.
    """
    places = [
        os.environ.get("JOBFLOW_CONFIG_FILE", "~/.jobflow.yaml"),
        "FW_config.yaml",
        "~/.fireworks/FW_config.yaml",
        os.environ.get("FW_CONFIG_FILE", ""),
    ]
    for path in (Path(place).expanduser() for place in places if place):
        if path.is_file():
            check_configuration(path)


def load_file(path: Path, read: Callable[[str], T]) -> T:
    """Return what FireWorks reads from a file.

    Raises
    ------
    InvalidInputError
        If there is no such file, a key is given twice, or FireWorks cannot use it.
    """
    if not path.is_file():
        raise InvalidInputError(f"{path} does not exist")
    read_yaml(path, secret=True)
    try:
        return read(str(path))
    except Exception as error:  # YAML and FireWorks raise what they like
        raise InvalidInputError(f"{path} is not what it should be ({type(error).__name__})") from None


def without_passwords(text: str) -> str:
    """Return a text without the connection strings and passwords in it.

    A password may hold anything, spaces too: where a connection string begins, the rest of its line is left out.
    """
    return re.sub(r"\S+@", "…@", re.sub(r"mongodb(?:\+srv)?://.*", "mongodb://…", text))


def _texts(content: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(content, str):
        yield place, content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield from _texts(value, (*place, key))
    elif isinstance(content, list):
        for k, value in enumerate(content):
            yield from _texts(value, (*place, k))

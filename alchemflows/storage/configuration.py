"""Check the configuration files of jobflow and FireWorks, and the connection strings in them, before connecting.

If a password is not percent-encoded, a driver may mistake a part of it for a host name, look it up and print it. No
message of this module therefore quotes any part of a connection string. The module imports neither jobflow nor
FireWorks, because both read and use their configuration on import.
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

#: Default name of the database.
DATABASE = "alchemflows"

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
    """Raise if a driver could mistake a part of the password in a connection string for a host name.

    Parameters
    ----------
    uri
        The connection string.
    what
        Name of the connection string in the message.

    Raises
    ------
    DatabaseError
        If it is not ``mongodb://[user[:password]@]host[:port][,...][/database][?options]`` with all special characters
        of user and password percent-encoded; the message quotes no part of it.
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
    """Check a host name or connection string; see :func:`check_uri`.

    Raises
    ------
    DatabaseError
        If it is not valid; the message quotes no part of it.
    """
    check_uri(host if "://" in host else f"mongodb://{host}", what)


def check_configuration(path: Path) -> YamlFile:
    """Read a configuration file of jobflow or FireWorks; raise if a key is given twice or a URI is not valid.

    Raises
    ------
    DatabaseError
        If the file is not valid; the message names the file and the line, but quotes no value.
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
    if isinstance(stores, str) and Path(stores).expanduser().is_file():  # jobflow also accepts a file of stores
        check_configuration(Path(stores).expanduser())
    return file


def check_configurations() -> None:
    """Check the files that jobflow and FireWorks read on import; files that do not exist are skipped.

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
    """Return the object that FireWorks reads from a file.

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
    except Exception as error:  # YAML and FireWorks raise errors of many classes
        raise InvalidInputError(f"{path} cannot be read by FireWorks ({type(error).__name__})") from None


def without_passwords(text: str) -> str:
    """Return a text with connection strings and passwords removed.

    A password may contain any character, including spaces, so the rest of a line is removed from the beginning of a
    connection string on.
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

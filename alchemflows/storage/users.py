"""Create the users of a MongoDB with authentication: their roles and their configuration files."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from fireworks import LaunchPad
from pymongo import MongoClient
from pymongo.database import Database as MongoDatabase
from pymongo.errors import OperationFailure, PyMongoError

from alchemflows.errors import DatabaseError, InvalidInputError
from alchemflows.storage.configuration import check_uri
from alchemflows.storage.database import (
    BLOBS,
    OUTPUTS,
    REANALYSED,
    create_output_indexes,
    ping,
    store_spec,
    uri_problem,
    write_files,
)
from alchemflows.storage.fireworks import LARGE_ACTIONS, LOCKS, RIGHTS, client_of, create_indexes, initialise
from alchemflows.storage.locking import SUBMISSIONS
from alchemflows.yaml_file import read_yaml

FIND = ("find",)
#: GridFS of the samples.
SAMPLES = (f"{BLOBS}.files", f"{BLOBS}.chunks")

#: Allowed actions by role and collection. No role may drop collections or create users or indexes.
ROLES: dict[str, dict[str, tuple[str, ...]]] = {
    "submitter": {
        **RIGHTS["submitter"],
        **dict.fromkeys((OUTPUTS, *SAMPLES), FIND),
        f"{OUTPUTS}{REANALYSED}": ("find", "insert", "update"),
        SUBMISSIONS: ("find", "insert", "update", "remove"),
    },
    "worker": {
        **RIGHTS["worker"],
        OUTPUTS: ("find", "insert", "update"),
        **dict.fromkeys(SAMPLES, ("find", "insert", "listIndexes")),
    },
    "reader": {**RIGHTS["reader"], **dict.fromkeys((OUTPUTS, f"{OUTPUTS}{REANALYSED}", *SAMPLES), FIND)},
}

#: One user of each kind.
DEFAULT_USERS: dict[str, Sequence[str]] = {role: [role] for role in ROLES}

LOOPBACK = ("localhost", "127.0.0.1", "::1")

# Options that concern the login of the administrator only.
_LOGIN_OPTIONS = {
    *("authsource", "authmechanism", "authmechanismproperties"),
    *("tlscertificatekeyfile", "tlscertificatekeyfilepassword"),
}


def read_admin_uri(path: Path) -> str:
    """Return the connection string in a file that only its owner can read.

    Raises
    ------
    DatabaseError
        If it cannot be read, or others can read it.
    """
    try:
        mode = path.stat().st_mode
        uri = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DatabaseError(f"{path} cannot be read ({type(error).__name__})") from error
    if mode & 0o077:
        raise DatabaseError(f"others can read {path}, which holds a password: chmod 600 {path}")
    return uri


def create_users(
    admin_uri: str,
    database: str,
    folder: Path,
    users: Mapping[str, Sequence[str]] = DEFAULT_USERS,
    *,
    renew: bool = False,
    timeout_s: float = 5.0,
) -> dict[str, Path]:
    """Create or repair the roles and users of a database, its indexes, and a folder of configuration for each user.

    Passwords are random and are stored only in these folders. A user whose folder exists keeps the password.

    Parameters
    ----------
    admin_uri
        Connection string of a user who may create users in the database (``dbOwner``). Its connection options,
        including TLS, are copied to the files.
    database
        Name of the database.
    folder
        Parent folder of the configuration folders.
    users
        Roles (keys of :data:`ROLES`) by user name.
    renew
        Whether to give all these users new passwords.
    timeout_s
        Time (s) to wait for the server.

    Returns
    -------
    folders
        The folder of each user.

    Raises
    ------
    DatabaseError
        If the server cannot be reached, or only over a network without TLS; if it requires no
        password, or does not allow the changes; if a user exists but the folder does not.
    InvalidInputError
        If a name or role is not valid.
    """
    _check(users)
    folders = {name: folder.expanduser().resolve() / name for name in users}
    known = {} if renew else {name: word for name in users if (word := _password(folders[name])) is not None}
    check_uri(admin_uri, "the administrator's URI")
    try:
        client: MongoClient = MongoClient(admin_uri)
    except (PyMongoError, ValueError) as error:
        raise DatabaseError(f"cannot use the administrator's URI: {uri_problem(error, admin_uri)}") from None
    with client:
        _check_encrypted(admin_uri, client)
        ping(client, timeout_s)
        _check_authentication(admin_uri, database)
        try:
            there = {
                user["user"]: {role["role"] for role in user["roles"]}
                for user in client[database].command("usersInfo")["users"]
            }
            lost = [name for name in users if name in there and name not in known]
            if lost and not renew:
                raise DatabaseError(
                    f"the user {lost[0]} exists, but {folders[lost[0]]} does not hold its password: put the folder "
                    "back, or give new passwords with --renew"
                )
            _create_roles(client[database])
            _create_indexes(client[database], LaunchPad(admin_uri, name=database, uri_mode=True, strm_lvl="CRITICAL"))
            for name, roles in users.items():
                password = known.get(name) or secrets.token_urlsafe(24)
                # The file is written first: after an interruption, a repeated call sets the server to match it.
                uri = _uri(admin_uri, database, name, password)
                write_files(folders[name], _files(folders[name], uri, database, roles))
                command = "updateUser" if name in there else "createUser"
                # An owner of this database alone may not change roles, even into the same.
                changed: dict[str, Any] = {} if there.get(name) == set(roles) else {"roles": list(roles)}
                client[database].command(command, name, pwd=password, **changed)
        except OperationFailure as error:  # its text may quote the command
            raise DatabaseError(
                f"the server does not let this administrator make users, roles and indexes in {database} (code "
                f"{error.code}): it must be dbOwner there, and userAdminAnyDatabase to change the roles of a user"
            ) from error
    return folders


def _check(users: Mapping[str, Sequence[str]]) -> None:
    for name, roles in users.items():
        if not name.replace("-", "").replace("_", "").isalnum():
            raise InvalidInputError(f"{name!r} is not a valid user name: use letters, digits, - and _ only")
        if not roles or not set(roles) <= set(ROLES):
            raise InvalidInputError(f"the roles of {name} must be of {', '.join(ROLES)}; got {', '.join(roles)}")


def _check_encrypted(uri: str, client: MongoClient) -> None:
    """Raise if passwords would be sent unencrypted over a network, as happens without TLS."""
    options = {key.lower(): value for key, value in parse_qsl(urlsplit(uri).query)}
    encrypted = options.get("tls", options.get("ssl", str("+srv" in urlsplit(uri).scheme))).lower() == "true"
    hosts = [host for host, _ in client.topology_description.server_descriptions()]
    if not encrypted and not all(host in LOOPBACK or host.startswith("/") for host in hosts):
        raise DatabaseError(f"{', '.join(hosts)}: TLS is needed to protect the passwords; add tls=true to the URI")


def _check_authentication(admin_uri: str, database: str) -> None:
    """Raise if the server requires no password, since users would then give no protection."""
    anybody: MongoClient = MongoClient(_uri(admin_uri, database))
    with anybody:
        try:
            anybody[database][OUTPUTS].find_one({}, {"_id": 1})
        except OperationFailure:
            return
    raise DatabaseError("the server requires no password: start it with security.authorization enabled (mongod.conf)")


def _create_roles(database: MongoDatabase) -> None:
    there = {role["role"]: role for role in database.command("rolesInfo", showPrivileges=True)["roles"]}
    for name, rights in ROLES.items():
        found = {r["resource"]["collection"]: set(r["actions"]) for r in there.get(name, {}).get("privileges", ())}
        wanted = {collection: set(actions) for collection, actions in rights.items()}
        if name in there and found == wanted and not there[name]["roles"]:
            continue
        privileges = [
            {"resource": {"db": database.name, "collection": collection}, "actions": list(actions)}
            for collection, actions in rights.items()
        ]
        command = "updateRole" if name in there else "createRole"
        database.command(command, name, privileges=privileges, roles=[])


def _create_indexes(database: MongoDatabase, launchpad: LaunchPad) -> None:
    initialise(launchpad)
    client_of(launchpad).close()
    create_output_indexes(database[OUTPUTS])
    create_indexes(database)
    database[f"{OUTPUTS}{REANALYSED}"].create_index("uuid")
    database[SAMPLES[0]].create_index("metadata.blob_uuid")
    # GridFS indexes: the first writer would create them, but its role may not.
    for files, chunks in (SAMPLES, LARGE_ACTIONS):
        database[files].create_index({"filename": 1, "uploadDate": 1})
        database[chunks].create_index({"files_id": 1, "n": 1}, unique=True)


def _uri(admin_uri: str, database: str, name: str = "", password: str = "") -> str:
    """Return the connection string of another user, or without a user, on the same server."""
    parts = urlsplit(admin_uri)
    options = [(key, value) for key, value in parse_qsl(parts.query) if key.lower() not in _LOGIN_OPTIONS]
    hosts = parts.netloc.rpartition("@")[2]
    if name:
        hosts = f"{quote(name)}:{quote(password)}@{hosts}"
        options.append(("authSource", database))
    return f"{parts.scheme}://{hosts}/?{urlencode(options, safe='/')}"


def _password(folder: Path) -> str | None:
    """Return the password in a folder of configuration, if there is one."""
    path = folder / "my_launchpad.yaml"
    if not path.exists():
        return None
    try:
        return urlsplit(read_yaml(path, secret=True).content["host"]).password
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DatabaseError(f"{path} is not a file that `db init` has written ({type(error).__name__})") from None


def _files(folder: Path, uri: str, database: str, roles: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what a user's files hold: the templates of db_config, filled in."""
    config: dict[str, Any] = {
        "LAUNCHPAD_LOC": str(folder / "my_launchpad.yaml"),
        "CONFIG_FILE_DIR": str(folder),
        "PING_TIME_SECS": 300,
        "RUN_EXPIRATION_SECS": 1200,
        "RAPIDFIRE_SLEEP_SECS": 30,
        **LOCKS,
    }
    files: dict[str, dict[str, Any]] = {
        "jobflow.yaml": {"JOB_STORE": store_spec(uri, database)},
        "my_launchpad.yaml": {"uri_mode": True, "host": uri, "name": database, "logdir": None, "strm_lvl": "INFO"},
        "FW_config.yaml": config,
    }
    if "worker" in roles:
        config["FWORKER_LOC"] = str(folder / "my_fworker_cpu.yaml")
        config["QUEUEADAPTER_LOC"] = str(folder / "my_qadapter.yaml")
        files["my_fworker_cpu.yaml"] = {"name": "cpu", "category": "__none__", "query": "{}"}
        files["my_fworker_gpu.yaml"] = {"name": "gpu", "category": ["gpu"], "query": "{}"}
    return files

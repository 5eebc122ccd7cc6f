"""Connect to the database: the one configured for jobflow and FireWorks, or a private one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo
import yaml
from fireworks import LaunchPad
from fireworks.fw_config import LAUNCHPAD_LOC
from jobflow import JobStore
from jobflow.settings import DEFAULT_CONFIG_FILE_PATH, JobflowSettings
from maggma.core import Store
from maggma.stores import MemoryStore, MongoStore
from monty.json import MontyDecoder
from pymongo import MongoClient
from pymongo.errors import InvalidName, InvalidURI, OperationFailure, PyMongoError

from alchemflows.errors import DatabaseError, DatabaseUnreachableError
from alchemflows.settings import Settings
from alchemflows.storage.configuration import DATABASE, check_configuration, check_uri
from alchemflows.storage.fireworks import LOCKS, client_of, create_indexes, database_of, initialise
from alchemflows.storage.mongod import PrivateMongod

#: Collections of the private database.
OUTPUTS = "outputs"
BLOBS = "samples"
#: Suffix to the name of the collection of outputs, for the collection of reanalysed free energies.
REANALYSED = "_reanalysed"

# pymongo's own message may quote a part of the password.
_BAD_URI = "the MongoDB URI or its options are not valid (user name and password must be percent-encoded)"

#: What may correct an error of a connection, by a part of its text.
_HINTS = {
    "CERTIFICATE_VERIFY_FAILED": "tlsCAFile must be the server's authority, and the host a name in its certificate",
    "connection closed": "the server may require TLS, which is set in the URI by tls=true&tlsCAFile=...",
    "Name or service not known": "the name of the host in the URI may be wrong",
    "Connection refused": "the server may not be running, or may use another port",
}

#: Indexes of the collection of outputs, for the queries in docs/database.md; compound indexes are tuples.
OUTPUT_INDEXES: tuple[str | tuple[str, ...], ...] = (
    "uuid",
    "completed_at",
    "output.@class",
    "output.initial_formula",
    "output.final_formula",
    "output.temperature_K",
    "output.key",
    "metadata.fw_id",
    ("output.@class", "completed_at"),
    ("output.@class", "output.schema_version"),
    "metadata.campaign.schema_version",
    ("metadata.campaign.name", "output.@class", "completed_at"),
    ("metadata.campaign.name", "metadata.campaign.task"),
)


@dataclass(frozen=True)
class Database:
    """A MongoDB database, used both by jobflow (outputs) and by FireWorks (jobs).

    Attributes
    ----------
    job_store
        jobflow's store: outputs, and samples in the additional store `data`; connected.
    launchpad
        LaunchPad of FireWorks, or None if FireWorks is not configured.
    place
        Location of the database for messages; contains no password.
    environment
        Environment variables that make jobflow and FireWorks use this database.
    is_private
        Whether it is the private database.
    """

    job_store: JobStore
    launchpad: LaunchPad | None
    place: str
    environment: dict[str, str]
    is_private: bool = False

    def outputs(self) -> pymongo.collection.Collection:
        """Return the pymongo collection of job outputs."""
        return collection_of(self.job_store.docs_store)

    def samples(self) -> Store:
        """Return the store of samples."""
        job_store: Any = self.job_store
        return job_store.additional_stores["data"]

    def free_bytes(self) -> int | None:
        """Return the free space on the disk of the database (bytes); None if the server does not report it."""
        try:
            stats = self.outputs().database.command("dbStats")
        except OperationFailure:  # this user may not run the command
            return None
        return int(stats["fsTotalSize"] - stats["fsUsedSize"]) if "fsTotalSize" in stats else None

    def reanalysed_store(self) -> MongoStore:
        """Return the store of reanalysed free energies, not connected; it is in the database of the outputs."""
        store = copy_store(self.job_store.docs_store)
        store.collection_name += REANALYSED
        return store

    def ensure_indexes(self) -> None:
        """Create the documented indexes where they are missing."""
        create_output_indexes(self.outputs())
        if self.launchpad is not None:
            create_indexes(database_of(self.launchpad))
        # jobflow queries this field each time it reads or writes samples.
        self.samples().ensure_index("blob_uuid")


def launchpad_of(database: Database) -> LaunchPad:
    """Return the LaunchPad of a database.

    Raises
    ------
    DatabaseError
        If FireWorks is not configured.
    """
    if database.launchpad is None:
        raise DatabaseError("jobflow is configured, but FireWorks is not: set FW_CONFIG_FILE (templates in db_config/)")
    return database.launchpad


def collection_of(store: Any) -> pymongo.collection.Collection:
    """Return the pymongo collection of a connected maggma store, for aggregations and compound indexes.

    It is a private attribute of ``MongoStore`` (seen in maggma 0.77.1), and is used only here.
    """
    collection: pymongo.collection.Collection = store._collection
    return collection


def create_output_indexes(outputs: pymongo.collection.Collection) -> None:
    """Create the documented indexes of a collection of outputs where they are missing."""
    for fields in OUTPUT_INDEXES:
        outputs.create_index([fields] if isinstance(fields, str) else list(fields))


def copy_store(store: Any) -> Any:
    """Return an unconnected copy of a maggma store."""
    return MontyDecoder().process_decoded(store.as_dict())


def connect(settings: Settings | None = None) -> Database:
    """Connect to the configured database, or start the private one.

    jobflow is configured by ``JOBFLOW_CONFIG_FILE`` or ``~/.jobflow.yaml``, FireWorks by ``FW_CONFIG_FILE``
    or ``~/.fireworks``.

    Raises
    ------
    DatabaseError
        If the database cannot be reached within a few seconds, the configuration is not for MongoDB, or the
        private database cannot be started.

    Examples
    --------
    >>> from alchemflows import connect
    >>> database = connect()  # the private database, if none is configured
    >>> database.job_store.count()
    0
    """
    settings = settings or Settings()
    path = database_file(settings)
    return start_private(settings) if path is None else _configured(path, settings)


def database_file(settings: Settings) -> Path | None:
    """Return the jobflow configuration of the database in use; None for the private one.

    Raises
    ------
    DatabaseError
        If the configurations of jobflow and FireWorks contradict each other.
    """
    path = configured_file()
    if "JOBFLOW_JOB_STORE" in os.environ:
        raise DatabaseError("JOBFLOW_JOB_STORE is not supported: set JOBFLOW_CONFIG_FILE to a file")
    # The files of the private database may be exported for plain FireWorks and jobflow; they mean the private database.
    private = settings.home.expanduser() / "config"
    fireworks = configured_fireworks(private)
    if path is None and fireworks is not None:
        raise DatabaseError(
            f"FireWorks is configured by {fireworks}, but jobflow is not configured: set JOBFLOW_CONFIG_FILE as well"
        )
    return None if path is None or (_same(path, private / "jobflow.yaml") and fireworks is None) else path


def configured_file() -> Path | None:
    """Return jobflow's configuration file, if the user has one."""
    path = Path(os.environ.get("JOBFLOW_CONFIG_FILE", DEFAULT_CONFIG_FILE_PATH)).expanduser()
    return path if path.is_file() or "JOBFLOW_CONFIG_FILE" in os.environ else None


def configured_fireworks(private: Path) -> str | None:
    """Return the setting or file that makes FireWorks use a database other than the private one, or None.

    FireWorks looks for its files when it is imported: ``FW_config.yaml`` or ``my_launchpad.yaml`` in the current folder
    and in ``~/.fireworks``, and the file that ``FW_CONFIG_FILE`` names.

    Parameters
    ----------
    private
        Folder of the private database's configuration.
    """
    named = os.environ.get("FW_CONFIG_FILE")
    if named is not None and not _same(Path(named), private / "FW_config.yaml"):
        return f"FW_CONFIG_FILE={named}"
    if LAUNCHPAD_LOC is not None and not _same(Path(LAUNCHPAD_LOC), private / "my_launchpad.yaml"):
        return str(Path(LAUNCHPAD_LOC).absolute())
    return None


def _same(one: Path, other: Path) -> bool:
    return one.expanduser().resolve() == other.expanduser().resolve()


def start_private(settings: Settings) -> Database:
    """Start the private database unless it is running, and return it; see :func:`connect`."""
    server = PrivateMongod(settings.home, settings.mongod)
    server.start()
    uri = server.uri(DATABASE)
    store = store_spec(uri)
    job_store = JobStore.from_dict_spec(store)
    job_store.connect()
    launchpad = LaunchPad(host=uri, name=DATABASE, uri_mode=True, strm_lvl="CRITICAL")
    folder = settings.home / "config"
    database = Database(
        job_store,
        launchpad,
        f"private MongoDB in {server.folder}",
        _write_configuration(folder, store, launchpad),
        is_private=True,
    )
    ping(client_of(launchpad), settings.database_timeout_s)
    initialise(launchpad)
    database.ensure_indexes()
    return database


def _configured(path: Path, settings: Settings) -> Database:
    if not path.is_file():
        raise DatabaseError(f"JOBFLOW_CONFIG_FILE names {path}, which does not exist")
    check_configuration(path)
    try:
        job_store: Any = JobflowSettings(CONFIG_FILE=str(path)).JOB_STORE
    except Exception as error:  # of any class; the message may quote the password
        raise DatabaseError(f"{path} is not a jobflow configuration ({type(error).__name__})") from None
    docs = job_store.docs_store
    if isinstance(docs, MemoryStore) or not hasattr(docs, "mongoclient_kwargs"):
        raise DatabaseError(f"{path}: the docs_store must be a MongoDB store, not {type(docs).__name__}")
    if "data" not in job_store.additional_stores:
        raise DatabaseError(f"{path}: an additional store `data` is needed for samples (see db_config/jobflow.yaml)")
    try:
        job_store.connect()
    except (PyMongoError, ValueError) as error:
        problem = uri_problem(error, getattr(docs, "uri", None))
        raise DatabaseError(f"cannot use the database of {path}: {problem}") from None
    outputs = collection_of(docs)
    client = outputs.database.client
    ping(client, settings.database_timeout_s)
    try:  # a server with authentication answers a ping without a password
        outputs.find_one({}, {"_id": 1})
    except OperationFailure as error:
        raise DatabaseError(
            f"the database at {hosts_of(client)} does not let {user_of(client)} read {outputs.full_name}"
        ) from error
    environment = {"JOBFLOW_CONFIG_FILE": str(path)}
    if "FW_CONFIG_FILE" in os.environ:
        environment["FW_CONFIG_FILE"] = os.environ["FW_CONFIG_FILE"]
        if not Path(environment["FW_CONFIG_FILE"]).is_file():  # FireWorks would ignore it silently
            raise DatabaseError(f"FW_CONFIG_FILE names {environment['FW_CONFIG_FILE']}, which does not exist")
    launchpad = None
    if LAUNCHPAD_LOC is not None:
        file = check_configuration(Path(LAUNCHPAD_LOC))
        try:
            launchpad = LaunchPad.from_file(LAUNCHPAD_LOC)
        except (PyMongoError, ValueError) as error:
            host = str(file.content.get("host")) if isinstance(file.content, dict) else None
            raise DatabaseError(f"cannot use the LaunchPad of {LAUNCHPAD_LOC}: {uri_problem(error, host)}") from None
        except Exception as error:  # of many classes; the message may quote the file
            raise DatabaseError(f"{LAUNCHPAD_LOC} is not a LaunchPad file ({type(error).__name__})") from None
        ping(client_of(launchpad), settings.database_timeout_s)
        private = settings.home.expanduser() / "config"
        jobs_are_private = _same(Path(LAUNCHPAD_LOC), private / "my_launchpad.yaml")
        if jobs_are_private != _same(path, private / "jobflow.yaml"):
            raise DatabaseError(
                f"only one of {path} and {LAUNCHPAD_LOC} belongs to the private database, so jobs and results would be "
                "in different databases; configure both for the same database"
            )
    return Database(job_store, launchpad, f"{hosts_of(client)}, configured in {path}", environment)


def ping(client: MongoClient, timeout_s: float) -> None:
    """Check that the server answers.

    Raises
    ------
    DatabaseUnreachableError
        If it does not answer in time.
    DatabaseError
        If it rejects the user or password.
    """
    try:
        with pymongo.timeout(timeout_s):
            client.admin.command("ping")
    except OperationFailure as error:
        raise DatabaseError(f"the database at {hosts_of(client)} rejects the user or password") from error
    except PyMongoError as error:
        raise DatabaseUnreachableError(
            f"the database at {hosts_of(client)} does not answer: {_reason(error)}"
        ) from error


def hosts_of(client: MongoClient) -> str:
    """Return the hosts of a client, without user or password."""
    servers = client.topology_description.server_descriptions()
    return ", ".join(host if port is None else f"{host}:{port}" for host, port in sorted(servers, key=str))


def user_of(client: MongoClient) -> str:
    """Return the user of a client and its roles, as words of a sentence; servers tell them without any right."""
    known = client.admin.command("connectionStatus")["authInfo"]
    roles = ", ".join(sorted(f"{each['role']} of {each['db']}" for each in known["authenticatedUserRoles"]))
    users = " and ".join(f"the user {each['user']}" for each in known["authenticatedUsers"])
    return f"{users or 'clients without a user'} ({f'roles: {roles}' if roles else 'no roles'})"


def uri_problem(error: Exception, uri: str | None = None) -> str:
    """Describe the problem with a connection string without quoting any part that may be secret."""
    try:
        check_uri(uri or "", "the MongoDB URI")
    except DatabaseError:
        return _BAD_URI
    uri = uri or ""
    if uri.startswith("mongodb+srv://") and not isinstance(error, InvalidURI | InvalidName):
        host = re.split("[/?]", uri.removeprefix("mongodb+srv://").rpartition("@")[2])[0]
        return f"the servers of {host} cannot be looked up ({type(error).__name__})"
    return _BAD_URI


def _reason(error: BaseException) -> str:
    """Return why a server does not answer, in one line, with what may correct it."""
    lines = str(error).strip().splitlines()
    # pymongo appends its timeouts and the description of its whole topology
    reason = re.split(r" \(configured timeouts:|, Timeout:", lines[0])[0][:200] if lines else type(error).__name__
    hints = [hint for text, hint in _HINTS.items() if text in reason]
    return "; ".join([reason, *hints])


def store_spec(uri: str, database: str = DATABASE) -> dict[str, Any]:
    """Return jobflow's specification of a store: outputs, and samples in the additional store `data`."""
    common = {"uri": uri, "database": database}
    # If this field is missing in a document, maggma formats all samples into an error message and discards it. With an
    # existing field, writing takes half the time.
    samples = {"type": "GridFSStore", "collection_name": BLOBS, "last_updated_field": "job_uuid", **common}
    return {
        "docs_store": {"type": "MongoStore", "collection_name": OUTPUTS, **common},
        "additional_stores": {"data": samples},
    }


def _write_configuration(folder: Path, store: dict[str, Any], launchpad: LaunchPad) -> dict[str, str]:
    """Write configuration files that make jobflow and FireWorks use the private database."""
    files = {
        "jobflow.yaml": {"JOB_STORE": store},
        "my_launchpad.yaml": {"host": launchpad.host, "name": DATABASE, "uri_mode": True, "strm_lvl": "INFO"},
        "my_fworker.yaml": {"name": "local", "category": "", "query": "{}"},
        "FW_config.yaml": {
            "LAUNCHPAD_LOC": str(folder / "my_launchpad.yaml"),
            "FWORKER_LOC": str(folder / "my_fworker.yaml"),
            "PING_TIME_SECS": 60,
            "RUN_EXPIRATION_SECS": 600,
            "RAPIDFIRE_SLEEP_SECS": 10,
            **LOCKS,
        },
    }
    write_files(folder, files)
    return {
        "JOBFLOW_CONFIG_FILE": str(folder / "jobflow.yaml"),
        "FW_CONFIG_FILE": str(folder / "FW_config.yaml"),
        "ALCHEMFLOWS_HOME": str(folder.parent),
    }


def write_files(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    """Write YAML files that contain passwords; only their owner can ever read them."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name, content in files.items():
        temporary = folder / f".{name}.{os.getpid()}"
        temporary.touch(mode=0o600)
        temporary.write_text(yaml.safe_dump(content, sort_keys=False))
        temporary.replace(folder / name)

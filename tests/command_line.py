"""The command line in a process of its own, and how its errors look."""

from __future__ import annotations

import gc
import importlib
import io
import multiprocessing
import os
import pkgutil
import re
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from multiprocessing import forkserver
from multiprocessing.connection import Connection, Listener
from pathlib import Path

import pytest

from alchemflows import cli
from alchemflows.execution import local_worker

#: Entry points of commands; the last runs its first argument as the code of a script.
ALCHEMFLOWS, RLAUNCH, LPAD, CODE = (
    "alchemflows.__main__:main",
    "fireworks.scripts.rlaunch_run:rlaunch",
    "fireworks.scripts.lpad_run:lpad",
    "command_line:_run_code",
)
COMMAND = [sys.executable, "-c", "from alchemflows.__main__ import main; main()"]

#: Server of processes. The parts used here have no public names: seen in Python 3.11 to 3.13.
_SERVER = forkserver._forkserver
#: Libraries that read a configuration when they are imported, each process its own.
_CONFIGURED = ("atomate2", "fireworks", "jobflow")
#: Rooms of the package that import none of them.
_ROOMS = ("analysis", "free_energy", "optimize", "plotting", "sampling", "schemas", "structures")


def _modules(room: str) -> list[str]:
    package = importlib.import_module(f"alchemflows.{room}")
    return [module.name for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]


#: Processes are forked from one that has imported what takes long and reads no configuration.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    [
        "alchemflows.alchemy.backends.silent_mace",
        "mace.calculators",
        "pymbar",
        "alchemlyb.estimators",
        "ase.mep",
        "ase.optimize",
        "jinja2",
        "matplotlib.pyplot",
        "emmet.core.neb",
        "emmet.core.tasks",
        "emmet.core.trajectory",
        "emmet.core.vasp.task_valid",
        "maggma.stores",
        "pymatgen.analysis.compatibility",
        "rich.console",
        "rich.table",
        "typer",
        "pytest",
        "alchemflows.execution.local_worker",
        "demo_potential",
        *(name for room in _ROOMS for name in _modules(room)),
    ]
)


_STARTING = threading.Lock()


def _ensure_server() -> None:
    """Start the server of processes, unless it runs; it finds `demo_potential` in this folder."""
    with _STARTING, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        _SERVER.ensure_running()


class StartedCommand:
    """A command in a process of its own, with the methods of :class:`subprocess.Popen` that tests need.

    It is forked from a process that has imported the large libraries, which saves some ten seconds for each command.
    """

    def __init__(
        self,
        arguments: Sequence[object],
        folder: Path,
        environment: Mapping[str, str],
        out: str | Path,
        err: str | Path | None = None,
        entry: str = ALCHEMFLOWS,
    ) -> None:
        self.args = list(map(str, arguments))
        for file in (out, err):
            if file is not None:
                Path(file).touch()  # it is there as soon as this returns
        given = (entry, self.args, folder, dict(environment), str(out), None if err is None else str(err))
        _ensure_server()
        self._process = _PROCESSES.Process(target=_main, args=(*given, _SERVER._forkserver_address))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process and return its exit status."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    @property
    def returncode(self) -> int | None:
        """Exit status, or None while the process runs."""
        return self._process.exitcode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()


def run_command(
    arguments: Sequence[object],
    folder: Path,
    environment: Mapping[str, str],
    timeout: float = 600.0,
    entry: str = ALCHEMFLOWS,
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, without the seconds that its imports take; it must end within minutes."""
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        command = StartedCommand(arguments, folder, environment, out.name, err.name, entry)
        try:
            status = command.wait(timeout)
        except subprocess.TimeoutExpired as error:
            command.kill()
            command.wait()
            raise subprocess.TimeoutExpired(command.args, timeout, out.read(), err.read()) from error
        return subprocess.CompletedProcess(command.args, status, out.read(), err.read())


@contextmanager
def programs(folder: Path) -> Iterator[str]:
    """Write the program ``alchemflows`` into a folder, and return a PATH that begins with it.

    A shell that calls the program gets a process as :class:`StartedCommand` makes it, while this context lasts.
    """
    with tempfile.TemporaryDirectory() as short, Listener(f"{short}/socket", "AF_UNIX") as listener:
        threading.Thread(target=_serve, args=(listener,), daemon=True).start()
        program = folder / "alchemflows"
        program.write_text(_PROGRAM.format(python=sys.executable, address=listener.address))
        program.chmod(0o755)
        yield os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])


_PROGRAM = """#!{python}
import os, sys
from multiprocessing.connection import Client
with Client({address!r}) as server:
    server.send((os.getpid(), sys.argv[1:], os.getcwd(), dict(os.environ)))
    sys.exit(server.recv())
"""


def _serve(listener: Listener) -> None:
    while True:
        try:
            caller = listener.accept()
        except OSError:  # closed
            return
        threading.Thread(target=_answer, args=(caller,), daemon=True).start()


def _answer(caller: Connection) -> None:
    with caller:
        pid, words, folder, environment = caller.recv()
        out, err = (f"/proc/{pid}/fd/{number}" for number in (1, 2))
        caller.send(StartedCommand(words, Path(folder), environment, out, err).wait())


def start_worker(
    launchpad: Path, fworker: Path, folder: Path, log: Path, environment: Mapping[str, str]
) -> StartedCommand:
    """Start a local worker as alchemflows.execution.local_worker does, without the time that its imports take."""
    words = (launchpad, fworker)
    return StartedCommand(words, folder, environment, log, entry="command_line:_work")


def _work() -> None:
    os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    local_worker.main()


def _run_code() -> None:
    sys.path.insert(0, "")  # as in `python -c`
    code = sys.argv.pop(1)
    exec(compile(code, "<script>", "exec"), {"__name__": "__main__"})


def _end_with_parent() -> None:
    # The parent that Linux sees is the server.
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)


def _main(
    entry: str,
    words: list[str],
    folder: Path,
    environment: dict[str, str],
    out: str,
    err: str | None,
    forkserver_address: str,
) -> None:
    assert not sys.modules.keys() & set(_CONFIGURED), "the server of processes has read a configuration"
    gc.freeze()  # what the server imported stays: looking for garbage there would take longer than many a command
    # The processes that this one starts come from the same server, which its libraries would start anew.
    _SERVER._forkserver_address = forkserver_address
    _SERVER.ensure_running = lambda: None
    local_worker.start = start_worker
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    flags = os.O_WRONLY | os.O_APPEND
    os.dup2(os.open(out, flags), 1)
    os.dup2(1 if err is None else os.open(err, flags), 2)
    # The streams of the server may be files, those of a shell are pipes.
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    module, _, function = entry.partition(":")
    sys.argv = [module.partition(".")[0], *words]
    getattr(importlib.import_module(module), function)()


def run_here(arguments: Sequence[object], monkeypatch: pytest.MonkeyPatch) -> subprocess.CompletedProcess[str]:
    """Run a command of the package in this process, for commands that end before they connect to a database."""
    out, err = io.StringIO(), io.StringIO()
    with monkeypatch.context() as patch, redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        patch.setattr(sys, "argv", ["alchemflows", *map(str, arguments)])
        patch.setenv("PYTHONWARNINGS", "ignore")  # both are set by the command itself, and would stay
        patch.setenv("TQDM_DISABLE", "1")
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return subprocess.CompletedProcess(sys.argv, status, out.getvalue(), err.getvalue())


def assert_one_line(completed: subprocess.CompletedProcess, *words: str) -> None:
    assert completed.returncode == 1
    lines = [line for line in completed.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, completed.stderr
    assert "Traceback" not in completed.stderr
    for word in words:
        assert word in lines[0]


def unexpected(errors: str) -> list[str]:
    """Return the lines of stderr that a user could not act on: no notes of this package."""
    ours = re.compile(r"(note|potential|\S+\.cif): ")
    return [line for line in errors.splitlines() if line.strip() and not ours.match(line)]


def quiet(completed: subprocess.CompletedProcess[str]) -> str:
    """Return what a command printed, after checking that it succeeded and has only notes of this package on stderr."""
    assert completed.returncode == 0, completed.stderr
    assert unexpected(completed.stderr) == []
    return completed.stdout


def printed_id(printed: str) -> str:
    """Return the ID of the result that a command printed."""
    return re.findall(r"`alchemflows show (\w+)`", printed)[-1]

"""Check an installation for `alchemflows doctor`: each check returns a state, and how to correct it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from fireworks.fw_config import LAUNCHPAD_LOC
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from pymongo.database import Database as MongoDatabase
from pymongo.errors import PyMongoError

from alchemflows import __version__
from alchemflows.errors import AlchemflowsError, DatabaseError
from alchemflows.output_file import check_folder
from alchemflows.settings import Settings, config_file, origin
from alchemflows.storage.database import Database, collection_of, configured_file, connect, database_file
from alchemflows.storage.mongod import PrivateMongod, find_binary
from alchemflows.storage.rights import Role, check_rights

State = Literal["ok", "optional", "broken"]

#: Time that a database has to answer (s).
DATABASE_SECONDS = 3.0
_PACKAGE = "alchemflows"
#: How to correct what makes a whole check impossible.
_REMEDIES = {
    "torch": "install torch for this machine (https://pytorch.org/get-started)",
    "database": "check JOBFLOW_CONFIG_FILE and FW_CONFIG_FILE, and that the server runs (db_config/README.md)",
    "potentials": f'pip install --force-reinstall --no-deps "{_PACKAGE}"',
    "potential": "choose one with --potential: mace-demo, sevennet-0, chgnet, or the path of a model file",
}


@dataclass(frozen=True)
class Finding:
    """Result of one check.

    Attributes
    ----------
    name
        What was checked.
    state
        ``ok``; ``optional`` for what is missing but not needed; ``broken`` for what must be corrected.
    text
        What was found.
    remedy
        Command or sentence that corrects it; empty if nothing has to be done.
    """

    name: str
    state: State
    text: str
    remedy: str = ""


def diagnose(settings: Settings, potential: str | None = None) -> list[Finding]:
    """Return the findings of all checks; no database is started.

    Parameters
    ----------
    settings
        Configuration of this machine.
    potential
        Name or path of a potential that is loaded as a further check.
    """
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("Python", _python),
        ("packages", _packages),
        ("tested versions", _tested),
        ("torch", _torch),
        ("C++ compiler", _compiler),
        ("potentials", _potentials),
        ("home", lambda: _folders(settings)),
        ("mongod", lambda: _mongod(settings)),
        ("configuration", lambda: _configuration(settings)),
        ("database", lambda: _database(settings)),
    ]
    if potential is not None:
        checks.append(("potential", lambda: _potential(potential)))
    findings: list[Finding] = []
    for name, check in checks:
        try:
            findings += check()
        except (AlchemflowsError, ImportError, OSError) as error:
            findings.append(Finding(name, "broken", " ".join(str(error).split()), _REMEDIES.get(name, "")))
    return findings


def _python() -> Iterator[Finding]:
    wanted = metadata(_PACKAGE)["Requires-Python"] or ""
    found = platform.python_version()
    if SpecifierSet(wanted).contains(found, prereleases=True):
        yield Finding("Python", "ok", f"{found} ({sys.executable})")
    else:
        yield Finding("Python", "broken", f"{found}; {_PACKAGE} needs {wanted}", "create a new virtual environment")


def _packages() -> Iterator[Finding]:
    """Compare installed versions with the ranges of the package's metadata."""
    needed = [
        requirement
        for requirement in map(Requirement, requires(_PACKAGE) or [])
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    ]
    wrong = [
        (requirement, found or "not installed")
        for requirement, found in ((each, _version(each.name)) for each in needed)
        if found is None or not requirement.specifier.contains(found, prereleases=True)
    ]
    n_right = len(needed) - len(wrong)
    text = f"{_PACKAGE} {__version__}; {n_right} of {len(needed)} required packages are in the allowed ranges"
    yield Finding("packages", "ok" if not wrong else "broken", text)
    for requirement, found in wrong:
        wanted = f"{requirement.name}{requirement.specifier}"
        yield Finding(requirement.name, "broken", f"{found}; {wanted} is needed", f'pip install "{wanted}"')


def tested_versions() -> dict[str, str]:
    """Return the version of each package that CI tests, by its canonical name."""
    lines = (files(_PACKAGE) / "data" / "constraints.txt").read_text().splitlines()
    pins = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {canonicalize_name(name): pin.strip() for name, pin in pins}


def _tested() -> Iterator[Finding]:
    """Compare the versions of the installed packages, required and optional ones, with those that CI tests."""
    tested = tested_versions()
    same: list[tuple[str, str]] = []
    newer: list[tuple[str, str]] = []
    older: list[tuple[str, str]] = []
    for name in sorted({canonicalize_name(Requirement(line).name) for line in requires(_PACKAGE) or []} & set(tested)):
        found = _version(name)
        if found is None:
            continue
        here, there = Version(Version(found).public), Version(tested[name])  # torch has the build in its version
        (same if here == there else newer if here > there else older).append((name, found))
    n_found = len(same) + len(newer) + len(older)
    text = f"{len(same)} of {n_found} installed packages have the versions that CI tests"
    yield Finding("tested versions", "ok", text)
    for what, others in (("newer", newer), ("older", older)):
        if others:
            text = ", ".join(f"{name} {found} (tested: {tested[name]})" for name, found in others)
            pins = " ".join(f"{name}=={tested[name]}" for name, _ in others)
            yield Finding(f"{what} versions", "optional", text, f"only if something fails: pip install {pins}")


def _torch() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        text = f"{torch.__version__}, device cuda ({torch.cuda.get_device_name(0)})"
        yield Finding("torch", "ok", text)
    elif torch.version.cuda is not None:
        text = f"{torch.__version__} is built for CUDA {torch.version.cuda}, but finds no GPU; device cpu"
        yield Finding("torch", "optional", text, "check the driver with nvidia-smi, if this machine has a GPU")
    else:
        text = f"{torch.__version__} for CPU, {torch.get_num_threads()} threads"
        yield Finding("torch", "ok", text)


def _compiler() -> Iterator[Finding]:
    from alchemflows.alchemy.inductor import cpp_compiler

    found = cpp_compiler()
    if found:
        yield Finding("C++ compiler", "ok", f"{found} (for --kernels compiled)")
    else:
        remedy = "install g++, or set CXX to the path of a compiler"
        yield Finding("C++ compiler", "optional", "not found; only --kernels compiled needs it", remedy)


def _potentials() -> Iterator[Finding]:
    from alchemflows.alchemy.backends import load_potential
    from alchemflows.alchemy.backends.loading import DEMO
    from alchemflows.schemas.potential_names import mace_names

    load_potential(DEMO)
    yield Finding(DEMO, "ok", "loads; for learning and tests, not for publications")
    if find_spec("sevenn") is not None:
        yield Finding("sevennet-0", "ok", f"sevenn {_version('sevenn')} is installed")
    else:
        text = "sevenn (GPL-3) is not installed"
        yield Finding("sevennet-0", "optional", text, 'pip install "alchemflows[sevennet]"')
    if find_spec("chgnet") is not None:
        yield Finding("chgnet", "ok", f"chgnet {_version('chgnet')} is installed")
    else:
        yield Finding("chgnet", "optional", "chgnet is not installed", 'pip install "alchemflows[chgnet]"')
    text = f"mace-torch downloads these when first used (it names their licences): {', '.join(mace_names())}"
    yield Finding("MACE potentials", "ok", text)


def _potential(name: str) -> Iterator[Finding]:
    from alchemflows.alchemy.backends import load_potential

    yield Finding("potential", "ok", f"{name} loads; SHA-256 {load_potential(name).record.sha256}")


def _folders(settings: Settings) -> Iterator[Finding]:
    for variable, folder in (("ALCHEMFLOWS_HOME", settings.home), ("ALCHEMFLOWS_CHECKPOINTS", settings.checkpoints)):
        try:
            check_folder(folder)
        except (AlchemflowsError, OSError) as error:
            yield Finding(variable, "broken", str(error), f"export {variable}=FOLDER, a folder that you can write to")
        else:
            yield Finding(variable, "ok", f"{folder} can be written")


def _mongod(settings: Settings) -> Iterator[Finding]:
    try:
        yield Finding("mongod", "ok", str(find_binary(settings.mongod)))
    except AlchemflowsError as error:
        # A mongod that was asked for by name must be there; without a database of one's own, one is needed.
        needed = settings.mongod is not None or configured_file() is None
        state: State = "broken" if needed else "optional"
        yield Finding("mongod", state, str(error), 'pip install "alchemflows[mongod]"')


def _configuration(settings: Settings) -> Iterator[Finding]:
    own = config_file()
    yield Finding("settings file", "ok", "none; ~/.alchemflows.yaml can set a potential" if own is None else str(own))
    yield _default_potential(settings)
    jobflow = configured_file()
    yield Finding("jobflow configuration", "ok", "none" if jobflow is None else str(jobflow))
    named = [os.environ.get("FW_CONFIG_FILE"), LAUNCHPAD_LOC]
    files = [str(Path(path).expanduser().absolute()) for path in named if path]
    yield Finding("FireWorks configuration", "ok", ", ".join(files) or "none")


def _default_potential(settings: Settings) -> Finding:
    """Say which potential commands without --potential use, and whether its name can be right."""
    name = settings.potential
    if name is None:
        return Finding("default potential", "ok", "mace-demo, for the crystals that it was made for")
    from alchemflows.schemas.potential_names import check_name

    text = f"{name} ({origin('potential')})"
    try:
        check_name(name)
    except AlchemflowsError as error:
        remedy = "name another one there: mace-demo, sevennet-0, chgnet, or the path of a model file"
        return Finding("default potential", "broken", f"{text}: {' '.join(str(error).split())}", remedy)
    return Finding("default potential", "ok", text)


def _database(settings: Settings) -> Iterator[Finding]:
    if database_file(settings) is None:
        server = PrivateMongod(settings.home, settings.mongod)
        running = server.is_running()
        text = f"private MongoDB in {server.folder}, {'running' if running else 'started by the first calculation'}"
        yield Finding("database", "ok", text)
        return
    seconds = min(DATABASE_SECONDS, settings.database_timeout_s)
    database = connect(settings.model_copy(update={"database_timeout_s": seconds}))
    yield Finding("database", "ok", database.place)
    yield _user(collection_of(database.job_store.docs_store).database)
    if database.launchpad is None:
        remedy = "set FW_CONFIG_FILE (templates in db_config/)"
        yield Finding("LaunchPad", "optional", "FireWorks is not configured, so jobs cannot be submitted", remedy)
    else:
        yield Finding("LaunchPad", "ok", f"database {database.launchpad.name}")
        yield _rights(database)


def _user(database: MongoDatabase) -> Finding:
    """Say as whom the server knows this connection."""
    try:
        users = database.command("connectionStatus")["authInfo"]["authenticatedUsers"]
    except PyMongoError as error:
        return Finding("database user", "broken", f"the server does not say ({type(error).__name__})")
    names = ", ".join(f"{user['user']} of {user['db']}" for user in users)
    if names:
        return Finding("database user", "ok", names)
    return Finding("database user", "optional", "none: the server asks for no password", "see docs/security.md")


def _rights(database: Database) -> Finding:
    """Say whether the user of the database may submit and run jobs."""
    duties: dict[Role, str] = {"submitter": "submit", "worker": "run"}
    refused: list[Role] = []
    for role in duties:
        try:
            check_rights(database, role)
        except DatabaseError:
            refused.append(role)
    if not refused:
        return Finding("rights", "ok", "this user may submit and run jobs")
    text = f"this user may not {' or '.join(duties[role] for role in refused)} jobs"
    remedy = f"if it should, give it the role {' and the role '.join(refused)} (docs/security.md)"
    return Finding("rights", "optional", text, remedy)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

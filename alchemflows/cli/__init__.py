"""The command line: typer commands, thin."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

#: Exit status after Ctrl-C.
INTERRUPTED = 130
#: Errors of a disk that is full or read-only.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def main() -> None:
    """Run the command line; an error that the user can correct is one line on stderr and exit status 1."""
    try:
        _prepare_output()
        _run()
    except KeyboardInterrupt:
        _end_interrupted()
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer ends a command after Ctrl-C with this status, and says nothing
            _end_interrupted()
        raise


def _end_interrupted() -> NoReturn:
    print("interrupted", file=sys.stderr)
    raise SystemExit(INTERRUPTED) from None


def _prepare_output() -> None:
    """Make stdout and stderr print whatever a terminal or a locale makes of them."""
    if sys.stdout is None:  # closed by the caller
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a locale without λ
    if not os.environ.get("COLUMNS", "1").strip("0"):  # some terminals do not know their width; nothing fits into 0
        del os.environ["COLUMNS"]


def _run() -> None:
    # What libraries say while they are imported is not what the user asked for. The reader of structures hears what
    # parsers say of the user's file whatever the filters are.
    warnings.filterwarnings("ignore")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    os.environ.setdefault("TQDM_DISABLE", "1")  # FireWorks' bars, of what takes moments
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)  # FireWorks' loggers let everything through
    # Our own say what users want to know at once, as that a disk is full.
    handler.addFilter(lambda record: record.levelno >= logging.ERROR or record.name.startswith("alchemflows."))
    logging.basicConfig(handlers=[handler], format="%(name)s: %(message)s")

    from alchemflows.errors import AlchemflowsError, AlchemflowsWarning

    warnings.simplefilter("default", AlchemflowsWarning)
    warnings.showwarning = _show_warning
    try:
        app = _import_commands()
        app()
    except AlchemflowsError as error:
        _fail(str(error))
    except OSError as error:
        _fail_with_configuration(error)
        if error.errno not in DISK_ERRORS:
            _unexpected(error)
        _fail(f"{error.filename or 'the output'} cannot be written: {error.strerror}")
    except Exception as error:
        _fail_with_configuration(error)
        _fail_with_database(error)
        _unexpected(error)


def _unexpected(error: Exception) -> NoReturn:
    """Print the traceback of an error, which is a mistake of ours and may quote a connection string."""
    from alchemflows.storage.configuration import without_passwords

    print(without_passwords("".join(traceback.format_exception(error))), file=sys.stderr)
    raise SystemExit(1) from None


def _fail_with_configuration(error: Exception) -> None:
    """End with one line if jobflow or FireWorks could not be imported because of the user's configuration.

    The text of the error is left out, since that of pymongo may quote a part of a password.
    """
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    imported = {frame.f_globals.get("__name__", "") for frame in frames if frame.f_code.co_name == "<module>"}
    if isinstance(error, ImportError | SyntaxError):
        return
    if any(name.startswith("fireworks.") for name in imported):
        _fail(f"FireWorks cannot use its FW_config.yaml ({type(error).__name__})")
    if "jobflow" in imported:
        path = os.environ.get("JOBFLOW_CONFIG_FILE", "~/.jobflow.yaml")
        _fail(f"jobflow cannot use its configuration {path} ({type(error).__name__})")


def _fail_with_database(error: Exception) -> None:
    """End with one line if a database failed after the connection was made; its text may quote a URI."""
    from pymongo.errors import OperationFailure, PyMongoError

    from alchemflows.errors import UNAUTHORIZED

    if isinstance(error, OperationFailure) and error.code == UNAUTHORIZED:
        from alchemflows.storage.rights import refused

        _fail(f"{_refusal()} {refused(error)}")
    if isinstance(error, PyMongoError):
        _fail(f"the database failed ({type(error).__name__}); what is in it is kept")


def _refusal() -> str:
    """Return the beginning of a sentence about a missing right: the place of the database, the user and its roles."""
    from alchemflows.cli.configured import connected
    from alchemflows.errors import AlchemflowsError
    from alchemflows.storage.database import user_of

    try:
        database = connected()
        return f"the database at {database.place} does not let {user_of(database.outputs().database.client)}"
    except AlchemflowsError:
        return "the database does not let this user"


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning as one line on stderr, without the place in the code."""
    print("note:", " ".join(str(message).split()), file=sys.stderr)


def _fail(message: str) -> NoReturn:
    print("error:", " ".join(message.split()), file=sys.stderr)
    raise SystemExit(1)


def _import_commands() -> Callable[[], None]:
    """Check the user's configuration, which jobflow and FireWorks read when they are imported; import the commands."""
    from alchemflows.storage.configuration import check_configurations

    check_configurations()
    from alchemflows.cli.commands import app

    return app

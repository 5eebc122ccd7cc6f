"""Check, before work begins, that output files and folders can be written."""

from __future__ import annotations

import os
from pathlib import Path

from alchemflows.errors import InvalidInputError


def check_writable(path: Path) -> None:
    """Check that a file can be written.

    Raises
    ------
    InvalidInputError
        If the folder of the file does not exist, if the folder or an existing file is read-only, or if the path is a
        folder.
    """
    path = path.expanduser()
    if not path.parent.is_dir():
        raise InvalidInputError(f"{path} cannot be written: the folder {path.parent} does not exist")
    if path.is_dir():
        raise InvalidInputError(f"{path} cannot be written: it is a folder")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InvalidInputError(f"{path} cannot be written: the folder {path.parent} is read-only")
    if path.exists() and not os.access(path, os.W_OK):
        raise InvalidInputError(f"{path} cannot be written: it is read-only")


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, unless they exist.

    Raises
    ------
    InvalidInputError
        If the folder cannot be created or is read-only; the message names it.
    """
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"the folder {folder} cannot be created: {error.strerror}") from None


def check_folder(folder: Path) -> None:
    """Check that files can be written to a folder, or that the folder can be created.

    Raises
    ------
    InvalidInputError
        If the folder, or its nearest existing parent, is read-only or is a file.
    """
    existing = folder.expanduser().absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise InvalidInputError(f"the folder {folder} cannot be created: {existing} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InvalidInputError(f"{folder} cannot be written: the folder {existing} is read-only")

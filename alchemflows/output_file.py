"""Files and folders that a command writes at its end: whether it can, asked at its beginning."""

from __future__ import annotations

import os
from pathlib import Path

from alchemflows.errors import InvalidInputError


def check_writable(path: Path) -> None:
    """Refuse a file that could not be written.

    Raises
    ------
    InvalidInputError
        If its folder does not exist, or the folder or a file that is there is read-only, or it is a folder itself.
    """
    path = path.expanduser()
    if not path.parent.is_dir():
        raise InvalidInputError(f"{path} cannot be written: there is no folder {path.parent}")
    if path.is_dir():
        raise InvalidInputError(f"{path} cannot be written: it is a folder")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InvalidInputError(f"{path} cannot be written: the folder {path.parent} is read-only")
    if path.exists() and not os.access(path, os.W_OK):
        raise InvalidInputError(f"{path} cannot be written: it is read-only")


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, unless it is there; refuse one that cannot be made or is read-only.

    Raises
    ------
    InvalidInputError
        Naming the folder.
    """
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"the folder {folder} cannot be made: {error.strerror}") from None


def check_folder(folder: Path) -> None:
    """Refuse a folder in which nothing could be written, and which could not be made.

    Raises
    ------
    InvalidInputError
        If it, or the nearest folder above it that exists, is read-only or a file.
    """
    there = folder.expanduser().absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise InvalidInputError(f"{folder} is no folder that can be made: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InvalidInputError(f"{folder} cannot be written: the folder {there} is read-only")

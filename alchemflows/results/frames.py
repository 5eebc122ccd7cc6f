"""Stored configurations of both ends of a ladder, and their export as extended XYZ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from ase import Atoms
from ase.io import write

from alchemflows.analysis.frames import SampledFrames
from alchemflows.errors import InvalidInputError
from alchemflows.jobs.frames import frames_of_ladder
from alchemflows.output_file import check_writable
from alchemflows.results.listing import find_result
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.storage.database import Database

#: Which ends of a ladder.
End = Literal["initial", "final", "both"]
SUFFIXES = (".xyz", ".extxyz")


def frames_of(database: Database, beginning: str) -> tuple[FreeEnergyDocument, SampledFrames, SampledFrames]:
    """Return a ladder, and its frames at λ = 0 and at λ = 1.

    Parameters
    ----------
    database
        Database to read.
    beginning
        Identifier of the free energy of the ladder, or its first characters.

    Raises
    ------
    InvalidInputError
        If the result is no free energy of a ladder, or the ladder has no frames.
    NoResultError
        If there is no result with this identifier.
    DatabaseError
        If the outputs of the ladder's windows are not in the database.
    """
    uuid, document = find_result(database, beginning)
    if not isinstance(document, FreeEnergyDocument):
        raise InvalidInputError(f"the result {uuid[:8]} is not a ladder, so it has no frames")
    return document, *frames_of_ladder(database.job_store, document)


def check_frames_file(path: Path, end: str = "both") -> None:
    """Check that frames can be written to a file.

    Raises
    ------
    InvalidInputError
        If the extension is not one of :data:`SUFFIXES`, the file cannot be written, or there is no such end.
    """
    if path.suffix not in SUFFIXES:
        raise InvalidInputError(f"{path.name}: unknown extension; use one of {', '.join(SUFFIXES)}")
    if end not in get_args(End):
        raise InvalidInputError(f"the end must be one of {', '.join(get_args(End))}; got {end!r}")
    check_writable(path)


def write_frames(ladder: FreeEnergyDocument, ends: Mapping[float, SampledFrames], path: Path) -> int:
    """Write frames to a file in the extended XYZ format.

    Each frame has its energy, `lambda`, `time_fs`, `temperature_K` and the name of the potential.

    Parameters
    ----------
    ladder
        The ladder.
    ends
        Frames by their λ.
    path
        File to write; an existing one is replaced when all frames are written.

    Returns
    -------
    The number of frames.

    Raises
    ------
    InvalidInputError
        If an end has sites with several elements, or the file cannot be written.
    """
    check_frames_file(path)
    images: list[Atoms] = []
    potential = ladder.provenance.potential
    for value, sampled in ends.items():
        for atoms, time_fs in zip(sampled.frames.atoms(), sampled.frames.time_fs, strict=True):
            atoms.info |= {"lambda": value, "time_fs": float(time_fs), "temperature_K": ladder.temperature_K}
            atoms.info |= {} if potential is None else {"potential": potential.name}
            images.append(atoms)
    write_images(images, path)
    return len(images)


def write_images(images: Sequence[Atoms], path: Path) -> None:
    """Write configurations to a file in the extended XYZ format; an existing one is replaced when all are written.

    Raises
    ------
    InvalidInputError
        If the file has another extension or cannot be written.
    """
    check_frames_file(path)
    temporary = path.with_name(f".{path.name}.part")
    try:
        write(temporary, images, format="extxyz")
        temporary.replace(path)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)

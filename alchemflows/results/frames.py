"""Stored configurations of both ends of a ladder or of switches, and their export as extended XYZ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from alchemflows.analysis.frames import SampledFrames, switching_frames
from alchemflows.errors import InvalidInputError, PotentialError
from alchemflows.jobs.frames import frames_of_ladder
from alchemflows.output_file import check_writable
from alchemflows.results.listing import find_result
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.switching import SwitchingDocument
from alchemflows.storage.database import Database

#: Which ends of a ladder.
End = Literal["initial", "final", "both"]
SUFFIXES = (".xyz", ".extxyz")
#: Results that have frames of both ends.
Transformation = FreeEnergyDocument | SwitchingDocument


def frames_of(database: Database, beginning: str) -> tuple[Transformation, SampledFrames, SampledFrames]:
    """Return a ladder, or a result of switching, and its frames at λ = 0 and at λ = 1.

    Parameters
    ----------
    database
        Database to read.
    beginning
        Identifier of the result, or its first characters.

    Raises
    ------
    InvalidInputError
        If the result is of another kind, or has no frames.
    NoResultError
        If there is no result with this identifier.
    DatabaseError
        If the outputs of the ladder's windows are not in the database.
    """
    uuid, document = find_result(database, beginning)
    if isinstance(document, SwitchingDocument):
        return document, *switching_frames(document)
    if not isinstance(document, FreeEnergyDocument):
        raise InvalidInputError(f"the result {uuid[:8]} is not a ladder, nor of switching, so it has no frames")
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


def add_forces(ladder: Transformation, images: Sequence[Atoms], device: str = "auto") -> None:
    """Compute the forces on frames with the potential that was sampled, and add them to the frames (eV/Å).

    Forces are not stored, since they would double the space of the frames.

    Parameters
    ----------
    ladder
        The ladder, or the result of switching.
    images
        Frames with their energies.
    device
        Device of the potential.

    Raises
    ------
    PotentialError
        If the potential cannot be loaded, or is another file than the one that was sampled.
    """
    from alchemflows.alchemy.targets import PotentialTarget

    record = ladder.provenance.potential
    if record is None:
        raise PotentialError(
            "the result does not name the potential that was sampled, so its forces cannot be computed"
        )
    spec = PotentialSpec(name=record.name, dtype=record.dtype, device=device, head=record.head, sha256=record.sha256)
    target = PotentialTarget(spec)
    of_atoms: dict[bytes, list[Atoms]] = {}  # the ends have different elements
    for image in images:
        of_atoms.setdefault(image.numbers.tobytes(), []).append(image)
    for same in of_atoms.values():
        size = target.n_at_once
        found = [each for start in range(0, len(same), size) for each in target.forces(same[start : start + size])]
        for image, forces in zip(same, found, strict=True):
            if isinstance(forces, str):
                raise PotentialError(f"the forces of a frame at {image.info['time_fs']:g} fs: {forces}")
            energy = image.get_potential_energy()
            image.calc = SinglePointCalculator(image, energy=energy, forces=forces)


def write_frames(
    ladder: Transformation,
    ends: Mapping[float, SampledFrames],
    path: Path,
    *,
    forces: bool = False,
    device: str = "auto",
) -> int:
    """Write frames to a file in the extended XYZ format.

    Each frame has its energy, `lambda`, `time_fs`, `temperature_K` and the name of the potential.

    Parameters
    ----------
    ladder
        The ladder, or the result of switching.
    ends
        Frames by their λ.
    path
        File to write; an existing one is replaced when all frames are written.
    forces
        Whether to add forces, see :func:`add_forces`.
    device
        Device of the potential for the forces.

    Returns
    -------
    The number of frames.

    Raises
    ------
    InvalidInputError
        If an end has sites with several elements, or the file cannot be written.
    PotentialError
        As for :func:`add_forces`.
    """
    check_frames_file(path)
    images: list[Atoms] = []
    potential = ladder.provenance.potential
    for value, sampled in ends.items():
        for atoms, time_fs in zip(sampled.frames.atoms(), sampled.frames.time_fs, strict=True):
            atoms.info |= {"lambda": value, "time_fs": float(time_fs), "temperature_K": ladder.temperature_K}
            atoms.info |= {} if potential is None else {"potential": potential.name}
            images.append(atoms)
    if forces:
        add_forces(ladder, images, device)
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

"""Stored configurations of sampled states, and their export as extended XYZ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from alchemflows.analysis.absolute_states import AbsoluteResult, absolute_states
from alchemflows.analysis.frames import (
    SampledFrames,
    StateFrames,
    equilibrium_state,
    mixing_states,
    monte_carlo_states,
    switching_frames,
)
from alchemflows.analysis.transition_committee import transition_states
from alchemflows.errors import InvalidInputError, PotentialError
from alchemflows.jobs.frames import frames_of_ladder, transition_with_samples
from alchemflows.jobs.stores import stored_output
from alchemflows.output_file import check_writable
from alchemflows.results.listing import find_result
from alchemflows.schemas.document import Document
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.mixing import MixingDocument
from alchemflows.schemas.monte_carlo_result import MonteCarloDocument
from alchemflows.schemas.potential import PotentialRecord
from alchemflows.schemas.provenance import potential_of
from alchemflows.schemas.switching import SwitchingDocument
from alchemflows.schemas.transition import TransitionDocument
from alchemflows.storage.database import Database

#: Which ends of a path.
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
    if not isinstance(document, Transformation):
        raise InvalidInputError(f"the result {uuid[:8]} is not a ladder, nor of switching, so it has no ends")
    return document, *_ends(database, document)


def states_of(database: Database, beginning: str) -> tuple[Document, list[StateFrames]]:
    """Return a result and the frames of its states.

    These are both ends of a ladder or of switches, in this order; the mean cells, or mean volumes, of absolute free
    energies (Frenkel–Ladd, liquid, phases, melting point); the points of Monte Carlo; the chemical potentials and
    temperatures of a free energy of mixing; or the supercells and temperatures of a transition.

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
        If an output that has the frames is not in the database.
    """
    uuid, document = find_result(database, beginning)
    if isinstance(document, Transformation):
        return document, end_states(document, *_ends(database, document))
    if isinstance(document, AbsoluteResult):
        return document, _mean_cells(database, uuid, document)
    if isinstance(document, MonteCarloDocument):
        return document, monte_carlo_states(document)
    if isinstance(document, MixingDocument):
        return document, mixing_states(document)
    if isinstance(document, TransitionDocument):
        _, sampled = transition_with_samples(database.job_store, uuid)
        return document, transition_states(uuid, document, sampled)
    raise InvalidInputError(f"results of the class {type(document).__name__}, such as {uuid[:8]}, have no frames")


def end_states(document: Transformation, initial: SampledFrames, final: SampledFrames) -> list[StateFrames]:
    """Return the frames of both ends of a ladder or of switches as states."""
    ends = ((0.0, document.initial_formula, initial), (1.0, document.final_formula, final))
    return [
        StateFrames.of_end(f"{formula} (λ = {value:g})", value, document.temperature_K, sampled)
        for value, formula, sampled in ends
    ]


def _ends(database: Database, document: Transformation) -> tuple[SampledFrames, SampledFrames]:
    if isinstance(document, SwitchingDocument):
        return switching_frames(document)
    return frames_of_ladder(database.job_store, document)


def _mean_cells(database: Database, uuid: str, document: AbsoluteResult) -> list[StateFrames]:
    """Return the frames of the states of a result with absolute free energies that have some."""
    states = [state for state in absolute_states(document) if state.job is not None]
    if not states:
        raise InvalidInputError(
            f"the result {uuid[:8]} has no frames: it is at constant volume, or of an earlier release"
        )
    return [equilibrium_state(stored_output(database.job_store, str(state.job)), state.name) for state in states]


def check_frames_file(path: Path) -> None:
    """Check that frames can be written to a file.

    Raises
    ------
    InvalidInputError
        If the extension is not one of :data:`SUFFIXES`, or the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise InvalidInputError(f"{path.name}: unknown extension; use one of {', '.join(SUFFIXES)}")
    check_writable(path)


def add_forces(record: PotentialRecord | None, images: Sequence[Atoms], device: str = "auto") -> None:
    """Compute the forces on frames with the potential that was sampled, and add them to the frames (eV/Å).

    Forces are not stored, since they would double the space of the frames.

    Parameters
    ----------
    record
        The potential that was sampled.
    images
        Frames with their energies.
    device
        Device of the potential.

    Raises
    ------
    PotentialError
        If the potential is not known, cannot be loaded, or is another file than the one that was sampled.
    """
    from alchemflows.alchemy.targets import PotentialTarget

    if record is None:
        raise PotentialError(
            "the result does not name the potential that was sampled, so its forces cannot be computed"
        )
    target = PotentialTarget(record.spec(device))
    of_atoms: dict[bytes, list[Atoms]] = {}  # states, and arrangements, have different elements
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
    result: Document,
    states: Sequence[StateFrames],
    path: Path,
    *,
    forces: bool = False,
    device: str = "auto",
) -> int:
    """Write frames to a file in the extended XYZ format.

    Each frame has its energy, the conditions of its state, `time_fs`, for Monte Carlo also `sweep`, and the name of the
    potential.

    Parameters
    ----------
    result
        The result.
    states
        States with their frames.
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
        If a state has sites with several elements, or the file cannot be written.
    PotentialError
        As for :func:`add_forces`.
    """
    check_frames_file(path)
    images: list[Atoms] = []
    potential = potential_of(result)
    for state in states:
        frames = state.frames
        for k, atoms in enumerate(frames.atoms()):
            atoms.info |= dict(state.conditions) | {"time_fs": float(frames.time_fs[k])}
            atoms.info |= {} if frames.sweeps is None else {"sweep": int(frames.sweeps[k])}
            atoms.info |= {} if potential is None else {"potential": potential.name}
            images.append(atoms)
    if forces:
        add_forces(potential, images, device)
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

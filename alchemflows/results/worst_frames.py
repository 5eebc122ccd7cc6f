"""The frames at which the members of a committee disagree most, and their export for DFT and training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from pymatgen.core import Structure

from alchemflows.errors import InvalidInputError
from alchemflows.results.frames import frames_of, write_images
from alchemflows.results.kinds import KINDS
from alchemflows.results.listing import find_result
from alchemflows.schemas.committee import CommitteeDocument
from alchemflows.storage.database import Database


@dataclass(frozen=True)
class WorstFrame:
    """A frame at which the members of a committee disagree.

    Attributes
    ----------
    ladder
        Identifier of its ladder.
    lambda_value, index
        Its end, and its index there.
    spread_eV
        Spread over the members of ΔU minus its mean (eV); None if a member failed.
    force_spread_eV_per_A
        Largest spread of the force on an atom (eV/Å); None if it is not known.
    atoms
        The configuration, without a calculator.
    """

    ladder: str
    lambda_value: float
    index: int
    spread_eV: float | None
    force_spread_eV_per_A: float | None
    atoms: Atoms

    @property
    def structure(self) -> Structure:
        """The configuration, without labels."""
        atoms = self.atoms
        return Structure(atoms.cell.array, atoms.get_chemical_symbols(), atoms.positions, coords_are_cartesian=True)


def worst_frames(database: Database, beginning: str, n: int) -> list[WorstFrame]:
    """Return the frames at which the members of a committee disagree most, the worst first.

    They are ordered by the spread of the forces if the committee has compared them, otherwise by that of ΔU.

    Parameters
    ----------
    database
        Database to read.
    beginning
        Identifier of a committee, or its first characters.
    n
        Number of frames.

    Raises
    ------
    InvalidInputError
        If the result is no committee, or `n` is not positive or larger than the number of frames.
    NoResultError, DatabaseError
        If the result, or the frames of its ladder, are not in the database.
    """
    if n < 1:
        raise InvalidInputError(f"the number of frames must be at least 1; got {n}")
    uuid, document = find_result(database, beginning)
    if not isinstance(document, CommitteeDocument):
        kind = KINDS[type(document).__name__].name
        raise InvalidInputError(
            f"the result {uuid[:8]} is no committee (kind {kind}); `alchemflows committee` compares potentials"
        )
    ladder, *ends = frames_of(database, document.ladder)
    found: list[WorstFrame] = []
    potential = "" if ladder.provenance.potential is None else ladder.provenance.potential.name
    each_end = zip((0.0, 1.0), ends, document.spreads_eV, document.force_spreads_eV_per_A, strict=True)
    for value, sampled, spreads, force_spreads in each_end:
        for k, atoms in enumerate(sampled.frames.atoms()):
            atoms.calc = None
            atoms.info |= {
                "lambda": value,
                "frame": k,
                "time_fs": float(sampled.frames.time_fs[k]),
                "temperature_K": ladder.temperature_K,
                "sampled_with": potential,
            }
            found.append(WorstFrame(document.ladder, value, k, _known(spreads[k]), _known(force_spreads[k]), atoms))
    by_forces = any(frame.force_spread_eV_per_A is not None for frame in found)
    scores = [frame.force_spread_eV_per_A if by_forces else frame.spread_eV for frame in found]
    order = np.argsort([np.inf if score is None else -score for score in scores], kind="stable")
    if n > len(found):
        raise InvalidInputError(f"the ladder {document.ladder[:8]} has {len(found)} frames, fewer than {n}")
    return [found[k] for k in order[:n]]


def write_worst_frames(frames: Sequence[WorstFrame], path: Path, jobs: Sequence[str] = ()) -> None:
    """Write frames as extended XYZ, as input for DFT: without energies and forces, but with the spreads.

    Parameters
    ----------
    frames
        The frames.
    path
        File to write.
    jobs
        Identifiers (UUIDs) of jobs that calculate the frames, in their order, which are written as `job`.

    Raises
    ------
    InvalidInputError
        If the file has another extension or cannot be written.
    """
    images = []
    for k, frame in enumerate(frames):
        atoms = frame.atoms.copy()
        if jobs:
            atoms.info["job"] = jobs[k]
        for name in ("spread_eV", "force_spread_eV_per_A"):
            if (value := getattr(frame, name)) is not None:
                atoms.info[name] = value
        images.append(atoms)
    write_images(images, path)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

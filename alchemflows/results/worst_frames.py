"""The frames at which a potential is least certain, and their export for DFT and training.

These are the frames at which the members of a committee disagree most, or those whose atoms are farthest from the atoms
of reference frames, such as training data, in the features that the potential computes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from pymatgen.core import Structure

from alchemflows.analysis.frame_spreads import StateSpread, state_spreads
from alchemflows.analysis.frames import StateFrames
from alchemflows.analysis.mixing_committee import second_counts
from alchemflows.analysis.reference_atoms import ReferenceAtoms
from alchemflows.analysis.state_committee import corrected_member
from alchemflows.errors import InvalidInputError, PotentialError
from alchemflows.jobs.frame_energies import evaluated_members
from alchemflows.jobs.stores import stored_output
from alchemflows.results.frames import end_states, frames_of, states_of, write_images
from alchemflows.results.kinds import KINDS
from alchemflows.results.listing import find_result
from alchemflows.schemas.committee import CommitteeDocument
from alchemflows.schemas.mixing_committee import MixingCommitteeDocument
from alchemflows.schemas.potential import PotentialRecord
from alchemflows.schemas.provenance import potential_of
from alchemflows.schemas.state_committee import StateCommitteeDocument
from alchemflows.schemas.state_correction import StateCorrectionDocument
from alchemflows.schemas.transition_committee import TransitionCommitteeDocument
from alchemflows.storage.database import Database

#: Results that compare the members of a committee at frames.
Committee = CommitteeDocument | MixingCommitteeDocument | TransitionCommitteeDocument | StateCommitteeDocument


@dataclass(frozen=True)
class WorstFrame:
    """A frame, and what is known of the potential's error there.

    Attributes
    ----------
    result
        Identifier of its ladder, or of the other result that has it.
    state
        Name of its state.
    conditions
        Conditions of the state by name, such as `lambda` or `temperature_K`.
    index
        Its index in the state.
    atoms
        The configuration, without a calculator.
    spread_eV
        Spread over the members of the deviations of ΔU (eV); None if a member failed, or without a committee.
    force_spread_eV_per_A
        Largest spread of the force on an atom (eV/Å); None if it is not known.
    distance
        Largest distance of an atom from the reference atoms, see :class:`.ReferenceAtoms`; None without a reference.
    """

    result: str
    state: str
    conditions: Mapping[str, float | str]
    index: int
    atoms: Atoms
    spread_eV: float | None = None
    force_spread_eV_per_A: float | None = None
    distance: float | None = None

    @property
    def structure(self) -> Structure:
        """The configuration, without labels."""
        atoms = self.atoms
        return Structure(atoms.cell.array, atoms.get_chemical_symbols(), atoms.positions, coords_are_cartesian=True)


def worst_frames(database: Database, beginning: str, n: int) -> list[WorstFrame]:
    """Return the frames at which the members of a committee disagree most, the worst first.

    They are ordered by the spread of the forces if the committee has compared them, otherwise by that of ΔU. Of equal
    configurations, as Monte Carlo has them at constant positions, only one is returned.

    Parameters
    ----------
    database
        Database to read.
    beginning
        Identifier of a committee on any result, or its first characters.
    n
        Number of frames.

    Raises
    ------
    InvalidInputError
        If the result is no committee, or `n` is not positive or larger than the number of different frames.
    NoResultError, DatabaseError
        If the result, its frames, or the energies of a member are not in the database.
    """
    uuid, document = find_result(database, beginning)
    if not isinstance(document, Committee):
        kind = KINDS[type(document).__name__].name
        raise InvalidInputError(
            f"the result {uuid[:8]} is no committee (kind {kind}); `alchemflows committee` compares potentials, and "
            "--reference compares the frames of any result with reference frames"
        )
    found, _ = _of_committee(database, document)
    by_forces = any(frame.force_spread_eV_per_A is not None for frame in found)
    scores = [frame.force_spread_eV_per_A if by_forces else frame.spread_eV for frame in found]
    order = np.argsort([np.inf if score is None else -score for score in scores], kind="stable")
    different = _different(found[k] for k in order)
    return different[: _checked(n, different)]


def farthest_frames(
    database: Database,
    beginning: str,
    n: int,
    reference: Sequence[Atoms],
    *,
    device: str = "auto",
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[WorstFrame], ReferenceAtoms]:
    """Return the frames of a result that are farthest from reference frames, the farthest first.

    The distance of a frame is the largest one over its atoms, in the features (:meth:`.AlchemicalPotential.features`)
    that the potential with which the result was sampled computes of frames and reference frames.

    Parameters
    ----------
    database
        Database to read.
    beginning
        Identifier of a result with frames, or of a committee, or its first characters.
    n
        Number of frames.
    reference
        Reference frames, such as training data. Those that have no element of the frames are not used.
    device
        Device of the potential.
    report
        Function that gets the number of configurations whose features are known, and that of all.

    Returns
    -------
    frames
        The frames; those of a committee also have its spreads.
    reference
        The reference atoms, with the distances between reference frames.

    Raises
    ------
    InvalidInputError
        If `n` is not positive or larger than the number of frames, the result has none, an element of the frames is
        missing in the reference, the potential does not support an element of the reference, or distances have no unit.
    PotentialError
        If the potential is not known, cannot be loaded, or is another file than the one that was sampled.
    NoResultError, DatabaseError
        If the result, or its frames, are not in the database.
    """
    uuid, document = find_result(database, beginning)
    if isinstance(document, Committee):
        every, record = _of_committee(database, document)
    else:
        _, states = states_of(database, uuid)
        record = potential_of(document)
        every = list(_frames(uuid, states, record))
    found = _different(every)
    _checked(n, found)
    features, atoms = _with_features(record, [frame.atoms for frame in found], reference, device, report)
    distances = [atoms.distance(frame.atoms.numbers, each) for frame, each in zip(found, features, strict=True)]
    order = np.argsort(-np.array(distances), kind="stable")
    return [replace(found[k], distance=distances[k]) for k in order[:n]], atoms


def _with_features(
    record: PotentialRecord | None,
    images: Sequence[Atoms],
    reference: Sequence[Atoms],
    device: str,
    report: Callable[[int, int], None],
) -> tuple[list[np.ndarray], ReferenceAtoms]:
    """Return the features of the atoms of frames, and the reference atoms."""
    from alchemflows.alchemy.targets import PotentialTarget

    if record is None:
        raise PotentialError("the result does not name the potential that was sampled, so it has no features")
    needed = {int(z) for atoms in images for z in np.unique(atoms.numbers)}
    used = [atoms for atoms in reference if needed.intersection(atoms.numbers.tolist())]
    there = {int(z) for atoms in used for z in np.unique(atoms.numbers)}
    if missing := sorted(needed - there):
        raise InvalidInputError(
            f"the reference has no {_names(missing)}; give reference frames with all elements of the frames "
            f"({_names(sorted(needed))})"
        )
    target = PotentialTarget(record.spec(device))
    if unknown := sorted(there - target.numbers):
        raise InvalidInputError(
            f"{record.name} does not support {_names(unknown)} of the reference; remove frames with these elements"
        )
    features = target.features_of_all([*images, *used], report)
    of_reference = [
        (atoms.numbers[kept], each[kept])
        for atoms, each in zip(used, features[len(images) :], strict=True)
        if (kept := np.isin(atoms.numbers, list(needed))).any()
    ]
    return features[: len(images)], ReferenceAtoms.of(of_reference)


def _of_committee(database: Database, document: Committee) -> tuple[list[WorstFrame], PotentialRecord | None]:
    """Return the frames that a committee has evaluated with their spreads, and the potential that was sampled."""
    if not isinstance(document, CommitteeDocument):
        _, states = states_of(database, document.result)
        if isinstance(document, StateCommitteeDocument):
            compared = {state.name for state in document.state_spreads}
            states = [state for state in states if state.name in compared]
        spreads_eV = np.concatenate([each.spread_eV for each in _spreads(database, document, states)])
        found = _frames(document.result, states, document.source)
        pairs = zip(found, spreads_eV, strict=True)
        return [replace(frame, spread_eV=_known(spread)) for frame, spread in pairs], document.source
    ladder, *ends = frames_of(database, document.ladder)
    record = ladder.provenance.potential
    found = _frames(document.ladder, end_states(ladder, *ends), record)
    spreads = (np.concatenate(each) for each in (document.spreads_eV, document.force_spreads_eV_per_A))
    return [
        replace(frame, spread_eV=_known(spread), force_spread_eV_per_A=_known(force_spread))
        for frame, spread, force_spread in zip(found, *spreads, strict=True)
    ], record


def _spreads(
    database: Database,
    document: MixingCommitteeDocument | TransitionCommitteeDocument | StateCommitteeDocument,
    states: Sequence[StateFrames],
) -> list[StateSpread]:
    """Return the spread of ΔU at the frames of all states, from the energies that the jobs of the members stored."""
    members = [(member.name, member.job) for member in document.members if member.job is not None]
    names, jobs = zip(*members, strict=True)
    energies = [stored_output(database.job_store, job, "energies of the frames") for job in jobs]
    include_sampled = any(member.sampled for member in document.members)
    if isinstance(document, StateCommitteeDocument):
        n_frames = [len(state.frames) for state in states]
        found = (StateCorrectionDocument.read(each) for each in energies)
        of_members = [corrected_member(*each, n_frames) for each in zip(names, jobs, found, strict=True)]
        return state_spreads(of_members, include_sampled, range(len(states)))
    done = evaluated_members(names, jobs, energies, states)
    if isinstance(document, TransitionCommitteeDocument):
        return state_spreads(done, include_sampled, range(len(states)))
    temperatures = [state.conditions["temperature_K"] for state in states]
    n_second = [second_counts(state, document.species[1]) for state in states]
    return state_spreads(done, include_sampled, temperatures, n_second)


def _frames(result: str, states: Sequence[StateFrames], record: PotentialRecord | None) -> Iterable[WorstFrame]:
    """Yield all frames of some states, with labels in `info`."""
    for number, state in enumerate(states, 1):
        frames = state.frames
        for k, atoms in enumerate(frames.atoms()):
            atoms.calc = None
            atoms.info |= dict(state.conditions) | {"state": number, "frame": k, "time_fs": float(frames.time_fs[k])}
            atoms.info |= {} if frames.sweeps is None else {"sweep": int(frames.sweeps[k])}
            atoms.info["sampled_with"] = "" if record is None else record.name
            yield WorstFrame(result, state.name, state.conditions, k, atoms)


def _different(frames: Iterable[WorstFrame]) -> list[WorstFrame]:
    """Return frames without those whose configuration is that of an earlier one."""
    found: dict[tuple[bytes, ...], WorstFrame] = {}
    for frame in frames:
        atoms = frame.atoms
        same = tuple(each.tobytes() for each in (atoms.numbers, atoms.positions, atoms.cell.array))
        found.setdefault(same, frame)
    return list(found.values())


def _checked(n: int, frames: Sequence[WorstFrame]) -> int:
    """Return the number of frames to choose, which must be at least 1 and at most that of all different frames."""
    if n < 1:
        raise InvalidInputError(f"the number of frames must be at least 1; got {n}")
    if n > len(frames):
        uuid = frames[0].result[:8]
        raise InvalidInputError(f"the result {uuid} has {len(frames)} frames that differ, fewer than {n}")
    return n


def _names(numbers: Iterable[int]) -> str:
    return ", ".join(chemical_symbols[z] for z in numbers)


def write_worst_frames(frames: Sequence[WorstFrame], path: Path, jobs: Sequence[str] = ()) -> None:
    """Write frames as extended XYZ, as input for DFT: without energies and forces, but with spreads and distance.

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
        for name in ("spread_eV", "force_spread_eV_per_A", "distance"):
            if (value := getattr(frame, name)) is not None:
                atoms.info[name] = value
        images.append(atoms)
    write_images(images, path)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

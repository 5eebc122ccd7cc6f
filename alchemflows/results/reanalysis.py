"""Choose the ladders that can be corrected to a new potential."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ase.data import chemical_symbols
from pymatgen.core import Composition

from alchemflows.alchemy.backends import resolve
from alchemflows.alchemy.interfaces import Backend
from alchemflows.analysis.absolute_states import is_absolute
from alchemflows.errors import InvalidInputError
from alchemflows.results.kinds import KINDS
from alchemflows.results.listing import find_result, results
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.storage.database import Database


@dataclass(frozen=True)
class ChosenLadders:
    """Ladders to correct.

    Attributes
    ----------
    ladders
        Identifiers of those that can be corrected.
    elements
        Atomic numbers of their elements.
    refused
        Why others cannot, by their identifiers.
    same
        Identifiers of those that were sampled with the target itself.
    """

    ladders: list[str]
    elements: frozenset[int]
    refused: dict[str, str]
    same: list[str]


def ladders_to_correct(
    database: Database, ids: Sequence[str], campaign: str | None, target: PotentialSpec | CalculatorSpec
) -> ChosenLadders:
    """Return the ladders with some IDs, or those of a campaign, sorted by whether they can be corrected.

    Parameters
    ----------
    database
        Database to read.
    ids
        IDs of ladders; their first characters suffice. If there are none, all ladders of the campaign are chosen, of an
        extended ladder only the latest analysis.
    campaign
        Name of a campaign.
    target
        Potential, or calculator of ASE.

    Raises
    ------
    InvalidInputError
        If an ID is no ladder or given twice, or the campaign has no ladders.
    NoResultError, PotentialError
        If there is no result with an ID, or the potential cannot be loaded.
    """
    uuids = list(ids) or [row["uuid"] for row in results(database, kinds=["ladder"], campaign=campaign)][::-1]
    if not uuids:
        raise InvalidInputError(
            f"the campaign {campaign} has no ladders; `alchemflows correct ID` corrects absolute free energies, phases "
            "and melting points"
        )
    found: dict[str, FreeEnergyDocument] = {}
    for beginning in uuids:
        uuid, document = find_result(database, beginning)
        if not isinstance(document, FreeEnergyDocument):
            kind = KINDS[type(document).__name__].name
            other = f"; use `alchemflows correct {uuid[:8]}`" if is_absolute(document) else ""
            raise InvalidInputError(f"the result {uuid[:8]} is no ladder (kind {kind}){other}")
        if uuid in found:
            raise InvalidInputError(f"the ladder {uuid[:8]} is given twice")
        found[uuid] = document
    backend = resolve(target)[1] if isinstance(target, PotentialSpec) else None
    same = [uuid for uuid, document in found.items() if backend is not None and _is_sampled_with(document, backend)]
    refused: dict[str, str] = {}
    elements: frozenset[int] = frozenset()
    for uuid, document in found.items():
        if uuid in same:
            continue
        if (reason := _refusal(database, document, backend)) is not None:
            refused[uuid] = reason
        else:
            elements |= _elements(document)
    return ChosenLadders([uuid for uuid in found if uuid not in {*same, *refused}], elements, refused, same)


def _is_sampled_with(document: FreeEnergyDocument, backend: Backend) -> bool:
    source, new = document.provenance.potential, backend.record
    return source is not None and (source.sha256, source.head) == (new.sha256, new.head)


def _refusal(database: Database, document: FreeEnergyDocument, backend: Backend | None) -> str | None:
    """Return why a ladder cannot be corrected; None if it can."""
    if any(0 < weight < 1 for weight in (*document.initial_weights, *document.final_weights)):
        return "it ends in a mixed crystal, whose energy only an alchemical potential has"
    if not _has_frames(database, document):
        return "it has no stored configurations (frames) of both ends"
    if backend is not None and (unknown := sorted(_elements(document) - backend.numbers)):
        names = ", ".join(chemical_symbols[z] for z in unknown)
        return f"{backend.record.name} does not support {names}"
    return None


def _elements(document: FreeEnergyDocument) -> set[int]:
    formulas = (document.initial_formula, document.final_formula)
    return {element.Z for formula in formulas for element in Composition(formula).elements}


def _has_frames(database: Database, document: FreeEnergyDocument) -> bool:
    """Return whether windows at λ = 0 and at λ = 1 have frames."""
    jobs = {"uuid": {"$in": document.window_jobs}}
    return all(
        database.outputs().find_one(
            {**jobs, "output.windows": {"$elemMatch": {"lambda_value": value, "frames": {"$ne": None}}}}, {"_id": 1}
        )
        is not None
        for value in (0.0, 1.0)
    )

"""Read results out of the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monty.json import MontyDecoder

from alchemflows.campaign.database import Database
from alchemflows.schemas.relax import RelaxDocument

#: A criterion must fit into a document of 16 MB with room to spare.
_KEYS_AT_ONCE = 1000

#: Fields of a row of results, each with where it stands in a document of the outputs collection.
RESULT_FIELDS: dict[str, str] = {
    "uuid": "uuid",
    "initial": "output.initial_formula",
    "final": "output.final_formula",
    "ensemble": "output.ensemble",
    "temperature_K": "output.temperature_K",
    "pressure_GPa": "output.pressure_GPa",
    "n_atoms": "output.n_atoms",
    "volume_A3": "output.volume_A3",
    "potential": "output.provenance.potential.name",
    "delta_f_eV": "output.total.delta_f_eV",
    "error_eV": "output.total.error_eV",
    "delta_f_eV_per_atom": "output.total.delta_f_eV_per_atom",
    "error_eV_per_atom": "output.total.error_eV_per_atom",
    "ti_delta_f_eV": "output.ti.delta_f_eV",
    "ti_error_eV": "output.ti.error_eV",
    "mbar_delta_f_eV": "output.mbar.delta_f_eV",
    "mass_term_eV": "output.mass_term_eV",
    "n_windows": "output.windows",
    "verdict": "output.verdict.status",
    "n_warnings": "output.warnings",
    "completed_at": "completed_at",
}


def relaxations(database: Database, keys: Sequence[str]) -> list[RelaxDocument]:
    """Return relaxations with these keys (see :meth:`AlchemicalRelaxMaker.key`), one for each that there is.

    Parameters
    ----------
    database
        Where to look.
    keys
        Keys; those that are not there are passed over.
    """
    found = {}
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        criteria = {"output.key": {"$in": list(keys[start : start + _KEYS_AT_ONCE])}, "output.converged": True}
        for row in database.outputs().find(criteria, {"output": 1}):
            document = MontyDecoder().process_decoded(row["output"])
            found[document.key] = document
    return [found[key] for key in dict.fromkeys(keys) if key in found]


def free_energies(
    database: Database, *, formula: str | None = None, temperature_K: float | None = None, limit: int = 0
) -> list[dict[str, Any]]:
    """Return finished free-energy differences, the newest first, one flat row each.

    Parameters
    ----------
    database
        Where to look.
    formula
        Reduced formula at either end of the path.
    temperature_K
        Temperature.
    limit
        At most so many; 0 for all.

    Returns
    -------
    rows
        With the keys of :data:`RESULT_FIELDS`; ΔF includes the mass term unless its name says otherwise.
    """
    criteria: dict[str, Any] = {"output.@class": "FreeEnergyDocument"}
    if formula is not None:
        criteria["$or"] = [{"output.initial_formula": formula}, {"output.final_formula": formula}]
    if temperature_K is not None:
        criteria["output.temperature_K"] = temperature_K
    projection: dict[str, Any] = {name: f"${path}" for name, path in RESULT_FIELDS.items()}
    projection |= {name: {"$size": projection[name]} for name in ("n_windows", "n_warnings")}
    pipeline: list[dict[str, Any]] = [{"$match": criteria}, {"$sort": {"completed_at": -1}}]
    if limit:
        pipeline.append({"$limit": limit})
    return list(database.outputs().aggregate([*pipeline, {"$project": {"_id": 0, **projection}}]))

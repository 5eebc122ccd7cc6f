"""Read results out of the database."""

from __future__ import annotations

from typing import Any

from alchemflows.campaign.database import Database

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

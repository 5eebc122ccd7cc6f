"""Read results from the database as flat rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from alchemflows.errors import InvalidInputError
from alchemflows.results.stored import Column, of_campaign, rows_of
from alchemflows.schemas.document import decoded
from alchemflows.schemas.relax import RelaxDocument
from alchemflows.storage.database import REANALYSED, Database

#: Number of keys in one query, which must fit into a document of 16 MB.
_KEYS_AT_ONCE = 1000


def _text(path: str) -> Column:
    return Column(f"${path}", "string")


def _integer(path: str) -> Column:
    return Column(f"${path}", "Int64")


def _size(path: str) -> Column:
    return Column({"$size": {"$ifNull": [f"${path}", []]}}, "Int64")


def _number(path: str) -> Column:
    return Column(f"${path}")


#: Names of the classes of documents that contain a free energy.
KINDS: dict[str, str] = {
    "FreeEnergyDocument": "ladder",
    "SwitchingDocument": "switching",
    "FrenkelLaddDocument": "frenkel-ladd",
    "VacancyDocument": "vacancy",
}

#: Columns from the campaign's metadata of a job.
CAMPAIGN_FIELDS: dict[str, Column] = {
    "campaign": _text("metadata.campaign.name"),
    "task": _text("metadata.campaign.task"),
    "structure": _text("metadata.campaign.structure"),
    "transformation": _text("metadata.campaign.transformation"),
    "repeat": _integer("metadata.campaign.repeat"),
}

#: Columns of a row of results; columns that a kind of document does not have are empty.
RESULT_FIELDS: dict[str, Column] = {
    "uuid": _text("uuid"),
    "initial": _text("output.initial_formula"),
    "final": _text("output.final_formula"),
    "ensemble": _text("output.ensemble"),
    "temperature_K": _number("output.temperature_K"),
    "pressure_GPa": _number("output.pressure_GPa"),
    "n_atoms": _number("output.counts.atoms"),
    "n_sites": _integer("output.counts.sites"),
    "volume_A3": _number("output.volume_A3"),
    "potential": _text("output.provenance.potential.name"),
    "potential_sha256": _text("output.provenance.potential.sha256"),
    "head": _text("output.provenance.potential.head"),
    "delta_f_eV": _number("output.total.delta_f_eV"),
    "error_eV": _number("output.total.error_eV"),
    "delta_f_eV_per_atom": _number("output.total.delta_f_eV_per_atom"),
    "error_eV_per_atom": _number("output.total.error_eV_per_atom"),
    "ti_delta_f_eV": _number("output.ti.delta_f_eV"),
    "ti_error_eV": _number("output.ti.error_eV"),
    "mbar_delta_f_eV": _number("output.mbar.delta_f_eV"),
    "mass_term_eV": _number("output.mass_term_eV"),
    "mixing_term_eV": _number("output.mixing_term_eV"),
    "arrangement_term_eV": _number("output.arrangement_term_eV"),
    "n_windows": _size("output.windows"),
    "verdict": _text("output.verdict.status"),
    "n_warnings": _size("output.warnings"),
    "completed_at": _text("completed_at"),
    "kind": Column(
        {
            "$switch": {
                "branches": [{"case": {"$eq": ["$output.@class", c]}, "then": k} for c, k in KINDS.items()],
                "default": None,
            }
        },
        "string",
    ),
    **CAMPAIGN_FIELDS,
    "formula": _text("output.formula"),
    "gibbs_eV": _number("output.gibbs.value_eV"),
    "gibbs_error_eV": _number("output.gibbs.error_eV"),
    "gibbs_eV_per_atom": _number("output.gibbs.value_eV_per_atom"),
    "helmholtz_eV": _number("output.helmholtz.value_eV"),
    "helmholtz_error_eV": _number("output.helmholtz.error_eV"),
    "helmholtz_eV_per_atom": _number("output.helmholtz.value_eV_per_atom"),
    "dissipation_eV": _number("output.work.dissipation_eV"),
    "work_overlap": _number("output.work.overlap"),
    "element": _text("output.element"),
    "formation_eV": _number("output.alchemical_eV"),
    "formation_error_eV": _number("output.alchemical_error_eV"),
    "formation_frenkel_ladd_eV": _number("output.frenkel_ladd_eV"),
    "formation_frenkel_ladd_error_eV": _number("output.frenkel_ladd_error_eV"),
    "chemical_potential_eV": _number("output.chemical_potential.value_eV"),
    "chemical_potential_limit": _text("output.chemical_potential.limit"),
    "formation_volume_A3": _number("output.formation_volume_A3"),
    "ln_site_fraction": _number("output.concentration.ln_site_fraction"),
    "ln_site_fraction_error": _number("output.concentration.ln_error"),
}

_SIMULATED_NS = {
    "$multiply": [
        1e-6,
        "$output.dynamics.timestep_fs",
        {
            "$add": [
                {"$multiply": ["$output.windows.n_runs", "$output.dynamics.n_production_steps"]},
                {"$cond": [{"$eq": ["$output.windows.first_run", 0]}, "$output.dynamics.n_equilibration_steps", 0]},
            ]
        },
    ]
}

#: Columns of a row of windows: one row per window and job, so a continued window has several rows.
WINDOW_FIELDS: dict[str, Column] = {
    **CAMPAIGN_FIELDS,
    "job": _text("uuid"),
    "index": _integer("output.windows.index"),
    "lambda_value": _number("output.windows.lambda_value"),
    "initial": _text("output.initial_formula"),
    "final": _text("output.final_formula"),
    "temperature_K": _number("output.temperature_K"),
    "pressure_GPa": _number("output.dynamics.pressure_GPa"),
    "n_atoms": _number("output.counts.atoms"),
    "n_sites": _integer("output.counts.sites"),
    "potential": _text("output.provenance.potential.name"),
    "potential_sha256": _text("output.provenance.potential.sha256"),
    "head": _text("output.provenance.potential.head"),
    "seed": _integer("output.windows.seed"),
    "first_run": _integer("output.windows.first_run"),
    "n_runs": _integer("output.windows.n_runs"),
    "n_samples": _integer("output.windows.n_samples"),
    "mean_dudl_eV": _number("output.windows.mean_dudl_eV"),
    "mean_energy_eV": _number("output.windows.mean_energy_eV"),
    "mean_temperature_K": _number("output.windows.mean_temperature_K"),
    "mean_volume_A3": _number("output.windows.mean_volume_A3"),
    "simulated_ns": Column(_SIMULATED_NS),
    "n_windows_in_job": _integer("n_windows_in_job"),
    "job_wall_time_s": _number("output.provenance.wall_time_s"),
    "ns_per_day": Column(
        {
            "$cond": [
                {"$gt": ["$output.provenance.wall_time_s", 0]},
                {"$multiply": [86400, {"$divide": [_SIMULATED_NS, "$output.provenance.wall_time_s"]}]},
                None,
            ]
        }
    ),
    "samples": _text("output.windows.series.blob_uuid"),
    "completed_at": _text("completed_at"),
}


def relaxations(database: Database, keys: Sequence[str]) -> list[RelaxDocument]:
    """Return the stored relaxations with the given keys (see :meth:`AlchemicalRelaxMaker.key`).

    Parameters
    ----------
    database
        Database to read.
    keys
        Keys of relaxations; keys that are not in the database are skipped.
    """
    found = {}
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        criteria = {"output.key": {"$in": list(keys[start : start + _KEYS_AT_ONCE])}, "output.converged": True}
        for row in database.outputs().find(criteria, {"output": 1}):
            document = decoded(row["output"])
            found[document.key] = document
    return [found[key] for key in dict.fromkeys(keys) if key in found]


def free_energies(
    database: Database,
    *,
    campaign: str | None = None,
    kinds: Sequence[str] = ("ladder",),
    formula: str | None = None,
    temperature_K: float | None = None,
    limit: int = 0,
    reanalysed: bool = False,
) -> list[dict[str, Any]]:
    """Return finished free energies as flat rows, newest first.

    For an extended ladder of a campaign, only the latest analysis is returned.

    Parameters
    ----------
    database
        Database to read.
    campaign
        Name of a campaign; None for the whole database.
    kinds
        Kinds of results, from the values of :data:`KINDS`.
    formula
        Reduced formula at either end of the path.
    temperature_K
        Temperature (K).
    limit
        Maximum number of rows; 0 for all.
    reanalysed
        Whether to return results of :class:`~alchemflows.results.builder.FreeEnergyBuilder` instead of those of jobs.

    Returns
    -------
    rows
        Rows with the keys :data:`RESULT_FIELDS`. `delta_f_eV` includes the mass term; `ti_delta_f_eV` and
        `mbar_delta_f_eV` do not. No ΔF, F or G includes `mixing_term_eV` or `arrangement_term_eV`.
    """
    classes = [name for name, kind in KINDS.items() if kind in kinds]
    where: dict[str, Any] = {}
    if formula is not None:
        where["$or"] = [{"output.initial_formula": formula}, {"output.final_formula": formula}]
    if temperature_K is not None:
        where["output.temperature_K"] = temperature_K
    outputs = database.outputs()
    rows = rows_of(
        outputs.database[f"{outputs.name}{REANALYSED}"] if reanalysed else outputs,
        of_campaign(campaign, *classes),
        RESULT_FIELDS,
        classes=classes,
        order=("sources_completed_at" if reanalysed else "completed_at", -1),
        where=where,
    )
    return list(islice(newest_ladders(rows), limit or None))


def newest_ladders(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the given rows, which must be sorted newest first, without older analyses of the same ladder.

    A task can have several ladders that differ in their potential, those of a committee.
    """
    seen = set()
    for row in rows:
        ladder = tuple(row[name] for name in ("campaign", "task", "potential_sha256", "head"))
        if row["kind"] == "ladder" and row["task"] is not None:
            if ladder in seen:
                continue
            seen.add(ladder)
        yield row


def windows(
    database: Database,
    *,
    campaign: str | None = None,
    where: Mapping[str, Any] | None = None,
    jobs: Sequence[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield one flat row for each window of each job, in the order in which the jobs ended.

    Parameters
    ----------
    database
        Database to read.
    campaign
        Name of a campaign; None for the whole database.
    where
        MongoDB criteria on those columns of :data:`WINDOW_FIELDS` that are stored fields, such as
        ``{"structure": "CsPbI3", "lambda_value": {"$lt": 0.5}}``.
    jobs
        Identifiers of window jobs; None for all.

    Returns
    -------
    rows
        Rows with the keys :data:`WINDOW_FIELDS`. `simulated_ns` includes equilibration. `ns_per_day` is the speed of
        one window; the job ran `n_windows_in_job` windows at once.

    Raises
    ------
    InvalidInputError
        If `where` names a column that is not a stored field.
    """
    criteria = of_campaign(campaign, "WindowsDocument")
    if jobs is not None:
        criteria["uuid"] = {"$in": list(jobs)}
    chosen = {_path(column): value for column, value in (where or {}).items()}
    yield from rows_of(
        database.outputs(),
        criteria,
        WINDOW_FIELDS,
        classes=["WindowsDocument"],
        order=("completed_at", 1),
        where=chosen,
        stages=[
            {"$set": {"n_windows_in_job": {"$size": "$output.windows"}}},
            {"$unwind": "$output.windows"},
            {"$match": chosen},
        ],
    )


def _path(column: str) -> str:
    expression = WINDOW_FIELDS[column].expression if column in WINDOW_FIELDS else None
    if not isinstance(expression, str) or column == "n_windows_in_job":
        plain = [name for name, each in WINDOW_FIELDS.items() if isinstance(each.expression, str)]
        raise InvalidInputError(f"windows cannot be selected by {column}; use one of {', '.join(plain)}")
    return expression.removeprefix("$")

"""Keys of tasks: the fields of each method that affect its result, and the fields that do not, with the reasons.

Each field of a maker is listed either in :data:`FIELDS` or in :data:`NOT_IN_KEY`; a test checks this.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pymatgen.core import Structure

from alchemflows.flows.common import SampledMaker
from alchemflows.identity import fingerprint, not_default
from alchemflows.jobs.relax import AlchemicalRelaxMaker
from alchemflows.schemas.campaign import MethodKind
from alchemflows.schemas.chemical_potentials import ChemicalPotentials
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.substitution import mixtures

_SAMPLED: dict[str, Any] = {
    "temperature": 300.0,
    "pressure_GPa": 0.000101325,
    "cell_freedom": "auto",
    "timestep_fs": 2.0,
    "friction_per_ps": 5.0,
    "barostat_time_ps": 0.5,
    "seed": 0,
}
_TRANSFORMATION: dict[str, Any] = _SAMPLED | {"coupling": "paired", "site_resolved": False, "crystal": True}
_FRENKEL_LADD: dict[str, Any] = _SAMPLED | {
    "n_repeats": 4,
    "n_cell_steps": 15000,
    "n_equilibration_steps": 5000,
    "n_sampling_steps": 5000,
    "n_switching_steps": 10000,
    "schedule": "ninth-order",
    "springs_eV_per_A2": None,
    "quantum": False,
    "symmetrise": True,
    "coupling": "paired",
}

#: Scientific fields of the maker of each method, with the defaults that they had when they were added to this table.
#: A field with that value is omitted from the key. The values must never change: see `identity.not_default`.
FIELDS: Mapping[MethodKind, Mapping[str, Any]] = MappingProxyType(
    {
        "thermodynamic-integration": _TRANSFORMATION
        | {
            "pressure_GPa": None,
            "n_windows": 11,
            "spacing": "even",
            "lambdas": None,
            "windows_per_job": 1,
            "replica_exchange": False,
            "target_error": None,
            "budget": None,
            "starts": "both-ends",
            "n_equilibration_steps": 5000,
            "n_production_steps": 20000,
            "sample_interval_steps": 10,
        },
        "switching": _TRANSFORMATION
        | {"n_repeats": 4, "n_equilibration_steps": 5000, "n_switching_steps": 10000, "schedule": "ninth-order"},
        "frenkel-ladd": _FRENKEL_LADD,
        "vacancy": _FRENKEL_LADD,
    }
)
#: Fields of makers that are not written to the key, and the reasons.
NOT_IN_KEY: Mapping[str, str] = MappingProxyType(
    {
        "name": "a label of the flow",
        "category": "selects the workers",
        "n_runs": "a larger number continues the stored windows",
        "potential": "represented by the SHA-256 of its file, its head and its precision",
        "relax_maker": "represented by its own scientific fields",
    }
)
#: Additional fields of a vacancy, as in :data:`FIELDS`.
VACANCY_FIELDS: Mapping[str, Any] = MappingProxyType(
    {"site": 0, "degeneracy": 1.0, "chemical_potentials_eV": {}, "references": {}}
)
#: Fields of the potential, as in :data:`FIELDS`; its SHA-256 is always written.
POTENTIAL_FIELDS: Mapping[str, Any] = MappingProxyType({"dtype": "float32", "head": None})


def task_key(
    kind: MethodKind,
    crystal: Structure,
    substitution: Mapping[str, Any],
    maker: SampledMaker,
    vacancy: Mapping[str, Any] | None = None,
) -> str:
    """Return the hash of everything that affects the result of a task; tasks with the same key are computed once.

    Parameters
    ----------
    kind
        The method.
    crystal
        The structure.
    substitution
        The transformation; empty for other methods.
    maker
        The flow's maker, its potential with the SHA-256 of its file (:func:`alchemflows.alchemy.backends.resolve`).
    vacancy
        The fields of :data:`VACANCY_FIELDS`; None for other methods.
    """
    potential = maker.potential
    assert isinstance(potential, PotentialSpec) and potential.sha256 is not None
    relax: AlchemicalRelaxMaker | None = getattr(maker, "relax_maker", None)
    return fingerprint(
        {
            "method": kind,
            "crystal": crystal,
            "substitution": mixtures(substitution),
            "settings": not_default({name: getattr(maker, name) for name in FIELDS[kind]}, FIELDS[kind]),
            "relaxation": None if relax is None else relax.scientific_fields(),
            "potential": {
                "sha256": potential.sha256,
                **not_default({name: getattr(potential, name) for name in POTENTIAL_FIELDS}, POTENTIAL_FIELDS),
            },
            "vacancy": None if vacancy is None else not_default(vacancy, VACANCY_FIELDS),
        }
    )


def chemical_potential_fields(known: ChemicalPotentials) -> dict[str, Any]:
    """Return chemical potentials as fields of a key: value and standard error (eV per atom), or crystal, by element."""
    return {
        "chemical_potentials_eV": {element: known.value(element) for element in known.values_eV},
        "references": dict(known.references),
    }

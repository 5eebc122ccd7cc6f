"""Keys of tasks: the scientific fields of each maker, and the fields that cannot affect a result, with the reasons.

Each field of a maker of this package, and each argument of its `make`, is listed in one of the tables here; a test
checks this. Of the maker of a user all fields and arguments are written, except :data:`NEVER`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

from jobflow import Maker
from monty.json import MSONable
from pydantic import BaseModel
from pymatgen.core import Structure

from alchemflows.errors import InvalidInputError
from alchemflows.flows.committee import CommitteeLadderMaker, CommitteeMaker
from alchemflows.flows.composition_optimization import CompositionOptimizationMaker
from alchemflows.flows.composition_sweep import CompositionSweepMaker
from alchemflows.flows.corrected_states import (
    CorrectedFrenkelLaddMaker,
    CorrectedLiquidMaker,
    CorrectedMeltingPointMaker,
    CorrectedPhasesMaker,
    CorrectedStatesMaker,
)
from alchemflows.flows.defect_pairs import FrenkelPairMaker, SchottkyMaker
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.isolines import PressureSweepMaker, TemperatureSweepMaker
from alchemflows.flows.liquid import LiquidFreeEnergyMaker
from alchemflows.flows.melting import MeltingPointMaker
from alchemflows.flows.mixing import MixingMaker
from alchemflows.flows.monte_carlo import MonteCarloMaker
from alchemflows.flows.order_disorder import OrderDisorderMaker
from alchemflows.flows.ordering_search import OrderingSearchMaker
from alchemflows.flows.phase_stability import PhaseStabilityMaker
from alchemflows.flows.relaxation import RelaxationMaker
from alchemflows.flows.state_correction import StateCorrectionMaker
from alchemflows.flows.switching import SwitchingMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.flows.transition import OrderDisorderTransitionMaker
from alchemflows.flows.vacancy import VacancyFreeEnergyMaker
from alchemflows.identity import canonical, fingerprint
from alchemflows.jobs.optimize import OptimizeMaker
from alchemflows.jobs.ordering import SearchMaker
from alchemflows.jobs.relax import AlchemicalRelaxMaker
from alchemflows.reproduce.figure import FigureMaker
from alchemflows.schemas.chemical_potentials import ChemicalPotentials
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.substitution import mixtures

_CONDITIONS: dict[str, Any] = {
    "pressure_GPa": 0.000101325,
    "cell_freedom": "auto",
    "timestep_fs": 2.0,
    "friction_per_ps": 5.0,
    "barostat_time_ps": 0.5,
    "seed": 0,
}
_SAMPLED: dict[str, Any] = _CONDITIONS | {"temperature": 300.0}
_SWEEP: dict[str, Any] = {
    "n_repeats": 4,
    "n_equilibration_steps": 5000,
    "n_switching_steps": 20000,
    "n_points": 21,
}
_TRANSFORMATION: dict[str, Any] = _SAMPLED | {"coupling": "paired", "site_resolved": False, "crystal": True}

#: Scientific fields of each maker, with the defaults that they had when they were added to this table.
#: A field with that value is omitted from the key; those with ... are always written. The values must never change: see
#: `identity.not_default`.
FIELDS: Mapping[type[Maker], Mapping[str, Any]] = MappingProxyType(
    {
        ThermodynamicIntegrationMaker: _TRANSFORMATION
        | {
            "pressure_GPa": None,
            "n_windows": 11,
            "spacing": "even",
            "lambdas": None,
            "windows_per_job": 1,
            "replica_exchange": False,
            "exchange_temperatures": (),
            "target_error": None,
            "budget": None,
            "starts": "both-ends",
            "n_equilibration_steps": 5000,
            "n_production_steps": 20000,
            "sample_interval_steps": 10,
        },
        CommitteeLadderMaker: {},
        CommitteeMaker: {
            "members": (),
            "include_sampled": True,
            "tolerance_meV_per_atom": None,
            "budget": 0,
            "forces": False,
            "max_failed": 0.1,
        },
        SwitchingMaker: _TRANSFORMATION
        | {"n_repeats": 4, "n_equilibration_steps": 5000, "n_switching_steps": 10000, "schedule": "ninth-order"},
        FrenkelLaddMaker: _SAMPLED
        | {
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
        },
        LiquidFreeEnergyMaker: _CONDITIONS
        | {
            "temperature": 1000.0,
            "n_repeats": 4,
            "heating_temperature": None,
            "n_heating_steps": 10000,
            "n_cell_steps": 15000,
            "n_equilibration_steps": 5000,
            "n_switching_steps": 20000,
            "schedule": "ninth-order",
            "reference_density": 0.6,
            "reference_p": 50.0,
        },
        VacancyFreeEnergyMaker: {"degeneracy": 1.0},
        SchottkyMaker: {"degeneracies": {}},
        FrenkelPairMaker: {"vacancy_degeneracy": 1.0, "interstitial_degeneracy": 1.0},
        PhaseStabilityMaker: {
            "freedom_of": {},
            "runs": "points",
            "anchor_temperature": None,
            "n_sweep_repeats": 4,
            "n_sweep_equilibration_steps": 5000,
            "n_sweep_steps": 20000,
        },
        TemperatureSweepMaker: _SWEEP,
        PressureSweepMaker: _SWEEP,
        MeltingPointMaker: _SWEEP
        | {
            "heating_temperature": None,
            "n_heating_steps": 10000,
            "reference_density": 0.6,
            "n_coexistence_temperatures": 0,
            "coexistence_spread": 0.1,
            "n_coexistence_replicas": 1,
            "n_coexistence_repeats": 4,
            "n_coexistence_steps": 20000,
        },
        CorrectedFrenkelLaddMaker: {},
        CorrectedLiquidMaker: {},
        CorrectedMeltingPointMaker: {},
        CorrectedPhasesMaker: {},
        StateCorrectionMaker: {"target": ..., "max_failed": 0.1},
        CompositionSweepMaker: {"both_starts": True},
        CompositionOptimizationMaker: {"coupling": "paired", "n_starts": 1, "seed": 0},
        OptimizeMaker: {
            "relaxation": "full",
            "method": "projected",
            "tolerance": 0.001,
            "max_steps": 50,
            "rate": 1.0,
            "fmax_eV_per_A": 0.001,
            "round_to": None,
        },
        OrderingSearchMaker: {"round_composition": False},
        SearchMaker: {"n_starts": 16, "n_steps": 60, "seed": 0, "n_relaxed": 5},
        OrderDisorderMaker: {
            "n_random": 5,
            "quasirandom": True,
            "max_distinct": 100,
            "sampled_temperature_K": None,
            "n_sampled": 4,
            "n_sampling_sweeps": 200,
            "rattle_A": 0.02,
            "round_composition": False,
            "seed": 0,
        },
        MonteCarloMaker: _CONDITIONS
        | {
            "mu_eV": {},
            "targets": {},
            "stiffness_eV": 1.0,
            "exchange_mu_eV": {},
            "oxidation_states": {},
            "n_replicas": 4,
            "n_equilibration_sweeps": 50,
            "n_production_sweeps": 200,
            "attempts_per_sweep": None,
            "n_md_steps": 0,
            "n_switching_steps": 0,
            "schedule": "ninth-order",
            "proposal": "informed",
            "balancing": "sqrt",
            "n_tries": 1,
            "replica_exchange": True,
            "coupling": "mean-field",
            "round_composition": False,
        },
        MixingMaker: _CONDITIONS
        | {
            "n_potentials": 16,
            "n_equilibration_sweeps": 50,
            "n_production_sweeps": 400,
            "attempts_per_sweep": None,
            "n_md_steps": 0,
            "proposal": "informed",
            "balancing": "sqrt",
            "n_tries": 1,
            "replica_exchange": True,
            "n_terms": None,
            "coupling": "mean-field",
        },
        OrderDisorderTransitionMaker: _CONDITIONS
        | {
            "n_tries": 1,
            "n_replicas": 4,
            "n_equilibration_sweeps": 50,
            "n_production_sweeps": 400,
            "attempts_per_sweep": None,
            "n_md_steps": 0,
            "proposal": "informed",
            "balancing": "sqrt",
            "replica_exchange": True,
            "coupling": "mean-field",
            "round_composition": False,
        },
        RelaxationMaker: {"coupling": "paired"},
        FigureMaker: {"version": "paper", "seed": 0},
    }
)
#: Arguments of `make` other than structures and transformations, as in :data:`FIELDS`. Those without a default are
#: always written. `grid` is written as in the campaign file.
ARGUMENTS: Mapping[type[Maker], Mapping[str, Any]] = MappingProxyType(
    {
        ThermodynamicIntegrationMaker: {"sites": None},
        CommitteeLadderMaker: {"sites": None},
        SwitchingMaker: {"sites": None},
        FrenkelLaddMaker: {"supercells": None, "n_primitive_cells": None},
        LiquidFreeEnergyMaker: {},
        VacancyFreeEnergyMaker: {"site": 0, "chemical_potentials_eV": {}, "references": {}, "supercells": None},
        SchottkyMaker: {"sites": None},
        FrenkelPairMaker: {"site": ..., "interstitial": ...},
        PhaseStabilityMaker: {"temperatures": ..., "compositions": [0.0, 1.0], "boundary_pressures": []},
        TemperatureSweepMaker: {"low_K": ..., "high_K": ...},
        PressureSweepMaker: {"low_GPa": ..., "high_GPa": ...},
        MeltingPointMaker: {"temperatures": ...},
        CorrectedFrenkelLaddMaker: {"n_primitive_cells": None},
        CorrectedLiquidMaker: {},
        CorrectedMeltingPointMaker: {"temperatures": ...},
        CorrectedPhasesMaker: {"temperatures": ...},
        CompositionSweepMaker: {"grid": ...},
        CompositionOptimizationMaker: {
            "choices": ...,
            "targets": [],
            "objective": None,
            "least": None,
            "bounds": None,
            "totals": None,
        },
        OrderingSearchMaker: {"supercell": [1, 1, 1]},
        OrderDisorderMaker: {"supercell": ..., "orders": "search"},
        MonteCarloMaker: {"supercell": ..., "temperatures": ..., "waves": []},
        MixingMaker: {"choices": ..., "supercell": ..., "temperatures": ..., "delta_mu_eV": []},
        OrderDisorderTransitionMaker: {"supercells": ..., "temperatures": ..., "waves": []},
        RelaxationMaker: {},
        FigureMaker: {},
    }
)
#: Fields of any maker that are not written to the key, and the reasons.
NEVER: Mapping[str, str] = MappingProxyType(
    {
        "name": "a label of the flow",
        "category": "selects the workers",
        "potential": "represented by the SHA-256 of its file, its head and its precision",
    }
)
#: Fields of makers of this package that are not written to the key, and the reasons.
NOT_IN_KEY: Mapping[str, str] = MappingProxyType(
    {
        **NEVER,
        "n_runs": "a larger number continues the stored windows, unless it is in EVALUATED",
        "n_frames": "number of stored configurations; no result depends on it, unless it is in EVALUATED",
        "relax_maker": "represented by its own scientific fields",
        "frenkel_ladd_maker": "represented by its own scientific fields",
        "search_maker": "represented by its own scientific fields",
        "optimize_maker": "represented by its own scientific fields",
        "ladder_maker": "represented by its own scientific fields",
        "committee_maker": "represented by its own scientific fields",
        "liquid_maker": "represented by its own scientific fields",
        "melting_maker": "represented by its own scientific fields",
        "phases_maker": "represented by its own scientific fields",
        "correction_maker": "represented by its own scientific fields",
        "device": "selects the hardware",
        "categories": "selects the workers",
        "target_category": "selects the workers",
    }
)
#: Fields in :data:`NOT_IN_KEY` that are written if the maker is within another one that evaluates what it stores, with
#: the defaults as in :data:`FIELDS`.
EVALUATED: Mapping[str, Any] = MappingProxyType({"n_runs": 1, "n_frames": 100})
#: Makers of this package that evaluate what a maker within them stores. Those of a user are assumed to do so.
EVALUATES: frozenset[type[Maker]] = frozenset({CommitteeLadderMaker, CorrectedStatesMaker})
#: Fields of makers within another maker that take the values of that maker: they are neither set nor in the key.
NOT_SET: frozenset[tuple[type[Maker], str]] = frozenset(
    {(SearchMaker, "relax_maker"), (SearchMaker, "round_composition")}
)
#: Fields of the potential, as in :data:`FIELDS`; its SHA-256 is always written.
POTENTIAL_FIELDS: Mapping[str, Any] = MappingProxyType({"dtype": "float32", "head": None})


def task_key(
    kind: str,
    crystals: Mapping[str, Structure],
    substitution: Mapping[str, Any],
    maker: Any,
    arguments: Mapping[str, Any],
    potential: PotentialSpec | None,
    *,
    grouped: bool = False,
) -> str:
    """Return the hash of everything that affects the result of a task; tasks with the same key are computed once.

    Parameters
    ----------
    kind
        Name of the method, or import path of its maker.
    crystals
        Structures by name: one, none, or those of a group.
    substitution
        The transformation; empty if there is none.
    maker
        The flow's maker.
    arguments
        Other arguments of its `make`.
    potential
        The potential with the SHA-256 of its file (:func:`alchemflows.alchemy.backends.resolve`); None if the method
        takes none.
    grouped
        Whether the names of the crystals are part of the key, since results of a group name them.

    Raises
    ------
    InvalidInputError
        If a field or argument of a user's maker has no canonical text; the message names the maker.
    """
    # The makers of absolute free energies have the conditions and lengths in a maker within them.
    sampled = getattr(maker, "frenkel_ladd_maker", maker)
    own = _arguments(maker, arguments)
    if sampled is not maker:
        own |= _settings(maker, frozenset({"frenkel_ladd_maker"}))
    relax = getattr(sampled, "relax_maker", None)
    plain = relax is None or isinstance(relax, AlchemicalRelaxMaker)
    content = {
        "method": kind,
        "crystal": dict(crystals) if grouped else next(iter(crystals.values()), None),
        "substitution": mixtures(substitution),
        "settings": _settings(
            sampled, frozenset({"relax_maker"} if plain else ()), evaluated=sampled is not maker and _evaluates(maker)
        ),
        "relaxation": relax.scientific_fields() if isinstance(relax, AlchemicalRelaxMaker) else None,
        "potential": None if potential is None else _potential(potential),
        "vacancy": own if isinstance(maker, VacancyFreeEnergyMaker) else None,
    }
    if own and not isinstance(maker, VacancyFreeEnergyMaker):
        content["arguments"] = own
    try:
        return fingerprint(content)
    except TypeError as error:
        raise InvalidInputError(f"method.kind: {kind} has a field or argument without a key: {error}") from None


def listed(maker: type, table: Mapping[type[Maker], Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the entry of a maker in :data:`FIELDS` or :data:`ARGUMENTS`; None for the maker of a user.

    A class that only renames a listed one counts as that one.
    """
    for base in maker.__mro__:
        if base in table and {f.name for f in fields(base)} == {f.name for f in fields(maker)}:
            return table[base]
    return None


def chemical_potential_fields(known: ChemicalPotentials) -> dict[str, Any]:
    """Return chemical potentials as fields of a key: value and standard error (eV per atom), or crystal, by element."""
    return {
        "chemical_potentials_eV": {element: known.value(element) for element in known.values_eV},
        "references": dict(known.references),
    }


def _evaluates(maker: Any) -> bool:
    """Return whether a maker evaluates what makers within it store."""
    return listed(type(maker), FIELDS) is None or any(base in EVALUATES for base in type(maker).__mro__)


def _settings(maker: Any, elsewhere: frozenset[str] = frozenset(), *, evaluated: bool = False) -> dict[str, Any]:
    """Return the scientific fields of a maker and of makers within it, except fields that are written elsewhere.

    If what the maker stores is evaluated by the maker around it, fields in :data:`EVALUATED` are written too.
    """
    kind = type(maker)
    known = listed(kind, FIELDS)
    if known is not None and evaluated:
        known = {**known, **{name: value for name, value in EVALUATED.items() if hasattr(maker, name)}}
    never = {*NEVER, *elsewhere, *(name for owner, name in NOT_SET if owner is kind)}
    if hasattr(kind, "extended") and not evaluated:
        never.add("n_runs")
    found: dict[str, Any] = {}
    for each in fields(maker):
        value = getattr(maker, each.name)
        if each.name in never:
            continue
        if isinstance(value, AlchemicalRelaxMaker):
            found[each.name] = value.scientific_fields()
        elif isinstance(value, Maker):
            found |= {each.name: inner} if (inner := _settings(value, evaluated=evaluated or _evaluates(maker))) else {}
        elif known is None:
            found[each.name] = _plain(value)
    return (
        found if known is None else found | _changed({name: _scientific(getattr(maker, name)) for name in known}, known)
    )


def _scientific(value: Any) -> Any:
    """Return a value of a maker; of potentials and calculators among a sequence only what affects their energies."""
    if isinstance(value, list | tuple):
        return [_scientific(each) for each in value]
    if isinstance(value, PotentialSpec):
        from alchemflows.alchemy.backends import resolve

        return _potential(value if value.sha256 else resolve(value)[0])
    return _plain(value) if isinstance(value, CalculatorSpec) else value


def _potential(potential: PotentialSpec) -> dict[str, Any]:
    """Return a potential with the SHA-256 of its file as fields of a key."""
    changed = _changed({name: getattr(potential, name) for name in POTENTIAL_FIELDS}, POTENTIAL_FIELDS)
    return {"sha256": potential.sha256, **changed}


def _arguments(maker: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in arguments.items():
        if isinstance(value, ChemicalPotentials):
            values |= chemical_potential_fields(value)
        else:
            values[name] = _plain(value)
    known = listed(type(maker), ARGUMENTS)
    if known is not None:
        return _changed(values, known)
    parameters = inspect.signature(type(maker).make).parameters.values()
    defaults = {each.name: _plain(each.default) for each in parameters if each.default is not each.empty}
    return defaults | values


def _changed(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in values.items()
        if defaults[name] is ... or canonical(value) != canonical(defaults[name])
    }


def _plain(value: Any) -> Any:
    """Return a value of a user's maker, or an argument, as plain values without classes, modules and versions."""
    if isinstance(value, Structure):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items() if not str(key).startswith("@")}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, MSONable):
        return _plain(value.as_dict())
    return value

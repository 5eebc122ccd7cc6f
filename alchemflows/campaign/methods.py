"""Methods of campaigns: flow makers, by the name of a kind or by import path, and the inputs of their tasks.

Everything is found from the maker: which of its fields the campaign sets and which ones are settings
(:mod:`alchemflows.campaign.makers`), and from the signature of its `make` which inputs a task has.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property, lru_cache
from typing import Any, get_args, get_origin

from jobflow import Flow, Maker
from pydantic import BaseModel
from pydantic import Field as ModelField
from pymatgen.core import Structure

from alchemflows.alchemy.compositions import CompositionGrid
from alchemflows.campaign.inputs import ChemicalPotentialsSpec, GridSpec, function, imported
from alchemflows.campaign.makers import (
    alternatives,
    campaign_fields,
    filled,
    is_needed,
    model_of,
    plain,
    resolved,
    settings_model,
)
from alchemflows.choices import suggestion
from alchemflows.descriptions import field_descriptions
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.chemical_potentials import ChemicalPotentials

#: Import paths of the makers of the kinds that have a name.
KINDS: dict[str, str] = {
    "thermodynamic-integration": "alchemflows.flows.thermodynamic_integration.ThermodynamicIntegrationMaker",
    "committee": "alchemflows.flows.committee.CommitteeLadderMaker",
    "switching": "alchemflows.flows.switching.SwitchingMaker",
    "frenkel-ladd": "alchemflows.flows.frenkel_ladd.FrenkelLaddMaker",
    "liquid": "alchemflows.flows.liquid.LiquidFreeEnergyMaker",
    "vacancy": "alchemflows.flows.vacancy.VacancyFreeEnergyMaker",
    "schottky": "alchemflows.flows.defect_pairs.SchottkyMaker",
    "frenkel-pair": "alchemflows.flows.defect_pairs.FrenkelPairMaker",
    "phases": "alchemflows.flows.phase_stability.PhaseStabilityMaker",
    "temperature-sweep": "alchemflows.flows.isolines.TemperatureSweepMaker",
    "pressure-sweep": "alchemflows.flows.isolines.PressureSweepMaker",
    "melting": "alchemflows.flows.melting.MeltingPointMaker",
    "corrected-frenkel-ladd": "alchemflows.flows.corrected_states.CorrectedFrenkelLaddMaker",
    "corrected-liquid": "alchemflows.flows.corrected_states.CorrectedLiquidMaker",
    "corrected-melting": "alchemflows.flows.corrected_states.CorrectedMeltingPointMaker",
    "corrected-phases": "alchemflows.flows.corrected_states.CorrectedPhasesMaker",
    "sweep": "alchemflows.flows.composition_sweep.CompositionSweepMaker",
    "optimization": "alchemflows.flows.composition_optimization.CompositionOptimizationMaker",
    "ordering-search": "alchemflows.flows.ordering_search.OrderingSearchMaker",
    "order-disorder": "alchemflows.flows.order_disorder.OrderDisorderMaker",
    "monte-carlo": "alchemflows.flows.monte_carlo.MonteCarloMaker",
    "mixing": "alchemflows.flows.mixing.MixingMaker",
    "transition": "alchemflows.flows.transition.OrderDisorderTransitionMaker",
    "relaxation": "alchemflows.flows.relaxation.RelaxationMaker",
    "fig2": "alchemflows.reproduce.fig2.Fig2Maker",
    "fig3": "alchemflows.reproduce.fig3.Fig3Maker",
    "fig4": "alchemflows.reproduce.fig4.Fig4Maker",
    "fig5": "alchemflows.reproduce.fig5.Fig5Maker",
}
#: Arguments of `make` that the campaign gives by their name: the transformation, and all temperatures at once.
SUBSTITUTION, TEMPERATURES = "substitution", "temperatures"


@dataclass(frozen=True)
class Method:
    """A flow maker as a method of campaigns.

    Attributes
    ----------
    kind
        Name of the kind, or the import path of the maker.
    maker
        Class of the maker.
    """

    kind: str
    maker: type[Maker]

    @cached_property
    def campaign_fields(self) -> frozenset[str]:
        """Fields of the maker, and of makers within it, that the campaign sets."""
        return frozenset(campaign_fields(self.maker))

    @cached_property
    def parameters(self) -> dict[str, tuple[Any, Any]]:
        """Annotation and default of each argument of `make`, by name; a missing default is `inspect.Parameter.empty`.

        Raises
        ------
        InvalidInputError
            If an argument has no annotation or cannot be given by its name, or several are structures.
        """
        make = inspect.unwrap(self.maker.make)
        hints = resolved(make.__annotations__, make.__globals__)
        found = {}
        for name, parameter in list(inspect.signature(make).parameters.items())[1:]:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise InvalidInputError(f"method.kind: each argument of {self.kind}.make needs a name; got {parameter}")
            if name not in hints:
                raise InvalidInputError(f"method.kind: the argument {name} of {self.kind}.make needs an annotation")
            found[name] = hints[name], parameter.default
        structures = [name for name, (hint, _) in found.items() if Structure in alternatives(hint) or _is_group(hint)]
        if len(structures) > 1:
            raise InvalidInputError(
                f"method.kind: {self.kind}.make takes several structures, {', '.join(structures)}; a task has one, or "
                "one mapping of structures"
            )
        return found

    def _named(self, fits: Callable[[Any], bool]) -> str | None:
        return next((name for name, (hint, _) in self.parameters.items() if fits(hint)), None)

    @cached_property
    def structure(self) -> str | None:
        """The argument of `make` that is one structure, if there is one."""
        return self._named(lambda hint: Structure in alternatives(hint))

    @cached_property
    def group(self) -> str | None:
        """The argument of `make` that is a mapping of structures by name, if there is one."""
        return self._named(_is_group)

    @cached_property
    def grid(self) -> str | None:
        """The argument of `make` that is a grid of compositions of one structure, if there is one."""
        return self._named(lambda hint: hint is CompositionGrid)

    @cached_property
    def potentials(self) -> str | None:
        """The argument of `make` that is the chemical potentials of elements, if there is one."""
        return self._named(lambda hint: ChemicalPotentials in alternatives(hint))

    @property
    def takes_structures(self) -> bool:
        """Whether the method takes structures."""
        return bool(self.structure or self.group or self.grid)

    @property
    def takes_transformations(self) -> bool:
        """Whether the method can take transformations."""
        return SUBSTITUTION in self.parameters or self.grid is not None

    @property
    def needs_transformations(self) -> bool:
        """Whether the method needs a transformation; a grid may need one, depending on its argument."""
        return self.parameters.get(SUBSTITUTION, (None, None))[1] is inspect.Parameter.empty

    @property
    def has_all_temperatures(self) -> bool:
        """Whether one task computes all temperatures of the campaign."""
        return TEMPERATURES in self.parameters

    @property
    def has_temperature(self) -> bool:
        """Whether each task has one temperature."""
        return "temperature" in self.campaign_fields and not self.has_all_temperatures

    @property
    def can_be_extended(self) -> bool:
        """Whether finished tasks can be continued with more runs."""
        return hasattr(self.maker, "extended")

    @cached_property
    def settings(self) -> type[BaseModel]:
        """The pydantic model of `method.settings`."""
        maker: Any = self.maker
        return settings_model(maker)

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """The pydantic model of `method.arguments`."""
        known: dict[str, Any] = {}
        described = field_descriptions(type("make", (), {"__doc__": self.maker.make.__doc__}))
        for name, (hint, default) in self.parameters.items():
            if name in (self.structure, SUBSTITUTION, TEMPERATURES):
                continue
            accepted = _accepted(hint)
            if accepted is None:
                if default is inspect.Parameter.empty:
                    raise InvalidInputError(
                        f"method.kind: the argument {name} of {self.kind}.make cannot be given in a file"
                    )
                continue
            value = ... if default is inspect.Parameter.empty else default
            known[name] = (accepted, ModelField(value, description=described.get(name)))
        return model_of(f"{self.maker.__name__}Arguments", known)

    def made(self, settings: BaseModel, given: Mapping[str, Any]) -> Maker:
        """Return the maker with settings, and with the values of the campaign for its fields."""
        needed = {each.name: getattr(settings, each.name) for each in fields(self.maker) if is_needed(each)}
        maker: Maker = filled(self.maker(**needed), settings, given)
        return maker

    def values(self, arguments: BaseModel) -> dict[str, Any]:
        """Return the given arguments of `make`; reference crystals are read.

        Raises
        ------
        InvalidInputError
            If a crystal cannot be read; the message names the argument.
        """
        values = {name: getattr(arguments, name) for name in sorted(arguments.model_fields_set)}
        return {
            name: value.read(f"method.arguments.{name}") if isinstance(value, ChemicalPotentialsSpec) else value
            for name, value in values.items()
            if value is not None
        }

    def flow(
        self,
        maker: Any,
        crystals: Mapping[str, Structure],
        substitution: Mapping[str, Any],
        arguments: Mapping[str, Any],
    ) -> Flow:
        """Return the flow of one task; a job that the maker returns becomes the only one of its flow.

        Parameters
        ----------
        maker
            The maker with its settings (:meth:`made`).
        crystals
            Structures by name: one, unless the method takes a group.
        substitution
            The transformation; empty if there is none.
        arguments
            Other arguments of `make` (:meth:`values`).
        """
        given = dict(arguments)
        for name, value in arguments.items():
            if isinstance(value, GridSpec):
                (crystal,) = crystals.values()
                given[name] = value.grid(crystal, substitution)
            elif isinstance(value, str) and _is_function(self.parameters[name][0]):
                given[name] = function(value, f"method.arguments.{name}")
        if self.structure is not None:
            (given[self.structure],) = crystals.values()
        if self.group is not None:
            given[self.group] = dict(crystals)
        if SUBSTITUTION in self.parameters and substitution:
            given[SUBSTITUTION] = dict(substitution)
        made = maker.make(**given)
        return made if isinstance(made, Flow) else Flow([made], output=made.output, name=made.name)


@lru_cache
def method_of(kind: str) -> Method:
    """Return the method of a kind, which is a name of :data:`KINDS` or the import path of a flow maker.

    Raises
    ------
    InvalidInputError
        If there is no such kind, or the import path is not that of a maker.
    """
    if kind not in KINDS and "." not in kind:
        raise InvalidInputError(
            f"method.kind: there is no method {kind!r}; the methods are {', '.join(KINDS)}, or the import path of a "
            f"flow maker such as package.module.MyMaker{suggestion(kind, KINDS)}"
        )
    maker = imported(KINDS.get(kind, kind), "method.kind")
    if not (isinstance(maker, type) and issubclass(maker, Maker) and is_dataclass(maker)):
        raise InvalidInputError(f"method.kind: {kind} must be a jobflow Maker that is a dataclass")
    return Method(kind, maker)


def _is_group(hint: Any) -> bool:
    """Return whether an argument is a mapping of structures by name."""
    return get_args(hint) == (str, Structure)


def _is_function(hint: Any) -> bool:
    """Return whether an argument is a function, which a file gives by its import path."""
    return any(kind is Callable or get_origin(kind) is Callable for kind in alternatives(hint))


def _accepted(hint: Any) -> Any:
    """Return the annotation of a value in a file for an argument of `make`; None if a file cannot give it."""
    if _is_group(hint):
        return dict[str, list[str]]
    if _is_function(hint):
        return str | None
    kinds = alternatives(hint)
    if CompositionGrid in kinds:
        return GridSpec
    return ChemicalPotentialsSpec | None if ChemicalPotentials in kinds else plain(hint)

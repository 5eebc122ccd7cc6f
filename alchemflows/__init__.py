"""Workflow-managed alchemical calculations with machine-learning interatomic potentials.

The root package exports the public names. Each is imported from its module when it is first used, so that
``import alchemflows`` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

#: Module of each public name.
_MODULES = {
    "AlchemflowsError": "errors",
    "AlchemicalCalculator": "alchemy.calculator",
    "AlchemicalPath": "alchemy.path",
    "AlchemicalPotential": "alchemy.potential",
    "AlchemicalRelaxMaker": "jobs.relax",
    "AlchemicalSystem": "alchemy.system",
    "Campaign": "campaign.campaign",
    "ChemicalPotentials": "schemas.chemical_potentials",
    "CommitteeLadderMaker": "flows.committee",
    "CommitteeMaker": "flows.committee",
    "CompositionGrid": "alchemy.compositions",
    "CompositionOptimizationMaker": "flows.composition_optimization",
    "CompositionSweepMaker": "flows.composition_sweep",
    "CorrectedFrenkelLaddMaker": "flows.corrected_states",
    "CorrectedLiquidMaker": "flows.corrected_states",
    "CorrectedMeltingPointMaker": "flows.corrected_states",
    "CorrectedPhasesMaker": "flows.corrected_states",
    "CorrectionMaker": "flows.correction",
    "Disorder": "alchemy.arrangements",
    "FrenkelLaddMaker": "flows.frenkel_ladd",
    "FrenkelPairMaker": "flows.defect_pairs",
    "LiquidFreeEnergyMaker": "flows.liquid",
    "MeltingPointMaker": "flows.melting",
    "MixingCommitteeMaker": "flows.mixing_committee",
    "MixingMaker": "flows.mixing",
    "MonteCarloMaker": "flows.monte_carlo",
    "OptimizeMaker": "jobs.optimize",
    "OrderDisorderTransitionMaker": "flows.transition",
    "OrderDisorderMaker": "flows.order_disorder",
    "OrderingSearchMaker": "flows.ordering_search",
    "PhaseStabilityMaker": "flows.phase_stability",
    "PotentialSpec": "schemas.potential",
    "PressureSweepMaker": "flows.isolines",
    "ReanalysisMaker": "flows.reanalysis",
    "RelaxationMaker": "flows.relaxation",
    "SchottkyMaker": "flows.defect_pairs",
    "SearchMaker": "jobs.ordering",
    "SiteGroup": "alchemy.groups",
    "StateCommitteeMaker": "flows.state_committee",
    "StateCorrectionMaker": "flows.state_correction",
    "SwitchingMaker": "flows.switching",
    "Target": "schemas.optimization",
    "TemperatureSweepMaker": "flows.isolines",
    "ThermodynamicIntegrationMaker": "flows.thermodynamic_integration",
    "TransitionCommitteeMaker": "flows.transition_committee",
    "VacancyFreeEnergyMaker": "flows.vacancy",
    "VacancyTemperatureMaker": "flows.vacancy",
    "connect": "storage.database",
    "load_potential": "alchemy.backends",
    "read_structure": "structures.reading",
    "to_ordered": "alchemy.arrangements",
    "write_report": "report.campaign",
}

__all__ = ["__version__", *_MODULES]

if TYPE_CHECKING:
    from alchemflows.alchemy.arrangements import Disorder as Disorder
    from alchemflows.alchemy.arrangements import to_ordered as to_ordered
    from alchemflows.alchemy.backends import load_potential as load_potential
    from alchemflows.alchemy.calculator import AlchemicalCalculator as AlchemicalCalculator
    from alchemflows.alchemy.compositions import CompositionGrid as CompositionGrid
    from alchemflows.alchemy.groups import SiteGroup as SiteGroup
    from alchemflows.alchemy.path import AlchemicalPath as AlchemicalPath
    from alchemflows.alchemy.potential import AlchemicalPotential as AlchemicalPotential
    from alchemflows.alchemy.system import AlchemicalSystem as AlchemicalSystem
    from alchemflows.campaign.campaign import Campaign as Campaign
    from alchemflows.errors import AlchemflowsError as AlchemflowsError
    from alchemflows.flows.committee import CommitteeLadderMaker as CommitteeLadderMaker
    from alchemflows.flows.committee import CommitteeMaker as CommitteeMaker
    from alchemflows.flows.composition_optimization import CompositionOptimizationMaker as CompositionOptimizationMaker
    from alchemflows.flows.composition_sweep import CompositionSweepMaker as CompositionSweepMaker
    from alchemflows.flows.corrected_states import CorrectedFrenkelLaddMaker as CorrectedFrenkelLaddMaker
    from alchemflows.flows.corrected_states import CorrectedLiquidMaker as CorrectedLiquidMaker
    from alchemflows.flows.corrected_states import CorrectedMeltingPointMaker as CorrectedMeltingPointMaker
    from alchemflows.flows.corrected_states import CorrectedPhasesMaker as CorrectedPhasesMaker
    from alchemflows.flows.correction import CorrectionMaker as CorrectionMaker
    from alchemflows.flows.defect_pairs import FrenkelPairMaker as FrenkelPairMaker
    from alchemflows.flows.defect_pairs import SchottkyMaker as SchottkyMaker
    from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker as FrenkelLaddMaker
    from alchemflows.flows.isolines import PressureSweepMaker as PressureSweepMaker
    from alchemflows.flows.isolines import TemperatureSweepMaker as TemperatureSweepMaker
    from alchemflows.flows.liquid import LiquidFreeEnergyMaker as LiquidFreeEnergyMaker
    from alchemflows.flows.melting import MeltingPointMaker as MeltingPointMaker
    from alchemflows.flows.mixing import MixingMaker as MixingMaker
    from alchemflows.flows.mixing_committee import MixingCommitteeMaker as MixingCommitteeMaker
    from alchemflows.flows.monte_carlo import MonteCarloMaker as MonteCarloMaker
    from alchemflows.flows.order_disorder import OrderDisorderMaker as OrderDisorderMaker
    from alchemflows.flows.ordering_search import OrderingSearchMaker as OrderingSearchMaker
    from alchemflows.flows.phase_stability import PhaseStabilityMaker as PhaseStabilityMaker
    from alchemflows.flows.reanalysis import ReanalysisMaker as ReanalysisMaker
    from alchemflows.flows.relaxation import RelaxationMaker as RelaxationMaker
    from alchemflows.flows.state_committee import StateCommitteeMaker as StateCommitteeMaker
    from alchemflows.flows.state_correction import StateCorrectionMaker as StateCorrectionMaker
    from alchemflows.flows.switching import SwitchingMaker as SwitchingMaker
    from alchemflows.flows.thermodynamic_integration import (
        ThermodynamicIntegrationMaker as ThermodynamicIntegrationMaker,
    )
    from alchemflows.flows.transition import OrderDisorderTransitionMaker as OrderDisorderTransitionMaker
    from alchemflows.flows.transition_committee import TransitionCommitteeMaker as TransitionCommitteeMaker
    from alchemflows.flows.vacancy import VacancyFreeEnergyMaker as VacancyFreeEnergyMaker
    from alchemflows.flows.vacancy import VacancyTemperatureMaker as VacancyTemperatureMaker
    from alchemflows.jobs.optimize import OptimizeMaker as OptimizeMaker
    from alchemflows.jobs.ordering import SearchMaker as SearchMaker
    from alchemflows.jobs.relax import AlchemicalRelaxMaker as AlchemicalRelaxMaker
    from alchemflows.report.campaign import write_report as write_report
    from alchemflows.schemas.chemical_potentials import ChemicalPotentials as ChemicalPotentials
    from alchemflows.schemas.optimization import Target as Target
    from alchemflows.schemas.potential import PotentialSpec as PotentialSpec
    from alchemflows.storage.database import connect as connect
    from alchemflows.structures.reading import read_structure as read_structure
else:  # with `__getattr__`, type checkers would accept any name

    def __getattr__(name: str) -> object:
        """Import the object of a public name (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})

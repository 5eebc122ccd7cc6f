"""How results of each kind are shown in a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console, RenderableType

from alchemflows.cli import (
    combination_tables,
    committee_tables,
    correction_tables,
    defect_tables,
    isoline_tables,
    mixing_committee_tables,
    mixing_tables,
    monte_carlo_tables,
    phase_tables,
    reanalysis_tables,
    state_committee_tables,
    state_correction_tables,
    tables,
    transition_committee_tables,
    transition_tables,
)
from alchemflows.cli.layout import hanging
from alchemflows.schemas.combination import CombinedLadders
from alchemflows.schemas.committee import CommitteeDocument
from alchemflows.schemas.correction import CorrectionDocument
from alchemflows.schemas.defect_pairs import FrenkelPairDocument, SchottkyDocument
from alchemflows.schemas.document import Document
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument, SizeExtrapolation
from alchemflows.schemas.isolines import PressureSweepDocument, TemperatureSweepDocument
from alchemflows.schemas.liquid import LiquidFreeEnergyDocument
from alchemflows.schemas.melting import MeltingDocument
from alchemflows.schemas.mixing import MixingDocument
from alchemflows.schemas.mixing_committee import MixingCommitteeDocument
from alchemflows.schemas.monte_carlo_result import MonteCarloDocument
from alchemflows.schemas.optimization import OptimizationDocument
from alchemflows.schemas.ordering import OrderDisorderDocument, OrderingSearchDocument, SampledDisorderDocument
from alchemflows.schemas.phases import PhaseStabilityDocument
from alchemflows.schemas.potential import DEMO_NOTE
from alchemflows.schemas.provenance import demo_note, potential_of
from alchemflows.schemas.reanalysis import ReanalysisDocument
from alchemflows.schemas.relax import RelaxDocument
from alchemflows.schemas.reproduction import ReproductionDocument
from alchemflows.schemas.state_committee import StateCommitteeDocument
from alchemflows.schemas.state_correction import StateCorrectionDocument
from alchemflows.schemas.sweep import CompositionSweepDocument
from alchemflows.schemas.switching import SwitchingDocument
from alchemflows.schemas.transition import TransitionDocument
from alchemflows.schemas.transition_committee import TransitionCommitteeDocument
from alchemflows.schemas.vacancy import RemovalDocument, VacancyDocument, VacancySizes, VacancyTemperatures

#: What makes the tables of each class of documents.
TABLES: dict[type[Document], Callable[[Any], RenderableType]] = {
    FreeEnergyDocument: tables.free_energy_tables,
    CombinedLadders: combination_tables.combination_tables,
    SwitchingDocument: tables.switching_table,
    CorrectionDocument: correction_tables.correction_tables,
    StateCorrectionDocument: state_correction_tables.state_correction_tables,
    CommitteeDocument: committee_tables.committee_tables,
    ReanalysisDocument: reanalysis_tables.reanalysis_tables,
    FrenkelLaddDocument: tables.absolute_table,
    LiquidFreeEnergyDocument: tables.liquid_table,
    SizeExtrapolation: tables.sizes_table,
    VacancyDocument: defect_tables.vacancy_table,
    VacancySizes: defect_tables.vacancy_sizes_table,
    VacancyTemperatures: defect_tables.vacancy_temperatures_table,
    SchottkyDocument: defect_tables.schottky_tables,
    FrenkelPairDocument: defect_tables.frenkel_pair_table,
    RemovalDocument: defect_tables.removal_table,
    PhaseStabilityDocument: phase_tables.phase_tables,
    TemperatureSweepDocument: isoline_tables.temperature_tables,
    PressureSweepDocument: isoline_tables.pressure_tables,
    MeltingDocument: isoline_tables.melting_tables,
    CompositionSweepDocument: tables.sweep_table,
    OptimizationDocument: tables.optimization_table,
    OrderingSearchDocument: tables.search_table,
    OrderDisorderDocument: tables.order_tables,
    SampledDisorderDocument: tables.sampled_table,
    MonteCarloDocument: monte_carlo_tables.monte_carlo_tables,
    MixingDocument: mixing_tables.mixing_tables,
    MixingCommitteeDocument: mixing_committee_tables.mixing_committee_tables,
    TransitionDocument: transition_tables.transition_tables,
    StateCommitteeDocument: state_committee_tables.state_committee_tables,
    TransitionCommitteeDocument: transition_committee_tables.transition_committee_tables,
    ReproductionDocument: tables.reproduction_tables,
    RelaxDocument: tables.relaxation_table,
}


def show(document: Document, console: Console) -> None:
    """Print the tables of a result, its potential, and its verdict if it has one."""
    console.print(TABLES[type(document)](document))
    potential, note = potential_of(document), demo_note(document)
    named = [] if potential is None or note == DEMO_NOTE else [potential.name]  # the note begins with the name
    if note is not None:
        named.append(note)
    if named:
        console.print(f"potential: {', '.join(named)}", highlight=False)
    verdict = getattr(document, "verdict", None)
    if verdict is not None:
        for line in tables.verdict_lines(verdict):
            console.print(hanging(line, console.width) if line.startswith("  - ") else line, highlight=False)

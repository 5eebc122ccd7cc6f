"""The figures of each kind of result, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from alchemflows.plotting.combination import plot_combination, plot_state_overlaps
from alchemflows.plotting.committees import plot_committee
from alchemflows.plotting.corrections import plot_correction, plot_state_correction
from alchemflows.plotting.defects import plot_schottky, plot_vacancy_sizes, plot_vacancy_temperatures
from alchemflows.plotting.free_energies import (
    plot_convergence,
    plot_gradient,
    plot_overlap,
    plot_sizes,
    plot_switching,
)
from alchemflows.plotting.isolines import plot_isoline, plot_melting
from alchemflows.plotting.labels import add_note
from alchemflows.plotting.lattices import plot_lattices
from alchemflows.plotting.mixing import plot_mixing, plot_phase_diagram
from alchemflows.plotting.mixing_committees import plot_mixing_committee
from alchemflows.plotting.monte_carlo import plot_arrangement_series, plot_monte_carlo, plot_warren_cowley
from alchemflows.plotting.optimization import plot_optimization
from alchemflows.plotting.ordering import plot_order, plot_search
from alchemflows.plotting.phases import plot_boundary, plot_phases
from alchemflows.plotting.reanalysis import plot_reanalysis
from alchemflows.plotting.state_committees import plot_state_committee
from alchemflows.plotting.sweeps import plot_sweep
from alchemflows.plotting.transition import plot_transition
from alchemflows.plotting.transition_committees import plot_transition_committee
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
from alchemflows.schemas.ordering import OrderDisorderDocument, OrderingSearchDocument
from alchemflows.schemas.phases import PhaseStabilityDocument
from alchemflows.schemas.reanalysis import ReanalysisDocument
from alchemflows.schemas.reproduction import ReproductionDocument
from alchemflows.schemas.state_committee import StateCommitteeDocument
from alchemflows.schemas.state_correction import StateCorrectionDocument
from alchemflows.schemas.sweep import CompositionSweepDocument
from alchemflows.schemas.switching import SwitchingDocument
from alchemflows.schemas.transition import TransitionDocument
from alchemflows.schemas.transition_committee import TransitionCommitteeDocument
from alchemflows.schemas.vacancy import RemovalDocument, VacancyDocument, VacancySizes, VacancyTemperatures

#: The figures of each class of documents. The first is the main one.
_FIGURES: dict[type[Document], dict[str, Callable[[Any], Figure]]] = {
    FreeEnergyDocument: {"gradient": plot_gradient, "convergence": plot_convergence, "overlap": plot_overlap},
    CombinedLadders: {"temperatures": plot_combination, "overlap": plot_state_overlaps},
    SwitchingDocument: {"switching": plot_switching},
    CorrectionDocument: {"correction": plot_correction},
    StateCorrectionDocument: {"correction": plot_state_correction},
    CommitteeDocument: {"committee": plot_committee},
    MixingCommitteeDocument: {"committee": plot_mixing_committee},
    TransitionCommitteeDocument: {"committee": plot_transition_committee},
    StateCommitteeDocument: {"committee": plot_state_committee},
    ReanalysisDocument: {"reanalysis": plot_reanalysis},
    FrenkelLaddDocument: {"switching": plot_switching},
    LiquidFreeEnergyDocument: {"switching": plot_switching},
    RemovalDocument: {"switching": plot_switching},
    SizeExtrapolation: {"sizes": plot_sizes},
    VacancyDocument: {"switching": lambda document: plot_switching(document.removal)},
    VacancySizes: {"sizes": plot_vacancy_sizes},
    VacancyTemperatures: {"temperatures": plot_vacancy_temperatures},
    SchottkyDocument: {"switching": plot_schottky},
    FrenkelPairDocument: {"switching": lambda document: plot_switching(document.removal)},
    PhaseStabilityDocument: {"phases": plot_phases},
    TemperatureSweepDocument: {"curve": plot_isoline},
    PressureSweepDocument: {"curve": plot_isoline},
    MeltingDocument: {"melting": plot_melting},
    CompositionSweepDocument: {"sweep": plot_sweep},
    OptimizationDocument: {"optimization": plot_optimization},
    OrderingSearchDocument: {"arrangements": plot_search},
    OrderDisorderDocument: {"arrangements": plot_order},
    MonteCarloDocument: {
        "monte-carlo": plot_monte_carlo,
        "series": plot_arrangement_series,
        "warren-cowley": plot_warren_cowley,
    },
    MixingDocument: {"mixing": plot_mixing, "phase-diagram": plot_phase_diagram},
    TransitionDocument: {"transition": plot_transition},
}


def figures_of(document: Document) -> dict[str, Callable[[], Figure]]:
    """Return functions that draw the figures of a result, by name; the first is the main figure.

    Parameters
    ----------
    document
        A result of any kind. There are no figures of relaxations, nor of reproduced tables or sampled arrangements.
    """
    return {name: partial(_with_note, draw, document) for name, draw in _functions(document).items()}


def _functions(document: Document) -> dict[str, Callable[[], Figure]]:
    if isinstance(document, ReproductionDocument):
        return {"lattices": partial(plot_lattices, document)} if document.curves else {}
    if isinstance(document, PhaseStabilityDocument) and document.boundaries is not None:
        return {"phases": partial(plot_phases, document), "boundary": partial(plot_boundary, document)}
    return {name: partial(draw, document) for name, draw in _FIGURES.get(type(document), {}).items()}


def _with_note(draw: Callable[[], Figure], document: Document) -> Figure:
    return add_note(draw(), document)

"""The figure and the tables of a transition between order and disorder."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from alchemflows.cli.transition_tables import transition_tables
from alchemflows.plotting import plot_transition
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.transition import (
    CumulantCrossing,
    OrderParameter,
    TransitionCell,
    TransitionDocument,
    TransitionPoint,
)
from alchemflows.schemas.verdict import Verdict

GRID = np.linspace(300, 500, 11)
KNOWN, NONE = TransitionPoint(temperature_K=410.0, temperature_error_K=7.0), TransitionPoint(
    temperature_K=None, temperature_error_K=None
)  # fmt: skip


def cell(n: int) -> TransitionCell:
    falling, small = np.linspace(1, 0.1 / n, 11).tolist(), [0.01] * 11
    return TransitionCell(
        supercell=(n, n, n), counts=Counts(atoms=5 * n**3, sites=5 * n**3, formula_units=n**3), n_replicas=2,
        n_samples=100, inefficiency=2.0, temperatures_K=GRID.tolist(), energy_eV=falling, energy_errors_eV=small,
        heat_capacity_eV_per_K=small, heat_capacity_errors_eV_per_K=small, order=falling, order_errors=small,
        order_cumulant=[None, *falling[1:]], order_cumulant_errors=[None, *small[1:]], energy_cumulant=small,
        energy_cumulant_errors=small, heat_capacity_peak=KNOWN, steepest_order=NONE, exchange=None, starts=None,
    )  # fmt: skip


def document(*, crosses: bool = True) -> TransitionDocument:
    point = KNOWN if crosses else NONE
    return TransitionDocument(
        formula="Ba2MgWO6", counts=cell(4).counts, pressure_GPa=None, sampled_temperatures_K=[300.0, 410.0, 500.0],
        order_parameter=OrderParameter(sublattice=0, species="Mg", wave_vectors=[(0.5, 0.5, 0.5)], found=True),
        cells=[cell(2), cell(4)],
        crossings=[CumulantCrossing(supercells=((2, 2, 2), (4, 4, 4)), **point.model_dump())], method="cumulants",
        transition=point, estimate_K=450.0, estimate_error_K=None, verdict=Verdict.of([]), provenance=Provenance(),
    )  # fmt: skip


def test_curves_of_each_supercell_and_the_transition():
    order, cumulant, capacity = plot_transition(document()).axes
    for axes in (order, cumulant, capacity):
        assert {line.get_label() for line in axes.lines} >= {"2×2×2", "4×4×4"}
        verticals = {line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2}
        assert verticals == {410.0, 450.0} and axes.get_xlabel() == "temperature (K)"
    assert order.lines[1].get_ydata()[-1] == pytest.approx(0.025)
    none = plot_transition(document(crosses=False)).axes[0]
    assert {line.get_xdata()[0] for line in none.lines if len(line.get_xdata()) == 2} == {450.0}


def test_tables():
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(transition_tables(document()))
    text = console.export_text()
    for word in ("2×2×2 and 4×4×4", "410", "450", "0.5 0.5 0.5", "Mg", "none", "supercell 4×4×4"):
        assert word in text, word
    rows = [line.split() for line in text.splitlines()]
    assert sum(row[:2] == ["300", "1.0000"] for row in rows) == 2
    assert sum(row[:1] == ["500"] and "0.0250" in row for row in rows) == 1

"""Tables of transitions between order and disorder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Group

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table
from alchemflows.schemas.transition import TransitionCell, TransitionDocument, TransitionPoint


def transition_tables(document: TransitionDocument) -> Group:
    """Return the averages at the sampled temperatures in each supercell, and the transition temperatures."""
    return Group(*(_curves(document, cell) for cell in document.cells), _temperatures(document))


def _curves(document: TransitionDocument, cell: TransitionCell) -> ResultTable:
    table = empty_table(
        f"{document.formula}, supercell {cell.name}, {cell.counts.title}",
        ("T (K)", "order", "±", "cumulant U", "±", "C (k_B/atom)", "±", "cumulant of E", "±"),
    )
    columns: list[tuple[Sequence[float | None] | np.ndarray, int]] = [
        (cell.order, 4),
        (cell.order_errors, 4),
        (cell.order_cumulant, 4),
        (cell.order_cumulant_errors, 4),
        (cell.heat_capacity_kB_per_atom, 4),
        (cell.heat_capacity_errors_kB_per_atom, 4),
        (cell.energy_cumulant, 3),
        (cell.energy_cumulant_errors, 3),
    ]
    for temperature_K in document.sampled_temperatures_K:
        numbers = (_at(cell, values, temperature_K, digits) for values, digits in columns)
        table.add_row(f"{temperature_K:g}", *numbers)
    lines = ["U: 2/3 in an ordered crystal; C: heat capacity without the kinetic part"]
    if cell.exchange is not None:
        accepted = ", ".join(f"{100 * share:.0f}" for share in cell.exchange.acceptance)
        lines.append(f"exchanges accepted (%): {accepted}; round trips: {sum(cell.exchange.round_trips)}")
    table.caption = "\n".join(lines)
    return table


def _temperatures(document: TransitionDocument) -> ResultTable:
    order = document.order_parameter
    table = empty_table("transition temperatures", ("", "supercells", "T (K)", "±"), left=(0, 1))
    for crossing in document.crossings:
        names = " and ".join("×".join(map(str, supercell)) for supercell in crossing.supercells)
        table.add_row("crossing of the cumulants U", names, *_shown(crossing))
    for cell in document.cells:
        table.add_row("largest heat capacity", cell.name, *_shown(cell.heat_capacity_peak))
        table.add_row("steepest decrease of the order", cell.name, *_shown(cell.steepest_order))
    if document.estimate_K is not None:
        error = "?" if document.estimate_error_K is None else f"{document.estimate_error_K:.0f}"
        table.add_row("estimate −ΔE / S", document.cells[-1].name, f"{document.estimate_K:.0f}", error)
    waves = "; ".join(" ".join(f"{q:g}" for q in vector) for vector in order.wave_vectors)
    how = "the strongest order at the lowest temperature" if order.found else "given"
    table.caption = f"order of {order.species} on sublattice {order.sublattice}, waves {waves} ({how})"
    return table


def _shown(point: TransitionPoint) -> tuple[str, str]:
    if point.temperature_K is None:
        return "none", ""
    return (
        f"{point.temperature_K:.0f}",
        "?" if point.temperature_error_K is None else f"{point.temperature_error_K:.0f}",
    )


def _at(cell: TransitionCell, values: Sequence[float | None] | np.ndarray, temperature_K: float, digits: int) -> str:
    value = np.interp(temperature_K, cell.temperatures_K, np.array(values, dtype=float))
    return f"{value:.{digits}f}" if np.isfinite(value) else "?"

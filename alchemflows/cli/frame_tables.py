"""Frames of sampled states as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from alchemflows.cli.layout import ResultTable
from alchemflows.cli.tables import empty_table

if TYPE_CHECKING:
    from alchemflows.analysis.frames import StateFrames
    from alchemflows.results.worst_frames import WorstFrame


def states_table(states: Sequence[StateFrames]) -> ResultTable:
    """Return sampled states with the number and the spacing of their frames."""
    table = empty_table("", ("number", "state", "frames", "spacing", "correlation of the energy"), left=(1,))
    for number, state in enumerate(states, 1):
        spacing = "" if state.spacing is None else f"{state.spacing:g} {state.unit}"
        correlation = f"{state.correlation:.3g} {state.unit}"
        table.add_row(str(number), escape(state.name), str(len(state.frames)), spacing, correlation)
    return table


def worst_frames_table(frames: Sequence[WorstFrame]) -> ResultTable:
    """Return frames at which the members of a committee disagree, with the spread of energies and forces."""
    table = empty_table("", ("λ", "frame", "spread of ΔU (eV)", "of forces (eV/Å)"))
    for frame in frames:
        values = (frame.spread_eV, frame.force_spread_eV_per_A)
        numbers = ("" if each is None else f"{each:.4f}" for each in values)
        table.add_row(f"{frame.lambda_value:g}", str(frame.index), *numbers)
    return table

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
    """Return frames with what is known of them: distance from reference frames, spread of energies and forces."""
    columns = {
        "distance": ("distance", "{:.2f}"),
        "spread_eV": ("spread of ΔU (eV)", "{:.4f}"),
        "force_spread_eV_per_A": ("of forces (eV/Å)", "{:.4f}"),
    }
    known = [name for name in columns if any(getattr(frame, name) is not None for frame in frames)]
    of_ends = all("lambda" in frame.conditions for frame in frames)
    left = () if of_ends else (0,)
    table = empty_table("", ("λ" if of_ends else "state", "frame", *(columns[name][0] for name in known)), left=left)
    for frame in frames:
        state = f"{frame.conditions['lambda']:g}" if of_ends else escape(frame.state)
        values = ((columns[name][1], getattr(frame, name)) for name in known)
        table.add_row(state, str(frame.index), *("" if value is None else text.format(value) for text, value in values))
    return table

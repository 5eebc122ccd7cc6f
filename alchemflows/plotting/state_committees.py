"""Figures of committees of potentials on absolute free energies and their transitions."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alchemflows.plotting.labels import shortened, subscripted
from alchemflows.schemas.state_committee import StateCommitteeDocument

#: A value with its error.
Pair = tuple[float, float | None]


def plot_state_committee(document: StateCommitteeDocument) -> Figure:
    """Plot the temperature of each transition with each member; of a single state its free energy.

    Bars are statistical errors; the grey band is the mean ± σ_model. Members whose frames do not suffice are empty
    symbols.
    """
    n_panels = max(1, len(document.spreads))
    with mpl.rc_context({"font.size": 10}):
        size = (3.0 + 3.2 * n_panels, 1.8 + 0.35 * max(5, len(document.members)))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, n_panels, squeeze=False)[0]
        for k, (axes, spread) in enumerate(zip(panels, document.spreads, strict=False)):
            found = [each.transitions[k] for each in document.members]
            pairs = [(each.temperature_K, each.temperature_error_K) for each in found]
            _draw(axes, document, pairs, (spread.mean_K, spread.sigma_model_K), f"T({spread.name}) (K)")
        if not document.spreads:
            state = document.state_spreads[0]
            totals = [each.states[0].total for each in document.members]
            values = [(each.value_eV_per_atom, each.error_eV_per_atom) for each in totals]
            mean = state.mean.value_eV_per_atom, state.sigma_model_eV_per_atom
            _draw(panels[0], document, values, mean, f"G({subscripted(state.name)}) (eV/atom)")
        names = [("sampled: " if each.sampled else "") + shortened(each.name) for each in document.members]
        panels[0].set_yticks(range(len(names)), names, fontsize=8)
        figure.suptitle(f"{subscripted(document.formula)}: committee, mean ± σ_model", fontsize=10)
    return figure


def _draw(
    axes: Axes, document: StateCommitteeDocument, pairs: Sequence[Pair], mean: tuple[float, float], label: str
) -> None:
    """Draw the value of each member, and mean ± σ_model."""
    value, sigma = mean
    axes.axvspan(value - sigma, value + sigma, color="0.9", zorder=0)
    axes.axvline(value, color="0.5", linewidth=0.8)
    for k, (member, (each, error)) in enumerate(zip(document.members, pairs, strict=True)):
        colour, inside = ("C0", "C0") if member.overlaps else ("C3", "none")
        axes.errorbar(each, k, xerr=error or 0.0, marker="o", capsize=3, color=colour, mfc=inside)
    axes.set_yticks([])
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.set_xlabel(label)

"""Figure of a transition between order and disorder."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from alchemflows.plotting.labels import legend_below, subscripted
from alchemflows.schemas.transition import TransitionDocument


def plot_transition(document: TransitionDocument) -> Figure:
    """Plot order, its cumulant and the heat capacity against the temperature, for each supercell.

    Bands are standard errors, and ticks at the bottom are the sampled temperatures. The vertical line and its band are
    the transition temperature with its error, the dotted line is the estimate −ΔE / S.
    """
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(10, 3.6), layout="constrained")
        panels = figure.subplots(1, 3)
        for k, cell in enumerate(document.cells):
            curves = (
                (cell.order, cell.order_errors),
                (cell.order_cumulant, cell.order_cumulant_errors),
                (cell.heat_capacity_kB_per_atom, cell.heat_capacity_errors_kB_per_atom),
            )
            for axes, (values, errors) in zip(panels, curves, strict=True):
                value, error = np.array(values, dtype=float), np.array(errors, dtype=float)
                axes.plot(cell.temperatures_K, value, color=f"C{k}", linewidth=1.2, label=cell.name)
                axes.fill_between(
                    cell.temperatures_K, value - error, value + error, color=f"C{k}", alpha=0.25, linewidth=0
                )
        low, high = document.cells[0].temperatures_K[0], document.cells[0].temperatures_K[-1]
        found = document.transition
        for axes, label in zip(panels, ("order", "cumulant of the order", "heat capacity ($k_B$/atom)"), strict=True):
            if found.temperature_K is not None:
                axes.axvline(found.temperature_K, color="0.3", linewidth=0.9)
                error_K = found.temperature_error_K or 0.0
                axes.axvspan(found.temperature_K - error_K, found.temperature_K + error_K, color="0.85", zorder=0)
            if document.estimate_K is not None and low <= document.estimate_K <= high:
                axes.axvline(document.estimate_K, color="0.3", linestyle=":", linewidth=0.9)
            axes.plot(
                document.sampled_temperatures_K,
                [0] * len(document.sampled_temperatures_K),
                "|",
                color="k",
                markersize=8,
                transform=axes.get_xaxis_transform(),
                clip_on=False,
            )
            axes.set_xlim(low, high)
            axes.set_xlabel("temperature (K)")
            axes.set_ylabel(label)
        legend_below(figure, panels[0])
        figure.suptitle(f"{_title(document)}: {document.verdict.status}", fontsize=10)
    return figure


def _title(document: TransitionDocument) -> str:
    found = document.transition
    if found.temperature_K is None:
        return subscripted(document.formula)
    error = "" if found.temperature_error_K is None else f" ± {found.temperature_error_K:.0f}"
    return f"{subscripted(document.formula)}, $T_c$ = {found.temperature_K:.0f}{error} K"

"""Figures of committees of potentials on transitions between order and disorder."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from alchemflows.plotting.labels import legend_below, shortened, subscripted
from alchemflows.schemas.transition_committee import TransitionCommitteeDocument


def plot_transition_committee(document: TransitionCommitteeDocument) -> Figure:
    """Plot the cumulant of the order and the heat capacity with each member, and their transition temperatures.

    One colour for each member, one line style for each supercell; curves are drawn faintly where the frames of a member
    do not suffice. Bars of the transition temperatures are statistical errors; the grey band is the mean ± σ_model.
    """
    styles = [":", "-", "--", "-."]
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(10, 3.8), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        for k, member in enumerate(document.members):
            for c, curve in enumerate(member.curves):
                temperatures = np.array(curve.temperatures_K)
                low, high = curve.reliable_K or (np.inf, -np.inf)
                reliable = (temperatures >= low) & (temperatures <= high)
                curves = (np.array(curve.order_cumulant, dtype=float), curve.heat_capacity_kB_per_atom)
                for axes, values in zip((left, middle), curves, strict=True):
                    style = {"color": f"C{k}", "linestyle": styles[c % len(styles)], "linewidth": 1.1}
                    axes.plot(temperatures, values, alpha=0.25, **style)
                    axes.plot(temperatures, np.where(reliable, values, np.nan), **style)
            found = member.transition(document.quantity)
            if found.temperature_K is not None:
                right.errorbar(
                    [found.temperature_K],
                    [-k],
                    xerr=[found.temperature_error_K or 0.0],
                    fmt="o",
                    markersize=4,
                    capsize=3,
                    color=f"C{k}",
                )
            left.plot([], [], color=f"C{k}", label=("sampled: " if member.sampled else "") + shortened(member.name))
        for c, curve in enumerate(document.members[0].curves):
            left.plot([], [], color="0.3", linestyle=styles[c % len(styles)], label=curve.name)
        spread = document.spread
        if spread is not None:
            low, high = spread.mean_K - spread.sigma_model_K, spread.mean_K + spread.sigma_model_K
            right.axvspan(low, high, color="0.9", zorder=0)
            right.axvline(spread.mean_K, color="0.5", linewidth=0.9)
        left.set_ylabel("cumulant of the order")
        middle.set_ylabel("heat capacity ($k_B$/atom)")
        for axes in (left, middle):
            axes.set_xlabel("temperature (K)")
        right.set_xlabel("transition (K)")
        right.set_yticks([])
        right.set_ylim(-len(document.members), 1)
        legend_below(figure, left)
        figure.suptitle(f"{subscripted(document.formula)}, {document.counts.title}: committee", fontsize=10)
    return figure

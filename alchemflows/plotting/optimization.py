"""Figures of composition optimizations."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from alchemflows.plotting.labels import legend_below, quantity_label, subscripted
from alchemflows.schemas.optimization import OptimizationDocument


def plot_optimization(document: OptimizationDocument) -> Figure:
    """Plot the target quantities and the weights against the step; dashed lines are the target values.

    Quantities have one curve for each start; the weights are those of the best run. The objective is also plotted if it
    contains a user-defined function.
    """
    wanted = list(dict.fromkeys(target.quantity for target in document.targets))
    n_panels = len(wanted) + (document.function is not None) + 1
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(4 * n_panels, 3.4), layout="constrained")
        *panels, last = figure.subplots(1, n_panels)
        if document.function is not None:
            for run in document.runs:
                panels[-1].plot([step.objective for step in run.steps], marker="o")
            panels[-1].set_ylabel("objective")
        for axes, name in zip(panels, wanted, strict=False):
            for run in document.runs:
                axes.plot([step.quantities[name] for step in run.steps], marker="o")
            for target in document.targets:
                if target.quantity == name and target.value is not None:
                    axes.axhline(target.value, color="0.4", linestyle="--", linewidth=0.8)
            axes.set_ylabel(quantity_label(name))
        best = np.array([step.weights for step in document.runs[document.best].steps])
        for label, weights in zip(document.weight_labels, best.T, strict=True):
            last.plot(weights, marker="o", label=label)
        last.set_ylabel("weights of the best run")
        last.set_ylim(-0.03, 1.03)
        run = document.runs[document.best]
        figure.suptitle(f"{subscripted(run.start_formula)} to {subscripted(run.formula)}", fontsize=10)
        legend_below(figure, last)
        for axes in (*panels, last):
            axes.set_xlabel("step")
            axes.xaxis.get_major_locator().set_params(integer=True)
    return figure

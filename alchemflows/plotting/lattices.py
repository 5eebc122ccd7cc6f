"""Figures of lattice parameters as functions of composition."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import mpltern  # noqa: F401  # registers the projection
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alchemflows.errors import InvalidInputError
from alchemflows.plotting.labels import legend_below, subscripted
from alchemflows.schemas.reproduction import LatticeCurve, ReproductionDocument

#: The same colour in all panels, since these have one legend.
_COLOURS = {"a": "C0", "b": "C1", "c": "C2"}


def plot_lattices(document: ReproductionDocument) -> Figure:
    """Plot lattice parameters against composition, one panel per crystal; squares are means of random arrangements.

    Raises
    ------
    InvalidInputError
        If the document has no curves of lattice parameters.
    """
    curves = document.curves
    if not curves:
        raise InvalidInputError(f"{document.figure} has no curves of lattice parameters")
    with mpl.rc_context({"font.size": 9}):
        n_rows = (len(curves) + 1) // 2
        figure = Figure(figsize=(8.5, 3.5 * n_rows), layout="constrained")
        for k, curve in enumerate(curves):
            place = (n_rows, 2, k + 1)
            if len(curve.elements) == 2:
                _line(figure.add_subplot(*place), curve)
            elif np.min(curve.weights, axis=1).max() > 0:
                _triangle(figure.add_subplot(*place, projection="ternary"), curve)
            else:
                _edges(figure.add_subplot(*place), curve)
        legend_below(figure, *figure.axes)
    return figure


def _line(axes: Axes, curve: LatticeCurve) -> None:
    weights, lengths = np.array(curve.weights), np.array(curve.lengths_A)
    order = np.argsort(weights[:, 1])
    x = weights[order, 1]
    for k, parameter in enumerate(curve.parameters):
        colour = _COLOURS[parameter]
        axes.plot(x, lengths[order, k], color=colour, marker="o", markersize=3, label=f"{parameter}, alchemical")
        axes.plot(x[[0, -1]], lengths[order, k][[0, -1]], linestyle="--", linewidth=0.8, color="0.5", label="Vegard")
        axes.errorbar(
            [average.weights[1] for average in curve.random],
            [average.lengths_A[k] for average in curve.random],
            [average.errors_A[k] or 0.0 for average in curve.random],
            color=colour,
            marker="s",
            markerfacecolor="none",
            linestyle="none",
            label="random arrangements",
        )
    axes.set_xlabel(f"x({curve.elements[1]})")
    axes.set_ylabel("lattice parameter (Å)")
    axes.set_title(subscripted(curve.name), fontsize=9)


def _edges(axes: Axes, curve: LatticeCurve) -> None:
    """Plot the edges of a triangle of compositions side by side, relative to the first pure crystal."""
    weights, lengths = np.array(curve.weights), np.array(curve.lengths_A)
    first = lengths[weights[:, 0].argmax()]
    n = len(curve.elements)
    for k, parameter in enumerate(curve.parameters):
        colour = _COLOURS[parameter]
        for side in range(n):
            one, other = side, (side + 1) % n
            here = np.flatnonzero(np.isclose(weights[:, one] + weights[:, other], 1))
            here = here[np.argsort(weights[here, other])]
            change = 100 * (lengths[here, k] / first[k] - 1)
            label = f"{parameter}, alchemical" if side == 0 else None
            axes.plot(side + weights[here, other], change, color=colour, marker="o", markersize=3, label=label)
            for average in curve.random:
                if np.isclose(average.weights[one] + average.weights[other], 1):
                    axes.errorbar(
                        side + average.weights[other],
                        100 * (average.lengths_A[k] / first[k] - 1),
                        100 * (average.errors_A[k] or 0.0) / first[k],
                        color=colour,
                        marker="s",
                        markerfacecolor="none",
                    )
    axes.set_xticks(range(n + 1), [*curve.elements, curve.elements[0]])
    axes.set_ylabel(f"lattice parameter, change from {curve.elements[0]} (%)")
    axes.set_title(subscripted(curve.name), fontsize=9)


def _triangle(axes: Any, curve: LatticeCurve) -> None:
    weights, lengths = np.array(curve.weights), np.array(curve.lengths_A)[:, 0]
    filled = axes.tricontourf(*weights.T, lengths, levels=12)
    axes.scatter(*weights.T, color="0.2", s=2)
    averages = np.array([average.weights for average in curve.random])
    if len(averages):
        values = [average.lengths_A[0] for average in curve.random]
        axes.scatter(*averages.T, c=values, norm=filled.norm, marker="s", s=40, edgecolors="k", zorder=3, clip_on=False)
    for side, element in zip("tlr", curve.elements, strict=True):
        getattr(axes, f"set_{side}label")(element)
    axes.set_title(f"{subscripted(curve.name)}; squares: random arrangements", fontsize=9)
    axes.figure.colorbar(filled, ax=axes, label=f"{curve.parameters[0]} (Å)", shrink=0.8)

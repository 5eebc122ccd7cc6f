"""Figures of composition sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from alchemflows.errors import InvalidInputError
from alchemflows.plotting.labels import legend_below, subscripted
from alchemflows.schemas.sweep import CompositionPoint, CompositionSweepDocument

#: Lattice parameters that differ by less than this (Å) at all points share one curve.
_EQUAL_WITHIN_A = 1e-3


def plot_sweep(document: CompositionSweepDocument) -> Figure:
    """Plot a composition sweep.

    The figure of a line shows lattice parameters and mixing energy; the dashed line is Vegard's law, if both pure ends
    were computed. The figure of a triangle shows volume and mixing energy.

    Raises
    ------
    InvalidInputError
        If the points are neither on a line nor over the triangle of one site group with three channels.
    """
    known = [point for point in document.points if point.cell_parameters is not None]
    weights = np.array([point.weights for point in known])
    steps = weights - weights[0]
    with mpl.rc_context({"font.size": 10}):
        if np.linalg.matrix_rank(steps, tol=1e-6) <= 1:
            return _on_a_line(document, known, weights)
        if weights.shape[1] == 3:
            return _on_a_triangle(document, known, weights)
    raise InvalidInputError(
        "only sweeps along a line or over a triangle of three elements can be plotted; this one has the weights "
        f"{', '.join(document.weight_labels)}"
    )


def _on_a_line(document: CompositionSweepDocument, known: Sequence[CompositionPoint], weights: np.ndarray) -> Figure:
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    growing = int(np.argmax(weights[-1] - weights[0]))
    x = weights[:, growing]
    order = np.argsort(x)
    parameters = np.array([point.cell_parameters for point in known], dtype=float)[:, :3]
    drawn: list[np.ndarray] = []
    for k, name in enumerate("abc"):
        values = parameters[:, k]
        if any(np.abs(values - other).max() < _EQUAL_WITHIN_A for other in drawn):
            continue
        drawn.append(values)
        (curve,) = left.plot(x[order], values[order], marker="o", label=name)
        if document.corners is not None:
            ends = order[[0, -1]]
            left.plot(x[ends], values[ends], linestyle="--", linewidth=0.8, color=curve.get_color())
    left.set_ylabel("lattice parameters (Å)")
    legend_below(figure, left)
    mixing = [point.mixing_energy_eV_per_atom for point in known]
    if None not in mixing:
        right.plot(x[order], 1e3 * np.array(mixing, dtype=float)[order], marker="o")
        right.axhline(0, color="0.6", linewidth=0.8)
        right.set_ylabel("mixing energy (meV/atom)")
    else:
        right.plot(x[order], np.array([p.energy_eV_per_atom for p in known], dtype=float)[order], marker="o")
        right.set_ylabel("energy (eV/atom)")
    for axes in (left, right):
        axes.set_xlabel(f"x({_element(document, growing)})")
    figure.suptitle(
        f"{subscripted(known[order[0]].formula)} to {subscripted(known[order[-1]].formula)}, {document.coupling}",
        fontsize=10,
    )
    return figure


def _on_a_triangle(
    document: CompositionSweepDocument, known: Sequence[CompositionPoint], weights: np.ndarray
) -> Figure:
    import mpltern  # noqa: F401  # registers the projection

    figure = Figure(figsize=(9, 4), layout="constrained")
    quantities: list[tuple[str, list[float]]] = [
        ("volume (Å³/atom)", [p.volume_A3_per_atom or np.nan for p in known]),
    ]
    mixing = [p.mixing_energy_eV_per_atom for p in known]
    if None not in mixing:
        quantities.append(("mixing energy (meV/atom)", [1e3 * float(m or 0.0) for m in mixing]))
    for k, (label, values) in enumerate(quantities):
        axes: Any = figure.add_subplot(1, len(quantities), k + 1, projection="ternary")
        filled = axes.tricontourf(*weights.T, values, levels=12)
        axes.plot(*weights.T, ".", color="0.2", markersize=2)
        for side, channel in zip("tlr", range(3), strict=True):
            getattr(axes, f"set_{side}label")(_element(document, channel))
        figure.colorbar(filled, ax=axes, label=label, shrink=0.8, location="bottom")
    corners = ", ".join(_element(document, channel) for channel in range(3))
    figure.suptitle(f"mixtures of {corners}, {document.coupling}", fontsize=10)
    return figure


def _element(document: CompositionSweepDocument, channel: int) -> str:
    return document.weight_labels[channel].partition("[")[0]

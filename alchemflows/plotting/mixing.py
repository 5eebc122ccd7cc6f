"""Figures of free energies of mixing and of phase diagrams."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from ase import units
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import gammaln, xlogy

from alchemflows.plotting.labels import legend_below, subscripted
from alchemflows.schemas.mixing import CompositionPair, ExcessFit, MixingDocument, MixingIsotherm

#: Compositions of smooth curves.
_X = np.linspace(0, 1, 201)


def plot_mixing(document: MixingDocument) -> Figure:
    """Plot the free energy of mixing at each temperature, and the composition against the chemical potential.

    Points with bands are the results with one and two standard errors, full lines the fit, and dotted lines ideal
    mixing, all of this cell. Dashed lines are the fit for a large crystal, and dash-dotted lines its common tangents.
    """
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(9, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        for k, isotherm in enumerate(document.isotherms):
            _plot_isotherm(left, isotherm, document.fit, f"C{k}")
            states = [
                each
                for each in document.states
                if each.temperature_K == isotherm.temperature_K and each.delta_mu_eV is not None
            ]
            right.errorbar(
                [each.delta_mu_eV for each in states],
                [each.fraction for each in states],
                yerr=[each.fraction_error for each in states],
                fmt="o",
                markersize=3,
                capsize=2,
                color=f"C{k}",
                label=f"{isotherm.temperature_K:g} K",
            )
        first, second = document.species
        left.set_xlabel(f"x({second})")
        left.set_ylabel("$G_{mix}$ (meV per mixing site)")
        lines = [("ideal, this cell", ":")]
        lines += [] if document.fit is None else [("fit, this cell", "-"), ("fit, large crystal", "--")]
        for label, style in lines:
            left.plot([], [], style, color="0.3", linewidth=0.8, label=label)
        legend_below(figure, left)
        right.set_xlabel(f"μ({second}) − μ({first}) (eV)")
        right.set_ylabel(f"x({second})")
        figure.suptitle(_title(document), fontsize=10)
    return figure


def plot_phase_diagram(document: MixingDocument) -> Figure:
    """Plot compositions of coexisting phases against temperature.

    Circles are the two phases in this cell, full lines the binodal and dashed lines the spinodal of the fit, and the
    star is the consolute point.
    """
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(5, 3.8), layout="constrained")
        axes = figure.subplots()
        _plot_pairs(axes, document, "binodal", "-", "C0")
        _plot_pairs(axes, document, "spinodal", "--", "C1")
        label: str | None = "phases in this cell"
        for isotherm in document.isotherms:
            if isotherm.coexistence is not None:
                _mark(axes, isotherm.coexistence.compositions, isotherm.temperature_K, label)
                label = None
        if (point := document.consolute) is not None:
            axes.errorbar(
                [point.fraction],
                [point.temperature_K],
                xerr=None if point.fraction_error is None else [point.fraction_error],
                yerr=None if point.temperature_error_K is None else [point.temperature_error_K],
                fmt="*",
                color="k",
                markersize=9,
                label="consolute point" + (" (extrapolated)" if point.extrapolated else ""),
            )
        for isotherm in document.isotherms:
            axes.axhline(isotherm.temperature_K, color="0.85", linewidth=0.6, zorder=0)
        if axes.get_legend_handles_labels()[0]:
            legend_below(figure, axes)
        else:
            axes.text(0.5, 0.5, "no gap at these temperatures", transform=axes.transAxes, ha="center", va="center")
        axes.set_xlim(0, 1)
        axes.set_xlabel(f"x({document.species[1]})")
        axes.set_ylabel("T (K)")
        axes.set_title(_title(document), fontsize=10)
    return figure


def _plot_isotherm(axes: Axes, isotherm: MixingIsotherm, fit: ExcessFit | None, colour: str) -> None:
    x, n_sites = isotherm.fractions, isotherm.n_mixing_sites
    thermal = units.kB * isotherm.temperature_K
    values, errors = 1e3 * isotherm.mixing_eV_per_mixing_site, 1e3 * isotherm.mixing_errors_eV_per_mixing_site
    axes.plot(x, values, "o", markersize=3, color=colour, label=f"{isotherm.temperature_K:g} K")
    for width, alpha in ((1, 0.3), (2, 0.15)):
        axes.fill_between(x, values - width * errors, values + width * errors, color=colour, alpha=alpha, linewidth=0)
    ideal_of_cell = -thermal * _log_arrangements(n_sites, _X) / n_sites
    axes.plot(_X, 1e3 * ideal_of_cell, ":", linewidth=0.8, color=colour)
    if fit is None:
        return
    excess = _excess_eV(fit, _X, isotherm.temperature_K)
    axes.plot(_X, 1e3 * (ideal_of_cell + excess), linewidth=0.9, color=colour)
    axes.plot(_X, 1e3 * (thermal * (xlogy(_X, _X) + xlogy(1 - _X, 1 - _X)) + excess), "--", linewidth=0.7, color=colour)
    if isotherm.binodal is not None:
        ends = np.array([isotherm.binodal.left, isotherm.binodal.right])
        tangent = thermal * (xlogy(ends, ends) + xlogy(1 - ends, 1 - ends))
        axes.plot(
            ends, 1e3 * (tangent + _excess_eV(fit, ends, isotherm.temperature_K)), "-.", linewidth=0.7, color=colour
        )


def _log_arrangements(n_sites: int, x: np.ndarray) -> np.ndarray:
    """Return ln of the number of arrangements, also for fractional numbers of atoms."""
    return gammaln(n_sites + 1) - gammaln(n_sites * x + 1) - gammaln(n_sites * (1 - x) + 1)


def _excess_eV(fit: ExcessFit, x: np.ndarray, temperature_K: float) -> np.ndarray:
    """Return the fitted excess (eV per mixing site)."""
    pairs = zip(fit.enthalpies_eV_per_mixing_site, fit.entropies_eV_per_K_per_mixing_site, strict=True)
    return x * (1 - x) * sum((h - temperature_K * s) * (1 - 2 * x) ** i for i, (h, s) in enumerate(pairs))


def _plot_pairs(axes: Axes, document: MixingDocument, name: str, style: str, colour: str) -> None:
    """Plot the compositions of the fit, closed at a consolute point above them."""
    found = [(each.temperature_K, pair) for each in document.isotherms if (pair := getattr(each, name)) is not None]
    if not found:
        return
    temperatures = [temperature_K for temperature_K, _ in found]
    for side in ("left", "right"):
        x, t = [getattr(pair, side) for _, pair in found], list(temperatures)
        if document.consolute is not None and document.consolute.temperature_K > temperatures[-1]:
            x, t = [*x, document.consolute.fraction], [*t, document.consolute.temperature_K]
        axes.plot(x, t, style, color=colour, linewidth=1, label=f"{name} of the fit" if side == "left" else None)


def _mark(axes: Axes, pair: CompositionPair, temperature_K: float, label: str | None) -> None:
    errors = [pair.left_error or 0.0, pair.right_error or 0.0]
    axes.errorbar(
        [pair.left, pair.right],
        [temperature_K] * 2,
        xerr=errors,
        fmt="o",
        color="C2",
        markersize=4,
        capsize=2,
        label=label,
    )


def _title(document: MixingDocument) -> str:
    return f"{subscripted(document.formula)}, {document.counts.title}, {document.n_mixing_sites} mixing sites"

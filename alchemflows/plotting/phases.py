"""Figure of phase stability."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy.interpolate import CubicSpline

from alchemflows.plotting.isolines import plot_band
from alchemflows.plotting.labels import legend_below, pressure_label, subscripted
from alchemflows.schemas.phases import PhaseStabilityDocument

#: Number of temperatures of a curve in a figure.
N_PLOTTED = 101
#: Largest number of transitions that are listed in a title.
_MOST_LISTED = 3


def plot_phases(document: PhaseStabilityDocument) -> Figure:
    """Plot G of each phase relative to the first one against T, or against x if there are more x than T.

    Curves have bands of one and two standard errors. Dotted lines are at the transitions.
    """
    known = {
        (p.phase, p.composition, p.temperature_K): (p.gibbs_eV_per_atom, p.error_eV_per_atom)
        for p in document.points
        if p.gibbs_eV_per_atom is not None and p.error_eV_per_atom is not None
    }
    compositions: list[float | None] = [*document.compositions] if document.compositions else [None]
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(5, 3.6), layout="constrained")
        axes = figure.subplots()
        first = document.phases[0]
        over_x = len(compositions) > len(document.temperatures_K)
        for phase in document.phases[1:] or [first]:
            for fixed in document.temperatures_K if over_x else compositions:
                points = []
                for running in compositions if over_x else document.temperatures_K:
                    x, t = (running, fixed) if over_x else (fixed, running)
                    one, other = known.get((phase, x, t)), known.get((first, x, t))  # type: ignore[arg-type]
                    if one is not None and phase == first:
                        points.append((running, one[0], one[1]))
                    elif one is not None and other is not None:
                        points.append((running, one[0] - other[0], float(np.hypot(one[1], other[1]))))
                if points:
                    at, values, errors = zip(*points, strict=True)
                    suffix = f", {fixed:g} K" if over_x else "" if fixed is None else f", x = {fixed:g}"
                    smooth = bool(document.curves) and not over_x
                    line = "none" if smooth else "-"
                    label = f"{phase}{suffix}"
                    bars = axes.errorbar(at, values, yerr=errors, marker="o", linestyle=line, capsize=3, label=label)
                    if smooth:
                        _plot_curve(axes, document, phase, fixed, to_hex(bars.lines[0].get_color()))
        axes.axhline(0, color="0.6", linewidth=0.8)
        for change in document.transitions:
            if change.temperature_K is not None and not over_x:
                axes.axvline(change.temperature_K, color="0.6", linewidth=0.8, linestyle=":")
        axes.set_xlabel("x" if over_x else "T (K)")
        mixed = any(p.ideal_mixing_eV_per_atom for p in document.points)
        content = ", ideal mixing included" if mixed else ""
        axes.set_ylabel(f"G − G({first}){content} (eV/atom)" if len(document.phases) > 1 else f"G{content} (eV/atom)")
        axes.set_title(
            "\n".join([f"{_formulas(document)}, {pressure_label(document.pressure_GPa)}", *_found(document)]),
            fontsize=10,
        )
        legend_below(figure, axes)
    return figure


def plot_boundary(document: PhaseStabilityDocument) -> Figure:
    """Plot transition temperatures against the pressure; short lines have the slope dT/dp of each transition."""
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(5, 3.6), layout="constrained")
        axes = figure.subplots()
        for each in document.boundaries or []:
            known = [
                (p, t.temperature_K, t.error_K, t.boundary_K_per_GPa)
                for p, t in zip(each.pressures_GPa, each.transitions, strict=True)
                if t.temperature_K is not None and t.error_K is not None and t.boundary_K_per_GPa is not None
            ]
            at = "" if each.composition is None else f", x = {each.composition:g}"
            label = f"{each.phases[0]} and {each.phases[1]}{at}"
            values = np.array(known, dtype=float).reshape(-1, 4).T
            bars = axes.errorbar(*values[:3], marker="o", linestyle="none", capsize=3, label=label)
            width = 0.15 * np.ptp(each.pressures_GPa)
            for p, temperature, _, slope in known:
                ends = np.array([p - width, p + width])
                axes.plot(ends, temperature + slope * (ends - p), color=to_hex(bars.lines[0].get_color()), linewidth=1)
        axes.set_xlabel("p (GPa)")
        axes.set_ylabel("T (K)")
        axes.set_title(
            "\n".join([f"{_formulas(document)}: boundaries between phases", *_slopes(document)]), fontsize=10
        )
        legend_below(figure, axes)
    return figure


def _formulas(document: PhaseStabilityDocument) -> str:
    """Return the formula of the phases; of several, the first and the last."""
    formulas = list(dict.fromkeys(point.formula for point in document.points))
    return " to ".join(subscripted(formula) for formula in dict.fromkeys((formulas[0], formulas[-1])))


def _found(document: PhaseStabilityDocument) -> list[str]:
    """Return lines for the title: the temperatures of the transitions."""
    lines = []
    for change in document.transitions:
        if change.temperature_K is not None:
            at = "" if change.composition is None else f", x = {change.composition:g}"
            error = "?" if change.error_K is None else f"{change.error_K:.1f}"
            phases = f"{change.low_temperature_phase} → {change.high_temperature_phase}"
            lines.append(f"{phases}{at}: {change.temperature_K:.1f} ± {error} K")
    if not lines and document.transitions:
        return ["no transition at these temperatures"]
    return lines if len(lines) <= _MOST_LISTED else [f"{len(lines)} transitions"]


def _slopes(document: PhaseStabilityDocument) -> list[str]:
    """Return lines for the title: the slope of each boundary at its lowest pressure with a transition."""
    lines = []
    for each in document.boundaries or []:
        for p, change in zip(each.pressures_GPa, each.transitions, strict=True):
            if change.boundary_K_per_GPa is not None:
                error = "?" if change.boundary_error_K_per_GPa is None else f"{change.boundary_error_K_per_GPa:.1f}"
                at = "" if each.composition is None else f", x = {each.composition:g}"
                slope = f"dT/dp = {change.boundary_K_per_GPa:.1f} ± {error} K/GPa".replace("-", "−")
                lines.append(f"{' and '.join(each.phases)}{at}: {slope} at {pressure_label(p)}")
                break
    return lines if len(lines) <= _MOST_LISTED else []


def _plot_curve(
    axes: Axes, document: PhaseStabilityDocument, phase: str, composition: float | None, color: str
) -> None:
    """Plot the curve of a phase relative to that of the first one, over the temperatures of both."""
    curves = {each.phase: each for each in document.curves if each.composition == composition}
    first, own = curves[document.phases[0]], curves[phase]
    low, high = (pick(first.temperatures_K[k], own.temperatures_K[k]) for k, pick in ((0, max), (-1, min)))
    t = np.linspace(low, high, N_PLOTTED)
    both = [own] if own is first else [own, first]
    gibbs, errors = [], []
    for curve in both:
        values = curve.counts.per_atom(np.array(curve.gibbs_eV.values))
        gibbs.append(CubicSpline(curve.temperatures_K, values)(t))
        errors.append(np.interp(t, curve.temperatures_K, curve.counts.per_atom(np.array(curve.gibbs_eV.errors))))
    plot_band(axes, t, gibbs[0] - sum(gibbs[1:]), np.sqrt(np.square(errors).sum(axis=0)), color)

"""Figures of ladders that are combined over temperature and pressure."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alchemflows.plotting.labels import legend_below, subscripted
from alchemflows.schemas.combination import CombinedLadders, CombinedPoint

#: Numbers of a point on the axes: value and error in meV/atom.
_Numbers = tuple[float | None, float | None]


def plot_combination(document: CombinedLadders) -> Figure:
    """Plot ΔG against temperature for each pressure, and ΔH and TΔS.

    Bands are one and two standard errors. Circles are the ladders alone, with one standard error, and dotted lines
    their temperatures. With one temperature, the horizontal axis is the pressure.
    """
    over_pressure = len(document.temperatures_K) == 1 and len(document.pressures_GPa) > 1
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(9, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        pressures: Sequence[float | None] = document.pressures_GPa or [None]
        groups = [document.points] if over_pressure else [document.at_pressure(each) for each in pressures]
        for k, points in enumerate(groups):
            label = None if over_pressure or len(groups) == 1 else f"{points[0].pressure_GPa:g} GPa"
            at = [_at(point, over_pressure) for point in points]
            _band(left, at, [_free_energy(document, point) for point in points], f"C{k}", label)
            suffix = "" if label is None else f", {label}"
            enthalpy = "ΔU" if document.ensemble == "NVT" else "ΔH"
            _band(right, at, [_enthalpy(document, point) for point in points], f"C{k}", f"{enthalpy}{suffix}")
            _band(right, at, [_heat(document, point) for point in points], f"C{k}", f"TΔS{suffix}", "--")
        for ladder in document.ladders:
            x = ladder.pressure_GPa if over_pressure else ladder.temperature_K
            index = 0
            if not over_pressure and ladder.pressure_GPa is not None and ladder.pressure_GPa in document.pressures_GPa:
                index = document.pressures_GPa.index(ladder.pressure_GPa)
            value, error = ladder.alone.delta_f_eV_per_atom, ladder.alone.error_eV_per_atom
            left.errorbar(
                [x],
                [1e3 * value],
                yerr=None if error is None else [1e3 * error],
                fmt="o",
                capsize=3,
                markersize=5,
                markerfacecolor="white",
                color=f"C{index}",
                label="ladders alone" if ladder is document.ladders[0] else None,
            )
            for axes in (left, right):
                axes.axvline(x, color="0.75", linestyle=":", linewidth=0.9, zorder=0)
        for axes in (left, right):
            axes.set_xlabel("p (GPa)" if over_pressure else "T (K)")
        left.set_ylabel(f"{document.title} (meV/atom)")
        right.set_ylabel("meV/atom")
        path = f"{subscripted(document.initial_formula)} → {subscripted(document.final_formula)}"
        figure.suptitle(f"{path}, {document.counts.title}: {document.verdict.status}", fontsize=10)
        legend_below(figure, left, right)
    return figure


def plot_state_overlaps(document: CombinedLadders) -> Figure:
    """Plot the overlap of each two sampled windows; lines separate the ladders."""
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(5, 4), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(np.array(document.overlaps), cmap="Blues", vmin=0, vmax=0.5)
        ladders = [state.ladder for state in document.states]
        centres, labels = [], []
        for number, ladder in enumerate(document.ladders):
            own = [k for k, each in enumerate(ladders) if each == number]
            centres.append(float(np.mean(own)))
            pressure = "" if ladder.pressure_GPa is None else f"\n{ladder.pressure_GPa:g} GPa"
            labels.append(f"{ladder.temperature_K:g} K{pressure}")
            if number:
                axes.axhline(own[0] - 0.5, color="0.6", linewidth=0.8)
                axes.axvline(own[0] - 0.5, color="0.6", linewidth=0.8)
        axes.set_xticks(centres, labels, rotation=90, fontsize=8)
        axes.set_yticks(centres, labels, fontsize=8)
        axes.set_xlabel("windows of each ladder, λ = 0 to 1")
        n_sets = len({state.component for state in document.states})
        axes.set_title(f"sets of overlapping windows: {n_sets}", fontsize=10)
        figure.colorbar(image, label="overlap (0.5 if equal)")
    return figure


def _at(point: CombinedPoint, over_pressure: bool) -> float:
    return float(point.pressure_GPa) if over_pressure and point.pressure_GPa is not None else point.temperature_K


def _free_energy(document: CombinedLadders, point: CombinedPoint) -> _Numbers:
    if point.total is None:
        return None, None
    return _milli(document, point.total.delta_f_eV, point.total.error_eV)


def _enthalpy(document: CombinedLadders, point: CombinedPoint) -> _Numbers:
    return _milli(document, point.delta_h_eV, point.delta_h_error_eV)


def _heat(document: CombinedLadders, point: CombinedPoint) -> _Numbers:
    value, error, t = point.delta_s_eV_per_K, point.delta_s_error_eV_per_K, point.temperature_K
    return _milli(document, value and t * value, error and t * error)


def _milli(document: CombinedLadders, value: float | None, error: float | None) -> _Numbers:
    per_atom = document.counts.per_atom
    return value and 1e3 * per_atom(value), error and 1e3 * per_atom(error)


def _band(
    axes: Axes, at: Sequence[float], numbers: Sequence[_Numbers], colour: str, label: str | None, style: str = "-"
) -> None:
    """Plot a line with bands of one and two errors; NaN interrupts it where nothing was sampled."""
    values, errors = np.array([[np.nan if each is None else each for each in pair] for pair in numbers]).T
    if len(at) == 1:
        axes.errorbar(at, values, yerr=errors, fmt="s", markersize=4, capsize=3, color=colour, label=label)
        return
    axes.plot(at, values, style, linewidth=1.1, color=colour, label=label)
    for width, alpha in ((1, 0.3), (2, 0.15)):
        axes.fill_between(at, values - width * errors, values + width * errors, color=colour, alpha=alpha, linewidth=0)

"""Figures of free energies along an isobar or an isotherm."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from ase import units
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alchemflows.plotting.labels import legend_below, pressure_label, subscripted
from alchemflows.schemas.coexistence import CoexistenceDocument
from alchemflows.schemas.isolines import (
    CurveValues,
    PressureQuantumCorrections,
    PressureSweepDocument,
    QuantumCorrections,
    TemperatureSweepDocument,
)
from alchemflows.schemas.melting import MeltingDocument


def plot_isoline(document: TemperatureSweepDocument | PressureSweepDocument) -> Figure:
    """Plot the free energy and its derivatives, per atom, with bands of one and two standard errors.

    Over temperatures these are G, S, C_p, V and the Wigner–Kirkwood correction, and over pressures G, V, the bulk
    modulus and this correction. The dot is the anchor. The dashed line is the harmonic quantum correction; where the
    expansion of the other one does not hold, the background is grey.
    """
    atoms = document.counts.atoms
    per_kB = 1 / (atoms * units.kB)
    if isinstance(document, TemperatureSweepDocument):
        constant_volume = document.pressure_GPa is None
        x, label, place = np.array(document.temperatures_K), "T (K)", document.anchor.temperature_K
        where = pressure_label(document.pressure_GPa)
        panels = [
            ("F (eV/atom)" if constant_volume else "G (eV/atom)", document.gibbs_eV, 1 / atoms),
            ("S ($k_B$/atom)", document.entropy_eV_per_K, per_kB),
            (
                "$C_V$ ($k_B$/atom)" if constant_volume else "$C_p$ ($k_B$/atom)",
                document.heat_capacity_eV_per_K,
                per_kB,
            ),
            ("V (Å³/atom)", document.volumes_A3, 1 / atoms),
        ]
    else:
        x, label, place = np.array(document.pressures_GPa), "p (GPa)", document.anchor.pressure_GPa
        where = f"{document.temperature_K:g} K"
        panels = [
            ("G (eV/atom)", document.gibbs_eV, 1 / atoms),
            ("V (Å³/atom)", document.volumes_A3, 1 / atoms),
            ("bulk modulus (GPa)", document.bulk_modulus_GPa, 1.0),
        ]
    quantum = document.quantum
    if quantum is not None:
        panels.append(("quantum correction (meV/atom)", quantum.wigner_kirkwood_eV, 1e3 / atoms))
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(3.2 * len(panels), 3.4), layout="constrained")
        drawn = figure.subplots(1, len(panels))
        for axes, (name, series, factor) in zip(drawn, panels, strict=True):
            plot_band(axes, x, factor * np.array(series.values), factor * np.array(series.errors), "C0")
            axes.set_xlabel(label)
            axes.set_ylabel(name)
            axes.plot(place, factor * series.values[int(np.argmin(np.abs(x - place)))], "ko", markersize=4)
        if quantum is not None:
            _plot_quantum(drawn[-1], x, quantum, 1e3 / atoms)
            legend_below(figure, drawn[-1])
        figure.suptitle(f"{subscripted(document.formula)}, {where}, {document.counts.title}", fontsize=10)
    return figure


def _plot_quantum(
    axes: Axes, x: np.ndarray, quantum: QuantumCorrections | PressureQuantumCorrections, factor: float
) -> None:
    """Add the harmonic correction, and mark where the expansion does not hold."""
    if quantum.harmonic_eV is not None:
        label = "harmonic quantum correction"
        axes.plot(x, factor * np.array(quantum.harmonic_eV), color="C1", linestyle="--", label=label)
    if isinstance(quantum, PressureQuantumCorrections):
        start = x[0] if quantum.holds_to_GPa is None else quantum.holds_to_GPa
        if start < x[-1]:
            axes.axvspan(start, x[-1], color="0.9", linewidth=0, zorder=0)  # behind the bands
        return
    end = x[-1] if quantum.holds_from_K is None else quantum.holds_from_K
    if end > x[0]:
        axes.axvspan(x[0], end, color="0.9", linewidth=0, zorder=0)  # behind the bands


def plot_melting(document: MeltingDocument) -> Figure:
    """Plot G(liquid) − G(solid) and the volumes of both phases, per atom, with bands of one and two standard errors.

    The dot is the melting point. With solid and liquid in contact, two further panels have the growth of the solid at
    each temperature, and the share of the solid over time.
    """
    contact = document.coexistence
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(7.4, 3.4 if contact is None else 6.4), layout="constrained")
        (left, right), *others = figure.subplots(1 if contact is None else 2, 2, squeeze=False)
        _plot_series(left, document.temperatures_K, document.difference_eV_per_atom, 1e3, "C0")
        left.axhline(0.0, color="0.6", linewidth=0.8)
        left.set_ylabel("G(liquid) − G(solid) (meV/atom)")
        if document.melting_K is not None and document.melting_error_K is not None:
            left.errorbar(document.melting_K, 0.0, xerr=document.melting_error_K, fmt="ko", markersize=4, capsize=2)
            left.set_title(f"melting point {document.melting_K:.1f} ± {document.melting_error_K:.1f} K", fontsize=10)
        for colour, name, curve in (("C0", "solid", document.solid), ("C1", "liquid", document.liquid)):
            factor = 1 / curve.counts.atoms
            _plot_series(right, curve.temperatures_K, curve.volumes_A3, factor, colour)
            right.plot([], [], color=colour, label=name)
        right.set_ylabel("V (Å³/atom)")
        for axes in (left, right):
            axes.set_xlabel("T (K)")
        if contact is not None:
            _plot_rates(others[0][0], contact)
            _plot_shares(others[0][1], contact)
        legend_below(figure, right, *(axes for row in others for axes in row))
        figure.suptitle(
            f"{subscripted(document.formula)}, {pressure_label(document.pressure_GPa)}, {document.counts.title}",
            fontsize=10,
        )
    return figure


def _plot_rates(axes: Axes, document: CoexistenceDocument) -> None:
    """Plot the rate at which the share of the solid grows at each temperature, and where it is zero."""
    known = [
        (point.temperature_K, 1e3 * point.rate_per_ps, 1e3 * (point.rate_error_per_ps or 0.0))
        for point in document.points
        if point.rate_per_ps is not None
    ]
    axes.axhline(0.0, color="0.6", linewidth=0.8)
    if known:
        t, rates, errors = zip(*known, strict=True)
        axes.errorbar(t, rates, yerr=errors, fmt="o", color="C2", markersize=4, capsize=2, label="in contact")
    if document.melting_K is not None:
        axes.errorbar(document.melting_K, 0.0, xerr=document.melting_error_K, fmt="s", color="C3", markersize=4)
        axes.set_title(f"zero at {document.melting_K:.1f} ± {document.melting_error_K:.1f} K", fontsize=10)
    if document.crossing_K is not None:
        axes.axvline(document.crossing_K, color="k", linewidth=0.8, linestyle="--", label="crossing of G")
    axes.set_xlabel("T (K)")
    axes.set_ylabel("growth of the solid (1/ns)")


def _plot_shares(axes: Axes, document: CoexistenceDocument) -> None:
    """Plot the share of the solid over time for each replica, coloured by temperature."""
    colours = mpl.colormaps["coolwarm"](np.linspace(0, 1, len(document.points)))
    for colour, point in zip(colours, document.points, strict=True):
        for k, row in enumerate(point.solid_fractions):
            label = f"{point.temperature_K:.4g} K" if k == 0 else None
            axes.plot(document.times_ps, row, color=colour, linewidth=1, label=label)
    axes.set_xlabel("time (ps)")
    axes.set_ylabel("share of the solid")


def plot_band(axes: Axes, x: np.ndarray, values: np.ndarray, errors: np.ndarray, color: str) -> None:
    """Plot a curve with bands of one and two standard errors."""
    axes.plot(x, values, color=color, linewidth=1)
    for width, alpha in ((1, 0.3), (2, 0.15)):
        axes.fill_between(x, values - width * errors, values + width * errors, color=color, alpha=alpha, linewidth=0)


def _plot_series(axes: Axes, x: list[float], series: CurveValues, factor: float, color: str) -> None:
    plot_band(axes, np.array(x), factor * np.array(series.values), factor * np.array(series.errors), color)

"""Figures of point defects."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from alchemflows.plotting.free_energies import plot_work
from alchemflows.plotting.labels import legend_below, subscripted, with_error
from alchemflows.schemas.defect_pairs import SchottkyDocument
from alchemflows.schemas.vacancy import VacancySizes, VacancyTemperatures


def plot_schottky(document: SchottkyDocument) -> Figure:
    """Plot ∂U/∂λ and the work of the switches that remove an atom, one row for each vacancy of a Schottky defect."""
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(8, 0.9 + 3.1 * len(document.vacancies)), layout="constrained")
        rows = figure.subplots(len(document.vacancies), 2, squeeze=False)
        for (left, right), vacancy in zip(rows, document.vacancies, strict=True):
            plot_work(left, right, vacancy.removal.work)
            left.set_title(f"removal of an atom of {vacancy.element}", fontsize=10)
        energy = with_error(document.alchemical_eV, document.alchemical_error_eV)
        figure.suptitle(
            f"Schottky defect of {subscripted(document.formula)}, {document.temperature_K:g} K: $G_S$ = {energy}",
            fontsize=10,
        )
        legend_below(figure, *rows[0])
    return figure


def plot_vacancy_sizes(document: VacancySizes) -> Figure:
    """Plot the free energy of formation of a vacancy against 1/N, with the extrapolation to a large crystal."""
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(5, 3.6), layout="constrained")
        axes = figure.subplots()
        x, values, limit = 1 / np.array(document.n_atoms), np.array(document.formation_eV), document.formation_limit_eV
        axes.errorbar(x, values, yerr=document.errors_eV, fmt="o", capsize=3)
        axes.errorbar([0], [limit], yerr=[document.limit_error_eV], fmt="s", capsize=3)
        slope = np.average((values - limit) / x, weights=x**2)
        ends = np.array([0, x.max()])
        axes.plot(ends, limit + slope * ends, linewidth=0.8, color="0.5")
        axes.set_xlabel("1/N")
        axes.set_ylabel("$G_f$ (eV)")
        axes.set_title(
            f"vacancy of {document.element} in {subscripted(document.formula)}, {document.temperature_K:g} K",
            fontsize=10,
        )
    return figure


def plot_vacancy_temperatures(document: VacancyTemperatures) -> Figure:
    """Plot the free energy of formation of a vacancy against the temperature, with the fit."""
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(5, 3.6), layout="constrained")
        axes = figure.subplots()
        temperatures = np.array(document.temperatures_K)
        axes.errorbar(temperatures, document.formation_eV, yerr=document.errors_eV, fmt="o", capsize=3)
        fitted = np.array(document.enthalpy_eV) - temperatures * document.entropy_eV_per_K
        curve = np.polynomial.Polynomial.fit(temperatures, fitted, document.degree)
        axes.plot(*curve.linspace(100), linewidth=0.8, color="0.5")
        axes.set_xlabel("T (K)")
        axes.set_ylabel("$G_f$ (eV)")
        axes.set_title(f"vacancy of {document.element} in {subscripted(document.formula)}", fontsize=10)
    return figure

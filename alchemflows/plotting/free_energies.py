"""Figures of free energies."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alchemflows.plotting.labels import legend_below, subscripted, with_error
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument, SizeExtrapolation
from alchemflows.schemas.liquid import LiquidFreeEnergyDocument
from alchemflows.schemas.switching import SwitchingDocument, WorkDocument
from alchemflows.schemas.vacancy import RemovalDocument

#: Largest number of windows for which the numbers of the overlap matrix are printed.
_MOST_NUMBERED = 12


def plot_gradient(document: FreeEnergyDocument) -> Figure:
    """Plot ⟨dU/dλ⟩ with its standard error against λ; the area under it is ΔF (ΔG at constant pressure) by TI."""
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(5, 3.6), layout="constrained")
        axes = figure.subplots()
        lambdas = [window.lambda_value for window in document.windows]
        means = [window.mean_dudl_eV for window in document.windows]
        errors = [window.error_dudl_eV for window in document.windows]
        axes.fill_between(lambdas, means, alpha=0.15, linewidth=0)
        axes.errorbar(lambdas, means, yerr=errors, marker="o", capsize=3, linewidth=1.2)
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.set_xlabel("λ")
        axes.set_ylabel("⟨∂U/∂λ⟩ (eV)")
        area = with_error(document.ti.delta_f_eV, document.ti.error_eV)
        axes.set_title(
            f"{_path(document)}, {document.counts.title}\n"
            f"{_difference(document)} = {with_error(document.total.delta_f_eV, document.total.error_eV)}\n"
            f"area (TI, without mass term): {area}",
            fontsize=10,
        )
    return figure


def plot_convergence(document: FreeEnergyDocument) -> Figure:
    """Plot ΔF by MBAR from the first and from the last fraction of each window against that fraction.

    The band is the estimate from all samples with its standard error. If the two curves approach it from opposite
    sides, or are outside of it at large fractions, the windows drift.
    """
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(5, 3.6), layout="constrained")
        axes = figure.subplots()
        curve = document.convergence
        value, error = document.mbar.delta_f_eV, document.mbar.error_eV
        if error is not None:
            axes.axhspan(value - error, value + error, alpha=0.15, linewidth=0, label="all samples ± 1 σ")
        for label, marker, values, errors in (
            ("forward", "o", curve.forward_eV, curve.forward_error_eV),
            ("backward", "s", curve.backward_eV, curve.backward_error_eV),
        ):
            known = [
                row
                for row in zip(curve.fractions, values, errors, strict=True)
                if row[1] is not None and row[2] is not None
            ]
            if known:
                fractions, means, bars = zip(*known, strict=True)
                axes.errorbar(fractions, means, yerr=bars, marker=marker, capsize=3, linewidth=1.2, label=label)
        axes.set_xlabel("fraction of each window")
        axes.set_ylabel(f"{_difference(document)} by MBAR, without mass term (eV)")
        axes.set_title(f"{_path(document)}: {document.verdict.status}", fontsize=10)
        legend_below(figure, axes)
    return figure


def plot_overlap(document: FreeEnergyDocument) -> Figure:
    """Plot the overlap matrix of MBAR; ΔF between neighbouring windows is unreliable if their overlap is small."""
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(5, 3.6), layout="constrained")
        axes = figure.subplots()
        matrix = np.array(document.overlap_matrix)
        image = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
        if len(matrix) <= _MOST_NUMBERED:
            for (row, column), value in np.ndenumerate(matrix):
                if value >= 0.005:  # smaller values would be printed as 0.00
                    colour = "white" if value > 0.5 else "black"
                    axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
        every = range(0, len(matrix), 1 + len(matrix) // (_MOST_NUMBERED + 1))
        labels = [f"{document.windows[k].lambda_value:.3g}" for k in every]
        axes.set_xticks(every, labels, rotation=90)
        axes.set_yticks(every, labels)
        axes.set_xlabel("λ")
        axes.set_ylabel("λ")
        neighbours = np.diagonal(matrix, offset=1)
        axes.set_title(f"smallest overlap of neighbouring windows: {neighbours.min():.3f}", fontsize=10)
        figure.colorbar(image, label="overlap")
    return figure


def _path(document: FreeEnergyDocument | SwitchingDocument) -> str:
    initial, final = subscripted(document.initial_formula), subscripted(document.final_formula)
    return f"{initial} → {final}, {document.temperature_K:g} K"


def _process(document: SwitchingDocument | FrenkelLaddDocument | LiquidFreeEnergyDocument | RemovalDocument) -> str:
    """Return what the switches do, and the free energy that they give."""
    if isinstance(document, SwitchingDocument):
        symbol = "ΔF" if document.pressure_GPa is None else "ΔG"
        return f"{_path(document)}: {symbol} = {with_error(document.total.delta_f_eV, document.total.error_eV)}"
    if isinstance(document, RemovalDocument):
        difference = with_error(document.removal_eV, document.removal_error_eV)
        return f"removal of an atom of {document.element}, {document.temperature_K:g} K: G(N−1) − G(N) = {difference}"
    reference = "Uhlenbeck–Ford liquid" if isinstance(document, LiquidFreeEnergyDocument) else "Einstein crystal"
    gibbs = with_error(document.gibbs.value_eV, document.gibbs.error_eV)
    return (
        f"{subscripted(document.formula)} → {reference}, {document.counts.title}, {document.temperature_K:g} K: "
        f"G = {gibbs}{_mixing_note(document)}"
    )


def _mixing_note(document: FrenkelLaddDocument | LiquidFreeEnergyDocument) -> str:
    mixed = isinstance(document, FrenkelLaddDocument) and document.is_mixed
    return ", without ideal mixing" if mixed else ""


def _difference(document: FreeEnergyDocument) -> str:
    return "ΔF" if document.ensemble == "NVT" else "ΔG"


def plot_switching(
    document: SwitchingDocument | FrenkelLaddDocument | LiquidFreeEnergyDocument | RemovalDocument,
) -> Figure:
    """Plot ∂U/∂λ along forward and backward switches, and the cumulative distributions of W_f and −W_b."""
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(8, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        plot_work(left, right, document.work)
        figure.suptitle(_process(document), fontsize=10)
        legend_below(figure, left, right)
    return figure


def plot_work(left: Axes, right: Axes, work: WorkDocument) -> None:
    """Plot ∂U/∂λ along switches (left), and the cumulative distributions of W_f and −W_b (right)."""
    curves = work.curves.arrays()
    lambdas = curves["lambdas"]
    for label, colour, values, order in (
        ("forward", "C0", curves["forward_dudl_eV"], slice(None)),
        ("backward", "C1", curves["backward_dudl_eV"], slice(None, None, -1)),
    ):
        for k, row in enumerate(values):
            left.plot(lambdas[order], row, color=colour, linewidth=0.6, alpha=0.6, label=label if k == 0 else None)
    left.set_xlabel("λ")
    left.set_ylabel("∂U/∂λ (eV)")
    for label, colour, works in (
        ("$W$ forward", "C0", np.array(work.forward_work_eV)),
        ("$-W$ backward", "C1", -np.array(work.backward_work_eV)),
    ):
        right.ecdf(works, color=colour, linewidth=1)
        shares = np.arange(1, len(works) + 1) / len(works)
        right.plot(np.sort(works), shares, "o", color=colour, markersize=4, label=label)
    best = work.best
    right.axvline(best.delta_f_eV, color="0.3", linewidth=1)
    right.set_xlabel("work (eV)")
    right.locator_params(axis="x", nbins=5)
    right.set_ylim(0, 1.05)
    right.set_ylabel("share of the switches with less work")
    right.set_title(f"{with_error(best.delta_f_eV, best.error_eV)}, overlap {work.overlap:.2f}", fontsize=10)


def plot_sizes(document: SizeExtrapolation) -> Figure:
    """Plot G per atom without its ln N / N term against 1/N, with the extrapolation to an infinite crystal."""
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(5, 3.6), layout="constrained")
        axes = figure.subplots()
        x = 1 / np.array(document.n_atoms)
        limit = document.gibbs_limit_eV_per_atom
        gibbs = np.array(document.gibbs_eV_per_atom) - document.logarithmic_terms_eV_per_atom
        axes.errorbar(x, gibbs, yerr=document.errors_eV_per_atom, fmt="o", capsize=3)
        axes.errorbar([0], [limit], yerr=[document.limit_error_eV_per_atom], fmt="s", capsize=3)
        slope = np.average((gibbs - limit) / x, weights=x**2)
        ends = np.array([0, x.max()])
        axes.plot(ends, limit + slope * ends, linewidth=0.8, color="0.5")
        axes.set_xlabel("1/N")
        axes.set_ylabel("G/N + ½ $k_B T$ ln N / N (eV/atom)")
        without = ", without ideal mixing" if document.cells[0].is_mixed else ""
        axes.set_title(f"{subscripted(document.formula)}, {document.temperature_K:g} K{without}", fontsize=10)
    return figure

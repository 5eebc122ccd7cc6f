"""Figures from documents."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from alchemflows.schemas.free_energy import FreeEnergyDocument


def plot_gradient(document: FreeEnergyDocument) -> Figure:
    """Plot ⟨dU/dλ⟩ with its standard error against λ; the area under it is ΔF by TI."""
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
        error = "?" if document.ti.error_eV is None else f"{document.ti.error_eV:.4f}"
        axes.set_title(
            f"{document.initial_formula} → {document.final_formula}, {document.temperature_K:g} K, "
            f"{document.n_atoms} atoms\n"
            f"ΔF = {document.ti.delta_f_eV:.4f} ± {error} eV (TI, without mass term)",
            fontsize=10,
        )
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Save a figure, in the format that the file's ending says."""
    figure.savefig(path, dpi=150)
    return path

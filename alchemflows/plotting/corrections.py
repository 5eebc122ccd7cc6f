"""Figures of corrections to another potential."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from ase import units
from matplotlib.figure import Figure
from scipy.stats import norm

from alchemflows.plotting.labels import legend_below, subscripted, with_error
from alchemflows.schemas.correction import CorrectionDocument


def plot_correction(document: CorrectionDocument) -> Figure:
    """Plot the distribution of ΔU at both ends, and the convergence of the correction of each end.

    Left: histograms of ΔU minus its mean, with the Gaussian that the second-order cumulant assumes. Right: the estimate
    from the first part of the frames minus that from all frames, with standard errors.
    """
    kT = units.kB * document.temperature_K
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(9, 4.3), layout="constrained")
        left, right = figure.subplots(1, 2)
        ends = zip((document.initial, document.final), document.differences_eV, strict=True)
        for k, (end, differences) in enumerate(ends):
            x = (differences - differences.mean()) / kT
            label = f"{subscripted(end.formula)} (λ = {end.lambda_value:g})"
            left.hist(x, bins="auto", density=True, histtype="step", color=f"C{k}", label=label)
            if (spread := float(x.std(ddof=1))) > 0:
                grid = np.linspace(x.min(), x.max(), 200)
                left.plot(grid, norm.pdf(grid, scale=spread), "--", linewidth=0.9, color=f"C{k}")
            known = [
                (fraction * end.n_frames, 1e3 * (value - end.best.delta_f_eV), 1e3 * error)
                for fraction, value, error in zip(document.fractions, end.curve_eV, end.curve_errors_eV, strict=True)
                if value is not None and error is not None
            ]
            n_frames, values, errors = zip(*known, strict=True)
            right.errorbar(n_frames, values, yerr=errors, marker="o", capsize=3, color=f"C{k}", label=label)
        left.plot([], [], "--", color="0.3", linewidth=0.9, label="Gaussian")
        left.set_xlabel("ΔU − ⟨ΔU⟩ ($k_B T$)")
        left.locator_params(axis="x", nbins=5)
        left.set_ylabel("density")
        legend_below(figure, left)
        right.axhline(0, color="0.6", linewidth=0.8)
        right.set_xlabel("number of frames")
        right.set_ylabel("estimate − estimate from all frames (meV)")
        symbol = "ΔΔF" if document.ensemble == "NVT" else "ΔΔG"
        path = f"{subscripted(document.initial_formula)} → {subscripted(document.final_formula)}"
        found = with_error(document.correction.delta_f_eV, document.correction.error_eV)
        figure.suptitle(f"{path}, {document.counts.title}, to {document.target}: {symbol} = {found}", fontsize=10)
    return figure

"""Figures of reanalyses."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure

from alchemflows.plotting.labels import subscripted
from alchemflows.schemas.reanalysis import ReanalysisDocument


def plot_reanalysis(document: ReanalysisDocument) -> Figure:
    """Plot the correction of each ladder with its error (meV/atom); open symbols if the potentials overlap too little.

    Ladders without a correction have no symbol.
    """
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(7, 1.6 + 0.3 * max(4, len(document.ladders))), layout="constrained")
        axes = figure.subplots()
        axes.axvline(0, color="0.6", linewidth=0.8)
        for k, ladder in enumerate(document.ladders):
            if ladder.correction is None:
                continue
            value, error = ladder.correction.delta_f_eV_per_atom, ladder.correction.error_eV_per_atom or 0.0
            color, fill = ("C0", "C0") if ladder.overlaps else ("C3", "none")
            axes.errorbar(1e3 * value, k, xerr=1e3 * error, marker="o", capsize=3, color=color, mfc=fill)
        names = [
            f"{ladder.ladder[:8]}: {subscripted(ladder.initial_formula)} → {subscripted(ladder.final_formula)}, "
            f"{ladder.temperature_K:g} K"
            for ladder in document.ladders
        ]
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel("correction (meV/atom)")
        figure.suptitle(
            f"to {document.target}: {document.n_overlapping} of {len(document.ladders)} ladders overlap enough",
            fontsize=10,
        )
    return figure

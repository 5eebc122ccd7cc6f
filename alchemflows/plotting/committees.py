"""Figures of committees of potentials."""

from __future__ import annotations

import matplotlib as mpl
from ase import units
from matplotlib.figure import Figure

from alchemflows.plotting.labels import legend_below, shortened, subscripted, with_error
from alchemflows.schemas.committee import CommitteeDocument


def plot_committee(document: CommitteeDocument) -> Figure:
    """Plot the free energy of each member, and the spread of the members at each frame.

    Left: total of each member with its statistical error, their mean, and σ_model as a band. Right: sample standard
    deviation over the members of ΔU minus its mean, against the index of the frame, in units of k_B T.
    """
    kT = units.kB * document.temperature_K
    symbol = "ΔF" if document.ensemble == "NVT" else "ΔG"
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(9, 1.8 + 0.35 * max(6, len(document.members))), layout="constrained")
        left, right = figure.subplots(1, 2)
        mean, sigma = document.mean.delta_f_eV, document.sigma_model_eV
        left.axvspan(mean - sigma, mean + sigma, color="0.9", label="mean ± σ_model")
        left.axvline(mean, color="0.5", linewidth=0.8)
        for k, member in enumerate(document.members):
            known = member.overlaps or member.ladder is not None
            overlaps = {"color": "C0" if known else "C3", "mfc": None if known else "none"}
            left.errorbar(
                member.total.delta_f_eV, k, xerr=member.total.error_eV or 0.0, marker="o", capsize=3, **overlaps
            )
        names = [("sampled: " if member.sampled else "") + shortened(member.name) for member in document.members]
        left.set_yticks(range(len(names)), names, fontsize=8)
        left.set_ylim(len(names) - 0.5, -0.5)
        left.set_xlabel(f"{symbol} (eV)")
        formulas = (document.initial_formula, document.final_formula)
        for k, (spread, formula) in enumerate(zip(document.spreads_eV, formulas, strict=True)):
            right.plot(spread / kT, "o", markersize=3, color=f"C{k}", label=f"{subscripted(formula)} (λ = {k})")
        right.set_ylim(bottom=0)
        right.set_xlabel("frame")
        right.set_ylabel("spread of ΔU − ⟨ΔU⟩ ($k_B T$)")
        legend_below(figure, left, right)
        path = f"{subscripted(document.initial_formula)} → {subscripted(document.final_formula)}"
        found = with_error(mean, document.mean.error_eV)
        figure.suptitle(f"{path}, {document.counts.title}: {symbol} = {found}, σ_model = {sigma:.4f} eV", fontsize=10)
    return figure

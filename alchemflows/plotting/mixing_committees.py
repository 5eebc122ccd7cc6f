"""Figures of committees of potentials on free energies of mixing."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from alchemflows.plotting.labels import legend_below, shortened, subscripted
from alchemflows.schemas.mixing_committee import MixingCommitteeDocument


def plot_mixing_committee(document: MixingCommitteeDocument) -> Figure:
    """Plot the free energy of mixing with each member at each temperature, and the compositions of the gap.

    Left: one curve for each member, one line style for each temperature; bars are the errors of the change by the
    member. Right: both compositions of the gap against the temperature.
    """
    styles = ["-", "--", ":", "-."]
    second = document.species[1]
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        for k, member in enumerate(document.members):
            gaps = [(each.temperature_K, each.binodal) for each in member.isotherms if each.binodal is not None]
            for t, each in enumerate(member.isotherms):
                values = 1e3 * document.counts.per_atom(np.array(each.mixing_eV, dtype=float))
                errors = 1e3 * document.counts.per_atom(np.array(each.change_errors_eV, dtype=float))
                known = np.isfinite(values)
                left.errorbar(
                    np.linspace(0, 1, len(values))[known],
                    values[known],
                    yerr=np.nan_to_num(errors[known]),
                    color=f"C{k}",
                    linestyle=styles[t % len(styles)],
                    marker="o",
                    markersize=2,
                    linewidth=1,
                    capsize=2,
                )
            for side in ("left", "right"):
                right.errorbar(
                    [getattr(pair, side) for _, pair in gaps],
                    [temperature_K for temperature_K, _ in gaps],
                    xerr=[getattr(pair, f"{side}_error") or 0.0 for _, pair in gaps],
                    fmt="o",
                    markersize=4,
                    capsize=3,
                    color=f"C{k}",
                )
            left.plot([], [], color=f"C{k}", label=("sampled: " if member.sampled else "") + shortened(member.name))
        for t, temperature_K in enumerate(document.temperatures_K):
            left.plot([], [], color="0.3", linestyle=styles[t % len(styles)], label=f"{temperature_K:g} K")
        left.set_xlabel(f"x({second})")
        left.set_ylabel("$G_{mix}$ (meV/atom)")
        right.set_xlabel(f"x({second}) on both sides of the gap")
        right.set_ylabel("T (K)")
        right.set_xlim(0, 1)
        legend_below(figure, left)
        figure.suptitle(f"{subscripted(document.formula)}, {document.counts.title}: committee", fontsize=10)
    return figure

"""Figures of ordered and disordered arrangements."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alchemflows.plotting.labels import legend_below, subscripted
from alchemflows.schemas.ordering import Kind, OrderDisorderDocument, OrderingSearchDocument

_COLOURS: dict[Kind, str] = {
    "ordered": "tab:blue",
    "random": "0.5",
    "quasirandom": "0.2",
    "sampled": "tab:green",
    "paired": "tab:orange",
    "mean-field": "tab:red",
}


def plot_order(document: OrderDisorderDocument) -> Figure:
    """Plot the energy of each arrangement relative to that of the best ordered one.

    The dashed line is the mean of the random arrangements, with its standard error.
    """
    best = min(each.energy_eV_per_atom for each in document.arrangements if each.kind == "ordered")
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(5.5, 3.8), layout="constrained")
        axes = figure.subplots()
        shown = [kind for kind in _COLOURS if kind != "sampled" or document.sampled_temperature_K is not None]
        for k, kind in enumerate(shown):
            colour = _COLOURS[kind]
            here = [each for each in document.arrangements if each.kind == kind]
            energies = [1e3 * (each.energy_eV_per_atom - best) for each in here]
            axes.scatter([k] * len(here), energies, color=colour, marker="_", s=600, linewidths=1.8)
            if kind == "ordered" and len(here) <= 5:
                for each, energy in zip(here, energies, strict=True):
                    axes.annotate(
                        each.name, (k, energy), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8
                    )
        mean, error = (
            1e3 * (document.random_energy_eV_per_atom - best),
            1e3 * (document.random_error_eV_per_atom or 0.0),
        )
        axes.axhline(mean, color="0.5", linestyle="--", linewidth=0.8, label="mean of the random ones")
        axes.axhspan(mean - error, mean + error, color="0.5", alpha=0.15, linewidth=0)
        axes.set_xticks(range(len(shown)), shown)
        axes.set_xlim(-0.6, len(shown) - 0.4)
        axes.set_ylabel("energy above the best order (meV/atom)")
        axes.margins(y=0.15)
        legend_below(figure, axes)
        axes.set_title(f"{subscripted(document.formula)}, {document.counts.title}")
    return figure


def plot_search(document: OrderingSearchDocument) -> Figure:
    """Plot the energy of each ordered arrangement relative to the lowest; dashed: the alchemical cell at the start."""
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(5, 3.6), layout="constrained")
        axes = figure.subplots()
        best = document.arrangements[0].energy_eV
        energies = [1e3 * document.counts.per_atom(each.energy_eV - best) for each in document.arrangements]
        axes.scatter(range(1, len(energies) + 1), energies, color=_COLOURS["ordered"], label="ordered")
        axes.set_xlim(0.5, len(energies) + 0.5)
        start = 1e3 * document.counts.per_atom(document.disordered_energy_eV - best)
        axes.axhline(start, color="0.5", linestyle="--", linewidth=0.8, label="alchemical cell at the start")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel("arrangement, lowest energy first")
        axes.set_ylabel("energy above the lowest (meV/atom)")
        axes.set_title(f"{subscripted(document.formula)}, {document.counts.title}")
        axes.margins(y=0.15)
        legend_below(figure, axes)
    return figure

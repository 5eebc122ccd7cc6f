"""Figures of Monte Carlo on arrangements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import matplotlib as mpl
from ase import units
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alchemflows.plotting.labels import legend_below, subscripted
from alchemflows.schemas.monte_carlo_result import Average, MonteCarloDocument, MonteCarloPoint, PairOrder, WaveOrder

#: Lines of replicas by the order of their starts in the document.
_LINES = ("-", "--", ":", "-.")


def plot_monte_carlo(document: MonteCarloDocument) -> Figure:
    """Plot energy, heat capacity and order against the temperature, with standard errors.

    The last panel has the Warren–Cowley parameters of the first shell and the order parameters of waves; if the
    composition fluctuates, another panel has the shares of the species. The points of each set of chemical potentials
    or targets are joined by a line.
    """
    varying = document.ensemble != "canonical"
    with mpl.rc_context({"font.size": 10}):
        lines = list(_lines(document))
        figure = Figure(figsize=(13 if varying else 10, 3.4 + 0.4 * len(lines)), layout="constrained")
        panels = figure.subplots(1, 4 if varying else 3)
        for label, points in lines:
            energies, capacities = zip(*((each.energy_eV, each.heat_capacity_eV_per_K) for each in points), strict=True)
            scales = [each.counts.per_atom(1.0) for each in points]
            _errorbars(panels[0], points, energies, scales, label)
            _errorbars(panels[1], points, capacities, [scale / units.kB for scale in scales], label)
            for name, averages in _orders(points).items():
                _errorbars(panels[2], points, averages, [1.0] * len(points), ", ".join(filter(None, (label, name))))
            for index, sublattice in enumerate(points[0].composition if varying else []):
                for symbol in list(sublattice)[:-1]:
                    shares = [each.composition[index][symbol] for each in points]
                    name = f"{symbol} on sublattice {index}, {label}"
                    _errorbars(panels[3], points, shares, [1.0] * len(points), name)
        labels = ("energy (eV/atom)", "heat capacity ($k_B$/atom)", "order", "share of the sites")
        for axes, label in zip(panels, labels, strict=False):
            axes.set_xlabel("temperature (K)")
            axes.set_ylabel(label)
            axes.margins(0.08)
        panels[2].axhline(0, color="0.7", linewidth=0.8, zorder=0)
        for axes in panels[2:] if not _lines_are_labelled(document) else panels:
            if axes.get_legend_handles_labels()[1]:
                axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2))
        figure.suptitle(_title(document), fontsize=10)
    return figure


def plot_arrangement_series(document: MonteCarloDocument) -> Figure:
    """Plot the energy of each replica against the number of sweeps.

    Colours are points. Line styles are starts; with replica exchange, those of the ladder of the replica.
    """
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(7, 3.8), layout="constrained")
        axes = figure.subplots()
        starts = list(dict.fromkeys(replica.start for replica in document.replicas))
        for replica in document.replicas:
            energy = document.points[replica.point].counts.per_atom(replica.series.unpack().energy_eV)
            style = _LINES[starts.index(replica.start) % len(_LINES)]
            axes.plot(
                range(1, len(energy) + 1), energy, style, color=f"C{replica.point % 10}", linewidth=0.8, alpha=0.8
            )
        for index, point in enumerate(document.points):
            axes.plot([], [], color=f"C{index % 10}", label=point.label)
        if len(starts) > 1:
            for k, start in enumerate(starts):
                axes.plot([], [], _LINES[k % len(_LINES)], color="0.3", label=f"start: {start}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("production sweep")
        axes.set_ylabel("energy (eV/atom)")
        axes.set_title(_title(document), fontsize=10)
        legend_below(figure, axes)
    return figure


def plot_warren_cowley(document: MonteCarloDocument) -> Figure:
    """Plot the Warren–Cowley parameters against the distance of the shell, with standard errors.

    Dashed lines are random arrangements of the same cell.
    """
    pairs = list(dict.fromkeys((own.sublattice, own.pair) for each in document.points for own in each.warren_cowley))
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(1.5 + 3.6 * max(1, len(pairs)), 3.6), layout="constrained")
        panels = figure.subplots(1, max(1, len(pairs)), squeeze=False, sharey=True)[0]
        for axes, pair in zip(panels, pairs, strict=False):
            for index, point in enumerate(document.points):
                shells = [own for own in point.warren_cowley if (own.sublattice, own.pair) == pair]
                distances, colour = [own.distance_A for own in shells], f"C{index % 10}"
                errors = [own.alpha.error or 0.0 for own in shells]
                values = [own.alpha.value for own in shells]
                axes.errorbar(
                    distances, values, errors, fmt="o-", color=colour, ms=4, lw=1, capsize=2, label=point.label
                )
                axes.plot(distances, [own.random for own in shells], "--", color=colour, lw=0.8)
            axes.set_title(f"{pair[1][0]}–{pair[1][1]}, sublattice {pair[0]}", fontsize=10)
        for axes in panels:
            axes.axhline(0, color="0.7", linewidth=0.8, zorder=0)
            axes.set_xlabel("distance (Å)")
        panels[0].set_ylabel("Warren–Cowley α")
        if pairs:
            legend_below(figure, panels[-1])
        figure.suptitle(_title(document), fontsize=10)
    return figure


def _title(document: MonteCarloDocument) -> str:
    return f"{subscripted(document.formula)}, {document.counts.title}: {document.verdict.status}"


def _lines(document: MonteCarloDocument) -> Iterator[tuple[str, list[MonteCarloPoint]]]:
    """Yield the points that differ only by their temperature, with a label."""
    found: dict[str, list[MonteCarloPoint]] = {}
    for point in document.points:
        found.setdefault(point.composition_label, []).append(point)
    yield from found.items()


def _lines_are_labelled(document: MonteCarloDocument) -> bool:
    return any(point.composition_label for point in document.points)


def _orders(points: Sequence[MonteCarloPoint]) -> dict[str, list[Average | None]]:
    """Return α of the first shells and the order parameters of waves at each point, by their names."""
    several = len(points[0].composition) > 1

    def name(own: PairOrder | WaveOrder) -> str:
        if isinstance(own, PairOrder):
            text = f"α {own.pair[0]}–{own.pair[1]}"
        else:
            text = f"wave {' '.join(f'{q:g}' for q in own.wave_vector)} of {own.species}"
        return f"{text}, sublattice {own.sublattice}" if several else text

    named = [
        {name(own): own.alpha for own in each.warren_cowley if own.shell == 1}
        | {name(own): own.order for own in each.waves}
        for each in points
    ]
    return {key: [each.get(key) for each in named] for key in dict.fromkeys(key for each in named for key in each)}


def _errorbars(
    axes: Axes,
    points: Sequence[MonteCarloPoint],
    averages: Sequence[Average | None],
    scales: Sequence[float],
    label: str,
) -> None:
    known = [
        (point.temperature_K, scale * average.value, scale * (average.error or 0.0))
        for point, average, scale in zip(points, averages, scales, strict=True)
        if average is not None
    ]
    temperatures, values, errors = zip(*known, strict=True)
    axes.errorbar(temperatures, values, errors, fmt="o-", ms=4, lw=1, capsize=2, label=label)

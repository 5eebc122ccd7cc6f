"""Figures of Monte Carlo on arrangements."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from pymatgen.core import Lattice, Structure

from alchemflows.plotting import plot_arrangement_series, plot_monte_carlo, plot_warren_cowley
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.monte_carlo import ArrangementSeries, MonteCarloSettings
from alchemflows.schemas.monte_carlo_result import (
    Average,
    MonteCarloDocument,
    MonteCarloPoint,
    MonteCarloReplica,
    PackedArrangements,
    PairOrder,
    WaveOrder,
)
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict

COUNTS = Counts(atoms=4, sites=4, formula_units=2)


def average(value: float, error: float | None = 0.1) -> Average:
    return Average(value=value, error=error, n_independent=50)


def point(temperature_K: float, energy_eV: float, *, mu: float | None = None, ordered: bool = True) -> MonteCarloPoint:
    pairs = [
        PairOrder(
            sublattice=0, shell=k, distance_A=3.0 * k, n_neighbours=6, pair=("Na", "K"), alpha=average(-1.0 / k),
            random=-0.1,
        )
        for k in (1, 2)
    ]  # fmt: skip
    wave = WaveOrder(sublattice=0, wave_vector=(0.5, 0.5, 0.5), species="Na", order=average(0.8, None), random=0.2)
    return MonteCarloPoint(
        temperature_K=temperature_K, mu_eV=None if mu is None else [{"Na": 0.0, "K": mu}], formula="KNa", counts=COUNTS,
        n_replicas=2, n_samples=10, energy_eV=average(energy_eV), volume_A3=average(80.0),
        composition=[{"Na": average(0.25), "K": average(0.75)}],
        heat_capacity_eV_per_K=average(4 * units.kB, 0.4 * units.kB), acceptance=average(0.5),
        warren_cowley=pairs if ordered else [], waves=[wave] if ordered else [],
    )  # fmt: skip


def document(points: list[MonteCarloPoint], ensemble="canonical", exchange=None) -> MonteCarloDocument:
    series = ArrangementSeries(
        np.arange(5.0), np.full(5, 80.0), np.zeros((5, 2), dtype=int), np.ones(5), np.zeros(5, dtype=int)
    )
    replicas = [
        MonteCarloReplica(
            point=k, start=start, final=Structure(Lattice.cubic(3), ["Na"], [[0, 0, 0]]),
            series=PackedArrangements.pack(series),
        )
        for k in range(len(points)) for start in ("random", "quenched")
    ]  # fmt: skip
    return MonteCarloDocument(
        formula="KNa", counts=COUNTS, ensemble=ensemble, temperatures_K=[600.0, 900.0], pressure_GPa=None,
        species=["Na", "K"], sites=[[0, 1]], points=points, replicas=replicas, exchange=exchange,
        settings=MonteCarloSettings(temperature_K=600), verdict=Verdict.of([]), provenance=Provenance(),
    )  # fmt: skip


def bars(axes) -> list[list[list[float]]]:
    """Return the points of each line with error bars."""
    return [container.lines[0].get_xydata().tolist() for container in axes.containers]


def test_averages_are_per_atom_over_temperature():
    figure = plot_monte_carlo(document([point(600, -8.0), point(900, -4.0)]))
    energy, capacity, order = figure.axes
    assert bars(energy) == [[[600, -2], [900, -1]]]
    assert np.concatenate(energy.containers[0].lines[2][0].get_segments())[:, 1] == pytest.approx(
        [-2.025, -1.975, -1.025, -0.975]
    )
    assert np.array(bars(capacity)[0])[:, 1] == pytest.approx([1, 1])
    assert bars(order) == [[[600, -1], [900, -1]], [[600, 0.8], [900, 0.8]]]
    assert [text.get_text() for text in order.get_legend().get_texts()] == ["α Na–K", "wave 0.5 0.5 0.5 of Na"]


def test_each_chemical_potential_has_its_own_line_and_the_composition_is_shown():
    points = [point(600, -8.0, mu=0.1), point(600, -6.0, mu=0.2), point(900, -4.0, mu=0.1, ordered=False)]
    energy, _, order, shares = plot_monte_carlo(document(points, "semi-grand")).axes
    assert bars(energy) == [[[600, -2], [900, -1]], [[600, -1.5]]]
    assert bars(order)[0] == [[600, -1]]
    assert bars(shares) == [[[600, 0.25], [900, 0.25]], [[600, 0.25]]]
    assert "0.2" in energy.get_legend().get_texts()[1].get_text()


def test_series_of_replicas_show_their_starts():
    points = [point(600, -8.0), point(900, -4.0)]
    (axes,) = plot_arrangement_series(document(points)).axes
    drawn = [line for line in axes.lines if len(line.get_xdata())]
    assert [line.get_linestyle() for line in drawn] == ["-", "--"] * 2
    assert drawn[0].get_ydata().tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert drawn[0].get_color() == drawn[1].get_color() != drawn[2].get_color()


def test_short_range_order_over_distance():
    (axes,) = plot_warren_cowley(document([point(600, -8.0), point(900, -4.0)])).axes
    assert bars(axes) == [[[3, -1], [6, -0.5]]] * 2
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [line.get_ydata().tolist() for line in dashed] == [[-0.1, -0.1]] * 2
    assert plot_warren_cowley(document([point(600, -8.0, ordered=False)])).axes

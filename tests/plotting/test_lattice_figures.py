"""Tests of the figures of lattice parameters."""

from __future__ import annotations

from itertools import product

import pytest

from alchemflows.plotting import plot_lattices
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reproduction import LatticeCurve, RandomAverage, ReproductionDocument
from alchemflows.schemas.verdict import Verdict

EDGES = [(1, 0, 0), (0.5, 0.5, 0), (0, 1, 0), (0, 0.5, 0.5), (0, 0, 1), (0.5, 0, 0.5)]
ALL = [(i / 4, j / 4, 1 - (i + j) / 4) for i, j in product(range(5), range(5)) if i + j <= 4]


def curve(weights, parameters, averaged) -> LatticeCurve:
    def lengths(w):
        return [5.0 + w[1] + k for k in range(len(parameters))]

    return LatticeCurve(
        name="(A,B,C)X",
        elements=["Cl", "Br", "I"][: len(weights[0])],
        parameters=parameters,
        weights=[list(w) for w in weights],
        lengths_A=[lengths(w) for w in weights],
        random=[
            RandomAverage(
                weights=list(averaged),
                formula="AX",
                lengths_A=[1.1 * a for a in lengths(averaged)],
                errors_A=[0.1] * len(parameters),
                n_arrangements=3,
            )
        ],
    )


def document(*curves) -> ReproductionDocument:
    return ReproductionDocument(
        figure="Fig. 2",
        version="small",
        rows=[],
        checks=[],
        curves=list(curves),
        verdict=Verdict.of([]),
        provenance=Provenance(),
    )


def test_binary_figure_shows_vegards_law_and_random_arrangements():
    figure = plot_lattices(document(curve([(1, 0), (0.5, 0.5), (0, 1)], ["a"], (0.5, 0.5))))
    drawn, vegard, random = figure.axes[0].get_lines()
    assert drawn.get_ydata().tolist() == pytest.approx([5, 5.5, 6])
    assert vegard.get_ydata().tolist() == pytest.approx([5, 6])
    assert (random.get_xdata()[0], random.get_ydata()[0]) == pytest.approx((0.5, 6.05))


def test_a_parameter_has_the_same_colour_in_all_panels():
    line = [(1, 0), (0.5, 0.5), (0, 1)]
    figure = plot_lattices(document(curve(line, ["a", "c"], (0.5, 0.5)), curve(EDGES, ["a", "b", "c"], (0, 0.5, 0.5))))
    found = [
        {line.get_label(): line.get_color() for line in axes.get_lines() if "alchemical" in line.get_label()}
        for axes in figure.axes
    ]
    assert found[0].items() <= found[1].items() and len(set(found[1].values())) == 3
    assert {text.get_text() for text in figure.legends[0].get_texts()} >= set(found[1])


def test_edges_of_a_triangle_are_plotted_side_by_side():
    (axes,) = plot_lattices(document(curve(EDGES, ["a", "b"], (0, 0.5, 0.5)))).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["Cl", "Br", "I", "Cl"]
    first, second, random = axes.get_lines()[:3]
    assert first.get_xdata().tolist() == [0, 0.5, 1] and second.get_xdata().tolist() == [1, 1.5, 2]
    assert first.get_ydata().tolist() == pytest.approx([0, 10, 20])  # % of 5 Å
    assert (random.get_xdata()[0], random.get_ydata()[0]) == pytest.approx((1.5, 21))


def test_ternary_figure_uses_one_colour_scale_for_sweep_and_random_arrangements(tmp_path):
    figure = plot_lattices(document(curve(ALL, ["a"], (0.25, 0.5, 0.25))))
    axes = figure.axes[0]
    assert axes.name == "ternary"
    filled, _, squares = axes.collections
    assert squares.get_array().tolist() == pytest.approx([6.05]) and squares.norm is filled.norm

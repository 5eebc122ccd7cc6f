"""Figures and tables of combined ladders."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from anharmonic import stored_ladder
from rich.console import Console

from alchemflows.analysis.combination import combined
from alchemflows.cli.combination_tables import combination_tables
from alchemflows.plotting import plot_combination, plot_state_overlaps


@pytest.fixture(scope="module")
def ladders():
    return [stored_ladder(300.0, 0.0, n=60), stored_ladder(360.0, 1.0, n=60, seed=1)]


@pytest.fixture(scope="module")
def document(ladders):
    return combined(ladders, [300.0, 330.0, 3000.0])


def test_curves_are_drawn_for_each_pressure_with_the_sampled_temperatures(document):
    left, right = plot_combination(document).axes
    lines = {line.get_label(): line for line in left.lines}
    for pressure in document.pressures_GPa:
        x, y = lines[f"{pressure:g} GPa"].get_data()
        points = document.at_pressure(pressure)
        assert list(x) == [300.0, 330.0, 3000.0] and np.isnan(y[2])
        assert y[0] == pytest.approx(1e3 * points[0].total.delta_f_eV_per_atom)
    dotted = {line.get_xdata()[0] for line in left.lines if line.get_linestyle() == ":"}
    assert dotted == {300.0, 360.0}
    assert len(left.collections) >= 4  # two bands for each pressure
    assert {"ΔH, 0 GPa", "TΔS, 1 GPa"} <= set(right.get_legend_handles_labels()[1])


def test_one_temperature_is_drawn_against_pressure(ladders):
    found = combined(ladders, [320.0], [0.0, 0.5, 1.0])
    left, _ = plot_combination(found).axes
    assert left.get_xlabel() == "p (GPa)"
    assert any(list(line.get_xdata()) == [0.0, 0.5, 1.0] for line in left.lines)


def test_one_point_is_drawn_with_its_error(ladders):
    left, right = plot_combination(combined(ladders[:1])).axes
    assert len(left.containers) == 2 and len(right.containers) == 2


def test_overlaps(document):
    axes, *_ = plot_state_overlaps(document).axes
    assert axes.images[0].get_array().shape == (10, 10)
    assert [label.get_text().split("\n")[0] for label in axes.get_xticklabels()] == ["300 K", "360 K"]


def test_table(document):
    console = Console(width=200, file=StringIO())
    console.print(combination_tables(document))
    text = console.file.getvalue()
    point = document.points[1]
    for each in (f"{1e3 * point.total.delta_f_eV_per_atom:.3f} ±", "not sampled", document.ladders[0].uuid[:8]):
        assert each in text

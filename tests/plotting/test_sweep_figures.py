"""Tests of the figures of composition sweeps."""

from __future__ import annotations

import numpy as np
import pytest

from alchemflows.errors import InvalidInputError
from alchemflows.plotting import plot_sweep, save
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.sweep import CompositionPoint, CompositionSweepDocument
from alchemflows.schemas.verdict import Verdict


def document(weights, labels=("Na[4]", "K[4]"), mixing=True, corners=None) -> CompositionSweepDocument:
    points = [
        CompositionPoint(
            weights=list(w),
            formula="NaCl",
            counts=Counts(atoms=8, sites=8, formula_units=4),
            energy_eV=-24.0,
            mixing_energy_eV=0.08 * w[0] * w[1] if mixing else None,
            volume_A3=160.0 + 40 * w[1],
            volume_deviation=None,
            cell_parameters=[5.0 + w[1] ** 2, 5.0 + w[1] ** 2, 8.0 + w[1], 90.0, 90.0, 90.0],
            weight_gradients_eV=[0.0] * len(w),
            slope_eV_per_atom=None,
            converged=True,
            key="",
        )
        for w in weights
    ]
    return CompositionSweepDocument(
        weight_labels=list(labels),
        coupling="paired",
        n_sites=8,
        points=points,
        corners=corners,
        shares_of_corners=[],
        n_known=0,
        verdict=Verdict.of([]),
        provenance=Provenance(),
    )


def test_line_figure_shows_each_distinct_lattice_parameter_and_vegards_law(tmp_path):
    figure = plot_sweep(document([(0.5, 0.5), (1.0, 0.0), (0.0, 1.0)], corners=[1, 2]))  # in any order
    left, right = figure.axes
    curves = [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in left.lines]
    (a, a_line, c, c_line) = curves
    assert a == ([0, 0.5, 1], [5.0, 5.25, 6.0]) and a_line == ([0, 1], [5.0, 6.0])
    assert c == ([0, 0.5, 1], [8.0, 8.5, 9.0]) and c_line == ([0, 1], [8.0, 9.0])
    np.testing.assert_allclose(right.lines[0].get_ydata(), [0, 2.5, 0])
    assert left.get_xlabel() == "x(K)" and "meV" in right.get_ylabel()
    assert save(figure, tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_line_figure_shows_the_energy_if_a_pure_end_is_missing():
    left, right = plot_sweep(document([(1.0, 0.0), (0.5, 0.5)], mixing=False)).axes
    assert [line.get_linestyle() for line in left.lines] == ["-", "-"]  # a chord to x = 0.5 is not Vegard's line
    assert right.get_ylabel() == "energy (eV/atom)"


def test_triangle_figure_is_ternary(tmp_path):
    weights = [(i / 4, j / 4, 1 - (i + j) / 4) for i in range(5) for j in range(5 - i)]
    figure = plot_sweep(document(weights, ("Li[4]", "Na[4]", "K[4]")))
    ternary = [axes for axes in figure.axes if hasattr(axes, "get_tlabel")]
    assert [axes.get_tlabel() + axes.get_llabel() + axes.get_rlabel() for axes in ternary] == ["LiNaK"] * 2
    assert save(figure, tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_sweep_over_four_elements_is_refused():
    with pytest.raises(InvalidInputError, match="A, B, C, D"):
        plot_sweep(document(np.eye(4).tolist(), ("A", "B", "C", "D")))

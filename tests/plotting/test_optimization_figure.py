"""Tests of the figure of a composition optimization."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure

from alchemflows.plotting import plot_optimization, save
from alchemflows.schemas.optimization import OptimizationDocument, OptimizationRun, OptimizationStep, Target
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


def run(shares) -> OptimizationRun:
    steps = [
        OptimizationStep(weights=[1 - x, x], objective=x**2, gradient=[0, 2 * x], quantities={"a_A": 4 + x, "b_A": 1.0})
        for x in shares
    ]
    return OptimizationRun(
        steps=steps,
        start_formula="KCl",
        formula="NaCl",
        structure=Structure(Lattice.cubic(4), ["Na"], [[0, 0, 0]]),
        n_evaluations=9,
        n_second_derivatives=3,
        reached=True,
    )


def test_figure_shows_one_curve_per_start_and_the_weights_of_the_best_run(tmp_path):
    document = OptimizationDocument(
        targets=[Target(quantity="a_A", value=4.1), Target(quantity="b_A", extremum="least")],
        weight_labels=["Na[1]", "K[1]"],
        coupling="paired",
        n_sites=1,
        relaxation="full",
        runs=[run([0.5, 0.2]), run([0.9, 0.4, 0.1])],
        best=1,
        verdict=Verdict.of([]),
        provenance=Provenance(),
    )
    figure = plot_optimization(document)
    a, b, weights = figure.axes
    assert [list(line.get_ydata()) for line in a.lines[:2]] == [[4.5, 4.2], [4.9, 4.4, 4.1]]
    assert list(a.lines[2].get_ydata()) == [4.1, 4.1] and len(b.lines) == 2
    assert [line.get_ydata().tolist() for line in weights.lines] == [[1 - 0.9, 0.6, 0.9], [0.9, 0.4, 0.1]]
    assert save(figure, tmp_path / "trace.png").read_bytes().startswith(b"\x89PNG")


def test_user_defined_function_has_its_own_panel(tmp_path):
    document = OptimizationDocument(
        targets=[],
        function="mine.misfit",
        weight_labels=["Na[1]", "K[1]"],
        coupling="paired",
        n_sites=1,
        relaxation="full",
        runs=[run([0.5, 0.2])],
        best=0,
        verdict=Verdict.of([]),
        provenance=Provenance(),
    )
    objective, _ = plot_optimization(document).axes
    assert list(objective.lines[0].get_ydata()) == pytest.approx([0.25, 0.04])

"""Test of the figure of ordered and disordered arrangements."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure

from alchemflows.plotting import plot_order
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.ordering import Arrangement, OrderDisorderDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict

COUNTS = Counts(atoms=40, sites=40, formula_units=8)


def test_energies_are_relative_to_the_best_ordered_arrangement():
    energies = {
        "rocksalt": ("ordered", -8.00), "layered": ("ordered", -7.99), "random 1": ("random", -7.97),
        "random 2": ("random", -7.99), "paired": ("paired", -7.9),
    }  # fmt: skip
    arrangements = [
        Arrangement(
            name=name, kind=kind, formula="Ba2MgWO6", counts=COUNTS, energy_eV=40 * energy, volume_A3=520.0,
            cell_parameters=[8.0] * 3 + [90.0] * 3, structure=Structure(Lattice.cubic(8), ["Ba"], [[0, 0, 0]]),
            converged=True, key=name,
        )
        for name, (kind, energy) in energies.items()
    ]  # fmt: skip
    document = OrderDisorderDocument(
        formula="Ba2MgWO6", counts=COUNTS, arrangements=arrangements, best_ordered="rocksalt",
        random_energy_eV=40 * -7.98, random_error_eV=0.4, ordering_energies_eV={"random": -0.8},
        entropy_kB=5.6, transition_temperatures_K={"random": 1700.0}, coupling_deviations_eV={},
        nearest_coupling="paired", ranks_rightly={}, verdict=Verdict.of([]), provenance=Provenance(),
    )  # fmt: skip
    (axes,) = plot_order(document).axes
    marks = [points.get_offsets().tolist() for points in axes.collections if len(points.get_offsets())]
    assert marks[0] == [pytest.approx([0, 0]), pytest.approx([0, 10])]
    assert marks[1] == [pytest.approx([1, 30]), pytest.approx([1, 10])]
    assert axes.lines[0].get_ydata()[0] == pytest.approx(20)
    assert [text.get_text() for text in axes.texts] == ["rocksalt", "layered"]

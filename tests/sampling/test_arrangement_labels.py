"""Labels and weights of arrangements."""

from __future__ import annotations

import numpy as np
import pytest
from lattices import everything, random_mixture, sites_of
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError
from alchemflows.sampling.arrangements import VACANCY, Arrangements


def test_weights_and_labels_are_one_to_one():
    arrangements, _ = random_mixture()
    labels = everything(arrangements)
    weights = arrangements.weights(labels)
    assert len(labels) == 27 * 8 == len(np.unique(weights, axis=0))
    assert np.array_equal(arrangements.labels(weights), labels)
    for row, chosen in zip(weights[::11], labels[::11], strict=True):
        symbols = [arrangements.species[k] for k in chosen]
        ordered = arrangements.system.at_vertex(row)
        assert [site.specie.symbol for site in ordered] == [symbol for symbol in symbols if symbol != VACANCY]


def test_counts():
    arrangements, _ = random_mixture()
    assert arrangements.species == ("Na", "K", "Cl", "I", VACANCY)
    counts = arrangements.counts(np.array([[0, 4, 1, 2, 2, 3], [1, 1, 1, 3, 3, 3]]))
    assert counts.tolist() == [[[1, 1, 0, 0, 1], [0, 0, 2, 1, 0]], [[0, 3, 0, 0, 0], [0, 0, 0, 3, 0]]]


def test_random_arrangements_are_equally_probable():
    arrangements = sites_of([["Na", "K"]] * 4)
    labels = arrangements.random([[2, 2]], range(3000))
    assert (labels.sum(axis=1) == 2).all()
    _, times = np.unique(labels, axis=0, return_counts=True)
    assert len(times) == 6 and np.abs(times - 500).max() < 4 * np.sqrt(500)
    assert np.array_equal(arrangements.random([[2, 2]], [7]), labels[7:8])


def test_of_a_disordered_crystal():
    crystal = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), [{"Na": 0.5, "K": 0.25}, {"Cl": 0.5, "I": 0.5}], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    disorder = Disorder(crystal)
    arrangements = Arrangements.of(disorder)
    assert arrangements.sites_per_sublattice.tolist() == [4, 4]
    counts = {
        symbol: count
        for sublattice in disorder.sublattices
        for symbol, count in zip(sublattice.symbols, sublattice.counts, strict=True)
    }
    counts = {symbol or VACANCY: count for symbol, count in counts.items()}
    allowed = [arrangements.allowed[arrangements.sublattice == k].all(axis=0) for k in range(2)]
    table = np.where(allowed, [counts[symbol] for symbol in arrangements.species], 0)
    labels = arrangements.random(table, [1])
    ordered = arrangements.system.at_vertex(arrangements.weights(labels)[0])
    assert ordered.composition.as_dict() == {"Na": 2, "K": 1, "Cl": 2, "I": 2}
    assert np.array_equal(arrangements.counts(labels)[0], table)


def test_sublattices_of_the_same_elements_can_be_kept_apart():
    elements = [["Na", "K"]] * 4
    assert sites_of(elements).n_sublattices == 1
    apart = sites_of(elements, sublattices=[[0, 2], [1, 3]])
    assert apart.sublattice.tolist() == [0, 1, 0, 1]
    assert apart.counts(np.array([[0, 1, 0, 1]])).tolist() == [[[2, 0], [0, 2]]]


def grouped() -> AlchemicalSystem:
    mixed = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]])
    return AlchemicalSystem.from_structure(mixed)[0]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Arrangements(grouped()), "site_resolved"),
        (lambda: Arrangements(AlchemicalSystem(grouped().structure)), "site groups"),
        (lambda: sites_of([["Na", "Na"]]), "Na"),
        (lambda: sites_of([["Na", "K"]] * 2, sublattices=[[0]]), "sublattices"),
        (lambda: sites_of([["Na", "K"]] * 2, sublattices=[[0, 1], [1]]), "sublattices"),
        (lambda: sites_of([["Na", "K"], ["Cl", "I"]], sublattices=[[0, 1]]), "sublattice 0"),
        (lambda: sites_of([["Na", "K"]], vacant=[1]), "vacant"),
        (lambda: sites_of([["Na", "K"]] * 2).random([[1, 2]], [0]), "counts"),
        (lambda: sites_of([["Na", "K"]] * 2).random([[3, -1]], [0]), "counts"),
        (lambda: random_mixture()[0].random([[1, 1, 1, 0, 0], [0, 0, 3, 0, 0]], [0]), "Cl"),
        (lambda: sites_of([["Na", "K"]] * 2).labels([[0.5, 0.5, 1, 0]]), "weights"),
        (lambda: sites_of([["Na", "K"]] * 2).labels([[0, 0, 1, 0]]), "weights"),
        (lambda: sites_of([["Na", "K"]] * 2).check([[0.0, 1.0]]), "labels"),
    ],
)
def test_wrong_input_is_refused(make, reason):
    with pytest.raises(InvalidInputError, match=reason):
        make()

"""Cells that are too small for their atoms to vibrate against one another."""

from __future__ import annotations

import pytest
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.cell_size import check_neighbours
from alchemflows.arguments import as_structure
from alchemflows.errors import InvalidInputError
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.phase_stability import PhaseStabilityMaker
from alchemflows.flows.switching import SwitchingMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.flows.vacancy import VacancyFreeEnergyMaker

IRON = as_structure(bulk("Fe"))
MAKER = FrenkelLaddMaker(potential="mace-demo")


@given(
    metal=st.sampled_from(["Fe", "Cu", "Ti", "Po", "Na"]),
    repeats=st.permutations([1, 1, 1]) | st.permutations([1, 1, 2]) | st.permutations([1, 1, 5]),
    scale=st.floats(0.9, 1.1),
)
def test_a_chain_of_images_is_refused(metal, repeats, scale):
    """Primitive cells of metals, repeated along one axis at most: two directions hold images alone."""
    structure = as_structure(bulk(metal)) * tuple(repeats)
    structure.scale_lattice(structure.volume * scale**3)
    with pytest.raises(InvalidInputError, match="supercell"):
        check_neighbours(structure)


@given(metal=st.sampled_from(["Fe", "Cu", "Ti", "Po"]), n=st.integers(2, 3), scale=st.floats(0.9, 1.1))
def test_a_supercell_is_accepted(metal, n, scale):
    structure = as_structure(bulk(metal)) * (n, n, n)
    structure.scale_lattice(structure.volume * scale**3)
    check_neighbours(structure)


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("Fe", cubic=True), bulk("Cu", cubic=True), bulk("Si"), bulk("NaCl", "rocksalt", a=5.6),
        bulk("AlN", "wurtzite", a=3.11, c=4.98), bulk("CsCl", "cesiumchloride", a=4.1),
    ],
    ids=lambda atoms: atoms.get_chemical_formula(),
)  # fmt: skip
def test_cells_with_real_neighbours_are_accepted(atoms):
    check_neighbours(as_structure(atoms))


def test_another_choice_of_axes_changes_nothing():
    skewed = Structure(Lattice([[1, 0, 0], [7, 1, 0], [-4, 9, 1]] @ IRON.lattice.matrix), ["Fe"], [[0.3, 0.1, 0.2]])
    with pytest.raises(InvalidInputError, match="Fe"):
        check_neighbours(skewed)
    rocksalt = as_structure(bulk("NaCl", "rocksalt", a=5.6))
    cell = [[1, 0, 0], [3, 1, 0], [-2, 5, 1]] @ rocksalt.lattice.matrix
    check_neighbours(Structure(cell, rocksalt.species, rocksalt.cart_coords, coords_are_cartesian=True))


@pytest.mark.parametrize(
    "make",
    [
        lambda: MAKER.make(IRON),
        lambda: MAKER.make(IRON, supercells=[(3, 3, 3), (1, 1, 2)]),
        lambda: MAKER.make(IRON * (1, 1, 2)),
        lambda: VacancyFreeEnergyMaker(frenkel_ladd_maker=MAKER).make(IRON * (1, 1, 2)),
        lambda: VacancyFreeEnergyMaker(frenkel_ladd_maker=MAKER).make(as_structure(bulk("Fe", cubic=True))),
        lambda: PhaseStabilityMaker(frenkel_ladd_maker=MAKER).make({"bcc": IRON}, [300]),
        lambda: ThermodynamicIntegrationMaker(potential="mace-demo").make(IRON * (1, 1, 2), {"Fe": "Al"}, sites=[0]),
        lambda: SwitchingMaker(potential="mace-demo").make(IRON, {"Fe": "Al"}),
    ],
)
def test_all_flows_that_sample_refuse_them(make):
    with pytest.raises(InvalidInputError, match="supercell"):
        make()

"""Solid and liquid in contact: the cell, the half that is melted, resuming, and which phase grows."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from liquids import PairModel, lennard_jones
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError, NotLiquidError, RunStoppedError
from alchemflows.free_energy.growth import growths, section_means
from alchemflows.sampling.checkpoint import Checkpoint
from alchemflows.sampling.coexistence import coexist, two_phase_cell
from alchemflows.schemas.dynamics import DynamicsSettings

#: ε (eV) and σ (Å).
EPSILON, SIGMA = 0.1, 2.6
KELVIN, PRESSURE_GPA = EPSILON / units.kB, EPSILON / SIGMA**3 / units.GPa
SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def aluminium(n_cells: int, a: float = 1.6) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a * SIGMA), ["Al"], [[0, 0, 0]]) * ((n_cells,) * 3)


def run(temperatures, n_cells=1, n_repeats=8, model=None, checkpoint=None, hot=1.25, n_heating=20, seed=1, **lengths):
    """Put both phases in contact at temperatures (ε/k_B); return the cell and the result."""
    cell = two_phase_cell(aluminium(n_cells), n_repeats, 1.13)
    system, _ = AlchemicalSystem.from_structure(cell.structure)
    conditions = {"temperature_K": 1.0, "pressure_GPa": PRESSURE_GPA, "cell_freedom": "axes"}
    return cell, coexist(
        model or lennard_jones(EPSILON, SIGMA, 2.5),
        system,
        cell,
        DynamicsSettings(
            **conditions, **({"timestep_fs": 4.0, "n_equilibration_steps": 10, "n_production_steps": 40} | lengths)
        ),
        [t * KELVIN for t in temperatures],
        hot * KELVIN,
        n_heating,
        list(range(seed, seed + 2 * len(temperatures))),
        **({} if checkpoint is None else {"checkpoint": checkpoint}),
    )


def test_the_cell_of_two_phases():
    """The cell is repeated along its longest direction, and both halves have the same atoms."""
    cell = two_phase_cell(SALT * (1, 2, 1), 6, 1.25)
    assert cell.axis == 1 and len(cell.structure) == 6 * 16 and cell.n_held == 48
    assert cell.length_A == pytest.approx(3 * 11.4 * 2.25)
    assert cell.n_layers == pytest.approx(cell.length_A / (np.sqrt(2) * 5.7**3 / 8 * 2.25 / 2) ** (1 / 3))
    solid, liquid = cell.structure[:48], cell.structure[48:]
    assert sorted(site.species_string for site in solid) == sorted(site.species_string for site in liquid)
    along = np.array([site.coords[1] for site in cell.structure])
    assert along[:48].max() < 3 * 11.4 <= along[48:].min() and along.max() < cell.length_A
    half = cell.heated_half
    assert half.volume == pytest.approx(1.25 * 3 * 2 * 5.7**3) and len(half) == 48
    np.testing.assert_allclose(half.cart_coords, cell.structure.cart_coords[48:])
    # Of cell vectors with one length the last one is repeated.
    assert two_phase_cell(SALT, 8).axis == 2


@pytest.mark.parametrize(("n_repeats", "named"), [(3, "even"), (0, "even"), (4, "7\\.1 layers")])
def test_a_cell_of_two_phases_is_long_and_has_equal_halves(n_repeats, named):
    with pytest.raises(InvalidInputError, match=named):
        two_phase_cell(SALT, n_repeats)


class Followed(PairModel):
    """A potential that keeps the positions at which it is evaluated."""

    def __init__(self, model):
        self._model, self.seen = model, []

    def __getattr__(self, name):
        return getattr(self._model, name)

    def evaluate(self, positions, cells, weights, **wanted):
        self.seen.append(positions.clone())
        return self._model.evaluate(positions, cells, weights, **wanted)

    def memory(self):
        return self._model.memory()


def test_half_of_the_atoms_is_held_while_the_other_is_heated():
    model = Followed(lennard_jones(EPSILON, SIGMA, 2.5))
    cell, found = run([0.7, 0.9], model=model)
    moved = (model.seen[20] - model.seen[0]).norm(dim=2)
    assert moved[:, : cell.n_held].max() < 1e-4 < 0.1 < moved[:, cell.n_held :].mean()
    moved = (model.seen[-1] - model.seen[20]).norm(dim=2)
    assert moved[:, : cell.n_held].mean() > 0.1
    assert found.enthalpy_eV.shape == (4, 2) and found.time_fs.tolist() == [40.0, 80.0, 120.0, 160.0]
    assert found.heated.spacing_A == pytest.approx((np.sqrt(2) * 1.13 * (1.6 * SIGMA) ** 3 / 4) ** (1 / 3))


@pytest.mark.parametrize("n_blocks", [0, 2])
def test_contact_resumes_bit_for_bit(tmp_path, n_blocks):
    """It is stopped during the heating, or after it."""
    _, whole = run([0.7, 0.9])
    count = iter(range(100))
    with pytest.raises(RunStoppedError):
        run([0.7, 0.9], checkpoint=Checkpoint(tmp_path, 1e9, lambda: next(count) >= n_blocks))
    _, found = run([0.7, 0.9], checkpoint=Checkpoint(tmp_path, 1e9, lambda: False))
    np.testing.assert_array_equal(found.enthalpy_eV, whole.enthalpy_eV)
    assert found.heated == whole.heated


def test_a_half_that_does_not_melt_is_named():
    with pytest.raises(NotLiquidError, match=r"heated to 116\.\d+ K is no liquid: it is crystalline"):
        run([0.7], hot=0.1, n_heating=300, timestep_fs=8.0)


@pytest.mark.slow
def test_the_solid_grows_well_below_the_melting_point_and_the_liquid_well_above():
    """Enthalpies per atom differ by 1.15 ε (docs/melting.md), and the melting point is 0.79 ε/k_B."""
    cell, found = run([0.65, 0.95], 3, 4, n_heating=400, n_equilibration_steps=200, n_production_steps=800)
    means, times = section_means(found.enthalpy_eV / len(cell.structure) / EPSILON, 10)
    fractions = 0.5 - (means - means[:, :1]) / 1.15
    print(np.round(fractions, 2).tolist(), found.heated)
    below, above = growths(list(fractions[:, None, :]), 0.04 * (times[1] - times[0]))
    assert (below.phase, above.phase) == ("solid", "liquid")
    assert found.heated.order < 0.25

"""Normal modes against ASE's own finite differences, and crystals that have none."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.vibrations import Vibrations
from pymatgen.io.ase import AseAtomsAdaptor

from alchemflows.alchemy.calculator import AlchemicalCalculator
from alchemflows.alchemy.phonons import mode_frequencies, relaxed_positions
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import UnstableCrystalError
from alchemflows.free_energy.einstein import HBAR
from alchemflows.schemas.potential import PotentialSpec

DEMO = PotentialSpec(name="mace-demo", dtype="float64", device="cpu")


def test_modes_are_those_of_ase(tmp_path):
    system = AlchemicalSystem(AseAtomsAdaptor.get_structure(bulk("NaCl", "rocksalt", a=5.69, cubic=True)))
    calculator = AlchemicalCalculator(system, [], DEMO)
    atoms = calculator.make_atoms()
    vibrations = Vibrations(atoms, name=str(tmp_path / "modes"), delta=0.01)
    vibrations.run()
    energies = np.sort(vibrations.get_energies().real)[3:]
    omegas = mode_frequencies(calculator.potential, atoms.positions, atoms.cell.array, np.zeros(0))
    assert len(omegas) == 3 * len(atoms) - 3
    np.testing.assert_allclose(HBAR * omegas, energies, atol=2e-5)
    assert HBAR * omegas.max() == pytest.approx(0.020, abs=0.012)  # eV; about 5 THz
    assert pytest.approx(units._hbar / units._e * units.s) == HBAR


def test_positions_are_relaxed_in_the_given_cell():
    atoms = bulk("NaCl", "rocksalt", a=5.69, cubic=True)
    atoms.rattle(0.05, seed=1)
    calculator = AlchemicalCalculator(AlchemicalSystem(AseAtomsAdaptor.get_structure(atoms)), [], DEMO)
    relaxed = calculator.make_atoms()
    relaxed.positions = relaxed_positions(calculator)
    assert np.abs(relaxed.get_forces()).max() < 2e-3
    np.testing.assert_allclose(relaxed.cell.array, atoms.cell.array)


def test_a_saddle_point_has_no_modes():
    """Fe on a simple cubic lattice is no minimum."""
    atoms = bulk("Fe", "sc", a=2.35) * (2, 2, 2)
    calculator = AlchemicalCalculator(AlchemicalSystem(AseAtomsAdaptor.get_structure(atoms)), [], DEMO)
    with pytest.raises(UnstableCrystalError, match=r"\d+ modes"):
        mode_frequencies(calculator.potential, atoms.positions, atoms.cell.array, np.zeros(0))

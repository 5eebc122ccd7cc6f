"""The harmonic quantum correction over the volume, for modes whose frequencies are known at every volume."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.free_energy.einstein import HBAR
from alchemflows.free_energy.quantum import quantum_correction_eV
from alchemflows.jobs import modes
from alchemflows.schemas.potential import PotentialSpec

DEMO = PotentialSpec(name="mace-demo", device="cpu")
#: Frequencies (√(eV/Å²/amu)) at 100 Å³ and their Grüneisen parameters.
OMEGAS, GAMMAS = np.array([0.2, 0.5, 1.0]), np.array([1.0, 2.0, 3.0])


def omegas(volume_A3):
    return OMEGAS * (volume_A3 / 100) ** -GAMMAS


@pytest.fixture
def crystal():
    system, _ = AlchemicalSystem.from_structure(Structure(Lattice.cubic(100 ** (1 / 3)), ["Na"], [[0, 0, 0]]))
    return system


def anchor(energies=True):
    found = (HBAR * omegas(100.0)).tolist() if energies else None
    return SimpleNamespace(mode_energies_eV=found, volume_A3=100.0, temperature_K=60.0, weights=[])


@pytest.mark.parametrize(("volumes", "at"), [([110, 100, 90, 84], [110, 84]), ([100, 95, 90, 84], [92, 84])])
def test_the_correction_at_each_volume_is_that_of_its_frequencies(crystal, monkeypatch, volumes, at):
    computed = []

    def known(system, weights, potential):
        computed.append(system.structure.volume)
        return omegas(computed[-1]), []

    monkeypatch.setattr(modes, "frequencies", known)
    found, reasons = modes.harmonic_correction(crystal, anchor(), DEMO, np.array(volumes, dtype=float))
    assert reasons == [] and computed == pytest.approx(at)
    np.testing.assert_allclose(found, [quantum_correction_eV(omegas(v), 60.0) for v in volumes], rtol=1e-3)


def test_there_is_no_correction_without_modes_or_with_unstable_ones(crystal, monkeypatch):
    volumes = np.array([100.0, 90.0])
    monkeypatch.setattr(modes, "frequencies", lambda *_: (None, ["2 modes"]))
    assert modes.harmonic_correction(crystal, anchor(), DEMO, volumes) == (None, ["2 modes"])
    assert modes.harmonic_correction(crystal, anchor(energies=False), DEMO, volumes) == (None, [])

"""Mean cell, mean sites and displacements of harmonic crystals, which are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.md.nose_hoover_chain import IsotropicMTKNPT
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from harmonic import HarmonicCrystal, chain
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.calculator import AlchemicalCalculator
from alchemflows.alchemy.groups import SiteGroup
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import UnstableCrystalError
from alchemflows.sampling.equilibrium import sample_equilibrium
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA, DynamicsSettings
from alchemflows.schemas.potential import PotentialSpec

T = 300.0
KT = units.kB * T
LATTICE = Lattice([[0.0, 5.0, 0.1], [6.0, 0.2, 0.0], [0.0, 0.3, 7.0]])  # left-handed, and not in a standard setting
STRUCTURE = Structure(LATTICE, ["Na", "Cl", "I"], [[0.1, 0.2, 0.3], [0.5, 0.6, 0.5], [0.9, 0.8, 0.7]])
SYSTEM = AlchemicalSystem(STRUCTURE, (SiteGroup((0,), ((11,),)),))
MASSES = SYSTEM.masses([1.0])
SHARES = MASSES / MASSES.sum()
SPRINGS = np.diag([2.0, 4.0, 3.0])


def dynamics(**changes) -> DynamicsSettings:
    values = {
        "temperature_K": T,
        "timestep_fs": 4.0,
        "friction_per_ps": 10.0,
        "n_equilibration_steps": 200,
        "n_production_steps": 2000,
        "barostat_time_ps": 0.1,
    }
    return DynamicsSettings(**(values | changes))


def assert_mean(per_replica: np.ndarray, expected: float, most: float) -> None:
    error = per_replica.std(ddof=1) / np.sqrt(len(per_replica))
    assert abs(per_replica.mean() - expected) < 4 * error < most


@pytest.fixture(scope="module")
def held():
    """Wells whose places are not those of the structure, at constant volume."""
    places = STRUCTURE.frac_coords + np.array([[0.03, 0.0, 0.0], [0.0, -0.02, 0.0], [0.0, 0.01, 0.02]])
    model = HarmonicCrystal(places, [SPRINGS])
    return model, sample_equilibrium(model, SYSTEM, [1.0], dynamics(), range(60))


def test_displacements_with_the_centre_of_mass_at_rest(held):
    """Atoms have the variance of Gaussians under Σ m_i x_i = const, and 3N − 3 degrees of freedom together."""
    _, run = held
    free = np.diag(KT / np.diag(SPRINGS))
    exact = 3 * np.diag(free - np.outer(free @ SHARES, free @ SHARES) / (SHARES @ free @ SHARES))
    assert run.msd_A2.shape == (60, 3)
    for i in range(3):
        assert_mean(run.msd_A2[:, i] / exact[i], 1.0, 0.1)
    assert_mean(run.temperature_K.mean(axis=0) / T, 1.0, 0.04)
    centre = np.einsum("i,bix->bx", SHARES, run.state.positions)
    np.testing.assert_allclose(centre, np.tile(SHARES @ STRUCTURE.cart_coords, (60, 1)), atol=1e-9)
    np.testing.assert_allclose(np.einsum("i,bix->bx", SHARES, run.state.velocities), 0, atol=1e-9)


def test_mean_sites_are_where_forces_vanish_and_have_the_centre_of_mass_of_the_dynamics(held):
    """Springs to these sites hold a crystal that can go on from where the replicas are."""
    model, run = held
    mean = run.mean_structure()
    np.testing.assert_allclose(mean.lattice.matrix, LATTICE.matrix, atol=1e-9)
    np.testing.assert_allclose(SHARES @ mean.cart_coords, SHARES @ STRUCTURE.cart_coords, atol=1e-9)
    # Wells pull on the centre of mass too: means are where Σ_i k_i u_i = 0 but for the constraint's force, ∝ m_i.
    offset = (model.sites.numpy() - STRUCTURE.frac_coords) @ LATTICE.matrix
    compliance = SHARES / np.diag(SPRINGS)
    expected = offset - np.outer(compliance, SHARES @ offset) / (SHARES @ compliance)
    np.testing.assert_allclose(mean.cart_coords - STRUCTURE.cart_coords, expected, atol=0.01)
    assert np.abs(expected).max() > 0.1


def test_samples(held):
    model, run = held
    assert run.energy_eV.shape == run.volume_A3.shape == run.temperature_K.shape == (200, 60)
    assert run.time_fs[[0, -1]].tolist() == [40.0, 8000.0]
    np.testing.assert_allclose(run.volume_A3, STRUCTURE.volume)
    np.testing.assert_allclose(run.cell_parameters, np.broadcast_to(LATTICE.parameters, (200, 60, 6)))
    last = model.evaluate(run.state.positions, run.state.cells, torch.ones(60, 1, dtype=torch.float64))
    np.testing.assert_allclose(run.energy_eV[-1], last.energy)


def test_mean_cell_at_constant_pressure():
    """Bonds alone, so that ρ(V) ∝ V exp[−β(U + PV)]; the mean structure has the mean volume, and the angles stay."""
    volume = STRUCTURE.volume
    bulk_modulus, pressure = KT / (volume * 0.03**2), 0.5
    model = HarmonicCrystal(STRUCTURE.frac_coords, [chain(3, (4.0, 5.0))], [bulk_modulus], [1.03 * volume])
    v = np.linspace(0.7 * volume, 1.4 * volume, 10001)
    exponent = 0.5 * bulk_modulus * (v - 1.03 * volume) ** 2 / (1.03 * volume) + pressure * units.GPa * v
    density = v * np.exp(-(exponent - exponent.min()) / KT)
    exact = (density @ v) / density.sum()
    assert abs(exact / volume - 1) > 0.005
    run = sample_equilibrium(model, SYSTEM, [1.0], dynamics(pressure_GPa=pressure), range(40))
    assert_mean(run.volume_A3.mean(axis=0) / exact, 1.0, 0.004)
    mean = run.mean_structure()
    assert mean.volume == pytest.approx(run.volume_A3.mean())
    np.testing.assert_allclose(mean.lattice.angles, LATTICE.angles, atol=1e-9)
    # Axes point as at the start.
    scaled = LATTICE.matrix * (mean.volume / volume) ** (1 / 3)
    np.testing.assert_allclose(mean.lattice.matrix, scaled, atol=1e-6)
    np.testing.assert_allclose(mean.frac_coords, STRUCTURE.frac_coords, atol=0.02)


def test_a_crystal_that_leaves_its_sites_is_refused():
    settings = dynamics()
    for shift, error in (
        (0.45, r" 0\.\d+ ps, atom 1 \(Cl\) of replica \d"),
        (0.14, "mean position of atom 1"),
    ):
        places = STRUCTURE.frac_coords + np.array([[0.0, 0.0, 0.0], [0.0, shift, 0.0], [0.0, 0.0, 0.0]])
        with pytest.raises(UnstableCrystalError, match=error):
            sample_equilibrium(HarmonicCrystal(places, [0.2 * SPRINGS]), SYSTEM, [1.0], settings, range(2))


@pytest.mark.slow
def test_iron_has_the_volume_that_ase_finds():
    """The shipped potential at 300 K and 1 atm, against ASE's Martyna–Tobias–Klein dynamics."""
    spec = PotentialSpec(name="mace-demo", dtype="float32", device="cpu")
    atoms = bulk("Fe", cubic=True, a=2.83) * (2, 2, 2)
    system = AlchemicalSystem(AseAtomsAdaptor.get_structure(atoms))
    settings = DynamicsSettings(
        temperature_K=T,
        pressure_GPa=ATMOSPHERE_GPA,
        timestep_fs=4.0,
        friction_per_ps=5.0,
        barostat_time_ps=0.1,
        n_equilibration_steps=150,
        n_production_steps=350,
    )
    run = sample_equilibrium(AlchemicalPotential(system, load_potential(spec)), system, [], settings, range(8))
    ours = run.volume_A3.mean(axis=0) / len(atoms)
    error = ours.std(ddof=1) / np.sqrt(8)

    def ase_volumes(seed: int, n_steps: int) -> np.ndarray:
        copy = Atoms(atoms)
        copy.calc = AlchemicalCalculator(system, [], spec)
        copy.set_cell(copy.cell * (ours.mean() * len(atoms) / copy.get_volume()) ** (1 / 3), scale_atoms=True)
        MaxwellBoltzmannDistribution(copy, temperature_K=T, rng=np.random.default_rng(seed))
        md = IsotropicMTKNPT(
            copy,
            timestep=4 * units.fs,
            temperature_K=T,
            pressure_au=ATMOSPHERE_GPA * units.GPa,
            tdamp=100 * units.fs,
            pdamp=400 * units.fs,
        )
        volumes = []
        md.attach(lambda: volumes.append(copy.get_volume()))
        md.run(n_steps)
        return np.array(volumes[n_steps // 6 :]) / len(atoms)

    theirs = ase_volumes(0, 600)
    blocks = theirs[: len(theirs) // 10 * 10].reshape(10, -1).mean(axis=1)
    their_error = blocks.std(ddof=1) / np.sqrt(10)
    print(f"volume per atom: {ours.mean():.4f} ± {error:.4f} Å³, with ASE {theirs.mean():.4f} ± {their_error:.4f} Å³")
    assert np.hypot(error, their_error) < 0.003 * theirs.mean()
    assert abs(ours.mean() - theirs.mean()) < 4 * np.hypot(error, their_error)
    # Compressibility: fluctuations agree within what so short runs can tell.
    assert run.volume_A3.std() / len(atoms) == pytest.approx(theirs.std(), rel=0.3)

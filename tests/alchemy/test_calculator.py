"""The ASE face of a potential: relaxation, forces, refusals, and atomate2."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.calculators.test import calculate_numerical_forces
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from models import interior, perovskite_system

from alchemflows.alchemy.calculator import AlchemicalCalculator
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.potential import PotentialSpec

MODEL = "zbl-agnesi-density"


@pytest.fixture
def system():
    return perovskite_system("several groups", "mean-field")


@pytest.fixture
def spec(mace_file):
    return PotentialSpec(name=str(mace_file(MODEL)), dtype="float64", device="cpu")


@pytest.fixture
def atoms(system, spec):
    atoms = system.structure.to_ase_atoms()
    atoms.calc = AlchemicalCalculator(system, interior(system), spec)
    return atoms


def test_results_are_those_of_the_potential(atoms, system, backend):
    expected = AlchemicalPotential(system, backend(MODEL)).evaluate(
        atoms.positions[None], atoms.cell.array[None], interior(system)[None]
    )
    near = {"rtol": 0, "atol": 1e-11}
    np.testing.assert_allclose(atoms.get_potential_energy(), expected.energy[0], **near)
    np.testing.assert_allclose(atoms.get_potential_energy(force_consistent=True), expected.energy[0], **near)
    np.testing.assert_allclose(atoms.get_forces(), expected.forces[0], **near)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), expected.stress[0], **near)
    np.testing.assert_allclose(atoms.calc.results["weight_gradients"], expected.weight_gradients[0], **near)


def test_forces_equal_numerical_forces(atoms):
    some = [0, 1, 2, 5]
    numeric = calculate_numerical_forces(atoms, eps=1e-4, iatoms=some)
    np.testing.assert_allclose(atoms.get_forces()[some], numeric, atol=1e-6)
    assert np.abs(numeric).min() > 1e-5


def test_relaxation_lowers_the_energy(atoms):
    before, cell = atoms.get_potential_energy(), atoms.cell.array.copy()
    energies = [before]
    optimizer = BFGS(FrechetCellFilter(atoms), logfile=None, maxstep=0.02)
    optimizer.attach(lambda: energies.append(atoms.get_potential_energy()))
    optimizer.run(fmax=1e-6, steps=6)
    assert energies[-1] < before - 0.01
    assert energies[-1] == min(energies)
    assert np.abs(atoms.cell.array - cell).max() > 1e-3


def test_elements_of_alchemical_sites_are_not_read(atoms):
    energy = atoms.get_potential_energy()
    atoms.symbols[1] = "Sn"
    assert atoms.get_potential_energy() == energy


@pytest.mark.parametrize("wrong", ["fewer", "other element", "not periodic"])
def test_wrong_atoms_are_refused(wrong, atoms):
    if wrong == "fewer":
        calculator, atoms = atoms.calc, atoms[:-1]
        atoms.calc = calculator
    elif wrong == "other element":
        atoms.symbols[0] = "Sn"
    else:
        atoms.pbc = (True, True, False)
    with pytest.raises(InvalidInputError, match="pbc" if wrong == "not periodic" else "make_atoms"):
        atoms.get_potential_energy()


def test_wrong_weights_are_refused(system, spec):
    with pytest.raises(InvalidInputError, match=r"\b2\b"):
        AlchemicalCalculator(system, [1, 1, 0, 0, 0], spec)


def test_arguments_as_json(atoms, system, spec):
    arguments = json.loads(
        json.dumps({"system": system.as_dict(), "weights": interior(system).tolist(), "potential": spec.model_dump()})
    )
    other = atoms.copy()
    other.calc = AlchemicalCalculator(**arguments)
    assert other.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-12)


def test_potential_by_path(system, mace_file):
    calculator = AlchemicalCalculator(system, interior(system), str(mace_file(MODEL)))
    assert calculator.potential.record.dtype == "float32"


def test_relaxation_as_a_job_of_atomate2(atoms, system, spec, tmp_path):
    from atomate2.forcefields.jobs import ForceFieldRelaxMaker
    from jobflow import run_locally
    from pymatgen.core import Structure

    weights = interior(system)
    maker = ForceFieldRelaxMaker(
        force_field_name={"@module": "alchemflows.alchemy.calculator", "@callable": "AlchemicalCalculator"},
        calculator_kwargs={
            "system": system.as_dict(),
            "weights": weights.tolist(),
            "potential": spec.model_dump(),
        },
        steps=4,
        relax_cell=True,
    )
    job = maker.make(system.structure)
    responses = run_locally(job, root_dir=tmp_path, create_folders=True, ensure_success=True)
    output = responses[job.uuid][1].output
    relaxed = Structure.from_sites(output.structure)
    before = atoms.get_potential_energy()
    assert output.output.energy < before - 0.005
    after = relaxed.to_ase_atoms()
    after.calc = AlchemicalCalculator(system, weights, spec)
    assert after.get_potential_energy() == pytest.approx(output.output.energy, abs=1e-8)


def test_dynamics_with_mixed_masses_conserves_energy(system, spec):
    from ase import units
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
    from ase.md.verlet import VelocityVerlet

    weights = interior(system)
    atoms = AlchemicalCalculator(system, weights, spec).make_atoms()
    np.testing.assert_allclose(atoms.get_masses(), system.masses(weights))
    MaxwellBoltzmannDistribution(atoms, temperature_K=20, rng=np.random.default_rng(0))
    dynamics = VelocityVerlet(atoms, 0.25 * units.fs)
    start = atoms.get_total_energy()
    kinetic = atoms.get_kinetic_energy()
    dynamics.run(40)
    assert abs(atoms.get_kinetic_energy() - kinetic) > 1e-3
    assert abs(atoms.get_total_energy() - start) < 0.02 * abs(atoms.get_kinetic_energy() - kinetic)

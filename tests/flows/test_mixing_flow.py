"""The flow of free energies of mixing with mace-demo: against all arrangements of a small cell, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import units
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.analysis.frames import mixing_states
from alchemflows.errors import ExplosionError, InvalidInputError
from alchemflows.flows.mixing import MixingMaker
from alchemflows.jobs.mixing import MixingSamplesMaker, ladder
from alchemflows.sampling.sweeps import Explosion, run_sweeps
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.reasons import Reason

DEMO = {"potential": PotentialSpec(name="mace-demo", dtype="float64", device="cpu")}
CHOICES = {"Na": ["Na", "K"]}


def salt() -> Structure:
    """Return the primitive cell of rock salt."""
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(6.0), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return cell.get_primitive_structure()


def energy_eV(*cations: str) -> float:
    """Return the energy of two primitive cells with these cations, by the plain potential."""
    crystal = salt() * (2, 1, 1)
    for site, cation in zip([k for k, each in enumerate(crystal) if each.specie.symbol == "Na"], cations, strict=True):
        crystal.replace(site, cation)
    plain = AlchemicalPotential(AlchemicalSystem(crystal), load_potential(DEMO["potential"]))
    return float(plain.energies(crystal.cart_coords[None], crystal.lattice.matrix[None], np.zeros((1, 1, 0)))[0, 0])


@pytest.mark.slow
def test_all_arrangements_of_two_sites(tmp_path):
    maker = MixingMaker(
        **DEMO, relax_maker=None, n_potentials=3, n_equilibration_sweeps=1, n_production_sweeps=12, seed=1
    )
    flow = maker.make(salt(), CHOICES, (2, 1, 1), [1500.0])
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    outputs = run_locally(flow, store=store, create_folders=True, root_dir=tmp_path, ensure_success=True, log=False)
    document = outputs[flow.output.uuid][1].output
    assert document.species == ("Na", "K") and document.formula == "KNaCl2" and document.n_mixing_sites == 2
    (isotherm,) = document.isotherms
    thermal = units.kB * 1500
    pure = (energy_eV("Na", "Na") + energy_eV("K", "K")) / 2
    exact = -thermal * np.logaddexp(*(-(energy_eV(*each) - pure) / thermal for each in (("Na", "K"), ("K", "Na"))))
    assert abs(isotherm.mixing_eV[1] - exact) < 3 * isotherm.mixing_errors_eV[1] < 0.4
    assert isotherm.mixing_eV[0] == isotherm.mixing_eV[2] == 0
    potentials = [state.delta_mu_eV for state in document.states]
    assert potentials == sorted(potentials) and document.states[0].fraction < 0.1 < 0.9 < document.states[-1].fraction
    middle = energy_eV("K", "K") - energy_eV("Na", "Na")
    assert potentials[1] == pytest.approx(middle / 2, abs=1e-3)  # both ends are equally far from the mean step
    states = mixing_states(document)
    assert [state.conditions["delta_mu_eV"] for state in states] == potentials
    assert [len(state.frames) for state in states] == [12] * 3
    for state, end in zip(states, document.states, strict=True):
        shares = [atoms.get_chemical_symbols().count("K") / 2 for atoms in state.frames.atoms()]
        assert np.mean(shares) == pytest.approx(end.fraction, abs=0.4)
        last = state.frames.atoms()[-1]
        cations = [symbol for symbol in last.symbols if symbol != "Cl"]
        assert last.get_potential_energy() == pytest.approx(energy_eV(*cations))


def test_displacements_are_those_of_the_states_if_atoms_move(tmp_path):
    maker = MixingMaker(
        **DEMO, relax_maker=None, n_potentials=3, n_equilibration_sweeps=0, n_production_sweeps=4, n_md_steps=1,
        attempts_per_sweep=1, n_frames=0,
    )  # fmt: skip
    flow = maker.make(salt(), CHOICES, (2, 1, 1), [300.0])
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    outputs = run_locally(flow, store=store, create_folders=True, root_dir=tmp_path, ensure_success=True, log=False)
    found = [state.sites for state in outputs[flow.output.uuid][1].output.states]
    assert all(not each.left and 0 < each.largest_displacement_A < 0.5 for each in found)
    assert len({each.largest_displacement_A for each in found}) == 3


def test_the_state_whose_dynamics_explode_is_named(tmp_path, monkeypatch):
    """First as if they exploded after the last sample of the second state, then with a far too long time step."""
    few = MixingMaker(
        **DEMO, relax_maker=None, n_potentials=3, n_equilibration_sweeps=0, n_production_sweeps=4, n_md_steps=1,
        attempts_per_sweep=1, n_frames=0,
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)

    def sampled(maker: MixingMaker):
        (job,) = maker.make(salt(), CHOICES, (2, 1, 1), [300.0], delta_mu_eV=[-0.2, -0.1, 0.0]).jobs
        return MixingSamplesMaker.make.original(job.maker, *job.function_args, **job.function_kwargs)

    def exploding(*arguments, **options):
        return replace(run_sweeps(*arguments, **options), explosion=Explosion(1, 5, 9, "temperature 1e+05 K"))

    with monkeypatch.context() as patch:
        patch.setattr("alchemflows.sampling.sweeps.run_sweeps", exploding)
        document = sampled(few)
    assert [state.n_samples for state in document.states] == [4] * 3 and not document.verdict.converged
    (text,) = (each for each in document.verdict.reasons if Reason.of(each) is Reason.EXPLODED)
    assert "300 K, Δμ = -0.1 eV" in text and "sweep 5 of 9 (temperature 1e+05 K)" in text
    with pytest.raises(ExplosionError, match=r"^300 K, Δμ = \S+ eV: .*sweep 1\b"):
        sampled(replace(few, n_md_steps=4, timestep_fs=300.0, pressure_GPa=None))


def test_neighbours_in_the_ladder():
    assert ladder([300.0, 500.0], [0.2, 0.1]) == [(300.0, 0.1), (300.0, 0.2), (500.0, 0.2), (500.0, 0.1)]


def test_jobs():
    flow = MixingMaker(**DEMO).make(salt(), CHOICES, (2, 2, 2), [800, 600])
    relax, sampling = flow.jobs
    made = sampling.function.__self__
    assert relax.name == "relax mean-field" and made.temperatures_K == [600.0, 800.0]
    assert made.settings.attempts_per_sweep is None and made.settings.replica_exchange
    assert made.settings.pressure_GPa is None


@pytest.mark.parametrize(
    ("choices", "options", "named"),
    [
        ({"Na": ["Na", "K", "Li"]}, {}, "choices"),
        ({"Na": ["K", "K"]}, {}, "choices"),
        ({"Na": ["Na", "K"], "Cl": ["Cl", "I"]}, {}, "choices"),
        ({"Mg": ["Mg", "Ca"]}, {}, "Mg"),
        (CHOICES, {"temperatures": []}, "temperatures"),
        (CHOICES, {"temperatures": [300, 300]}, "300"),
        (CHOICES, {"delta_mu_eV": [0.1, 0.2]}, "delta_mu_eV"),
        (CHOICES, {"delta_mu_eV": [0.1, 0.2, 0.3, 0.1]}, "delta_mu_eV"),
    ],
)
def test_invalid_input_is_refused(choices, options, named):
    with pytest.raises(InvalidInputError, match=named):
        MixingMaker(**DEMO).make(salt(), choices, (2, 1, 1), **{"temperatures": [300], **options})


def test_invalid_numbers_are_refused():
    for field, value in (("n_potentials", 2), ("n_terms", 0), ("n_production_sweeps", 2)):
        with pytest.raises(InvalidInputError, match=field):
            MixingMaker(**DEMO, **{field: value}).make(salt(), CHOICES, (2, 1, 1), [300])

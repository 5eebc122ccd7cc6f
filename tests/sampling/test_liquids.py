"""Liquids: what shows that a liquid is one, melting, and switches to a reference liquid with known free energies."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from ase import units
from harmonic import assert_honest
from liquids import PairModel, cubic_liquid, lennard_jones
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.reference_liquid import ReferenceLiquidPath, ReferenceLiquidPotential, UhlenbeckFord
from alchemflows.alchemy.scaled import ScaledPath, ScaledPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import NotLiquidError, RunStoppedError
from alchemflows.free_energy.reference_liquid import excess_free_energy, sigma_A
from alchemflows.free_energy.work import analyse_work
from alchemflows.sampling.checkpoint import Checkpoint
from alchemflows.sampling.liquids import MAX_VOLUME_RATIO, LiquidHistory, LiquidWatch, melt, switch_to_reference
from alchemflows.sampling.scaling import sweep
from alchemflows.schemas.dynamics import DynamicsSettings, SwitchingSettings

KT = units.kB * 1000.0


def reference_liquid(liquid: UhlenbeckFord) -> PairModel:
    """Return an Uhlenbeck–Ford liquid as the potential."""
    return PairModel(liquid.pair_energy, liquid.cutoff_A)


def watched(structure: Structure, displacement_A: float, noise_A: float) -> LiquidWatch:
    """Look 100 times at atoms that move away from their start, and scatter around their path."""
    watch, rng = LiquidWatch(structure, 2, 20.0), np.random.default_rng(0)
    cells = torch.tensor(np.array([structure.lattice.matrix] * 3))
    way = rng.normal(size=(3, len(structure), 3)) * displacement_A / np.sqrt(3)
    for share in np.linspace(0, 1, 100):
        x = structure.cart_coords + share * way + rng.normal(scale=noise_A, size=way.shape)
        watch.see(torch.tensor(x), cells)
    return watch


def test_a_crystal_is_no_liquid():
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]) * (
        2,
        2,
        2,
    )
    watch = watched(salt, 0.0, 0.2)
    assert watch.summary().order > 0.8 and watch.summary().displacement_A < 0.6
    with pytest.raises(NotLiquidError, match=r"crystalline \(order 0\.\d+"):
        watch.checked("the sample")


def test_a_glass_is_no_liquid_and_a_liquid_is_one():
    rng = np.random.default_rng(1)
    disordered = Structure(Lattice.cubic(12.0), ["Na"] * 32 + ["Cl"] * 32, rng.random((64, 3)))
    with pytest.raises(NotLiquidError, match="do not diffuse"):
        watched(disordered, 0.3, 0.1).checked("the sample")
    summary = watched(disordered, 4.0, 0.1).checked("the sample")
    assert summary.order < 0.25 and summary.reasons("run") == []
    assert summary.displacement_A == pytest.approx(4.0, rel=0.2) and summary.time_ps == pytest.approx(1.98)
    assert summary.diffusion_A2_per_ps == pytest.approx(summary.displacement_A**2 / (6 * 1.98))


def test_short_runs_cannot_tell():
    watch = LiquidWatch(cubic_liquid(1, 20.0).structure, 1, 100.0)
    structure = cubic_liquid(1, 20.0).structure
    for _ in range(5):
        watch.see(torch.tensor(structure.cart_coords)[None], torch.tensor(np.array(structure.lattice.matrix))[None])
    (reason,) = watch.checked("the sample").reasons("run")
    assert "0.4 ps" in reason


def test_the_order_of_a_watch_is_restored():
    structure = cubic_liquid(1, 20.0).structure
    watch, other = watched(structure, 1.0, 0.1), LiquidWatch(structure, 2, 20.0)
    other.restore(watch.snapshot())
    assert other.summary() == watch.summary()


def liquid_settings(**changed) -> SwitchingSettings:
    given = {"n_repeats": 4, "n_equilibration_steps": 200, "n_switching_steps": 200, "timestep_fs": 6.0} | changed
    return SwitchingSettings(temperature_K=1000.0, **given)


@pytest.mark.slow
def test_a_reference_liquid_to_one_of_another_length():
    """Both free energies are in the table; the exact difference of 32 atoms is that of many within 0.02 k_B T."""
    system = cubic_liquid(2, 20.0)
    own, other = (UhlenbeckFord(sigma_A(x, 1 / 20.0), 1000.0) for x in (0.5, 0.6))
    path = ReferenceLiquidPath.from_liquid(system, [])
    switches, summary = switch_to_reference(
        ReferenceLiquidPotential(reference_liquid(own), other), path, liquid_settings(n_equilibration_steps=500), 3
    )
    result = analyse_work(switches.forward_work_eV, switches.backward_work_eV, 1000.0)
    exact = system.n_sites * KT * float(excess_free_energy(0.6) - excess_free_energy(0.5))
    value, error = result.best
    print(f"{value:.4f} ± {error:.4f} eV, from the table {exact:.4f} eV")
    assert summary.problem is None and summary.order < 0.2
    assert result.overlap > 0.1 and error < 0.05 * exact
    assert abs(value - exact) < 3 * error + 0.02 * 32 * KT


def pair_free_energy_eV(liquid: UhlenbeckFord, length_A: float) -> float:
    """Return −k_B T ln ∫ exp(−βU) dr / V of two atoms in a periodic cube, by a grid."""
    x = (np.arange(24) + 0.5) / 24 * length_A
    grid = np.stack(np.meshgrid(x, x, x, indexing="ij"), axis=-1).reshape(-1, 3)

    def energy(vectors):
        return liquid.pair_energy(torch.tensor((vectors**2).sum(axis=-1)))[0].numpy()

    images = length_A * (np.array(list(np.ndindex(7, 7, 7))) - 3)
    total = sum(energy(grid + image) for image in images)
    own = energy(images[(images != 0).any(axis=1)]).sum()  # of each atom with its images, twice one half
    return float(own - KT * np.log(np.exp(-total / KT).mean()))


@pytest.mark.slow
def test_errors_of_the_switches_over_50_seeds():
    """Two atoms in a periodic cube, whose free energies are known by quadrature; 50 sets of 4 switches each way."""
    length, n_sets = 4.0, 50
    structure = Structure(Lattice.cubic(length), ["H", "H"], [[0, 0, 0], [0.4, 0.5, 0.5]])
    path = ReferenceLiquidPath.from_liquid(AlchemicalSystem.from_structure(structure)[0], [])
    own, other = UhlenbeckFord(1.2, 1000.0), UhlenbeckFord(1.5, 1000.0)
    settings = liquid_settings(n_repeats=4 * n_sets, n_equilibration_steps=100, n_switching_steps=60, timestep_fs=4.0)
    model = ReferenceLiquidPotential(reference_liquid(own), other)
    switches, _ = switch_to_reference(model, path, settings, 5)
    exact = pair_free_energy_eV(other, length) - pair_free_energy_eV(own, length)
    works = zip(switches.forward_work_eV.reshape(n_sets, 4), switches.backward_work_eV.reshape(n_sets, 4), strict=True)
    values, errors = zip(*(analyse_work(*each, 1000.0).best for each in works), strict=True)
    assert_honest(np.array(values), np.array(errors), exact)


#: A liquid of two atoms of argon that do not crystallize, its path to a reference, and short switches.
PAIR = Structure(Lattice.cubic(4.0), ["Ar", "Ar"], [[0, 0, 0], [0.4, 0.5, 0.5]])
PAIR_SYSTEM = AlchemicalSystem.from_structure(PAIR)[0]
PAIR_SETTINGS = liquid_settings(n_repeats=2, n_equilibration_steps=100, n_switching_steps=110, timestep_fs=10.0)


def assert_resumed(run, folder, stops) -> None:
    """Stop a run after some numbers of blocks, resume it each time, and compare it with an unbroken run."""
    whole = run(Checkpoint())
    for n in stops:
        left = iter(range(n))
        with pytest.raises(RunStoppedError):
            run(Checkpoint(folder, 1e9, lambda left=left, n=n: next(left) == n - 1))
    again = run(Checkpoint(folder, 1e9))
    assert whole[1:] == again[1:]
    for each in fields(whole[0]):
        np.testing.assert_array_equal(getattr(whole[0], each.name), getattr(again[0], each.name), err_msg=each.name)


def test_switches_to_the_reference_liquid_resume_bit_for_bit(tmp_path):
    path = ReferenceLiquidPath.from_liquid(PAIR_SYSTEM, [])
    own, other = UhlenbeckFord(1.2, 1000.0), UhlenbeckFord(1.5, 1000.0)

    def run(checkpoint):
        model = ReferenceLiquidPotential(reference_liquid(own), other)
        return switch_to_reference(model, path, PAIR_SETTINGS, 5, checkpoint=checkpoint)

    assert_resumed(run, tmp_path, (2, 2, 4, 1))  # in blocks of 20 steps: two stops before the switches, two in them


def test_sweeps_of_a_liquid_resume_bit_for_bit(tmp_path):
    """The runs have one section of 2 ps and the beginning of another, in which the liquid is looked at."""
    path = ScaledPath.over_temperatures(PAIR_SYSTEM, [], 1000.0, 1500.0)
    settings = PAIR_SETTINGS.model_copy(update={"n_equilibration_steps": 240, "n_switching_steps": 250})

    def run(checkpoint):
        model = ScaledPotential(reference_liquid(UhlenbeckFord(1.2, 1000.0)))
        found = sweep(model, path, settings, PAIR, 7, "test", liquid=True, checkpoint=checkpoint)
        return found.switches, found.liquid, found.lost_on_the_way_up, found.lost_on_the_way_down

    assert_resumed(run, tmp_path, (3, 8, 9, 2))


ARGON = {"epsilon_eV": 0.0103, "sigma_A": 3.4}


def melted(checkpoint=None, **lengths):
    system = cubic_liquid(2, 42.0)
    dynamics = DynamicsSettings(
        temperature_K=120.0,
        pressure_GPa=0.1,
        timestep_fs=8.0,
        n_equilibration_steps=lengths.get("n_equilibration_steps", 300),
        n_production_steps=lengths.get("n_production_steps", 600),
    )
    more = {} if checkpoint is None else {"checkpoint": checkpoint}
    return melt(
        lennard_jones(**ARGON, cutoff_sigma=2.0),
        system,
        [],
        dynamics,
        lengths.get("heating_K", 250.0),
        lengths.get("n_heating_steps", 300),
        [1, 2],
        **more,
    )


def test_a_lennard_jones_crystal_melts():
    found = melted()
    assert found.summary.problem is None and found.summary.order < 0.25
    assert found.structure.volume == pytest.approx(found.volume_A3.mean())
    assert found.summary.diffusion_A2_per_ps > 0.05


def test_a_crystal_that_does_not_melt_is_refused():
    with pytest.raises(NotLiquidError, match="crystalline"):
        melted(heating_K=120.0, n_heating_steps=20, n_equilibration_steps=20, n_production_steps=200)


def test_melting_resumes_bit_for_bit(tmp_path):
    lengths = {"n_heating_steps": 20, "n_equilibration_steps": 20, "n_production_steps": 80}
    whole = melted(**lengths)
    count = iter(range(100))
    with pytest.raises(RunStoppedError):
        melted(Checkpoint(tmp_path, 1e9, lambda: next(count) >= 4), **lengths)
    found = melted(Checkpoint(tmp_path, 1e9, lambda: False), **lengths)
    np.testing.assert_array_equal(found.volume_A3, whole.volume_A3)
    assert found.summary == whole.summary and found.structure == whole.structure


def test_sections_in_which_a_liquid_is_crystalline():
    """Four looks at a liquid, four at a crystal, and two that are no section."""
    crystal, rng = cubic_liquid(2, 20.0).structure, np.random.default_rng(0)
    history = LiquidHistory(crystal, 1, 20.0, looks_per_section=4)
    cells = torch.tensor(np.array([crystal.lattice.matrix]))
    for look in range(10):
        x = rng.random((1, 32, 3)) @ crystal.lattice.matrix if look < 4 else crystal.cart_coords[None]
        history.see(torch.tensor(x), cells)
    assert history.lost.tolist() == [[False, True]]
    other = LiquidHistory(crystal, 1, 20.0, looks_per_section=4)
    other.restore(history.snapshot())
    assert other.lost.tolist() == [[False, True]] and other.summary() == history.summary()


def test_a_crystal_may_expand_by_more_than_half_while_it_melts():
    system = cubic_liquid(2, 26.0)
    dynamics = DynamicsSettings(
        temperature_K=150.0,
        pressure_GPa=0.02,
        timestep_fs=8.0,
        n_equilibration_steps=300,
        n_production_steps=80,
    )
    run = melt(lennard_jones(**ARGON, cutoff_sigma=2.0), system, [], dynamics, 180.0, 200, [1, 2])
    assert 1.5 < run.structure.volume / system.structure.volume < MAX_VOLUME_RATIO

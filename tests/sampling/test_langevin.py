"""Langevin dynamics against the exact distributions of a harmonic crystal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import units
from harmonic import HarmonicWells, harmonic_path
from scipy import stats

from alchemflows.errors import InvalidInputError, TrajectoryError
from alchemflows.sampling.langevin import Langevin

T = 400.0
N = 4
STIFFNESS = (2.0, 6.0)


def sampler(n_replicas: int, weights, seeds=None, timestep_fs: float = 5.0, **changes) -> Langevin:
    path = harmonic_path(N)
    weights = np.broadcast_to(weights, (n_replicas, 2))
    settings = {"temperature_K": T, "timestep_fs": timestep_fs, "friction_per_ps": 20.0}
    centres = path.system.structure.cart_coords
    return Langevin(
        HarmonicWells(centres, STIFFNESS),
        np.broadcast_to(centres, (n_replicas, N, 3)),
        np.broadcast_to(path.system.structure.lattice.matrix, (n_replicas, 3, 3)),
        weights,
        changes.pop("masses", path.system.masses(weights)),
        **(settings | {"seeds": list(seeds or range(n_replicas))} | changes),
    )


@pytest.fixture(scope="module")
def samples() -> tuple[np.ndarray, np.ndarray]:
    """Kinetic temperatures and squared displacements of independent replicas at the end of a run."""
    langevin = sampler(4000, [0.5, 0.5], timestep_fs=8.0)
    for _ in range(150):  # 1.2 ps: the variance of the start, which is 0, is forgotten like exp(−γt)
        langevin.step()
    centres = langevin.model.centres
    return langevin.kinetic_temperatures().numpy(), (langevin.positions - centres).reshape(-1).numpy()


@pytest.mark.slow
def test_kinetic_temperature_has_the_chi_squared_distribution(samples):
    scaled = samples[0] / T * 3 * N
    assert stats.kstest(scaled, stats.chi2(3 * N).cdf).pvalue > 1e-3


def test_positions_have_the_boltzmann_distribution(samples):
    """BAOAB has no time-step error in the positions of a harmonic well; 8 fs would show one."""
    width = np.sqrt(units.kB * T / (0.5 * sum(STIFFNESS)))
    assert stats.kstest(samples[1], stats.norm(scale=width).cdf).pvalue > 1e-3
    wrong = stats.norm(scale=1.03 * width)
    assert stats.kstest(samples[1], wrong.cdf).pvalue < 1e-3  # the test can see 3 %


def test_potential_and_kinetic_temperature_agree_over_time():
    langevin = sampler(128, [1.0, 0.0])
    potential, kinetic = [], []
    for step in range(1800):
        langevin.step()
        if step >= 400 and step % 10 == 0:
            potential.append(langevin.evaluation.energy.numpy() / (1.5 * N * units.kB))
            kinetic.append(langevin.kinetic_temperatures().numpy())
    for values in (np.array(potential), np.array(kinetic)):
        per_replica = values.mean(axis=0)
        error = per_replica.std(ddof=1) / np.sqrt(128)
        assert error < 0.02 * T
        assert abs(per_replica.mean() - T) < 4 * error + 0.002 * T


def test_a_replica_does_not_depend_on_its_batch():
    together = sampler(3, [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]], seeds=[5, 6, 7])
    alone = sampler(1, [[0.5, 0.5]], seeds=[6])
    for _ in range(200):
        together.step()
        alone.step()
    torch.testing.assert_close(together.positions[1], alone.positions[0], rtol=0, atol=1e-12)


def test_seeds_decide():
    one, same, other = (sampler(1, [0.5, 0.5], seeds=[seed]) for seed in (1, 1, 2))
    for langevin in (one, same, other):
        for _ in range(20):
            langevin.step()
    assert torch.equal(one.positions, same.positions)
    assert not torch.allclose(one.positions, other.positions)


@pytest.mark.parametrize("name", ["temperature_K", "timestep_fs", "friction_per_ps"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_conditions_must_be_positive(name, value):
    with pytest.raises(InvalidInputError, match=name):
        sampler(1, [1.0, 0.0], **{name: value})


def test_an_unstable_time_step_is_an_error_that_says_where():
    langevin = sampler(2, [[1.0, 0.0], [0.0, 1.0]], timestep_fs=400.0)
    with pytest.raises(TrajectoryError, match=r"replica \d .*step \d+"):
        for _ in range(1000):
            langevin.step()


def test_an_explosion_is_kept_until_somebody_checks():
    """The error has the step and the quantities of the explosion; the other replica goes on as if alone."""
    n_steps = 60
    langevin = sampler(2, [[1.0, 0.0], [0.0, 1.0]], timestep_fs=120.0)  # unstable for the stiffer of the two
    alone = sampler(1, [[1.0, 0.0]], seeds=[0], timestep_fs=120.0)
    at_once = sampler(2, [[1.0, 0.0], [0.0, 1.0]], timestep_fs=120.0)
    with pytest.raises(TrajectoryError, match=r"replica 1 .*step \d+") as first:
        for _ in range(n_steps):
            at_once.step()
    assert at_once.n_steps < n_steps
    for _ in range(n_steps):
        langevin.step(check=False)
        alone.step()
    assert langevin.exploded.tolist() == [False, True]
    assert torch.equal(langevin.positions[1], sampler(2, [[1.0, 0.0], [0.0, 1.0]]).positions[1])
    assert (langevin.velocities[1] == 0).all()
    torch.testing.assert_close(langevin.positions[0], alone.positions[0], rtol=0, atol=1e-12)
    with pytest.raises(TrajectoryError) as later:
        langevin.check()
    assert str(later.value) == str(first.value)
    resumed = sampler(2, [[1.0, 0.0], [0.0, 1.0]], timestep_fs=120.0)
    resumed.restore(langevin.snapshot())
    assert torch.equal(resumed.exploded, langevin.exploded)
    with pytest.raises(TrajectoryError) as after:
        resumed.check()
    assert str(after.value) == str(first.value)


@pytest.mark.parametrize(
    ("quantity", "text"),
    [("force", r"force nan.*atom 2"), ("temperature", "temperature [^,]* K"), ("energy", "energy nan eV")],
)
def test_an_explosion_names_what_is_beyond_its_limit(quantity, text, monkeypatch):
    langevin = sampler(2, [0.5, 0.5])
    if quantity == "temperature":
        langevin.velocities[1] *= 50.0
    else:
        evaluate = langevin.model.evaluate

        def spoiled(*arguments, **options):
            evaluation = evaluate(*arguments, **options)
            (evaluation.forces[1, 2] if quantity == "force" else evaluation.energy[1:]).fill_(float("nan"))
            return evaluation

        monkeypatch.setattr(langevin.model, "evaluate", spoiled)
    with pytest.raises(TrajectoryError, match=f"replica 1 .*step 1 .*: {text}$"):
        langevin.step()


def test_positions_that_are_not_finite_are_refused():
    langevin = sampler(2, [0.5, 0.5])
    positions = langevin.positions.clone()
    positions[1, 3, 0] = float("nan")
    with pytest.raises(TrajectoryError, match=r"replica 1.*atom 3"):
        langevin.move_to(positions, langevin.cells, langevin.weights, langevin.masses)


def test_a_resting_centre_of_mass_rests_and_takes_three_degrees_of_freedom():
    """Atoms of different masses, held by their wells alone."""
    n = 1500
    langevin = sampler(n, [0.5, 0.5], fix_centre_of_mass=True, masses=np.tile([20.0, 60.0, 110.0, 200.0], (n, 1)))
    shares = langevin.masses / langevin.masses.sum(dim=1, keepdim=True)
    start = torch.einsum("bi,bix->bx", shares, langevin.positions)
    for _ in range(200):
        langevin.step()
    drift = torch.einsum("bi,bix->bx", shares, langevin.positions) - start
    assert float(drift.abs().max()) < 1e-9
    scaled = langevin.kinetic_temperatures().numpy() / T * (3 * N - 3)
    assert stats.kstest(scaled, stats.chi2(3 * N - 3).cdf).pvalue > 1e-3
    energy = langevin.evaluation.energy.numpy() / (0.5 * units.kB * T)
    assert stats.kstest(energy, stats.chi2(3 * N - 3).cdf).pvalue > 1e-3
    assert stats.kstest(energy, stats.chi2(3 * N).cdf).pvalue < 1e-6

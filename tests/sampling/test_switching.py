"""Switching between harmonic wells: the work theorem, exact Einstein crystals, curves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import units
from harmonic import HarmonicCrystal, HarmonicWells, harmonic_path
from scipy import stats

from alchemflows.alchemy.tether import Springs
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.work import analyse_work
from alchemflows.sampling.langevin import Langevin
from alchemflows.sampling.switching import draw_einstein_crystal, equilibrate_ends, joined, switch
from alchemflows.schemas.dynamics import SwitchingSettings

T = 300.0
KT = units.kB * T
N_REPEATS, N_SWITCHES = 60, 16  # estimates, and switches of each in each direction


def settings(**changes) -> SwitchingSettings:
    values = {
        "temperature_K": T,
        "timestep_fs": 5.0,
        "friction_per_ps": 20.0,
        "n_equilibration_steps": 150,
        "n_switching_steps": 300,
    }
    return SwitchingSettings(**(values | changes))


def run(model, path, conditions, n: int):
    start = equilibrate_ends(model, path, conditions, range(2 * n))
    return switch(model, path, conditions, start, range(10**6, 10**6 + 2 * n))


def assert_honest(values: np.ndarray, errors: np.ndarray, exact: float) -> None:
    """The exact value lies within the error bars of estimates as often as it should."""
    z = (values - exact) / errors
    within = [(np.abs(z) < k).mean() for k in (1, 2)]
    assert 0.55 <= within[0] <= 0.80, within
    assert 0.88 <= within[1] <= 0.99, within
    assert abs(z.mean()) < 4 * z.std() / np.sqrt(len(z)), z.mean()


@pytest.fixture(scope="module")
def wells() -> HarmonicWells:
    return HarmonicWells(harmonic_path(2).system.structure.cart_coords, (2.0, 3.0), (0.0, 0.05))


@pytest.fixture(scope="module")
def switches(wells):
    return run(wells, harmonic_path(2), settings(), N_REPEATS * N_SWITCHES)


@pytest.mark.slow
def test_errors_are_honest(wells, switches):
    forward = switches.forward_work_eV.reshape(N_REPEATS, N_SWITCHES)
    backward = switches.backward_work_eV.reshape(N_REPEATS, N_SWITCHES)
    results = [analyse_work(f, b, T) for f, b in zip(forward, backward, strict=True)]
    exact = wells.delta_f_eV(T)
    for method in ("bar", "mean", "best"):
        values, errors = np.array([getattr(r, method) for r in results]).T
        assert_honest(values, errors, exact)
        assert errors.max() < 0.2 * exact
    assert all(not r.warnings for r in results)


def test_work_obeys_crooks(wells, switches):
    """All switches together: Jarzynski's equality both ways, and BAR, each to a few per mille of k_B T."""
    exact = wells.delta_f_eV(T)
    for work, sign in ((switches.forward_work_eV, 1), (switches.backward_work_eV, -1)):
        weights = np.exp(-(work - sign * exact) / KT)
        assert abs(weights.mean() - 1) < 4 * weights.std() / np.sqrt(len(work)) < 0.1
    result = analyse_work(switches.forward_work_eV, switches.backward_work_eV, T)
    assert abs(result.bar[0] - exact) < 4 * result.bar[1] < 0.06 * KT
    assert 0.01 * KT < result.dissipation_eV < 0.3 * KT


def test_slow_switching_dissipates_less_and_gentle_ends_too(wells):
    path = harmonic_path(2)
    lost = {
        (steps, name): analyse_work(s.forward_work_eV, s.backward_work_eV, T).dissipation_eV
        for steps, name in ((20, "linear"), (100, "linear"), (100, "ninth-order"))
        for s in [run(wells, path, settings(n_switching_steps=steps, schedule=name), 400)]
    }
    assert lost[20, "linear"] > 1.5 * lost[100, "linear"] > 0


def test_curves_go_with_the_works(wells, switches):
    assert switches.lambdas[0] == 0 and switches.lambdas[-1] == 1 and (np.diff(switches.lambdas) >= 0).all()
    assert switches.forward_dudl_eV.shape == switches.backward_dudl_eV.shape == (len(switches.forward_work_eV), 200)
    # Forward curves begin in equilibrium at λ = 0, backward curves in that at λ = 1.
    for curve, k in ((switches.forward_dudl_eV, 2.0), (switches.backward_dudl_eV, 3.0)):
        start = curve[:, 0]
        assert abs(start.mean() - 0.05 - 3 * KT / k) < 4 * start.std() / np.sqrt(len(start))
    few = run(wells, harmonic_path(2), settings(n_switching_steps=50), 3)
    assert len(few.lambdas) == 51  # every step is kept: the curve's area is the work
    np.testing.assert_allclose(np.trapezoid(few.forward_dudl_eV, few.lambdas), few.forward_work_eV)
    np.testing.assert_allclose(np.trapezoid(few.backward_dudl_eV, few.lambdas[::-1]), few.backward_work_eV)


def test_switches_are_reproducible_and_report_progress(wells):
    path, conditions = harmonic_path(2), settings(n_equilibration_steps=40, n_switching_steps=60)
    seen = []
    start = equilibrate_ends(wells, path, conditions, range(4), on_progress=seen.append)
    one = switch(wells, path, conditions, start, range(4), on_progress=seen.append)
    again = switch(wells, path, conditions, start, range(4))
    other = switch(wells, path, conditions, start, range(4, 8))
    np.testing.assert_array_equal(one.forward_work_eV, again.forward_work_eV)
    assert not np.isclose(one.forward_work_eV, other.forward_work_eV).any()
    assert [(p.phase, p.step, p.n_steps) for p in seen] == [
        *[("equilibration", k, 40) for k in (20, 40)],
        *[("switching", k, 60) for k in (20, 40, 60)],
    ]
    assert len(seen[0].temperatures_K) == 4


@pytest.mark.parametrize("n_seeds", [3, 6])
def test_ends_and_seeds_must_pair(wells, n_seeds):
    path, conditions = harmonic_path(2), settings(n_equilibration_steps=0)
    start = equilibrate_ends(wells, path, conditions, range(4))
    with pytest.raises(InvalidInputError, match="seeds"):
        switch(wells, path, conditions, start, range(n_seeds))
    with pytest.raises(InvalidInputError, match="seeds"):
        equilibrate_ends(wells, path, conditions, range(3))


@pytest.mark.slow
def test_switching_at_constant_pressure():
    """ΔG of two crystals of different stiffness and volume, ∫ dV exp[−β(U + PV)] det K^(−3/2) of each."""
    path = harmonic_path(2)
    volume = path.system.structure.volume
    bulk = [b * units.kB * T / volume for b in (800.0, 1000.0)]
    volumes = [volume, 1.04 * volume]
    springs = [np.diag([1.5, 2.0]), np.diag([2.0, 3.0])]
    model = HarmonicCrystal(path.system.structure.frac_coords, springs, bulk, volumes)
    pressure = 0.02
    conditions = settings(pressure_GPa=pressure, barostat_time_ps=0.1, n_equilibration_steps=200, n_switching_steps=300)
    exact = model.delta_g_eV(T, pressure)
    found = run(model, path, conditions, 500)
    result = analyse_work(found.forward_work_eV, found.backward_work_eV, T)
    assert not result.warnings
    assert abs(result.bar[0] - exact) < 4 * result.bar[1] < 0.25 * KT
    # Without the change of the integral over the volume it would be seen to be wrong.
    assert abs(exact - 1.5 * KT * np.log(2.0)) > 6 * result.bar[1]


# Einstein crystals

SPRINGS = Springs([[0.1, 0.2, 0.3], [0.5, 0.5, 0.5], [0.9, 0.8, 0.6]], (1.0, 3.0, 0.5))
MASSES = np.array([7.0, 100.0, 35.0])
CELL = np.array([[5.0, 0.0, 0.0], [0.5, 6.0, 0.0], [0.0, 0.3, 7.0]])


def test_drawn_einstein_crystals():
    n = 20000
    state = draw_einstein_crystal(SPRINGS, CELL, MASSES, T, range(n))
    u = state.positions.numpy() - np.array(SPRINGS.sites) @ CELL
    shares = MASSES / MASSES.sum()
    np.testing.assert_allclose(np.einsum("i,bix->bx", shares, u), 0, atol=1e-12)
    np.testing.assert_allclose(np.einsum("i,bix->bx", shares, state.velocities), 0, atol=1e-12)
    # Independent Gaussians under one linear condition: C − Cμ (μᵀCμ)⁻¹ μᵀC
    free = np.diag(KT / np.array(SPRINGS.stiffness_eV_per_A2))
    exact = free - np.outer(free @ shares, free @ shares) / (shares @ free @ shares)
    width = np.sqrt(np.diag(exact))
    for x in range(3):
        # The error of a covariance of n draws is below √(2/n) of the widths.
        assert np.abs((u[:, :, x].T @ u[:, :, x] / n - exact) / np.outer(width, width)).max() < 4 * np.sqrt(2 / n)
        assert stats.kstest(u[:, 1, x], stats.norm(scale=width[1]).cdf).pvalue > 1e-3
    assert np.abs(exact - free).max() > 0.1 * free.max()  # the condition matters
    kinetic = (MASSES[:, None] * state.velocities.numpy() ** 2).sum(axis=(1, 2)) / KT
    assert stats.kstest(kinetic, stats.chi2(6).cdf).pvalue > 1e-3
    assert torch.equal(state.select([5]).positions, draw_einstein_crystal(SPRINGS, CELL, MASSES, T, [5]).positions)


def test_dynamics_leave_drawn_crystals_in_equilibrium():
    """Replicas of an Einstein crystal, drawn and then moved with the centre of mass at rest, stay what they were."""
    n = 2000
    model = HarmonicCrystal(SPRINGS.sites, [np.diag(SPRINGS.stiffness_eV_per_A2)])
    state = draw_einstein_crystal(SPRINGS, CELL, MASSES, T, range(n))
    langevin = Langevin.under(
        settings(timestep_fs=2.0),
        model,
        state,
        np.ones((n, 1)),
        np.tile(MASSES, (n, 1)),
        range(n),
        fix_centre_of_mass=True,
    )
    torch.testing.assert_close(langevin.velocities, state.velocities, rtol=0, atol=1e-12)
    for name, values in (("start", langevin.evaluation.energy), ("temperature", langevin.kinetic_temperatures())):
        values = values / (3 * KT) if name == "start" else values / T
        assert abs(values.mean() - 1) < 4 * values.std() / np.sqrt(n), name
    for _ in range(100):
        langevin.step()
    for values in (langevin.evaluation.energy / (3 * KT), langevin.kinetic_temperatures() / T):
        assert abs(values.mean() - 1) < 4 * values.std() / np.sqrt(n)
    u = langevin.positions - model.sites @ langevin.cells
    np.testing.assert_allclose(torch.einsum("i,bix->bx", torch.tensor(MASSES), u), 0, atol=1e-9)


def test_states_are_joined_in_order():
    first, second = (draw_einstein_crystal(SPRINGS, CELL, MASSES, T, seeds) for seeds in ([0, 1], [2]))
    both = joined(first, second)
    assert torch.equal(both.select([2, 0]).velocities, torch.cat([second.velocities, first.velocities[:1]]))
    assert both.cells.shape == (3, 3, 3)

"""Candidate moves carried out by dynamics: exact work and exact averages at large time steps, explosions, cost."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from lattices import everything, places, random_mixture
from mobile_wells import Wells, assert_mean, of_composition, pairs_of_wells

from alchemflows.errors import InvalidInputError
from alchemflows.sampling.candidate_moves import CandidateSwitch
from alchemflows.sampling.ensembles import Canonical, SemiGrand
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.sampling.sweeps import run_sweeps
from alchemflows.schemas.monte_carlo import MonteCarloSettings

T = 600.0
KT = units.kB * T
#: 0.23 of the period of the vibration of Na: energies are not conserved.
TIMESTEP_FS = 40.0


def settings(**changes) -> MonteCarloSettings:
    values = {
        "temperature_K": T,
        "timestep_fs": TIMESTEP_FS,
        "friction_per_ps": 10.0,
        "schedule": "third-order",
        "n_switching_steps": 8,
        "n_md_steps": 1,
        "attempts_per_sweep": 1,
        "n_equilibration_sweeps": 15,
        "n_production_sweeps": 100,
    }
    return MonteCarloSettings(**(values | changes))


def sweeps(ensemble, model: Wells, n_replicas: int, **changes):
    arrangements = ensemble.arrangements
    half = arrangements.n_sites // 2
    return run_sweeps(
        model,
        ensemble,
        places(arrangements, n_replicas),
        arrangements.random([[half, half]], range(n_replicas)),
        settings(**changes),
        seeds=range(n_replicas),
    )


def acceptance(run) -> float:
    return float(np.mean([series.acceptance for series in run.series]))


@pytest.mark.parametrize("reverse", [False, True])
def test_work_gives_the_free_energy_difference_at_any_time_step(reverse):
    """⟨exp(−βW)⟩ = exp(−βΔF) of switches from equilibrium (Jarzynski), since W includes the work of the time step."""
    model = pairs_of_wells(2, shift_A=0.05, stiffness_eV_per_A2=(2.0, 2.5))
    arrangements, n = model.arrangements, 3000
    first, last = np.tile([[0, 0]], (n, 1)), np.tile([[1, 0]], (n, 1))
    if reverse:
        first, last = last, first
    positions, cells = places(arrangements, n)
    stiffness = model.stiffness.numpy()[first][..., None]
    noise = np.random.default_rng(3).normal(size=positions.shape)
    positions = positions + model.shifts.numpy()[first] + np.sqrt(KT / stiffness) * noise
    done = CandidateSwitch(8, TIMESTEP_FS, 10.0, "third-order").carry_out(
        model,
        arrangements,
        (positions, cells),
        first,
        last,
        temperatures_K=np.full(n, T),
        seeds=derived_seeds(int(reverse), "switching", n),
    )
    ratio = model.probabilities(np.stack([first[0], last[0]]), T)
    average = np.exp(-done.work_eV / KT)
    assert_mean(average / (ratio[1] / ratio[0]), 1.0, error=0.04)
    assert done.work_eV.std() > 0.5 * KT
    assert not done.exploded.any()


def test_averages_are_exact_and_more_moves_are_accepted():
    """Wells of the species are 4 standard deviations apart."""
    model = pairs_of_wells(4, shift_A=0.5)
    ensemble, labels = Canonical(model.arrangements), of_composition(model.arrangements, 2)
    exact = model.probabilities(labels, T)
    run = sweeps(ensemble, model, 24, n_production_sweeps=70)
    assert_mean([s.labels.mean(axis=0) for s in run.series], exact @ labels, error=0.07)
    energies = [s.energy_eV.mean() for s in run.series]
    assert_mean(energies, exact @ model.static_eV(labels) + 6 * KT, error=0.2 * KT)
    at_once = sweeps(ensemble, model, 24, n_switching_steps=0, n_md_steps=5, n_production_sweeps=40)
    assert acceptance(run) > 3 * acceptance(at_once)


@pytest.mark.slow
@pytest.mark.parametrize("proposal", ["informed", "uniform"])
@pytest.mark.parametrize("n_md_steps", [0, 2])
def test_averages_are_exact_at_given_chemical_potentials(n_md_steps, proposal):
    """Species differ in stiffness, mass and place; long time steps; with and without dynamics between moves."""
    model = pairs_of_wells(4, shift_A=0.4, stiffness_eV_per_A2=(2.0, 4.0))
    labels = everything(model.arrangements)
    exact = model.probabilities(labels, T, mu_eV=(0.0, 0.08))
    run = sweeps(
        SemiGrand(model.arrangements, {"Na": 0.0, "K": 0.08}),
        model,
        64,
        n_md_steps=n_md_steps,
        proposal=proposal,
        n_equilibration_sweeps=60,
        n_production_sweeps=250,
    )
    assert_mean([s.labels.mean(axis=0) for s in run.series], exact @ labels, sigma=3.5, error=0.025)
    energies = [s.energy_eV.mean() for s in run.series]
    assert_mean(energies, exact @ model.static_eV(labels) + 6 * KT, sigma=3.5, error=0.08 * KT)


@pytest.mark.parametrize("n_md_steps", [0, 3])
def test_evaluations_are_those_of_the_steps(n_md_steps):
    model = pairs_of_wells(4, shift_A=0.2)
    run = sweeps(
        Canonical(model.arrangements),
        model,
        3,
        n_md_steps=n_md_steps,
        n_switching_steps=5,
        n_equilibration_sweeps=0,
        n_production_sweeps=4,
        attempts_per_sweep=2,
    )
    dynamics = 1 + 4 * (1 + n_md_steps) if n_md_steps else 0
    assert model.n_evaluations == 1 + dynamics + 4 * 2 * (5 + 1)
    assert acceptance(run) > 0


def test_an_explosion_is_a_rejected_move():
    """The wells of K are so stiff that a move to them explodes; the other replica does not notice."""
    model = pairs_of_wells(2, shift_A=0.5, stiffness_eV_per_A2=(3.0, 5e4))
    arrangements = model.arrangements
    positions, cells = places(arrangements, 2)
    switch = CandidateSwitch(5, 4.0)
    labels, candidates = np.zeros((2, 2), dtype=int), np.array([[1, 0], [0, 0]])
    both = switch.carry_out(
        model,
        arrangements,
        (positions, cells),
        labels,
        candidates,
        temperatures_K=np.full(2, T),
        seeds=[1, 2],
    )
    alone = switch.carry_out(
        model,
        arrangements,
        (positions[1:], cells[1:]),
        labels[1:],
        candidates[1:],
        temperatures_K=np.full(1, T),
        seeds=[2],
    )
    assert both.exploded.tolist() == [True, False]
    assert both.work_eV[1] == alone.work_eV[0] and np.array_equal(both.positions_A[1], alone.positions_A[0])
    run = run_sweeps(
        model,
        SemiGrand(arrangements, {"Na": 0.0, "K": 0.0}),
        (positions, cells),
        labels,
        settings(n_md_steps=0, n_equilibration_sweeps=0, n_production_sweeps=4),
        seeds=[1, 2],
    )
    assert acceptance(run) == 0
    assert np.array_equal(run.positions_A, positions) and np.array_equal(run.labels, labels)


def test_sites_must_not_be_vacant():
    arrangements, model = random_mixture()
    with pytest.raises(InvalidInputError, match="vacancy"):
        run_sweeps(
            model,
            Canonical(arrangements),
            places(arrangements, 1),
            arrangements.random([[1, 1, 0, 0, 1], [0, 0, 2, 1, 0]], [0]),
            settings(n_md_steps=0),
            seeds=[0],
        )


@pytest.mark.parametrize(("values", "reason"), [({"n_steps": 0}, "n_steps"), ({"n_steps": 5, "schedule": "x"}, "x")])
def test_wrong_values_are_refused(values, reason):
    with pytest.raises(InvalidInputError, match=reason):
        CandidateSwitch(**values)

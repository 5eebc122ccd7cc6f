"""Sweeps of Monte Carlo: what a sample contains, how many evaluations are made, and that runs resume bit for bit."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from ase import units
from lattices import everything, ising, places, random_mixture
from mobile_wells import Wells, assert_mean, of_composition, pairs_of_wells
from pymatgen.core import Element, Lattice, Structure

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.groups import uniform_group
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError, RunStoppedError, TrajectoryError
from alchemflows.sampling.arrangements import Arrangements
from alchemflows.sampling.checkpoint import Checkpoint
from alchemflows.sampling.ensembles import Canonical, SemiGrand
from alchemflows.sampling.langevin import Langevin
from alchemflows.sampling.monte_carlo import MonteCarlo
from alchemflows.sampling.sites import SiteWatch
from alchemflows.sampling.sweeps import Sweeps, run_sweeps
from alchemflows.schemas.monte_carlo import ArrangementSeries, MonteCarloSettings
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.reasons import Reason

T = 600.0
KT = units.kB * T
DYNAMICS = {"n_md_steps": 5, "timestep_fs": 20.0, "friction_per_ps": 40.0, "barostat_time_ps": 0.2}


def settings(**changes) -> MonteCarloSettings:
    values = {"temperature_K": T, "n_equilibration_sweeps": 3, "n_production_sweeps": 5, "attempts_per_sweep": 7}
    return MonteCarloSettings(**(values | changes))


def frozen(checkpoint: Checkpoint | None = None, **changes):
    """Run three replicas of an Ising model; return the run and the number of evaluations."""
    arrangements, model = ising(2, 3, 0.03)
    run = run_sweeps(
        model,
        Canonical(arrangements),
        places(arrangements, 3),
        arrangements.random([[3, 3]], range(3)),
        settings(**changes),
        seeds=range(3),
        checkpoint=checkpoint or Checkpoint(),
    )
    return run, model.n_evaluations


def assert_same(one, other) -> None:
    for a, b in zip(one.series, other.series, strict=True):
        for field in fields(ArrangementSeries):
            assert np.array_equal(getattr(a, field.name), getattr(b, field.name)), field.name
    for name in ("labels", "positions_A", "cells_A"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_samples_are_those_of_the_chains():
    """Each sample is the state after 7 attempts."""
    run, n_evaluations = frozen()
    assert n_evaluations == 1 + 8 * 7
    arrangements, model = ising(2, 3, 0.03)
    chains = MonteCarlo(
        model,
        Canonical(arrangements),
        *places(arrangements, 3),
        arrangements.random([[3, 3]], range(3)),
        temperature_K=T,
        seeds=range(3),
    )
    for sweep in range(8):
        accepted = np.mean([chains.attempt() for _ in range(7)], axis=0)
        if sweep >= 3:
            for b, series in enumerate(run.series):
                assert np.array_equal(series.labels[sweep - 3], chains.current.labels[b])
                assert series.energy_eV[sweep - 3] == chains.current.energy_eV[b]
                assert series.acceptance[sweep - 3] == pytest.approx(accepted[b])
    assert [len(series) for series in run.series] == [5, 5, 5]
    assert [set(series.walker) for series in run.series] == [{0}, {1}, {2}]
    volume = arrangements.system.structure.volume
    assert all(series.volume_A3 == pytest.approx(volume) for series in run.series)
    assert 0 < np.mean([series.acceptance for series in run.series]) < 1


def test_a_sweep_has_an_attempt_for_each_site_by_default():
    """Their number is odd: 7 for 6 sites."""
    assert frozen(attempts_per_sweep=None)[1] == 1 + 8 * 7


def watch_over(arrangements: Arrangements, n_replicas: int) -> SiteWatch:
    return SiteWatch([arrangements.system.structure] * n_replicas, elements=arrangements.site_names)


def mobile(
    model: Wells,
    ensemble,
    n_replicas: int,
    checkpoint: Checkpoint | None = None,
    *,
    watch: SiteWatch | None = None,
    temperatures_K: list[float] | None = None,
    **changes,
):
    """Run sweeps of moves and dynamics, from half of each species."""
    arrangements = ensemble.arrangements
    half = arrangements.n_sites // 2
    return run_sweeps(
        model,
        ensemble,
        places(arrangements, n_replicas),
        arrangements.random([[half, half]], range(n_replicas)),
        settings(**(DYNAMICS | changes)),
        seeds=range(n_replicas),
        temperatures_K=temperatures_K,
        watch=watch,
        checkpoint=checkpoint or Checkpoint(),
    )


def test_vibrations_and_arrangements_have_the_canonical_distribution():
    model = pairs_of_wells(6, shift_A=0.25)
    labels = of_composition(model.arrangements, 3)
    exact = model.probabilities(labels, T)
    assert np.ptp(exact @ labels) > 0.3
    run = mobile(
        model,
        Canonical(model.arrangements),
        40,
        n_equilibration_sweeps=15,
        n_production_sweeps=70,
        attempts_per_sweep=3,
    )
    assert_mean([s.labels.mean(axis=0) for s in run.series], exact @ labels, error=0.025)
    energies = [s.energy_eV.mean() for s in run.series]
    assert_mean(energies, exact @ model.static_eV(labels) + 9 * KT, error=0.07 * KT)


def test_volumes_and_compositions_have_the_distribution_of_constant_pressure():
    """Species differ in stiffness and in volume."""
    model = pairs_of_wells(
        6, shift_A=0.2, stiffness_eV_per_A2=(2.0, 4.0), bulk_modulus_eV_per_A3=0.5, expansion_A3=(0.0, 3.0)
    )
    pressure_GPa, mu_eV = 2.0, 0.12
    labels = everything(model.arrangements)
    exact = model.probabilities(labels, T, pressure_GPa, (0.0, mu_eV))
    run = mobile(
        model,
        SemiGrand(model.arrangements, {"Na": 0.0, "K": mu_eV}),
        32,
        n_equilibration_sweeps=15,
        n_production_sweeps=70,
        attempts_per_sweep=3,
        pressure_GPa=pressure_GPa,
    )
    mean = exact @ labels
    # Without P a, K would be more frequent.
    assert np.abs(model.probabilities(labels, T, 0.0, (0.0, mu_eV)) @ labels - mean).min() > 0.1
    assert_mean([s.labels.mean(axis=0) for s in run.series], mean, error=0.03)
    pressure = pressure_GPa * units.GPa
    volume = model.volume + 3.0 * mean.sum() - pressure * model.volume / 0.5
    assert_mean([s.volume_A3.mean() for s in run.series], volume, error=0.4)
    elastic = pressure**2 * model.volume / (2 * 0.5)
    static = exact @ model.static_eV(labels)
    assert_mean([s.energy_eV.mean() for s in run.series], static + elastic + 9.5 * KT, error=0.1 * KT)


@pytest.mark.parametrize("proposal", ["informed", "uniform"])
def test_chains_continue_with_the_last_evaluation_of_the_dynamics(proposal):
    """Each sweep has 4 attempts, one evaluation of the forces after them, and 5 steps."""
    model = pairs_of_wells(4, shift_A=0.1)
    run = mobile(
        model, Canonical(model.arrangements), 3, n_equilibration_sweeps=0, attempts_per_sweep=4, proposal=proposal
    )
    assert model.n_evaluations == 2 + 5 * (4 + 1 + 5)
    final = model.evaluate(
        *(torch.as_tensor(values) for values in (run.positions_A, run.cells_A)),
        model.arrangements.weights(run.labels),
    )
    assert np.array_equal([s.energy_eV[-1] for s in run.series], final.energy.numpy())


def test_velocities_follow_the_masses():
    """Kinetic energies of each species are 3/2 k_B T, although atoms change their masses in each sweep."""
    model = pairs_of_wells(4)
    arrangements = model.arrangements
    n = 200
    labels = arrangements.random([[2, 2]], range(n))
    steps = settings(**(DYNAMICS | {"n_md_steps": 1, "friction_per_ps": 1e-3, "timestep_fs": 1.0}))
    chains = MonteCarlo(
        model,
        Canonical(arrangements),
        *places(arrangements, n),
        labels,
        temperature_K=T,
        seeds=range(n),
    )
    weights = arrangements.weights(labels)
    langevin = Langevin.under(
        steps, model, places(arrangements, n), weights, arrangements.system.masses(weights), range(n)
    )
    sweeps = Sweeps(chains, steps, np.full(n, T), langevin)
    before = langevin.kinetic_temperatures()
    for _ in range(3 * sweeps.length):
        sweeps.step()
    assert chains.n_accepted.min() > 0
    symbols = np.array(arrangements.species)[chains.current.labels]
    masses = np.array([[Element(symbol).atomic_mass for symbol in row] for row in symbols])
    np.testing.assert_allclose(langevin.masses, masses, rtol=1e-6)
    np.testing.assert_allclose(langevin.kinetic_temperatures(), before, rtol=0.05)


@pytest.mark.parametrize(
    "dynamics",
    [{"replica_exchange": True}, {"n_md_steps": 0, "n_switching_steps": 5}],
    ids=["between moves", "during moves"],
)
def test_atoms_that_leave_their_sites_are_seen_at_their_temperature(dynamics):
    """In wells that are 3 Å apart, atoms are about 0.2 Å from their sites at 200 K, and 3 Å at 40,000 K."""
    model = pairs_of_wells(4, spread_eV=0.01, stiffness_eV_per_A2=(0.5, 0.5))
    watch = watch_over(model.arrangements, 2)
    run = mobile(
        model, Canonical(model.arrangements), 2, watch=watch, temperatures_K=[200.0, 4e4], n_production_sweeps=20,
        attempts_per_sweep=3, friction_per_ps=5.0, **dynamics,
    )  # fmt: skip
    cold, hot = watch.summaries()
    # Species that change places are no atoms that leave their sites.
    assert all(np.ptp(series.labels, axis=0).any() for series in run.series)
    assert not cold.left and cold.reasons("200 K") == [] and 0 < cold.largest_displacement_A < 1.5
    assert hot.left and hot.time_away > 0.3 and (hot.element, hot.nearest_A) == ("Na/K", 3.0)
    (reason,) = hot.reasons("40000 K")
    assert reason.startswith("40000 K") and f"atom {hot.atom} (Na/K)" in reason


def test_checkpoints_of_earlier_releases_have_no_displacements():
    watch = watch_over(pairs_of_wells(4).arrangements, 2)
    before = watch.summaries()
    watch.restore({})
    assert watch.summaries() == before


def test_a_crystal_that_flies_apart_is_named_with_its_temperature_and_sweep():
    """The tension increases the volume by more than the factor at which dynamics end."""
    model = pairs_of_wells(4, bulk_modulus_eV_per_A3=0.5)
    with pytest.raises(TrajectoryError, match=r"volume.*\bsweep \d+\b.*melted") as caught:
        mobile(model, Canonical(model.arrangements), 2, temperatures_K=[300.0, 700.0], pressure_GPa=-60.0)
    replica = int(str(caught.value).split()[1])
    assert f"{[300, 700][replica]} K" in str(caught.value)


def explosive(checkpoint: Checkpoint | None = None, n_production_sweeps: int = 40):
    """Run three replicas with a time step that is slightly too long; return the run and the displacements."""
    model = pairs_of_wells(4)
    watch = watch_over(model.arrangements, 3)
    run = mobile(
        model, Canonical(model.arrangements), 3, checkpoint, watch=watch, temperatures_K=[300.0, 500.0, 700.0],
        n_equilibration_sweeps=1, n_production_sweeps=n_production_sweeps, replica_exchange=True,
        n_md_steps=2, timestep_fs=56.0, friction_per_ps=2.0,
    )  # fmt: skip
    return run, watch.summaries()


def test_samples_before_an_explosion_are_those_of_a_run_that_ends_there():
    run, sites = explosive()
    assert run.explosion is not None
    n = run.explosion.sweep - 2  # without the equilibration and the sweep itself
    assert 4 <= n < 40 and run.explosion.n_sweeps == 41
    shorter, before = explosive(n_production_sweeps=n)
    assert shorter.explosion is None and sites == before
    for one, other in zip(run.series, shorter.series, strict=True):
        assert len(one) == n
        assert all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(ArrangementSeries))
    assert np.isfinite(run.positions_A).all()
    text = run.explosion.reason("500 K")
    assert Reason.of(text) is Reason.EXPLODED and f"sweep {n + 2} of 41 (temperature" in text


@pytest.mark.parametrize("stop_at", [1, 2, 5])
def test_a_run_that_explodes_resumes_bit_for_bit(tmp_path, stop_at):
    straight, sites = explosive()
    asked = iter(range(1, 100))
    with pytest.raises(RunStoppedError):
        explosive(Checkpoint(tmp_path, interval_s=1e9, should_stop=lambda: next(asked) == stop_at))
    resumed, again = explosive(Checkpoint(tmp_path, interval_s=1e9))
    assert_same(resumed, straight)
    assert resumed.explosion == straight.explosion is not None and again == sites


def test_atoms_cannot_move_where_there_are_vacancies():
    arrangements, model = random_mixture()
    with pytest.raises(InvalidInputError, match="vacancy"):
        run_sweeps(
            model,
            Canonical(arrangements),
            places(arrangements, 1),
            arrangements.random([[1, 1, 0, 0, 1], [0, 0, 2, 1, 0]], [0]),
            settings(n_md_steps=1),
            seeds=[0],
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"n_md_steps": 6},
        {"n_md_steps": 6, "replica_exchange": True},
        {"n_md_steps": 6, "pressure_GPa": 0.5},
        {"n_md_steps": 6, "pressure_GPa": 0.5, "replica_exchange": True, "proposal": "uniform"},
        {"n_switching_steps": 3, "n_md_steps": 0},
        {"n_switching_steps": 3, "n_md_steps": 2, "pressure_GPa": 0.5, "replica_exchange": True},
    ],
    ids="+".join,
)
@pytest.mark.parametrize("stop_at", [1, 5, 8])
def test_a_run_with_dynamics_resumes_bit_for_bit(tmp_path, changes, stop_at):
    """Stops are among the moves of a sweep and within its dynamics."""

    def run(checkpoint: Checkpoint | None = None):
        model = pairs_of_wells(4, shift_A=0.1, bulk_modulus_eV_per_A3=0.5, expansion_A3=(0.0, 2.0))
        ensemble = SemiGrand(model.arrangements, {"Na": 0.0, "K": 0.01})
        watch = watch_over(model.arrangements, 3)
        return mobile(model, ensemble, 3, checkpoint, watch=watch, **changes), watch.summaries()

    straight, sites = run()
    asked = iter(range(1, 100))
    with pytest.raises(RunStoppedError):
        run(Checkpoint(tmp_path, interval_s=1e9, should_stop=lambda: next(asked) == stop_at))
    resumed, again = run(Checkpoint(tmp_path, interval_s=1e9))
    assert_same(resumed, straight)
    assert again == sites and len({each.mean_shift_A for each in sites}) == 3
    assert np.ptp(straight.series[0].labels, axis=0).any()
    assert (np.ptp(straight.series[0].volume_A3) > 0) == ("pressure_GPa" in changes)
    assert (np.ptp(straight.series[0].walker) > 0) == changes.get("replica_exchange", False)


@pytest.mark.parametrize("stop_at", [1, 3, 5])
def test_a_stopped_run_resumes_bit_for_bit(tmp_path, stop_at):
    """Stops are within a sweep, in equilibration and in production."""
    straight, _ = frozen()
    asked = iter(range(1, 100))
    with pytest.raises(RunStoppedError):
        frozen(Checkpoint(tmp_path, interval_s=1e9, should_stop=lambda: next(asked) == stop_at))
    resumed, n_evaluations = frozen(Checkpoint(tmp_path, interval_s=1e9))
    assert n_evaluations == 1 + 8 * 7 - [10, 20, 31, 41, 51][stop_at - 1]
    assert_same(resumed, straight)


@pytest.mark.slow
def test_a_potential_resumes_bit_for_bit(tmp_path, gentle_model):
    """With neighbour lists that affect rounding, moves by dynamics, a barostat and exchange of two temperatures."""
    structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(6.1), ["Pb", "I"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    groups = tuple(uniform_group([site], ["Pb", "Sn"]) for site in range(4))
    arrangements = Arrangements(AlchemicalSystem(structure, groups, "mean-field"))
    backend = load_potential(PotentialSpec(name=str(gentle_model), dtype="float64", device="cpu"))

    def run(checkpoint: Checkpoint | None = None):
        return run_sweeps(
            AlchemicalPotential(arrangements.system, backend),
            Canonical(arrangements),
            places(arrangements, 2),
            arrangements.random([[2, 2]], range(2)),
            settings(
                timestep_fs=2.0,
                n_md_steps=2,
                n_switching_steps=2,
                pressure_GPa=0.0,
                replica_exchange=True,
                n_equilibration_sweeps=1,
                n_production_sweeps=4,
                attempts_per_sweep=1,
            ),
            seeds=range(2),
            temperatures_K=[600.0, 620.0],
            checkpoint=checkpoint or Checkpoint(),
        )

    straight = run()
    asked = iter(range(1, 100))
    with pytest.raises(RunStoppedError):
        run(Checkpoint(tmp_path, interval_s=1e9, should_stop=lambda: next(asked) == 8))
    assert_same(run(Checkpoint(tmp_path, interval_s=1e9)), straight)
    assert np.ptp(straight.series[0].labels, axis=0).any() and np.ptp(straight.series[0].volume_A3) > 0

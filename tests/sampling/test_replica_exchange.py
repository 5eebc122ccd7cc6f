"""Windows that swap λ, rest or move their cells: the same averages as without, and as is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import units
from harmonic import HarmonicCrystal, HarmonicWells, harmonic_path

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.estimators import analyse_ladder
from alchemflows.sampling.langevin import Langevin
from alchemflows.sampling.windows import WindowsStoppedError, _Exchange, sample_windows
from alchemflows.schemas.dynamics import DynamicsSettings

T = 300.0
KT = units.kB * T
LAMBDAS = [0.0, 0.25, 0.5, 0.75, 1.0]
N_SEEDS = 8


def dynamics(**changes) -> DynamicsSettings:
    values = {
        "temperature_K": T,
        "timestep_fs": 4.0,
        "friction_per_ps": 20.0,
        "n_equilibration_steps": 100,
        "n_production_steps": 1000,
        "sample_interval_steps": 5,
    }
    return DynamicsSettings(**(values | changes))


def path_of_one_site() -> AlchemicalPath:
    """Pb → Na beside an ordinary Pb: masses of the windows differ by a factor of 9 on one atom alone."""
    return AlchemicalPath.from_substitution(harmonic_path(2).system.structure, {"Pb": "Na"}, sites=[0])


def wells() -> HarmonicWells:
    return HarmonicWells(path_of_one_site().system.structure.cart_coords, (2.0, 6.0), (0.0, 0.05))


def assert_mean(values, expected: float) -> None:
    values = np.asarray(values)
    error = values.std(ddof=1) / np.sqrt(len(values))
    assert abs(values.mean() - expected) < 4 * error, (values.mean(), error, expected)


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "exchange"])
def runs(request):
    """Series of repeats, and in how many steps windows swapped."""
    swaps = []
    original = Langevin.exchange

    def counted(self, order):
        swaps.append(order)
        original(self, order)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Langevin, "exchange", counted)
        series = [
            sample_windows(
                wells(), path_of_one_site(), LAMBDAS, range(5), dynamics(replica_exchange=request.param), seed=seed
            )
            for seed in range(N_SEEDS)
        ]
    return request.param, series, swaps


def test_averages_are_exact(runs):
    """⟨dU/dλ⟩ = ΔE + (3N/2) k_B T Δk / k(λ), ⟨U⟩ and its variance by equipartition, in every window."""
    _, repeats, _ = runs
    for k, value in enumerate(LAMBDAS):
        window = [series[k] for series in repeats]
        assert_mean([s.dudl_eV.mean() for s in window], 0.05 + 3 * KT * 4.0 / (2.0 + 4.0 * value))
        thermal = [s.energy_eV - 0.05 * value for s in window]
        assert_mean([u.mean() for u in thermal], 3 * KT)
        assert_mean([((u - 3 * KT) ** 2).mean() for u in thermal], 3 * KT**2)
        # U of each sample is that of the window it is kept for.
        for s in window:
            np.testing.assert_allclose(s.energies_eV[:, k], s.energy_eV, atol=1e-12)


def test_momenta_keep_their_temperature_though_masses_change(runs):
    _, repeats, _ = runs
    temperatures = np.array([[window.temperature_K for window in series] for series in repeats])
    for k in range(5):
        assert_mean(temperatures[:, k].mean(axis=1), T)
    assert_mean(temperatures.mean(axis=(1, 2)), T)
    assert temperatures.mean() == pytest.approx(T, rel=0.03)
    assert temperatures.var() == pytest.approx(T**2 * 2 / 6, rel=0.1)


def test_windows_swap_only_if_they_are_to(runs):
    exchanged, repeats, swaps = runs
    n_attempts = N_SEEDS * len(repeats[0][0])
    assert len(swaps) > 0.8 * n_attempts if exchanged else not swaps  # two pairs in each attempt
    for order in swaps:
        moved = [b for b in range(5) if order[b] != b]
        assert sorted(order) == list(range(5)) and all(order[order[b]] == b for b in moved)
    delta = [analyse_ladder(LAMBDAS, series, T).mbar[0] for series in repeats]
    assert_mean(delta, 0.05 + 1.5 * 2 * KT * np.log(3.0))


def test_swaps_are_decided_by_metropolis():
    """Two windows, energies chosen so that the gain is known: probability min(1, e^(β gain))."""
    for gain_kT, probability in ((1.0, 1.0), (0.0, 1.0), (-1.0, np.exp(-1.0)), (-3.0, np.exp(-3.0))):
        n, accepted = 4000, 0
        decide = _Exchange([0, 1], [T, T], seed=3)
        for _ in range(2 * n):  # even and odd pairs take turns, and here are no odd pairs
            here, there = decide.replicas
            energies = np.zeros((2, 2))
            energies[here, 0] = gain_kT * KT
            accepted += decide.attempt(energies, np.ones(2)) is not None
            assert sorted(decide.replicas.tolist()) == [0, 1] and {here, there} == {0, 1}
        assert accepted / n == pytest.approx(probability, abs=4 * np.sqrt(0.25 / n))


def test_pairs_that_are_neighbours_take_turns():
    decide = _Exchange([4, 0, 2], [T] * 3, seed=0)  # the second window of the batch has the lowest λ
    favourable = np.zeros((3, 5))
    assert decide.attempt(favourable, np.ones(3)) == [0, 2, 1]  # λ 0 and 2
    assert decide.attempt(favourable, np.ones(3)) == [1, 0, 2]  # λ 2, which replica 1 has now, and 4
    assert decide.replicas.tolist() == [1, 2, 0]


def test_a_configuration_goes_on_from_where_it_was():
    """A swap changes λ and masses of a replica, not its place nor its kinetic energy, and swapping back undoes it."""
    path = path_of_one_site()
    structure = path.system.structure
    langevin = Langevin.under(
        dynamics(),
        wells(),
        (np.tile(structure.cart_coords, (2, 1, 1)), np.tile(structure.lattice.matrix, (2, 1, 1))),
        path.weights([0.0, 1.0]),
        path.masses([0.0, 1.0]),
        [0, 1],
    )
    for _ in range(50):
        langevin.step()
    before, temperatures, energy = langevin.state, langevin.kinetic_temperatures(), langevin.evaluation.energy
    langevin.exchange([1, 0])
    assert torch.equal(langevin.positions, before.positions)
    torch.testing.assert_close(langevin.kinetic_temperatures(), temperatures)
    assert not torch.allclose(langevin.velocities, before.velocities)
    np.testing.assert_array_equal(langevin.weights, path.weights([1.0, 0.0]))
    expected = langevin.model.evaluate(langevin.positions, langevin.cells, langevin.weights)
    torch.testing.assert_close(langevin.evaluation.energy, expected.energy)
    langevin.exchange([1, 0])
    torch.testing.assert_close(langevin.velocities, before.velocities)
    torch.testing.assert_close(langevin.evaluation.energy, energy)


def test_which_centre_of_mass_rests_does_not_depend_on_the_window():
    """With springs to places, windows of other masses would be under other constraints."""
    path = path_of_one_site()
    seen = []

    class Watched(HarmonicWells):
        def evaluate(self, positions, cells, weights, **options):
            seen.append(positions.clone())
            return super().evaluate(positions, cells, weights, **options)

    model = Watched(path.system.structure.cart_coords, (2.0, 6.0))
    settings = dynamics(n_production_steps=200, replica_exchange=True)
    sample_windows(model, path, LAMBDAS, range(5), settings, fix_centre_of_mass=True)
    masses = torch.as_tensor(path.masses(0.5))
    centres = torch.einsum("i,sbix->sbx", masses / masses.sum(), torch.stack(seen))
    assert float((centres - centres[0, 0]).abs().max()) < 1e-9
    langevin = Langevin.under(
        settings, model, (seen[0], torch.eye(3).expand(5, 3, 3)), path.weights(LAMBDAS), path.masses(LAMBDAS), range(5),
        fix_centre_of_mass=True,
    )  # fmt: skip
    with pytest.raises(InvalidInputError, match="masses"):
        langevin.exchange([1, 0, 2, 3, 4])


def test_an_error_names_the_window_that_a_replica_has_after_swaps():
    path = path_of_one_site()

    class Breaks(HarmonicWells):
        """Fails where λ is 1, after a while."""

        calls = 0

        def energies(self, positions, cells, weights):
            self.calls += 1
            return super().energies(positions, cells, weights)

        def evaluate(self, positions, cells, weights, **options):
            result = super().evaluate(positions, cells, weights, **options)
            if self.calls > 30 and weights.any():
                result.forces[weights[:, 1] == 1] = torch.nan
            return result

    model = Breaks(path.system.structure.cart_coords, (2.0, 6.0))
    with pytest.raises(WindowsStoppedError) as caught:
        sample_windows(model, path, [0.0, 0.5, 1.0], range(3), dynamics(replica_exchange=True))
    text = str(caught.value)
    replica = text.split("replica ")[1][0]
    assert f"{replica}: λ = 1" in text
    assert len(caught.value.series[0]) == 31


@pytest.mark.slow
def test_volumes_are_stored_and_exact_at_constant_pressure():
    """Windows of two crystals of different volume: ⟨V⟩ of ρ(V) ∝ exp[−β(U + PV)] at each λ, and ΔG by MBAR."""
    path = harmonic_path(2)
    structure = path.system.structure
    volume = structure.volume
    bulk, volumes, pressure = [KT * b / volume for b in (1200.0, 800.0)], [volume, 1.04 * volume], 0.02
    springs = [np.diag([2.0, 3.0]), np.diag([3.0, 4.0])]
    model = HarmonicCrystal(structure.frac_coords, springs, bulk, volumes)
    lambdas = [0.0, 0.5, 1.0]
    settings = dynamics(
        pressure_GPa=pressure,
        barostat_time_ps=0.1,
        replica_exchange=True,
        n_production_steps=2000,
        sample_interval_steps=10,
    )
    repeats = [sample_windows(model, path, lambdas, range(3), settings, seed=seed) for seed in range(5)]
    for k, value in enumerate(lambdas):
        v, density = model.volume_density((1 - value, value), T, pressure)
        exact = density @ v / density.sum()
        assert_mean([series[k].volume_A3.mean() for series in repeats], exact)
        assert all(series[k].volume_A3.std() > 0.01 * volume for series in repeats)
    results = [analyse_ladder(lambdas, series, T, pressure_GPa=pressure).mbar for series in repeats]
    exact = model.delta_g_eV(T, pressure)
    assert_mean([value for value, _ in results], exact)
    assert np.mean([error for _, error in results]) < 0.2 * KT

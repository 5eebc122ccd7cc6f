"""Sweeps of temperature and pressure: harmonic crystals with exact G, bitwise resuming, crystals that are lost."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from ase import units
from harmonic import HarmonicCrystal, assert_honest, chain, harmonic_path
from pymatgen.core import Lattice, Structure
from scipy.optimize import minimize_scalar

from alchemflows.alchemy.interfaces import EnergyModel, Evaluation
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.scaled import ScaledPath, ScaledPotential
from alchemflows.errors import RunStoppedError
from alchemflows.free_energy.curves import work_curve
from alchemflows.free_energy.einstein import HBAR, classical_harmonic_free_energy_eV
from alchemflows.free_energy.isolines import Anchor, isobar, isotherm
from alchemflows.free_energy.quantum import quantum_correction_eV, wigner_kirkwood
from alchemflows.sampling.checkpoint import Checkpoint
from alchemflows.sampling.forces import ForceSquares
from alchemflows.sampling.scaling import sweep
from alchemflows.schemas.dynamics import SwitchingSettings

SYSTEM = harmonic_path(4).system
WEIGHTS = [1.0, 0.0]
MASSES = SYSTEM.masses(WEIGHTS)
SPRINGS = chain(4, (2.0, 3.0))
MODULUS, VOLUME = 0.4, SYSTEM.structure.volume  # eV/Å³, Å³
PRESSURE = 0.02  # eV/Å³
CRYSTAL = HarmonicCrystal(SYSTEM.structure.frac_coords, [SPRINGS] * 2, [MODULUS] * 2, [VOLUME] * 2)
LOW, ANCHOR, HIGH = 200.0, 300.0, 600.0
N_SEEDS, N_REPEATS = 100, 4


def settings(temperature_K: float, pressure_GPa: float | None, **changes) -> SwitchingSettings:
    values = {
        "temperature_K": temperature_K,
        "pressure_GPa": pressure_GPa,
        "timestep_fs": 5.0,
        "friction_per_ps": 20.0,
        "barostat_time_ps": 0.1,
        "n_repeats": N_SEEDS * N_REPEATS,
        "n_equilibration_steps": 100,
        "n_switching_steps": 300,
        "schedule": "linear",
    }
    return SwitchingSettings(**(values | changes))


def exact(temperature_K: float, pressure: float | None) -> tuple[float, float]:
    """Return G at the mean cell, and its volume; F and the volume of the structure without a pressure."""
    omegas = np.repeat(np.sqrt(np.linalg.eigvalsh(SPRINGS / np.sqrt(np.outer(MASSES, MASSES)))[1:]), 3)

    def gibbs(volume: float) -> float:
        harmonic = classical_harmonic_free_energy_eV(omegas, MASSES, volume, temperature_K)
        return harmonic + 0.5 * MODULUS * (volume - VOLUME) ** 2 / VOLUME + (pressure or 0.0) * volume

    if pressure is None:
        return gibbs(VOLUME), VOLUME
    found = minimize_scalar(gibbs, bounds=(0.8 * VOLUME, 1.2 * VOLUME), options={"xatol": 1e-3}, method="bounded")
    return float(found.fun), float(found.x)


def parts(values: np.ndarray, k: int) -> np.ndarray:
    return values[k * N_REPEATS : (k + 1) * N_REPEATS]


def volumes(run, scales: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean volumes between points: ∂E/∂p = sV."""
    s = (scales[1:] + scales[:-1]) / 2
    forward, backward = (
        parts(g, k)[..., -1] for g in (run.switches.forward_gradients, run.switches.backward_gradients)
    )
    return forward / s, backward[:, ::-1] / s


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(None, marks=pytest.mark.slow, id="constant volume"),
        pytest.param(PRESSURE, id="constant pressure"),
    ],
)
def heated(request):
    pressure = request.param
    path = ScaledPath.over_temperatures(SYSTEM, WEIGHTS, LOW, HIGH, pressure or 0.0)
    conditions = settings(LOW, None if pressure is None else 0.0)
    run = sweep(ScaledPotential(CRYSTAL), path, conditions, SYSTEM.structure, 3, "test")
    scales = 1 + run.switches.lambdas * (LOW / HIGH - 1)
    temperatures = np.array([LOW, 250.0, 450.0, HIGH])
    anchor = Anchor(ANCHOR, exact(ANCHOR, pressure)[0], 0.0)
    results = [
        isobar(
            work_curve(parts(run.switches.forward_progress_eV, k), parts(run.switches.backward_progress_eV, k), LOW),
            LOW / scales,
            volumes(run, scales, k),
            anchor,
            temperatures,
            3 * len(MASSES),
            0 if pressure is None else 1,
        )
        for k in range(N_SEEDS)
    ]
    return pressure, run, temperatures, results


def assert_series(found, k: int, value: float) -> None:
    assert_honest(np.array([f.values[k] for f in found]), np.array([f.errors[k] for f in found]), value)


def test_free_energies_of_a_harmonic_crystal_are_exact_within_honest_errors(heated):
    pressure, run, temperatures, results = heated
    for k, temperature in enumerate(temperatures):
        g = exact(temperature, pressure)[0]
        assert_series([r.gibbs_eV for r in results], k, g)
        assert abs(np.mean([r.gibbs_eV.values[k] for r in results]) - g) < 4e-3
    assert run.lost_on_the_way_up is None and run.lost_on_the_way_down is None
    dissipation = np.mean([r.dissipation_eV for r in results], axis=0)
    assert dissipation[0] < 0 < dissipation[-1] < 0.05  # measured from the anchor upwards


def test_derivatives_of_the_curve_have_honest_errors(heated):
    pressure, _, temperatures, results = heated
    step = 1.0
    for k, temperature in enumerate(temperatures[1:3], 1):
        below, here, above = (exact(temperature + d, pressure)[0] for d in (-step, 0, step))
        entropy = (below - above) / (2 * step)
        capacity = temperature * (2 * here - below - above) / step**2
        for name, value in (
            ("entropy_eV_per_K", entropy),
            ("enthalpy_eV", here + temperature * entropy),
            ("heat_capacity_eV_per_K", capacity),
        ):
            assert_series([getattr(r, name) for r in results], k, value)
        if pressure is not None:
            volume = exact(temperature, pressure)[1]
            slope = (exact(temperature + 50, pressure)[1] - exact(temperature - 50, pressure)[1]) / 100
            for name, value in (("volume_A3", volume), ("expansion_per_K", slope / volume)):
                assert_series([getattr(r, name) for r in results], k, value)


def test_quantum_corrections_of_a_harmonic_crystal(heated):
    """Wigner–Kirkwood: Σ (ħω)²/(24 k_B T), and the next term relative to it, Σ (ħω)⁴/(120 (k_B T)² Σ (ħω)²)."""
    _, run, temperatures, _ = heated
    omegas = np.repeat(np.sqrt(np.linalg.eigvalsh(SPRINGS / np.sqrt(np.outer(MASSES, MASSES)))[1:]), 3)
    energies, kT = HBAR * omegas, units.kB * temperatures
    path = LOW / (1 + run.switches.lambdas * (LOW / HIGH - 1))
    forward, backward = run.switches.forward_force_squares, run.switches.backward_force_squares[:, ::-1]
    assert run.kind_counts.tolist() == [4] and forward.shape[1:] == (len(path) - 1, 1)
    results = [
        wigner_kirkwood((parts(forward, k), parts(backward, k)), run.kind_counts, path, temperatures, omegas)
        for k in range(N_SEEDS)
    ]
    exact_eV = (energies**2).sum() / (24 * kT)
    values, errors = (np.array([getattr(r, name) for r in results]) / exact_eV for name in ("values", "errors"))
    assert_honest(values.ravel(), errors.ravel(), 1.0)
    np.testing.assert_allclose(values.mean(axis=0), 1.0, atol=0.06)
    next_terms = (energies**4).sum() / (120 * kT**2 * (energies**2).sum())
    np.testing.assert_allclose(results[0].next_terms, next_terms)
    assert results[0].holds_from_K(temperatures) == LOW
    # Atoms that vibrate alone have a smaller mean of ω⁴ than the modes of the chain.
    alone = wigner_kirkwood((forward, backward), run.kind_counts, path, temperatures)
    assert (alone.next_terms < next_terms).all() and (alone.next_terms > 0.5 * next_terms).all()
    # To all orders, the correction differs from the first term by nearly the next one.
    whole = [quantum_correction_eV(omegas, t) for t in temperatures]
    np.testing.assert_allclose(whole, exact_eV * (1 - next_terms), rtol=0.01 * next_terms.max())


@pytest.mark.slow
def test_pressures_of_a_harmonic_crystal():
    """G, V and the bulk modulus at one temperature; U = ½ B (V − V₀)² / V₀ has −V ∂p/∂V = B V / V₀."""
    high, anchor = 0.004, 0.001
    path = ScaledPath.over_pressures(SYSTEM, WEIGHTS, 0.0, high)
    run = sweep(ScaledPotential(CRYSTAL), path, settings(ANCHOR, 0.0), SYSTEM.structure, 3, "test")
    pressures = np.array([0.0, 0.002, high])
    known = Anchor(anchor, exact(ANCHOR, anchor)[0], 0.0)
    results = [
        isotherm(
            work_curve(parts(run.switches.forward_progress_eV, k), parts(run.switches.backward_progress_eV, k), ANCHOR),
            run.switches.lambdas * high,
            known,
            pressures,
        )
        for k in range(N_SEEDS)
    ]
    for k, pressure in enumerate(pressures):
        g, volume = exact(ANCHOR, pressure)
        assert_series([r.gibbs_eV for r in results], k, g)
        assert_series([r.volume_A3 for r in results], k, volume)
    assert_series([r.bulk_modulus_eV_per_A3 for r in results], 1, MODULUS * exact(ANCHOR, 0.002)[1] / VOLUME)


def test_an_anchor_adds_its_error():
    rng = np.random.default_rng(0)
    path = np.geomspace(LOW, HIGH, 21)
    forward, backward = (np.cumsum(rng.normal(-0.1, 0.01, (4, 21)), axis=1) * sign for sign in (1, -1))
    work = work_curve(forward - forward[:, :1], backward - backward[:, :1], LOW)
    volumes_A3 = (np.full((4, 20), 100.0),) * 2
    exactly, roughly = (
        isobar(work, path, volumes_A3, Anchor(ANCHOR, -5.0, error), np.array([ANCHOR, HIGH]), 12, 1)
        for error in (0.0, 0.3)
    )
    assert exactly.gibbs_eV.values[0] == pytest.approx(-5.0) and exactly.gibbs_eV.errors[0] == pytest.approx(0.0)
    assert roughly.gibbs_eV.errors[0] == pytest.approx(0.3)
    assert roughly.gibbs_eV.errors[1] == pytest.approx(np.hypot(exactly.gibbs_eV.errors[1], 0.3 * HIGH / ANCHOR))
    np.testing.assert_allclose(roughly.enthalpy_eV.errors, exactly.enthalpy_eV.errors)
    np.testing.assert_allclose(roughly.entropy_eV_per_K.errors, np.hypot(exactly.entropy_eV_per_K.errors, 0.3 / ANCHOR))


def test_a_sweep_goes_on_bitwise(tmp_path):
    conditions = settings(LOW, 0.0, n_repeats=2, n_equilibration_steps=50, n_switching_steps=110)
    path = ScaledPath.over_temperatures(SYSTEM, WEIGHTS, LOW, HIGH, PRESSURE)

    def run(checkpoint):
        return sweep(ScaledPotential(CRYSTAL), path, conditions, SYSTEM.structure, 5, "test", checkpoint=checkpoint)

    whole = run(Checkpoint())
    for n in (2, 3, 1):
        with pytest.raises(RunStoppedError):
            run(Checkpoint(tmp_path, interval_s=1e9, should_stop=StopAfter(n)))
    again = run(Checkpoint(tmp_path, interval_s=1e9))
    assert whole.summaries == again.summaries
    for each in fields(whole.switches):
        np.testing.assert_array_equal(getattr(whole.switches, each.name), getattr(again.switches, each.name))


def test_squares_of_forces_are_sums_over_kinds_of_atoms():
    masses, steps = [1.0, 2.0, 1.0], np.array([0, 1, 3])
    squares = ForceSquares(masses, 2, torch.device("cpu"))
    for k, keep in enumerate((True, False, True)):
        squares.add(torch.full((2, 3, 3), k + 1.0), keep=keep)
    # 3 |F|² per atom: two atoms with mass 1, one with mass 2; then the mean of two steps.
    exact = np.array([[6.0, 1.5], [6.0 * 13 / 2, 1.5 * 13 / 2]])
    np.testing.assert_allclose(squares.means(steps), [exact, exact])
    assert squares.counts.tolist() == [2, 1]
    squares.restore({})  # a checkpoint of a release without squares
    squares.add(torch.ones(2, 3, 3), keep=True)
    assert squares.means(steps) is None and squares.snapshot() == {}


class StopAfter:
    """Says stop at the n-th block."""

    def __init__(self, n: int) -> None:
        self.left = n

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


class Corrugated(EnergyModel):
    """U = Σ_i Σ_k A [1 − cos(2π (x_ik − x⁰_ik) / L)]: atoms hop by L along any axis if they have the energy 2A."""

    device = torch.device("cpu")

    def __init__(self, centres: np.ndarray, amplitude_eV: float, period_A: float) -> None:
        self.centres, self.amplitude, self.wave = torch.as_tensor(centres), amplitude_eV, 2 * np.pi / period_A

    def evaluate(self, positions, cells, weights, *, forces=True, stress=True, weight_gradients=True):
        phase = self.wave * (positions - self.centres)
        gradients = torch.zeros_like(weights) if weight_gradients else None
        energy = self.amplitude * (1 - torch.cos(phase)).sum(dim=(1, 2))
        return Evaluation(energy, -self.amplitude * self.wave * torch.sin(phase), None, gradients)


def test_a_crystal_that_melts_is_noticed_where_it_does():
    places = [[(k + 0.5) / 4, 0.5, 0.5] for k in range(4)]
    crystal = Structure(Lattice.orthorhombic(12.0, 3.0, 3.0), ["Si"] * 4, places)
    system = AlchemicalPath.from_substitution(crystal, {"Si": "Ge"}).system
    model = ScaledPotential(Corrugated(crystal.cart_coords, 0.15, 3.0))
    conditions = settings(LOW, None, n_repeats=3, n_switching_steps=1500, friction_per_ps=5.0, timestep_fs=10.0)
    found = {
        high: sweep(model, ScaledPath.over_temperatures(system, WEIGHTS, LOW, high), conditions, crystal, 1, "test")
        for high in (350.0, 3000.0)
    }
    assert found[350.0].lost_on_the_way_up is None and found[350.0].lost_on_the_way_down is None
    assert not any(summary.left for summary in found[350.0].summaries)
    lost = found[3000.0].lost_on_the_way_up
    assert lost is not None and found[3000.0].lost_on_the_way_down is None
    assert 600 < LOW / (1 + lost * (LOW / 3000.0 - 1)) < 2500

"""Coverage of the errors of ladders that are combined over temperature and pressure.

The system has modes that change from harmonic to quartic along a path, in a cell of variable volume,

    U(q, V; λ) = λ E + (1 − λ) ½ k Σ q² + λ c Σ q⁴ + ½ B (V − V_λ)² / V_0,  V_λ = V_0 + λ D,

with M modes q. The volume is normally distributed. Per mode, the heat capacity is k_B/2 at λ = 0 and k_B/4 at λ = 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from ase import units
from error_rows import Row, row
from scipy.signal import lfilter
from scipy.special import gammaln, ndtr, ndtri

from alchemflows.free_energy.combination import QUANTITIES, StateSamples, ThermalState, combine, thinned
from alchemflows.free_energy.estimators import analyse_ladder
from alchemflows.schemas.samples import WindowSeries

N_MODES = 8
OFFSET_EV, STIFFNESS, QUARTIC = 0.1, 2.0, 40.0
BULK_MODULUS, VOLUME, EXPANSION = 0.3, 100.0, 2.0
LAMBDAS = (0.0, 0.2, 0.5, 0.8, 1.0)
#: Values of a mode at which its distribution is tabulated.
GRID = np.linspace(-1.5, 1.5, 3001)
#: Temperatures (K) between which windows exchange their configurations.
EXCHANGED_K = (300.0, 345.0, 400.0)


def exact(temperature_K: float, pressure_GPa: float | None = None) -> np.ndarray:
    """Return ΔG (eV), ΔH (eV), ΔS (eV/K), ΔC (eV/K) and ΔV (Å³)."""
    thermal = units.kB * temperature_K
    # ∫ exp(−β k x²/2) dx = √(2π k_B T / k), ∫ exp(−β c x⁴) dx = 2 Γ(5/4) (k_B T / c)^(1/4)
    harmonic = 0.5 * np.log(2 * np.pi * thermal / STIFFNESS)
    quartic = np.log(2) + gammaln(1.25) + 0.25 * np.log(thermal / QUARTIC)
    work = 0.0 if pressure_GPa is None else pressure_GPa * units.GPa * EXPANSION
    free = OFFSET_EV + N_MODES * thermal * (harmonic - quartic) + work
    enthalpy = OFFSET_EV - N_MODES * thermal / 4 + work
    expansion = 0.0 if pressure_GPa is None else EXPANSION
    return np.array([free, enthalpy, (enthalpy - free) / temperature_K, -N_MODES * units.kB / 4, expansion])


def series(
    value: float, temperature_K: float, pressure_GPa: float | None, n: int, memory: float, rng: np.random.Generator
) -> WindowSeries:
    """Return n samples of a window, of modes and a volume that are functions of Gaussian noise with a memory."""
    decay = np.exp(-1 / memory) if memory else 0.0
    noise = rng.normal(size=(n, N_MODES + 1))
    noise[1:] *= np.sqrt(1 - decay**2)
    noise = lfilter([1.0], [1.0, -decay], noise, axis=0)
    q = np.interp(ndtr(noise[:, 1:]), distribution(value, temperature_K), GRID)
    volume = np.full(n, VOLUME)
    if pressure_GPa is not None:
        centre = VOLUME + value * EXPANSION - pressure_GPa * units.GPa * VOLUME / BULK_MODULUS
        volume = centre + np.sqrt(units.kB * temperature_K * VOLUME / BULK_MODULUS) * noise[:, 0]
    return series_of(q, volume, value, temperature_K, pressure_GPa)


def distribution(value: float, temperature_K: float) -> np.ndarray:
    """Return the cumulative distribution of a mode on :data:`GRID`."""
    energy = (1 - value) * 0.5 * STIFFNESS * GRID**2 + value * QUARTIC * GRID**4
    density = np.exp(-energy / (units.kB * temperature_K))
    return np.cumsum(density) / density.sum()


def series_of(
    q: np.ndarray, volume: np.ndarray, value: float, temperature_K: float, pressure_GPa: float | None
) -> WindowSeries:
    """Return the samples of a window from its modes, shape (n, M), and volumes, shape (n,)."""
    n, lambdas = len(q), np.array(LAMBDAS)
    second, fourth = 0.5 * STIFFNESS * (q**2).sum(axis=1), QUARTIC * (q**4).sum(axis=1)
    energies = lambdas * OFFSET_EV + np.outer(second, 1 - lambdas) + np.outer(fourth, lambdas)
    slope = OFFSET_EV + fourth - second
    if pressure_GPa is not None:
        away = volume[:, None] - VOLUME - lambdas * EXPANSION
        energies += 0.5 * BULK_MODULUS / VOLUME * away**2
        slope = slope - BULK_MODULUS / VOLUME * EXPANSION * (volume - VOLUME - value * EXPANSION)
    own = energies[:, LAMBDAS.index(value)]
    return WindowSeries(20.0 * np.arange(1, n + 1), own, slope, np.full(n, temperature_K), energies, volume)


def states(
    temperatures_K: tuple[float, ...],
    pressures_GPa: tuple[float | None, ...],
    n: int,
    memory: float,
    rng: np.random.Generator,
) -> list[StateSamples]:
    """Return the samples of ladders at all temperatures and pressures."""
    found = []
    for temperature_K in temperatures_K:
        for pressure_GPa in pressures_GPa:
            for column, value in enumerate(LAMBDAS):
                each = series(value, temperature_K, pressure_GPa, n, memory, rng)
                found.append(
                    StateSamples(column, temperature_K, pressure_GPa, each.energies_eV, each.volume_A3, len(found))
                )
    return found


def combination_rows(n: int, memory: float, n_repeats: int, seed: int = 0) -> Iterator[Row]:
    """Yield the rows of all results between two temperatures, and at constant pressure between two pressures.

    There are n samples of each window.
    """
    cases = (
        ((300.0, 380.0), (None,), ThermalState(340.0)),
        ((300.0,), (0.0, 2.0), ThermalState(310.0, 1.0)),
    )
    for temperatures_K, pressures_GPa, at in cases:
        known, z = exact(at.temperature_K, at.pressure_GPa), []
        for k in range(n_repeats):
            drawn = states(temperatures_K, pressures_GPa, n, memory, np.random.default_rng([seed, n, k]))
            found = combine(thinned(drawn), [at])
            if found.sampled.all():
                with np.errstate(divide="ignore", invalid="ignore"):
                    z.append((found.values[0] - known) / found.errors[0])
        for name, deviations in zip(QUANTITIES, np.transpose(z), strict=True):
            if name != "V" or at.pressure_GPa is not None:
                yield row(f"combined ladders, {at}, {n} samples: Δ{name}", deviations, n_repeats)


def short_ladder_rows(n: int, memory: float, n_repeats: int, seed: int = 0) -> Iterator[Row]:
    """Yield the rows of ΔG at three temperatures from three ladders, combined and each alone.

    With a memory of a tenth of the n samples, each window has only about ten independent ones.
    """
    temperatures_K = (300.0, 350.0, 400.0)
    known, z = np.array([exact(temperature_K)[0] for temperature_K in temperatures_K]), []
    for k in range(n_repeats):
        rng = np.random.default_rng([seed, n, k, 1])
        ladders = [[series(value, t, None, n, memory, rng) for value in LAMBDAS] for t in temperatures_K]
        drawn = [
            StateSamples(column, t, None, each.energies_eV, each.volume_A3, len(LAMBDAS) * number + column)
            for number, (t, windows) in enumerate(zip(temperatures_K, ladders, strict=True))
            for column, each in enumerate(windows)
        ]
        together = combine(thinned(drawn), [ThermalState(t) for t in temperatures_K])
        alone = [analyse_ladder(LAMBDAS, own, t).mbar for own, t in zip(ladders, temperatures_K, strict=True)]
        values, errors = np.transpose(alone)
        z.append([(together.values[:, 0] - known) / together.errors[:, 0], (values - known) / errors])
    for name, deviations in zip(("combined", "each alone"), np.swapaxes(z, 0, 1), strict=True):
        title = f"three ladders, {n} samples, memory of {memory:g} samples, {name}: ΔG"
        yield row(title, deviations.ravel(), deviations.size)


def exchanged_series(
    n: int, memory: float, n_repeats: int, rng: np.random.Generator, lambdas: Sequence[float] = LAMBDAS
) -> list[list[list[WindowSeries]]]:
    """Return the samples of windows that exchange their configurations over :data:`EXCHANGED_K`, at zero pressure.

    They are those of each repeat, window and temperature. The modes are functions of Gaussian noise with a memory, as
    in :func:`series`; after each sample every second pair of neighbouring temperatures may be exchanged.
    """
    decay = np.exp(-1 / memory) if memory else 0.0
    thermal = units.kB * np.array(EXCHANGED_K)
    tables = [[distribution(value, temperature_K) for temperature_K in EXCHANGED_K] for value in lambdas]
    places = [(k, j) for k in range(len(lambdas)) for j in range(len(EXCHANGED_K))]
    at = np.array(lambdas)[:, None]
    noise = rng.normal(size=(n_repeats, len(lambdas), len(EXCHANGED_K), N_MODES + 1))
    q, history = np.empty_like(noise[..., 1:]), []
    for step in range(n):
        noise = decay * noise + np.sqrt(1 - decay**2) * rng.normal(size=noise.shape)
        for k, j in places:
            q[:, k, j] = np.interp(ndtr(noise[:, k, j, 1:]), tables[k][j], GRID)
        away = np.sqrt(thermal * VOLUME / BULK_MODULUS) * noise[..., 0]
        history.append((q.copy(), VOLUME + at * EXPANSION + away))
        modes = 0.5 * STIFFNESS * (1 - at) * (q**2).sum(axis=-1) + QUARTIC * at * (q**4).sum(axis=-1)
        energy = modes + 0.5 * BULK_MODULUS / VOLUME * away**2
        order = np.tile(np.arange(len(EXCHANGED_K)), (*energy.shape[:2], 1))
        for j in range(step % 2, len(EXCHANGED_K) - 1, 2):
            gain = (1 / thermal[j] - 1 / thermal[j + 1]) * (energy[..., j] - energy[..., j + 1])
            swap = np.log(rng.random(gain.shape)) < gain
            order[..., j] += swap
            order[..., j + 1] -= swap
        q = np.take_along_axis(q, order[..., None], axis=2)
        away = np.take_along_axis(away, order, axis=2)
        noise[..., 0] = away / np.sqrt(thermal * VOLUME / BULK_MODULUS)
        for k, j in places:
            noise[:, k, j, 1:] = ndtri(np.clip(np.interp(q[:, k, j], GRID, tables[k][j]), 1e-12, 1 - 1e-12))
    modes, volumes = (np.stack(each) for each in zip(*history, strict=True))
    return [
        [
            [
                series_of(modes[:, r, k, j], volumes[:, r, k, j], value, temperature_K, 0.0)
                for j, temperature_K in enumerate(EXCHANGED_K)
            ]
            for k, value in enumerate(lambdas)
        ]
        for r in range(n_repeats)
    ]


def exchanged_rows(n: int, memory: float, n_repeats: int, seed: int = 0) -> Iterator[Row]:
    """Yield the rows of all results between the exchanged temperatures of one ladder."""
    at = ThermalState(370.0, 0.0)
    known, z = exact(at.temperature_K, at.pressure_GPa), []
    rng = np.random.default_rng([seed, n, 2])
    batches = (exchanged_series(n, memory, min(20, n_repeats - first), rng) for first in range(0, n_repeats, 20))
    for windows in chain.from_iterable(batches):
        drawn = [
            StateSamples(column, temperature_K, 0.0, each.energies_eV, each.volume_A3, column)
            for column, own in enumerate(windows)
            for temperature_K, each in zip(EXCHANGED_K, own, strict=True)
        ]
        found = combine(thinned(drawn), [at])
        z.append((found.values[0] - known) / found.errors[0])
    for name, deviations in zip(QUANTITIES, np.transpose(z), strict=True):
        title = f"a ladder with exchanged temperatures, {at}, {n} samples, memory of {memory:g} samples: Δ{name}"
        yield row(title, deviations, n_repeats)

"""Coverage of the errors of ladders that are combined over temperature and pressure.

The system has modes that change from harmonic to quartic along a path, in a cell of variable volume,

    U(q, V; λ) = λ E + (1 − λ) ½ k Σ q² + λ c Σ q⁴ + ½ B (V − V_λ)² / V_0,  V_λ = V_0 + λ D,

with M modes q. The volume is normally distributed. Per mode, the heat capacity is k_B/2 at λ = 0 and k_B/4 at λ = 1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import units
from error_rows import Row, row
from scipy.signal import lfilter
from scipy.special import gammaln, ndtr

from alchemflows.free_energy.combination import QUANTITIES, StateSamples, ThermalState, combine, thinned
from alchemflows.schemas.samples import WindowSeries

N_MODES = 8
OFFSET_EV, STIFFNESS, QUARTIC = 0.1, 2.0, 40.0
BULK_MODULUS, VOLUME, EXPANSION = 0.3, 100.0, 2.0
LAMBDAS = (0.0, 0.2, 0.5, 0.8, 1.0)


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
    thermal = units.kB * temperature_K
    decay = np.exp(-1 / memory) if memory else 0.0
    noise = rng.normal(size=(n, N_MODES + 1))
    noise[1:] *= np.sqrt(1 - decay**2)
    noise = lfilter([1.0], [1.0, -decay], noise, axis=0)
    grid = np.linspace(-1.5, 1.5, 3001)
    density = np.exp(-((1 - value) * 0.5 * STIFFNESS * grid**2 + value * QUARTIC * grid**4) / thermal)
    q = np.interp(ndtr(noise[:, 1:]), np.cumsum(density) / density.sum(), grid)
    centre = VOLUME + value * EXPANSION
    volume = np.full(n, VOLUME)
    if pressure_GPa is not None:
        centre -= pressure_GPa * units.GPa * VOLUME / BULK_MODULUS
        volume = centre + np.sqrt(thermal * VOLUME / BULK_MODULUS) * noise[:, 0]
    lambdas = np.array(LAMBDAS)
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

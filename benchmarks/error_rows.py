"""Systems with known results, and how often their exact values are within the printed errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from ase import units
from scipy.signal import lfilter

from alchemflows.free_energy.cells import cell_noise
from alchemflows.free_energy.convergence import MIN_TYPICAL, convergence
from alchemflows.free_energy.decorrelation import decorrelate
from alchemflows.free_energy.defects import thermal_fit
from alchemflows.free_energy.errors import error_of_mean, small_sample_factor
from alchemflows.free_energy.estimators import MIN_OVERLAP, analyse_ladder
from alchemflows.free_energy.ladders import Ladder, ladder
from alchemflows.free_energy.phases import transition
from alchemflows.free_energy.refinement import plan_round
from alchemflows.free_energy.size import extrapolate, logarithmic_term_eV_per_atom, straight_line
from alchemflows.free_energy.work import MIN_WORK_OVERLAP, analyse_work
from alchemflows.jobs.defects import quadrature
from alchemflows.jobs.equilibrium import error_of_mean_volume
from alchemflows.schemas.samples import WindowSeries

T = 300.0
KT = units.kB * T
WITHIN_ONE = (0.55, 0.80)
WITHIN_TWO = (0.88, 0.99)
#: Number of samples of a window: the default, and a tenth of it.
DEFAULT, TENTH = 2000, 200
#: Number of modes of a ladder, and the factor by which their stiffness changes.
N_MODES, FACTOR = 12, 3.0

Works = tuple[np.ndarray, np.ndarray]
Draw = Callable[[int, np.random.Generator], Works]


@dataclass(frozen=True)
class Row:
    """Coverage of one number: fractions of n repeats within one and two errors, and fraction with a warning."""

    name: str
    value: tuple[float, float]
    bound: tuple[tuple[float, float], tuple[float, float]]
    n: int
    warned: float
    holds: bool


def row(name: str, z: np.ndarray | list[float], n_repeats: int) -> Row:
    """Return the row of deviations in units of their errors."""
    size = np.abs(np.asarray(z))
    value = float((size < 1).mean()), float((size < 2).mean())
    holds = all(low <= share <= high for share, (low, high) in zip(value, (WITHIN_ONE, WITHIN_TWO), strict=True))
    return Row(name, value, (WITHIN_ONE, WITHIN_TWO), len(size), 1 - len(size) / n_repeats, holds)


def gaussian_works(sigma_kT: float, n: int, rng: np.random.Generator) -> Works:
    """Return works (eV) of n switches in each direction with ΔF = 0; they dissipate σ²/2."""
    forward, backward = KT * rng.normal(sigma_kT**2 / 2, sigma_kT, (2, n))
    return forward, backward


def stiffening_works(factor: float, n_modes: int, n: int, rng: np.random.Generator) -> Works:
    """Return works (eV) of an instantaneous change of stiffness of harmonic modes, minus its exact ΔF."""
    forward, backward = rng.chisquare(n_modes, n), rng.chisquare(n_modes, n) / factor
    exact = n_modes / 2 * np.log(factor)
    return KT * ((factor - 1) / 2 * forward - exact), KT * ((1 - factor) / 2 * backward + exact)


def switching_rows(name: str, draw: Draw, n: int, n_repeats: int, seed: int = 0) -> Iterator[Row]:
    """Yield the rows of the mean and of BAR from n switches in each direction."""
    rng = np.random.default_rng(seed)
    results = [analyse_work(*draw(n, rng), T) for _ in range(n_repeats)]
    yield row(f"{name}, {n} + {n}: mean", [r.mean[0] / r.mean[1] for r in results], n_repeats)
    trusted = [r.bar for r in results if r.bar is not None and r.overlap >= MIN_WORK_OVERLAP]
    yield row(f"{name}, {n} + {n}: BAR", [value / error for value, error in trusted], n_repeats)


def harmonic_ladder(
    lambdas: tuple[float, ...], n: int, memory: float, rng: np.random.Generator, *, exponential: bool = False
) -> list[WindowSeries]:
    """Return samples of modes whose stiffness goes from 1 to FACTOR, linearly in λ or exponentially.

    The autocorrelation time of dU/dλ is `memory` samples.
    """
    places = np.array(lambdas)
    stiffness = FACTOR**places if exponential else 1 + (FACTOR - 1) * places
    slope = np.log(FACTOR) * stiffness if exponential else np.full(len(places), FACTOR - 1)
    decay = np.exp(-0.5 / memory) if memory else 0.0
    noise = rng.normal(size=(len(places), n, N_MODES))
    noise[:, 1:] *= np.sqrt(1 - decay**2)
    half = KT * (lfilter([1], [1, -decay], noise, axis=1) ** 2).sum(axis=2) / (2 * stiffness[:, None])
    time, constant = np.arange(1.0, n + 1), np.ones(n)
    return [
        WindowSeries(
            time, half[k] * stiffness[k], half[k] * slope[k], T * constant, half[k][:, None] * stiffness, constant
        )
        for k in range(len(places))
    ]


def ladder_rows(
    name: str, planned: Ladder, n: int, memory: float, n_repeats: int, *, exponential: bool = False, seed: int = 0
) -> Iterator[Row]:
    """Yield the rows of TI, BAR, MBAR and the means of the windows."""
    rng, places = np.random.default_rng(seed), np.array(planned.grid)
    results = []
    for _ in range(n_repeats):
        series = harmonic_ladder(planned.grid, n, memory, rng, exponential=exponential)
        result = analyse_ladder(planned.grid, series, T, quadrature=planned.quadrature)
        if np.diagonal(result.overlap, offset=1).min() >= MIN_OVERLAP:
            results.append(result)
    exact = N_MODES / 2 * KT * np.log(FACTOR)
    for method in ("ti", "bar", "mbar"):
        values, errors = np.array([getattr(result, method) for result in results]).T
        yield row(f"{name}: {method.upper()}", (values - exact) / errors, n_repeats)
    slope = np.full(len(places), np.log(FACTOR)) if exponential else (FACTOR - 1) / (1 + (FACTOR - 1) * places)
    z = [(result.mean_dudl_eV - N_MODES / 2 * KT * slope) / result.error_dudl_eV for result in results]
    yield row(f"{name}: ⟨∂U/∂λ⟩", np.concatenate(z), n_repeats * len(places))


def mean_row(n: int, n_repeats: int, seed: int = 0) -> Row:
    """Return the row of means over repeats of a campaign, or over random arrangements."""
    values = np.random.default_rng(seed).normal(size=(n_repeats, n))
    return row(f"mean over {n} repeats or arrangements", [v.mean() / error_of_mean(v) for v in values], n_repeats)


def volume_row(n: int, n_replicas: int, memory: float, n_repeats: int, seed: int = 0) -> Row:
    """Return the row of the mean volume of an equilibrium run."""
    rng, decay = np.random.default_rng(seed), np.exp(-1 / memory)
    z = []
    for _ in range(n_repeats):
        noise = rng.normal(size=(n, n_replicas))
        noise[1:] *= np.sqrt(1 - decay**2)
        series = 100 + lfilter([1], [1, -decay], noise, axis=0)
        z.append((series.mean() - 100) / error_of_mean_volume(series))
    return row(f"mean volume, {n} samples of {n_replicas}, memory of {memory:g} samples", z, n_repeats)


def switched(n_cells: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return deviations and errors of 4 + 4 switches, in units of the exact error."""
    errors = np.sqrt(rng.chisquare(6, n_cells) / 6) * small_sample_factor(6)
    return rng.normal(size=n_cells), errors


def size_row(n_cells: int, n_repeats: int, seed: int = 0) -> Row:
    """Return the row of the limit of large cells."""
    rng, z = np.random.default_rng(seed), []
    for _ in range(n_repeats):
        noise, errors = switched(n_cells, rng)
        n_atoms = [16, 54, 128, 250][:n_cells]
        values = [v + logarithmic_term_eV_per_atom(n, T) for v, n in zip(noise, n_atoms, strict=True)]
        found = extrapolate(n_atoms, values, errors.tolist(), T)
        z.append(found.limit / found.error)
    return row(f"limit of {n_cells} sizes", z, n_repeats)


def transition_row(n: int, error_K: float, n_repeats: int, seed: int = 0) -> Row:
    """Return the row of a transition temperature near the middle of n temperatures 50 K apart."""
    rng, z = np.random.default_rng(seed), []
    temperatures = 300.0 + 50.0 * np.arange(n)
    exact = temperatures.mean() + 3.0
    for _ in range(n_repeats):
        noise, errors = switched(n, rng)
        found = transition(temperatures.tolist(), exact - temperatures + error_K * noise, error_K * errors)
        if found.temperature_K is not None and found.error_K is not None:
            z.append((found.temperature_K - exact) / found.error_K)
    return row(f"transition between {n} temperatures, each off by {error_K:g} K", z, n_repeats)


def curve_rows(n: int, memory: float, n_repeats: int, seed: int = 0) -> Iterator[Row]:
    """Yield the rows of the points of the convergence curve at half of the production, forward and backward."""
    rng, planned = np.random.default_rng(seed), ladder(11)
    found = []
    for _ in range(n_repeats):
        series = harmonic_ladder(planned.grid, n, memory, rng)
        windows = [decorrelate(planned.grid, k, each) for k, each in enumerate(series)]
        start = N_MODES / 2 * KT * np.log(1 + (FACTOR - 1) * np.array(planned.grid))
        found.append(convergence(windows, start, T, fractions=(0.5,)))
    exact = N_MODES / 2 * KT * np.log(FACTOR)
    for name in ("forward", "backward"):
        points = [point for each in found if (point := getattr(each, name)[0]) is not None]
        z = [(value - exact) / error for value, error in points]
        yield row(f"convergence curve, {n} samples, memory of {memory:g}: first {name} half", z, n_repeats)


def refined_row(n: int, memory: float, n_repeats: int, seed: int = 0) -> Row:
    """Return the row of MBAR for ladders that are extended by runs of n samples until the error is below a target.

    The target is 0.6 of the error of the first ladder before its refinement; a window has at most eight runs.
    """
    rng, planned, target, z = np.random.default_rng(seed), ladder(11), 0.0, []
    indices = list(range(len(planned.grid)))
    for _ in range(n_repeats):
        whole = harmonic_ladder(planned.grid, 8 * n, memory, rng)
        runs = [1] * len(whole)
        while True:
            series = [beginning(each, k * n) for each, k in zip(whole, runs, strict=True)]
            result = analyse_ladder(planned.grid, series, T, quadrature=planned.quadrature)
            target = target or 0.6 * result.mbar[1]
            overlaps = np.diagonal(result.overlap, offset=1)
            plan = plan_round(
                planned.grid,
                indices,
                overlaps,
                result.variances_eV2,
                runs,
                result.n_independent,
                target=target,
                budget=7 * len(whole),
            )
            extended = [min(8, k + plan.extend.get(index, 0)) for index, k in enumerate(runs)]
            if extended == runs:
                break
            runs = extended
        if not result.warnings and np.median(result.n_independent) >= MIN_TYPICAL:
            z.append((result.mbar[0] - N_MODES / 2 * KT * np.log(FACTOR)) / result.mbar[1])
    return row(f"refined ladder, runs of {n} samples, memory of {memory:g}: MBAR", z, n_repeats)


def beginning(series: WindowSeries, n: int) -> WindowSeries:
    """Return the first n samples of a series."""
    return WindowSeries(*(getattr(series, each.name)[:n] for each in fields(series)))


def cell_rows(n: int, n_directions: int, memory: float, n_repeats: int, seed: int = 0) -> Iterator[Row]:
    """Yield the rows of the noise of a mean cell, and of G with switches that have a similar error."""
    rng, decay, excess, whole = np.random.default_rng(seed), np.exp(-1 / memory), [], []
    for _ in range(n_repeats):
        noise = rng.normal(size=(n, 1, n_directions))
        noise[1:] *= np.sqrt(1 - decay**2)
        strains = lfilter([1], [1, -decay], noise, axis=0)
        found = cell_noise(strains, T)
        true = 0.5 * KT * float((strains.mean(axis=(0, 1)) ** 2).sum())
        [work], [error] = switched(1, rng)
        scale = found.error_eV
        excess.append((true - found.bias_eV) / found.error_eV)
        whole.append((scale * work + true - found.bias_eV) / np.hypot(scale * error, found.error_eV))
    name = f"{n_directions} free directions, {n} samples, memory of {memory:g}"
    yield row(f"noise of the mean cell, {name}", excess, n_repeats)
    yield row(f"G at the mean cell, {name}", whole, n_repeats)


def thermal_rows(n: int, n_repeats: int, seed: int = 0) -> Iterator[Row]:
    """Yield the rows of S_f and H_f at the lowest of n temperatures 100 K apart, from 4 + 4 switches each."""
    rng, temperatures = np.random.default_rng(seed), 300.0 + 100.0 * np.arange(n)
    entropy, enthalpy = [], []
    for _ in range(n_repeats):
        noise, errors = switched(n, rng)
        fit = thermal_fit(temperatures, 1.0 - 1e-4 * temperatures + 1e-3 * noise, 1e-3 * errors)
        entropy.append((fit.entropy_eV_per_K[0] - 1e-4) / fit.entropy_error_eV_per_K[0])
        enthalpy.append((fit.enthalpy_eV[0] - 1.0) / fit.enthalpy_error_eV[0])
    yield row(f"S_f from {n} temperatures", entropy, n_repeats)
    yield row(f"H_f from {n} temperatures", enthalpy, n_repeats)


def vacancy_sizes_row(n_cells: int, n_repeats: int, seed: int = 0) -> Row:
    """Return the row of G_f of a vacancy in the limit of large cells; all sizes share a chemical potential."""
    rng, z = np.random.default_rng(seed), []
    for _ in range(n_repeats):
        noise, errors = switched(n_cells, rng)
        [shared], [shared_error] = switched(1, rng)
        found = straight_line([16, 54, 128, 250][:n_cells], noise, errors.tolist())
        z.append((found.limit + shared) / np.hypot(found.error, shared_error))
    return row(f"G_f in the limit of {n_cells} sizes", z, n_repeats)


def results(sigma_kT: float, n: int, seed: int = 0) -> np.ndarray:
    """Return n free energies with errors from 4 + 4 switches without a warning, shape (n, 2); the exact value is 0."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < n:
        result = analyse_work(*gaussian_works(sigma_kT, 4, rng), T)
        if not result.warnings:
            found.append(result.best)
    return np.array(found)


def sum_row(name: str, coefficients: Sequence[float], pool: np.ndarray, n_repeats: int, seed: int = 0) -> Row:
    """Return the row of a sum of free energies of a pool, with errors in quadrature."""
    rng, z = np.random.default_rng(seed), []
    for _ in range(n_repeats):
        values, errors = pool[rng.choice(len(pool), len(coefficients), replace=False)].T
        z.append(float(values @ coefficients) / quadrature(*(errors * coefficients)))
    return row(name, z, n_repeats)


def volume_difference_row(n: int, memory: float, n_repeats: int, seed: int = 0) -> Row:
    """Return the row of a formation volume: that of a crystal with a vacancy minus N − 1 shares of the perfect one."""
    rng, decay, z = np.random.default_rng(seed), np.exp(-1 / memory), []
    share = 31 / 32
    for _ in range(n_repeats):
        noise = rng.normal(size=(n, 2))
        noise[1:] *= np.sqrt(1 - decay**2)
        series = lfilter([1], [1, -decay], noise, axis=0)
        one, other = (error_of_mean_volume(each[:, None]) for each in series.T)
        z.append(float(series.mean(axis=0) @ [1, -share]) / quadrature(one, share * other))
    return row(f"formation volume, {n} samples, memory of {memory:g}", z, n_repeats)


def works(sigmas: Sequence[float], stiffenings: Sequence[tuple[float, int]], n_repeats: int) -> Iterator[Row]:
    """Yield the rows of switches: Gaussian works, and instantaneous changes of stiffness."""
    for n in (3, 4, 8, 32):
        for sigma in sigmas:
            name = f"works, Gaussian, σ = {sigma:g} k_B T"
            yield from switching_rows(name, partial(gaussian_works, sigma), n, n_repeats)
        for factor, modes in stiffenings:
            name = f"works, stiffness of {modes} modes × {factor:g}"
            yield from switching_rows(name, partial(stiffening_works, factor, modes), n, n_repeats)


def ladders(n: int, n_repeats: int) -> Iterator[Row]:
    """Yield the rows of ladders of several kinds with n samples for each window."""
    for memory in (0.0, 1.5, 5.0, 20.0):
        yield from ladder_rows(f"11 windows, {n} samples, memory of {memory:g}", ladder(11), n, memory, n_repeats)
    name = f"11 windows, {n} samples, memory of 5, not linear in λ"
    yield from ladder_rows(name, ladder(11), n, 5.0, n_repeats, exponential=True)
    name = f"5 nodes of Gauss–Legendre, {n} samples, memory of 5"
    yield from ladder_rows(name, ladder(5, "gauss-legendre"), n, 5.0, n_repeats)


def volumes(lengths: Sequence[tuple[int, int]], n_repeats: int) -> Iterator[Row]:
    """Yield the rows of mean and formation volumes from runs of n samples of B replicas."""
    many = 10 * n_repeats  # these rows are cheap
    yield from (volume_row(n, b, m, many) for n, b in lengths for m in (2.0, 12.5))
    yield from (volume_difference_row(n, 2.0, many) for n, b in lengths if b == 1)


#: Sums of free energies by name, with their coefficients; the crystal has 32 atoms or 16 formula units.
SUMS = {
    "vacancy: two Frenkel–Ladd runs": (1, -31 / 32),
    "vacancy: removal": (1, 1 / 32),
    "vacancy: difference of the routes": (1, -1, 1),
    "vacancy in a compound, other element given: removal": (1, 1 / 16, -1),
    "Schottky defect: two Frenkel–Ladd runs": (1, 1, 1 / 16 - 2),
    "Schottky defect: removal": (1, 1, 1 / 16),
    "Schottky defect: difference of the routes": (1, 1, -1, -1, 2),
    "Frenkel pair: three Frenkel–Ladd runs": (1, 1, -2),
    "Frenkel pair: removal": (1, 1, -1),
    "stability of a compound": (1 / 16, -1, -1),
    "difference of two phases": (1, -1),
}


def sums(sigma_kT: float, n_repeats: int) -> Iterator[Row]:
    """Yield the rows of values that are sums of free energies."""
    pool = results(sigma_kT, 4 * n_repeats)
    for name, coefficients in SUMS.items():
        yield sum_row(f"{name}, works of σ = {sigma_kT:g} k_B T", coefficients, pool, n_repeats)
